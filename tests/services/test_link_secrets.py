"""
What is kept of links: sealed for one link of one user, and printed as nothing.
"""

import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from rich.pretty import pretty_repr

from gateway.catalog import links as catalog
from gateway.catalog.links import Attempt, LinkRow
from gateway.catalog.users import User, get_user
from gateway.crypto.errors import SealBroken
from gateway.keyring.errors import SlotShredded
from gateway.services.link_secrets import AttemptSecrets, LinkSecrets, LinkVault
from tests.support.gateway import Served

SECRETS = LinkSecrets(
    subject="their-id",
    label="ada@example.org",
    settings={"secret_access_key": "word-1"},
    access_token="word-2",
    refresh_token="word-3",
)
TRY = AttemptSecrets(verifier="word-4", redirect_uri="https://us/back", scopes=("files",))


async def new_user(served: Served, name: str = "Ada") -> User:
    user_id, _ = await served.new_user(name)
    async with served.gateway.context.catalog.read() as connection:
        user = await get_user(connection, user_id)
    assert user is not None
    return user


def row(user: User, sealed: bytes | None, link_id: str | None = None) -> LinkRow:
    return LinkRow(
        id=link_id or str(uuid.uuid4()),
        user_id=user.id,
        kind="pretend",
        state="ok",
        reason=None,
        secrets=sealed,
        revision=1,
        generation=1,
        created_at=1,
        refreshed_at=None,
        grant_ends_at=None,
        checked_at=None,
        ended_at=None,
    )


@pytest.fixture
def vault(embedded: Served) -> LinkVault:
    return LinkVault(embedded.gateway.context.catalog, embedded.gateway.context.keyring)


async def test_a_links_secrets_open_for_that_link_alone(embedded: Served, vault: LinkVault) -> None:
    ada, grace = await new_user(embedded), await new_user(embedded, "Grace")
    link = row(ada, None)
    sealed = replace(link, secrets=await vault.seal_link(ada.id, link.id, SECRETS))

    assert SECRETS == await vault.open_link(sealed)
    for elsewhere in (
        replace(sealed, id=str(uuid.uuid4())),
        replace(sealed, user_id=grace.id),
        replace(sealed, secrets=None),
    ):
        with pytest.raises(SealBroken):
            await vault.open_link(elsewhere)


async def test_an_attempts_secrets_open_for_that_attempt_alone(embedded: Served, vault: LinkVault) -> None:
    ada, grace = await new_user(embedded), await new_user(embedded, "Grace")
    sealed = await vault.seal_attempt(ada, b"s" * 32, TRY)
    attempt = Attempt(b"s" * 32, ada.id, "pretend", None, sealed, 1)

    assert TRY == await vault.open_attempt(attempt)
    for elsewhere in (replace(attempt, state_hash=b"t" * 32), replace(attempt, user_id=grace.id)):
        with pytest.raises(SealBroken):
            await vault.open_attempt(elsewhere)


async def test_they_are_gone_with_the_account(embedded: Served, vault: LinkVault) -> None:
    ada = await new_user(embedded)
    link = row(ada, None)
    sealed = replace(link, secrets=await vault.seal_link(ada.id, link.id, SECRETS))
    erasure = embedded.gateway.context.erasure

    await erasure.shred_account(ada.id, salt=await erasure.bury_account(ada.id))

    with pytest.raises(SlotShredded):
        await vault.open_link(sealed)


async def test_nothing_of_them_lies_in_the_catalog(
    embedded: Served, vault: LinkVault, tmp_path: Path
) -> None:
    ada = await new_user(embedded)
    link_id = str(uuid.uuid4())
    sealed = await vault.seal_link(ada.id, link_id, SECRETS)
    context = embedded.gateway.context
    async with context.catalog.write() as connection:
        await catalog.insert_link(connection, row(ada, sealed, link_id))

    files = b"".join(file.read_bytes() for file in (tmp_path / "data").glob("catalog.db*"))

    assert sealed in files
    for word in (b"word-", b"ada@example.org", b"their-id"):
        assert word not in files


@pytest.mark.parametrize("secrets", [SECRETS, TRY])
def test_they_print_as_nothing(secrets: LinkSecrets | AttemptSecrets) -> None:
    for text in (repr(secrets), str(secrets), f"{secrets}", pretty_repr(secrets), repr([secrets])):
        assert "word" not in text
        assert "ada@" not in text
