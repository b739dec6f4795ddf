"""
Connections to linked accounts: shared, closed when idle, noted upon, and kept for the last farewell.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.api import (
    AccessDenied,
    AuthRevoked,
    Backend,
    BackendError,
    Misconfigured,
    QuotaExceeded,
    Transient,
    new_blob_key,
)
from gateway.catalog import links as catalog
from gateway.catalog.links import LinkRow
from gateway.services.link_connections import SharedConnection
from gateway.services.linked_places import LinkedPlaces
from gateway.testing.memory import MemoryBackend, MemoryPlace
from gateway.testing.sources import BytesSource
from tests.emulators.cloud import Account
from tests.emulators.faults import Effect
from tests.http.link_client import Linker, gateway_for
from tests.support.clock import FakeClock
from tests.support.gateway import Served
from tests.support.pretend_drive import PretendBackend, PretendDrive, PretendSettings
from tests.support.waiting import until

PATIENCE_S = 30


@pytest.fixture
def places(gateway: Served) -> LinkedPlaces:
    return gateway.gateway.links.places


@pytest.fixture
def connections(drive: PretendDrive, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """
    What was connected to so far, in order; "-" in front of an account that was left.
    """
    seen: list[str] = []
    connect = drive._connect

    @asynccontextmanager
    async def watched(context: Any, settings: PretendSettings) -> AsyncIterator[PretendBackend]:
        seen.append(context.account)
        try:
            async with connect(context, settings) as backend:
                yield backend
        finally:
            seen.append(f"-{context.account}")

    monkeypatch.setattr(drive, "_connect", watched)
    return seen


async def put(places: LinkedPlaces, link_id: str) -> None:
    async with places.at(link_id) as backend:
        await backend.put(new_blob_key(), BytesSource(b"sealed"))


async def row_of(served: Served, link_id: str) -> LinkRow:
    async with served.gateway.context.catalog.read() as connection:
        link = await catalog.get_link(connection, link_id)
    assert link is not None
    return link


async def test_the_home_is_whatever_is_there(places: LinkedPlaces) -> None:
    other = MemoryBackend(MemoryPlace())
    places.home = other

    async with places.at("home") as home:
        assert other is home


async def test_blobs_go_to_the_account_that_was_linked(
    ada: Linker, account: Account, places: LinkedPlaces, drive: PretendDrive
) -> None:
    link = await ada.link(account)
    key = new_blob_key()

    async with places.at(link["id"]) as backend:
        ref = await backend.put(key, BytesSource(b"sealed"))
        async with backend.read(ref) as pieces:
            assert b"sealed" == b"".join([piece async for piece in pieces])
        assert [key] == [blob.ref.key async for blob in backend.scan()]

    assert {key: b"sealed"} == drive.place_of(account).blobs


async def test_all_who_use_an_account_share_one_connection(
    connections: list[str], ada: Linker, account: Account, places: LinkedPlaces
) -> None:
    link = await ada.link(account)
    connections.clear()

    async def use() -> Backend:
        async with places.at(link["id"]) as backend:
            await backend.probe()
            return backend

    used = await asyncio.gather(*(use() for _ in range(10)))

    assert 1 == len({id(backend) for backend in used})
    assert [f"pretend:{link['id'][:8]}"] == connections


async def test_whoever_goes_early_leaves_the_others_connected(
    ada: Linker, account: Account, places: LinkedPlaces
) -> None:
    link = await ada.link(account)
    entered = asyncio.Event()

    async def hold() -> None:
        async with places.at(link["id"]):
            entered.set()
            await asyncio.Event().wait()

    first = asyncio.create_task(hold())
    await entered.wait()
    async with places.at(link["id"]) as backend:
        first.cancel()
        await asyncio.wait([first])
        await backend.probe()


async def test_an_idle_connection_is_closed_and_made_anew(
    drive: PretendDrive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: FakeClock,
    connections: list[str],
) -> None:
    async with gateway_for(drive, tmp_path / "data", monkeypatch, clock, connection_idle_s=0) as served:
        ada = await Linker.of_new_user(served, drive)
        link = await ada.link(drive.new_account())
        name = f"pretend:{link['id'][:8]}"
        connections.clear()
        for _ in range(2):
            await put(served.gateway.links.places, link["id"])
            await until(lambda: connections[-1] == f"-{name}")

    assert [name, f"-{name}"] * 2 == connections


async def test_everything_is_closed_when_the_gateway_stops(
    drive: PretendDrive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: FakeClock,
    connections: list[str],
) -> None:
    async with gateway_for(drive, tmp_path / "data", monkeypatch, clock) as served:
        ada = await Linker.of_new_user(served, drive)
        link = await ada.link(drive.new_account())
        places = served.gateway.links.places
        await put(places, link["id"])

    assert f"-pretend:{link['id'][:8]}" == connections[-1]
    with pytest.raises(Transient):
        await put(places, link["id"])


async def test_a_connection_that_does_not_close_holds_nobody_up() -> None:
    @asynccontextmanager
    async def stuck() -> AsyncIterator[Backend]:
        try:
            yield MemoryBackend(MemoryPlace())
        finally:
            await asyncio.Event().wait()

    connection = SharedConnection(stuck, generation=1, idle_s=60)
    async with connection.used():
        pass

    await connection.close(patience_s=0.01)

    assert connection.is_over


async def test_a_failed_connection_is_tried_anew(
    ada: Linker, account: Account, places: LinkedPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = await ada.link(account)

    @asynccontextmanager
    async def failing(_: LinkRow) -> AsyncIterator[Backend]:
        raise Transient("not now")
        yield

    with monkeypatch.context() as broken:
        broken.setattr(places, "_connected", failing)
        for _ in range(2):
            with pytest.raises(Transient):
                await put(places, link["id"])

    await put(places, link["id"])


# What errors say about a link


@pytest.mark.parametrize(
    ("status", "error", "state"),
    [
        (403, AccessDenied, "scope_missing"),
        (507, QuotaExceeded, "over_quota"),
        (400, Misconfigured, "misconfigured"),
    ],
)
async def test_an_error_shows_in_the_link_and_a_success_takes_it_back(
    ada: Linker,
    account: Account,
    places: LinkedPlaces,
    drive: PretendDrive,
    status: int,
    error: type[BackendError],
    state: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link = await ada.link(account)
    recovered: list[str] = []

    async def hear(link_id: str) -> None:
        recovered.append(link_id)

    monkeypatch.setattr(places._notes, "_on_recovered", hear)
    drive.refuses = status
    for _ in range(2):
        with pytest.raises(error):
            await put(places, link["id"])
    [shown] = await ada.links()
    assert (state, error.code) == (shown["state"], shown["reason"])
    assert [] == recovered

    drive.refuses = 0
    await put(places, link["id"])
    await put(places, link["id"])

    assert "ok" == (await ada.links())[0]["state"]
    assert [link["id"]] == recovered


async def test_reading_makes_a_full_account_no_emptier(
    ada: Linker, account: Account, places: LinkedPlaces, drive: PretendDrive
) -> None:
    link = await ada.link(account)
    drive.refuses = 507
    with pytest.raises(QuotaExceeded):
        await put(places, link["id"])
    drive.refuses = 0

    async with places.at(link["id"]) as backend:
        await backend.find(new_blob_key())

    assert "over_quota" == (await ada.links())[0]["state"]


async def test_a_passing_failure_says_nothing_of_the_link(
    ada: Linker, account: Account, places: LinkedPlaces, drive: PretendDrive
) -> None:
    link = await ada.link(account)
    drive.faults.order("use", Effect.FAIL)

    with pytest.raises(Transient):
        await put(places, link["id"])

    assert "ok" == (await ada.links())[0]["state"]


async def test_a_revoked_account_is_not_entered(
    ada: Linker, account: Account, places: LinkedPlaces, drive: PretendDrive
) -> None:
    link = await ada.link(account)
    drive.oauth.revoke(account)
    with pytest.raises(AuthRevoked):
        await put(places, link["id"])
    drive.faults.requests.clear()

    with pytest.raises(AuthRevoked):
        async with places.at(link["id"]):
            pass

    assert 0 == drive.faults.requests.total()


@pytest.mark.parametrize("name", ["00000000-0000-4000-8000-000000000000", "nowhere", ""])
async def test_there_is_no_other_place(places: LinkedPlaces, name: str) -> None:
    with pytest.raises(AuthRevoked):
        async with places.at(name):
            pass


async def test_an_unlinked_account_is_not_entered(
    ada: Linker, account: Account, places: LinkedPlaces
) -> None:
    link = await ada.link(account)
    await put(places, link["id"])
    await ada.served.gateway.context.linking.end(ada.user_id, link["id"])

    with pytest.raises(AuthRevoked):
        await put(places, link["id"])


async def test_what_an_old_connection_meets_says_nothing_of_an_account_that_was_linked_anew(
    ada: Linker, account: Account, places: LinkedPlaces, drive: PretendDrive
) -> None:
    link = await ada.link(account)
    async with places.at(link["id"]) as old:
        await ada.link(account)
        drive.refuses = 403
        with pytest.raises(AccessDenied):
            await old.probe()
        assert "ok" == (await ada.links())[0]["state"]
        drive.refuses = 0

        async with places.at(link["id"]) as fresh:
            assert fresh is not old
            await fresh.probe()


# The last farewell


async def test_an_erased_users_blobs_are_within_reach_until_they_are_deleted(
    ada: Linker, account: Account, places: LinkedPlaces, drive: PretendDrive, clock: FakeClock
) -> None:
    link = await ada.link(account)
    key = new_blob_key()
    async with places.at(link["id"]) as backend:
        ref = await backend.put(key, BytesSource(b"sealed"))
    context = ada.served.gateway.context

    async with places.farewell(ada.user_id, patience_s=PATIENCE_S):
        salt = await context.erasure.bury_account(ada.user_id)
        await context.erasure.shred_account(ada.user_id, salt=salt)
        async with context.catalog.write() as connection:
            await catalog.end_links_of(connection, ada.user_id, at=clock.now_ms())
        clock.advance(3000)
        async with places.at(link["id"]) as backend:
            await backend.delete(ref)

    assert {} == drive.place_of(account).blobs
    row = await row_of(ada.served, link["id"])
    assert ("unlinked", None) == (row.state, row.secrets)
    with pytest.raises(AuthRevoked):
        await put(places, link["id"])


async def test_a_farewells_tokens_are_fresh_and_never_refreshed(
    ada: Linker, account: Account, places: LinkedPlaces, drive: PretendDrive
) -> None:
    link = await ada.link(account)
    drive.faults.requests.clear()

    async with places.farewell(ada.user_id, patience_s=PATIENCE_S):
        assert 1 == drive.faults.requests["token"]
        drive.oauth.expire_access_tokens()
        async with places.at(link["id"]) as backend:
            with pytest.raises(AuthRevoked):
                await backend.find(new_blob_key())

    assert 1 == drive.faults.requests["token"]


async def test_a_farewell_does_without_an_account_that_cannot_be_reached(
    ada: Linker, account: Account, places: LinkedPlaces, drive: PretendDrive
) -> None:
    gone, there = await ada.link(account), await ada.link(drive.new_account("Grace"))
    drive.oauth.revoke(account)

    async with places.farewell(ada.user_id, patience_s=PATIENCE_S):
        async with places.at(there["id"]) as backend:
            await backend.find(new_blob_key())
        with pytest.raises(AuthRevoked):
            await put(places, gone["id"])


async def test_keys_that_are_gone_open_no_account(
    ada: Linker, account: Account, places: LinkedPlaces
) -> None:
    link = await ada.link(account)
    context = ada.served.gateway.context
    salt = await context.erasure.bury_account(ada.user_id)
    await context.erasure.shred_account(ada.user_id, salt=salt)

    with pytest.raises(AuthRevoked):
        await put(places, link["id"])
