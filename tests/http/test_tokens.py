"""
Bearer tokens: who may ask at all.
"""

import pytest

from gateway.base.ids import UserId
from tests.http.phone import RECORDINGS, UPLOADS, Phone
from tests.http.wire import Wire
from tests.support.clock import FakeClock
from tests.support.gateway import APPEND, TUS, Served

NOBODY = "00000000-0000-4000-8000-000000000000"
ADDRESSES = [
    ("POST", UPLOADS),
    ("HEAD", f"{UPLOADS}/{NOBODY}"),
    ("PATCH", f"{UPLOADS}/{NOBODY}"),
    ("DELETE", f"{UPLOADS}/{NOBODY}"),
    ("GET", f"{UPLOADS}/{NOBODY}"),
    ("GET", RECORDINGS),
    ("GET", f"{RECORDINGS}/{NOBODY}"),
    ("PATCH", f"{RECORDINGS}/{NOBODY}"),
    ("DELETE", f"{RECORDINGS}/{NOBODY}"),
    ("GET", f"{RECORDINGS}/{NOBODY}/audio"),
    ("HEAD", f"{RECORDINGS}/{NOBODY}/audio"),
    ("GET", f"/v1/receipts/{NOBODY}"),
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("method", "path"), ADDRESSES)
async def test_every_address_of_a_user_s_wants_one(phone: Phone, method: str, path: str) -> None:
    phone.auth = {}

    answer = await phone.ask(method, path, {**APPEND, "Upload-Length": "5"})

    assert 401 == answer.status
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    if method != "HEAD":
        assert "unauthenticated" == answer.problem["code"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic dXNlcjpwYXNz",
        "Token {token}",
        "{token}",
        "Bearer {token}x",
        "Bearer {token}, Bearer {token}",
        'Bearer "{token}"',
        "Bearer rgt_",
        "Bearer " + "x" * 7000,
        "Bearer \u00e9",
        "Bearer ' OR '1'='1",
    ],
)
async def test_a_malformed_or_unknown_one_is_refused(phone: Phone, value: str) -> None:
    token = phone.auth["Authorization"].removeprefix("Bearer ")
    phone.auth = {"Authorization": value.format(token=token)}

    answer = await phone.ask("GET", RECORDINGS)

    assert (401, "unauthenticated") == (answer.status, answer.problem["code"])
    assert token not in answer.body.decode()


@pytest.mark.asyncio(loop_scope="module")
async def test_bytes_that_are_no_text_are_refused(shared: Served) -> None:
    async with Wire.to(shared) as wire:
        await wire.send_head("GET", RECORDINGS, {"Authorization": "Bearer \xff\xfe"})
        assert 401 == (await wire.answer()).status


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
async def test_the_scheme_may_be_spelt_in_any_case(phone: Phone, scheme: str) -> None:
    token = phone.auth["Authorization"].removeprefix("Bearer ")
    phone.auth = {"Authorization": f"{scheme} {token}"}

    assert 200 == (await phone.ask("GET", RECORDINGS)).status


@pytest.fixture
async def phones(served: Served) -> tuple[Phone, Phone]:
    """
    Two clients of one user, each with a token of its own, and an upload under way.
    """
    phone = await Phone.of_new_user(served)
    token = await served.gateway.context.accounts.new_token(phone.user_id, lifetime_s=7200)
    return phone, Phone(served, phone.user_id, {"Authorization": f"Bearer {token.reveal().decode()}"})


async def test_an_expired_one_is_refused_and_the_upload_goes_on_under_another(
    clock: FakeClock, phones: tuple[Phone, Phone]
) -> None:
    expiring, lasting = phones
    upload = await expiring.begin(10)
    await expiring.patch(upload, 0, b"hello")
    clock.advance(3600)

    answer = await expiring.patch(upload, 5, b"world")
    assert 401 == answer.status
    assert "Bearer" in answer.headers["WWW-Authenticate"]
    assert 204 == (await lasting.patch(upload, 5, b"world")).status

    assert b"helloworld" == (await lasting.audio(upload)).body


async def test_a_revoked_one_is_refused_and_the_others_are_not(
    served: Served, phones: tuple[Phone, Phone]
) -> None:
    revoked, other = phones
    await served.gateway.context.accounts.revoke_token(revoked.auth["Authorization"].removeprefix("Bearer "))

    assert 401 == (await revoked.ask("GET", RECORDINGS)).status
    assert 200 == (await other.ask("GET", RECORDINGS)).status


async def test_the_tokens_of_an_erased_user_are_refused(served: Served, phones: tuple[Phone, Phone]) -> None:
    phone, other = phones
    recording, upload = await phone.record(b"hello"), await phone.begin(10)
    erasure = served.gateway.context.erasure
    salt = await erasure.bury_account(UserId(phone.user_id))
    for client in phones:
        for path in (RECORDINGS, f"{RECORDINGS}/{recording}", f"{RECORDINGS}/{recording}/audio"):
            assert 401 == (await client.ask("GET", path)).status
        assert 401 == (await client.head(upload)).status
        assert 401 == (await client.create(10)).status

    await erasure.shred_account(UserId(phone.user_id), salt=salt)
    await served.placed()

    assert 401 == (await other.ask("GET", RECORDINGS, TUS)).status
    assert [] == list((served.gateway.settings.data_dir / "spool").iterdir())
