"""
Whoever is erased is forgotten by his clouds too: before his keys go where that is possible, and never at their expense.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import update

from gateway.catalog import tables
from gateway.catalog.links import LinkRow, get_link
from gateway.keyring.errors import RootStoreFailed
from tests.emulators.cloud import Account
from tests.emulators.faults import Effect
from tests.http.link_client import Linker
from tests.support.gateway import Served
from tests.support.pretend_drive import PretendDrive
from tests.support.waiting import until

PARTING_S = 1


@pytest.fixture
def linking() -> dict[str, Any]:
    return {"parting_s": PARTING_S}


async def row_of(served: Served, link_id: str) -> LinkRow:
    async with served.gateway.context.catalog.read() as connection:
        link = await get_link(connection, link_id)
    assert link is not None
    return link


async def linked_with_a_copy(ada: Linker, account: Account, drive: PretendDrive) -> str:
    """
    Have a recording of hers lie at the account; return the link's id.
    """
    link = await ada.link(account)
    assert 200 == (await ada.ask("PUT", "/v1/route", {"home": True, "copies": [link["id"]]})).status
    await ada.served.upload(ada.auth, b"spoken words")
    await ada.served.placed()
    assert 1 == len(drive.place_of(account).blobs)
    link_id: str = link["id"]
    return link_id


def is_revoked(drive: PretendDrive, account: Account) -> bool:
    [grant] = [grant for grant in drive.oauth.grants if grant.account is account]
    return grant.is_revoked


@asynccontextmanager
async def without_root_store(served: Served, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """
    Let no key be shredded as long as this is entered.
    """

    async def fail(*_: object, **__: object) -> None:
        raise RootStoreFailed("no disk")

    with monkeypatch.context() as patch:
        patch.setattr(served.gateway.context.keyring, "shred", fail)
        yield


async def test_whoever_leaves_is_forgotten_by_his_clouds_too(
    ada: Linker, account: Account, drive: PretendDrive
) -> None:
    link_id = await linked_with_a_copy(ada, account, drive)

    assert 200 == (await ada.ask("DELETE", "/v1/me?now=true")).status
    await ada.served.placed()

    assert {} == drive.place_of(account).blobs
    assert is_revoked(drive, account)
    assert 1 == drive.faults.requests["revoke"]
    row = await row_of(ada.served, link_id)
    assert ("unlinked", None) == (row.state, row.secrets)
    farewell = await ada.ask("GET", f"/v1/farewells/{ada.user_id}")
    states = {place["state"] for place in farewell.json["purge_receipt"]["placements"]}
    assert {"purged"} == states


async def test_what_can_be_done_at_the_providers_is_done_before_the_keys_go(
    ada: Linker, account: Account, drive: PretendDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    So whoever comes after a process that died has nothing left to do there, or still has what it takes.
    """
    link_id = await linked_with_a_copy(ada, account, drive)
    context = ada.served.gateway.context
    await context.erasure.bury_account(ada.user_id)

    async with without_root_store(ada.served, monkeypatch):
        with pytest.raises(RootStoreFailed):
            await context.leaving.finish(ada.user_id)

    assert {} == drive.place_of(account).blobs
    assert is_revoked(drive, account)
    row = await row_of(ada.served, link_id)
    assert ("unlinked", None) == (row.state, row.secrets)

    await context.leaving.finish(ada.user_id)

    assert 1 == drive.faults.requests["revoke"]


async def test_a_grant_is_not_revoked_before_all_that_it_is_needed_for_is_deleted(
    ada: Linker, account: Account, drive: PretendDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    await linked_with_a_copy(ada, account, drive)
    context = ada.served.gateway.context
    await context.erasure.bury_account(ada.user_id)
    drive.refuses = 503

    async with without_root_store(ada.served, monkeypatch):
        with pytest.raises(RootStoreFailed):
            await context.leaving.finish(ada.user_id)
    assert not is_revoked(drive, account)
    drive.refuses = 0

    await context.leaving.finish(ada.user_id)

    assert {} == drive.place_of(account).blobs
    assert is_revoked(drive, account)


async def test_where_much_lies_the_keys_do_not_wait_for_it(
    ada: Linker, account: Account, drive: PretendDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.services.parting._MOST_BLOBS", 0)
    await linked_with_a_copy(ada, account, drive)
    context = ada.served.gateway.context
    await context.erasure.bury_account(ada.user_id)

    async with without_root_store(ada.served, monkeypatch):
        with pytest.raises(RootStoreFailed):
            await context.leaving.finish(ada.user_id)
    assert 1 == len(drive.place_of(account).blobs)
    assert not is_revoked(drive, account)

    await context.leaving.finish(ada.user_id)

    assert {} == drive.place_of(account).blobs
    assert is_revoked(drive, account)


@pytest.mark.parametrize("operation", ["token", "use", "revoke"])
async def test_a_provider_that_never_answers_holds_the_keys_up_for_so_long_and_no_longer(
    ada: Linker, account: Account, drive: PretendDrive, operation: str
) -> None:
    await linked_with_a_copy(ada, account, drive)
    drive.faults.order(operation, Effect.STALL, times=99)
    loop = asyncio.get_running_loop()
    began = loop.time()

    farewell = await ada.ask("DELETE", "/v1/me?now=true")

    assert loop.time() - began < PARTING_S + 4
    assert farewell.json["state"] in ("shredded", "purged")
    drive.faults.clear()


async def test_a_provider_that_cuts_every_connection_holds_nobody_up_who_leaves(
    ada: Linker, account: Account, drive: PretendDrive
) -> None:
    await ada.link(account)
    drive.faults.order("revoke", Effect.CUT_BEFORE, times=9)
    assert 200 == (await ada.ask("DELETE", "/v1/me?now=true")).status
    await ada.served.placed()
    assert "purged" == (await ada.ask("GET", f"/v1/farewells/{ada.user_id}")).json["state"]


async def test_a_job_that_was_begun_too_often_waits_for_no_provider(
    ada: Linker, account: Account, drive: PretendDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whatever it is that kills it, the keys go; what was allowed is ended after them then.
    """
    await ada.link(account)
    context = ada.served.gateway.context
    await context.erasure.bury_account(ada.user_id)
    async with context.catalog.write() as connection:
        await connection.execute(
            update(tables.jobs).where(tables.jobs.c.kind == "erase-account").values(attempts=4)
        )
    async with without_root_store(ada.served, monkeypatch):
        with pytest.raises(RootStoreFailed):
            await context.leaving.finish(ada.user_id)
    assert not is_revoked(drive, account)

    await context.leaving.finish(ada.user_id)

    assert is_revoked(drive, account)


# Unlinking


async def test_a_provider_that_was_away_is_told_later_that_a_link_has_ended(
    ada: Linker, account: Account, drive: PretendDrive
) -> None:
    link = await ada.link(account)
    drive.faults.order("revoke", Effect.CUT_BEFORE)

    assert 204 == (await ada.ask("DELETE", f"/v1/links/{link['id']}")).status
    assert not is_revoked(drive, account)
    assert [] == await ada.links()
    await ada.served.placed()

    assert is_revoked(drive, account)
    assert (await row_of(ada.served, link["id"])).secrets is None


async def test_nothing_is_kept_for_a_provider_that_stays_away(
    ada: Linker, account: Account, drive: PretendDrive
) -> None:
    link = await ada.link(account)
    drive.faults.order("revoke", Effect.CUT_BEFORE, times=99)
    assert 204 == (await ada.ask("DELETE", f"/v1/links/{link['id']}")).status
    context = ada.served.gateway.context

    async def is_forgotten() -> bool:
        async with context.catalog.write() as connection:
            await connection.execute(
                update(tables.jobs).where(tables.jobs.c.kind == "end-grant").values(run_at=0)
            )
        await ada.served.placed()
        return (await row_of(ada.served, link["id"])).secrets is None

    await until(is_forgotten)

    assert 6 == drive.faults.requests["revoke"]


async def test_whoever_is_erased_just_after_unlinking_is_forgotten_there_too(
    ada: Linker, account: Account, drive: PretendDrive
) -> None:
    link = await ada.link(account)
    drive.faults.order("revoke", Effect.CUT_BEFORE)
    assert 204 == (await ada.ask("DELETE", f"/v1/links/{link['id']}")).status

    assert 200 == (await ada.ask("DELETE", "/v1/me?now=true")).status
    assert is_revoked(drive, account)
    await ada.served.placed()

    assert (await row_of(ada.served, link["id"])).secrets is None
