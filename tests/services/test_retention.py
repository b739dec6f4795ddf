"""
Retention: what is overdue goes, and a wrong clock makes nothing overdue.
"""

import uuid
from pathlib import Path
from typing import Any

import pytest

from gateway.base.ids import LeafIndex, RecordingId
from gateway.catalog.expiries import ranges_of
from gateway.catalog.recordings import get_recording
from gateway.keyring import verify_receipt
from gateway.keyring.errors import LeafShredded
from gateway.services.errors import NotFound
from gateway.services.holds import Cause
from gateway.services.retention import RetentionService
from tests.http.phone import Phone, blob_files
from tests.support.actors import OPS
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving

DAY = 24 * 3600
YEAR = 365 * DAY
CAUSE = Cause(reason="case 12", placed_by="ops")


async def phone_of(served: Served) -> Phone:
    """
    A client of a new user, whose token outlives the years that pass here.
    """
    accounts = served.gateway.context.accounts
    user_id = await accounts.add_user(name="Ada")
    token = await accounts.new_token(user_id, lifetime_s=20 * YEAR)
    return Phone(served, user_id, {"Authorization": f"Bearer {token.reveal().decode()}"})


async def days_pass(served: Served, clock: FakeClock, days: int) -> None:
    """
    Let time pass as it does for a daemon that runs.
    """
    for _ in range(days):
        clock.advance(DAY)
        await served.gateway.retention.tick()
        await served.placed()


async def a_year_passes(served: Served, clock: FakeClock) -> None:
    """
    The same in two strides: what is between does not matter to a daemon that has run all the time.
    """
    await served.gateway.retention.tick()
    clock.advance(YEAR - DAY)
    await days_pass(served, clock, 2)


@pytest.fixture
async def at_start(served: Served) -> Phone:
    """
    A user of an installation whose time is believed: it has run since before anything was stored.
    """
    await served.gateway.retention.tick()
    await served.placed()
    return await phone_of(served)


async def test_a_recording_expires_after_a_year_with_a_receipt(
    served: Served, clock: FakeClock, at_start: Phone
) -> None:
    phone = at_start
    old = [await phone.record(f"old {number}".encode()) for number in range(3)]
    await served.placed()
    row = await row_of(served, old[0])
    clock.advance(YEAR)
    await days_pass(served, clock, 0)
    young = await phone.record(b"young")
    await days_pass(served, clock, 1)

    assert [young] == await phone.listed()
    assert 1 == len(blob_files(served))
    with pytest.raises(LeafShredded):
        await served.gateway.context.keyring.leaf(row.key_slot, row.leaf_index)
    documents = [(await phone.ask("GET", f"/v1/receipts/{recording}")).document for recording in old]
    assert {"purged"} == {document["state"] for document in documents}
    # One receipt of all three, which each can show to be his.
    [receipt] = {document["receipt"]["sequence"]: document["receipt"] for document in documents}.values()
    assert ("recordings", 3) == (receipt["subject"]["kind"], receipt["leaves"])
    keys = await served.gateway.context.keyring.public_keys()
    for document in documents:
        _, slot, first, last = document["subject"].split("-")
        assert int(slot) == row.key_slot
        assert int(first) <= document["leaf"] <= int(last)
        for signed in (document["receipt"], document["purge_receipt"]):
            verify_receipt(signed, keys, subject_id=document["subject"], salt=bytes.fromhex(document["salt"]))
    # Deleting what has expired gives the same receipt.
    assert receipt == (await phone.erase(old[0])).document["receipt"]


async def row_of(served: Served, recording: str) -> Any:
    async with served.gateway.context.catalog.read() as connection:
        row = await get_recording(connection, RecordingId(uuid.UUID(recording)))
    assert row is not None
    return row


async def test_nothing_expires_a_day_too_early(served: Served, clock: FakeClock, at_start: Phone) -> None:
    recording = await at_start.record(b"young")
    clock.advance(YEAR)
    await served.gateway.retention.tick()
    await served.placed()
    assert [recording] == await at_start.listed()


async def test_what_is_held_stays_until_the_hold_is_lifted(
    served: Served, clock: FakeClock, at_start: Phone
) -> None:
    phone, other = at_start, await phone_of(served)
    held, free, all_of = await phone.record(b"held"), await phone.record(b"free"), await other.record(b"all")
    holds = served.gateway.holds
    one = await holds.place(phone.user_id, CAUSE, by=OPS, recording_id=RecordingId(uuid.UUID(held)))
    whole = await holds.place(other.user_id, CAUSE, by=OPS)
    await a_year_passes(served, clock)
    assert ([held], [all_of]) == (await phone.listed(), await other.listed())
    assert 404 == (await phone.ask("GET", f"/v1/recordings/{free}")).status

    await holds.lift(one, by=OPS)
    await holds.lift(whole, by=OPS)
    await days_pass(served, clock, 1)
    assert ([], []) == (await phone.listed(), await other.listed())


async def test_a_hold_placed_while_a_sweep_runs_wins_where_the_sweep_has_not_been(
    served: Served, clock: FakeClock, at_start: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = await at_start.record(b"held")
    clock.advance(YEAR + 1)
    from gateway.catalog import expiries

    found = expiries.owners_of_oldest

    async def then_held(*asked: Any, **more: Any) -> Any:
        answer = await found(*asked, **more)
        await served.gateway.holds.place(at_start.user_id, CAUSE, by=OPS)
        return answer

    monkeypatch.setattr(expiries, "owners_of_oldest", then_held)
    await served.gateway.retention.tick()
    await served.placed()
    assert [recording] == await at_start.listed()


async def test_a_jump_of_the_clock_erases_nothing(served: Served, clock: FakeClock, at_start: Phone) -> None:
    recording = await at_start.record(b"young")
    clock.jump(2 * YEAR)
    await days_pass(served, clock, 3)
    state = await served.gateway.retention.state()
    assert state.stop is not None
    assert ("clock-step", 1) == (state.stop.reason, state.stop.due)
    # Put right, it goes on without anybody.
    clock.jump(-2 * YEAR)
    await days_pass(served, clock, 1)
    assert (await served.gateway.retention.state()).stop is None
    assert [recording] == await at_start.listed()
    await a_year_passes(served, clock)
    assert [] == await at_start.listed()


async def test_small_steps_do_not_add_up(served: Served, clock: FakeClock, at_start: Phone) -> None:
    recording = await at_start.record(b"young")
    for _ in range(200):
        clock.jump(2 * DAY)
        await served.gateway.retention.tick()
        await served.placed()
    assert [recording] == await at_start.listed()


async def test_after_a_long_stop_someone_must_say_that_it_is_meant(tmp_path: Path, clock: FakeClock) -> None:
    async with serving(tmp_path / "data", clock=clock, with_workers=False) as served:
        await served.gateway.retention.tick()
        phone = await phone_of(served)
        await phone.record(b"old")
    clock.advance(2 * YEAR)
    async with serving(tmp_path / "data", clock=clock, with_workers=False) as served:
        phone = Phone(served, phone.user_id, phone.auth)
        await days_pass(served, clock, 5)
        assert 1 == len(await phone.listed())
    # A restart while it waits changes nothing.
    async with serving(tmp_path / "data", clock=clock, with_workers=False) as served:
        phone = Phone(served, phone.user_id, phone.auth)
        await days_pass(served, clock, 1)
        retention = served.gateway.retention
        stop = (await retention.state()).stop
        assert stop is not None
        for due, before in ((2, stop.stored_before), (1, stop.stored_before + DAY * 1000)):
            with pytest.raises(NotFound):
                await retention.approve(by=OPS, due=due, stored_before=before)
        await retention.approve(by=OPS, due=1, stored_before=stop.stored_before)
        await days_pass(served, clock, 1)
        assert [] == await phone.listed()
        assert (await retention.state()).stop is None


async def test_a_short_stop_needs_nobody(tmp_path: Path, clock: FakeClock) -> None:
    async with serving(tmp_path / "data", clock=clock, with_workers=False) as served:
        await served.gateway.retention.tick()
        phone = await phone_of(served)
        await phone.record(b"old")
        clock.advance(YEAR)
        await served.gateway.retention.tick()
    clock.advance(2 * DAY)
    async with serving(tmp_path / "data", clock=clock, with_workers=False) as served:
        phone = Phone(served, phone.user_id, phone.auth)
        await days_pass(served, clock, 1)
        assert [] == await phone.listed()


async def test_more_than_is_usual_waits(tmp_path: Path, clock: FakeClock) -> None:
    async with serving(
        tmp_path / "data", clock=clock, with_workers=False, retention={"max_per_sweep": 2}
    ) as served:
        retention = served.gateway.retention
        await retention.tick()
        phone = await phone_of(served)
        for number in range(3):
            await phone.record(b"%d" % number)
        await a_year_passes(served, clock)
        assert 3 == len(await phone.listed())
        stop = (await retention.state()).stop
        assert stop is not None
        assert ("too-many", 3) == (stop.reason, stop.due)
        await retention.approve(by=OPS, due=3, stored_before=stop.stored_before)
        await days_pass(served, clock, 1)
        assert [] == await phone.listed()


async def test_the_first_sweep_of_what_was_kept_long_ago_waits(served: Served, clock: FakeClock) -> None:
    phone = await phone_of(served)
    await phone.record(b"old")
    clock.advance(YEAR + 1)
    await days_pass(served, clock, 1)
    stop = (await served.gateway.retention.state()).stop
    assert stop is not None
    assert "first-sweep" == stop.reason
    await served.gateway.retention.approve(by=OPS, due=stop.due, stored_before=stop.stored_before)
    await days_pass(served, clock, 1)
    assert [] == await phone.listed()


@pytest.mark.parametrize("ahead", ["node", "database"])
async def test_a_node_and_a_database_that_disagree_erase_nothing(
    served: Served, clock: FakeClock, at_start: Phone, ahead: str
) -> None:
    recording = await at_start.record(b"young")
    gateway = served.gateway
    offset = -YEAR if ahead == "node" else YEAR

    async def database_now() -> int:
        return clock.now_ms() + offset * 1000

    retention = RetentionService(
        gateway.context.catalog,
        gateway.context.erasure.ranges,
        served.gateway.audit,
        clock,
        gateway.bell,
        gateway.settings.retention,
        database_now=database_now,
    )
    if ahead == "node":
        clock.jump(YEAR + 1)
    await retention.tick()
    assert 0 == await retention.sweep()
    assert [recording] == await at_start.listed()


async def test_both_clocks_ahead_erase_nothing(served: Served, clock: FakeClock, at_start: Phone) -> None:
    recording = await at_start.record(b"young")
    gateway = served.gateway

    async def database_now() -> int:
        return clock.now_ms()

    clock.jump(2 * YEAR)
    # As after a restart: this process has seen no other time.
    retention = RetentionService(
        gateway.context.catalog,
        gateway.context.erasure.ranges,
        served.gateway.audit,
        clock,
        gateway.bell,
        gateway.settings.retention,
        database_now=database_now,
    )
    await retention.tick()
    assert 0 == await retention.sweep()
    assert [recording] == await at_start.listed()


async def test_an_older_catalog_follows_what_expired(tmp_path: Path, clock: FakeClock) -> None:
    import shutil

    data = tmp_path / "data"
    async with serving(data, clock=clock, with_workers=False) as served:
        await served.gateway.retention.tick()
        phone = await phone_of(served)
        recordings = [await phone.record(b"old") for _ in range(2)]
        await served.placed()
    shutil.copy(data / "catalog.db", tmp_path / "older.db")
    async with serving(data, clock=clock, with_workers=False) as served:
        await served.gateway.retention.tick()
        clock.advance(YEAR + 1)
        await days_pass(served, clock, 1)
        phone = Phone(served, phone.user_id, phone.auth)
        first = (await phone.ask("GET", f"/v1/receipts/{recordings[0]}")).document["receipt"]
    shutil.copy(tmp_path / "older.db", data / "catalog.db")
    for leftover in data.glob("catalog.db-*"):
        leftover.unlink()
    async with serving(data, clock=clock, with_workers=False) as served:
        phone = Phone(served, phone.user_id, phone.auth)
        await served.placed()
        assert [] == await phone.listed()
        assert first == (await phone.ask("GET", f"/v1/receipts/{recordings[0]}")).document["receipt"]


class Cut(Exception):
    """
    Where a sweep is cut short.
    """


@pytest.mark.parametrize(
    "step",
    ["buried", "1-root-put", "2-before-commit", "2-committed", "3-read-back", "4-destroyed", "5-shredded"],
)
async def test_an_expiry_that_was_cut_is_finished_at_the_next_start(
    tmp_path: Path, clock: FakeClock, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    async with serving(data, clock=clock, with_workers=False) as served:
        await served.gateway.retention.tick()
        phone = await phone_of(served)
        recordings = [await phone.record(b"old") for _ in range(2)]
        await served.placed()
        clock.advance(YEAR + 1)
        rounds = served.gateway.context.keyring._rounds

        async def cut(at: str) -> None:
            if at == step:
                raise Cut

        monkeypatch.setattr(rounds, "_on_step", cut)
        if step == "buried":
            monkeypatch.setattr(served.gateway.context.erasure.ranges, "shred", lambda ranges: cut("buried"))
        with pytest.raises(Cut):
            await served.gateway.retention.sweep()
        assert [] == await phone.listed()
    async with serving(data, clock=clock, with_workers=False) as served:
        phone = Phone(served, phone.user_id, phone.auth)
        await served.placed()
        for recording in recordings:
            assert "purged" == (await phone.ask("GET", f"/v1/receipts/{recording}")).document["state"]
        assert [] == blob_files(served)


def test_a_range_ends_where_nothing_is_known_of_a_leaf() -> None:
    leaves = [LeafIndex(leaf) for leaf in (1, 2, 4, 6, 9)]
    assert [(1, 4), (6, 6), (9, 9)] == ranges_of(leaves, {LeafIndex(3), LeafIndex(7)})
    assert [] == ranges_of([], set())
