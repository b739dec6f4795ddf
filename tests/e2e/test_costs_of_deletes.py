"""
What a delete and a page of a list cost, in counts that do not depend on the machine.

As in `test_costs`: a count that grows is a decision, and whoever needs more changes the number here and says why.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.filling import fill
from tests.e2e.test_costs import Meter, cost
from tests.http.phone import Phone, speech
from tests.support.gateway import Served, serving

KIB = 1024
USERS = 600
AUDIO = speech(2_000)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """
    A gateway with users enough that pages of the key tree are full.
    """
    await fill(tmp_path / "data", users_count=USERS)
    async with serving(tmp_path / "data", with_workers=False) as gateway:
        yield gateway


@pytest.fixture
async def phone(served: Served) -> Phone:
    phone = await Phone.of_new_user(served)
    # Once and for all: the first round after a start settles what an earlier one may have left.
    await phone.erase(await phone.record(AUDIO))
    await served.placed()
    return phone


async def test_a_delete(served: Served, phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = await phone.record(AUDIO)
    await served.placed()
    meter = Meter(served, monkeypatch)
    counts = await cost(meter, lambda: phone.erase(recording))
    assert counts.pop("statements") <= 30
    assert counts.pop("begins") <= 11
    assert counts.pop("hand-overs") <= 3
    # The tombstone, the tree without the key, the receipt; and the root put, and the old one overwritten.
    assert {"commits": 3, "syncs": 2} == counts


async def test_deletes_at_once_share_what_they_cost(
    served: Served, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    phones = [await Phone.of_new_user(served) for _ in range(3)]
    recordings = [(each, await each.record(AUDIO)) for each in phones for _ in range(8)]
    await served.placed()
    meter = Meter(served, monkeypatch)

    async def erase_all() -> None:
        answers = await asyncio.gather(*[each.erase(recording) for each, recording in recordings])
        assert {"shredded"} == {answer.document["state"] for answer in answers}

    counts = await cost(meter, erase_all)
    assert counts["commits"] <= 9
    assert counts["syncs"] <= 6
    # No more than three rounds: a few statements for each recording would be two hundred.
    assert counts["statements"] <= 96


async def test_blobs_that_are_deleted_at_once_share_what_that_costs(
    served: Served, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = [await phone.record(AUDIO) for _ in range(24)]
    await served.placed()
    await asyncio.gather(*[phone.erase(recording) for recording in recordings])
    meter = Meter(served, monkeypatch)

    async def finish_all() -> None:
        await asyncio.gather(*[served.placed() for _ in recordings])

    counts = await cost(meter, finish_all)
    answers = [(await phone.ask("GET", f"/v1/receipts/{each}")).document for each in recordings]
    assert {"purged"} == {answer["state"] for answer in answers}
    # Claim, blobs, pieces, receipts, tombstones, done: six for many, and not for each, which would be 144.
    assert counts["commits"] <= 40


async def test_bytes_that_a_delete_writes(served: Served, phone: Phone) -> None:
    """
    What is written does not grow with the recordings that were deleted before, as long as the tree stays whole.
    """
    recordings = [await phone.record(AUDIO) for _ in range(16)]
    await served.placed()
    written = []
    for half in (recordings[:8], recordings[8:]):
        for name in ("catalog.db", "keys.db"):
            sqlite3.connect(served.gateway.settings.data_dir / name).execute(
                "PRAGMA wal_checkpoint(TRUNCATE)"
            )
        for recording in half:
            await phone.erase(recording)
        logs = [served.gateway.settings.data_dir / f"{name}.db-wal" for name in ("catalog", "keys")]
        written.append(sum(log.stat().st_size for log in logs) / len(half) / KIB)
    assert max(written) <= 35, written


async def test_a_page_of_a_list_costs_the_same_wherever_it_is(
    served: Served, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(25):
        await phone.record(AUDIO, party_name=str(number))
    # Whose token it is and the epoch of the keys are remembered from here on, for nobody writes any more.
    await phone.page(limit="5")
    meter = Meter(served, monkeypatch)
    first = await cost(meter, lambda: phone.page(limit="5"))
    cursor = (await phone.page(limit="20")).document["next"]
    monkeypatch.undo()
    meter = Meter(served, monkeypatch)
    last = await cost(meter, lambda: phone.page(limit="5", cursor=cursor))
    # The page, and which of it is held.
    assert {"begins": 1, "statements": 2} == first
    assert first == last
