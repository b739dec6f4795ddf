"""
What is asked for again and again costs no more where there is more of it.

A query that takes more than a millisecond's worth of SQLite's instructions is handed to a thread: here none is.
"""

from pathlib import Path

import pytest

from bench.filling import Filled, fill
from gateway.catalog.jobs import enqueue_jobs
from gateway.settings import Jobs
from gateway.workers.jobs import JobDesk
from tests.e2e.test_costs import Meter, cost
from tests.support.gateway import serving

COUNT = 20_000


async def test_looking_for_copies_to_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(tmp_path / "data", users_count=1, recordings_of=lambda _: COUNT)
    async with serving(tmp_path / "data", with_workers=False) as served:
        checks = served.gateway.checks
        for checked_before, count in ((Filled.stored_at(0), 0), (Filled.stored_at(COUNT), 60)):
            found: list[object] = []
            meter = Meter(served, monkeypatch)

            async def look(before: int = checked_before, into: list[object] = found) -> None:
                into += await checks.due(checked_before=before, limit=60)

            assert {"begins": 1, "statements": 2} == await cost(meter, look)
            assert count == len(found)
            monkeypatch.undo()


@pytest.mark.parametrize("backlog", ["place", "copy"], ids=["of its own kind", "of another kind"])
async def test_claiming_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backlog: str) -> None:
    async with serving(tmp_path / "data", with_workers=False) as served:
        catalog = served.gateway.context.catalog
        desk = JobDesk(catalog, ["discard", "erase", "place"], Jobs(), node="node")
        async with catalog.write() as connection:
            await enqueue_jobs(connection, backlog, [str(number) for number in range(COUNT)])
            await enqueue_jobs(connection, "place", ["one of its own"])
        meter = Meter(served, monkeypatch)

        async def claim() -> None:
            assert await desk.claim() is not None

        # Of which kinds jobs are due, the longest due one, and the claim; what is handed to a thread is the commit.
        expected = {"begins": 2, "statements": 3, "commits": 1, "hand-overs": 1}
        assert expected == await cost(meter, claim)


@pytest.mark.parametrize("count", [10, 500])
async def test_ending_overdue_uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    await fill(tmp_path / "data", users_count=2, overdue_of=lambda _: count)
    async with serving(tmp_path / "data", with_workers=False) as served:
        meter = Meter(served, monkeypatch)
        ended: list[int] = []

        async def end() -> None:
            ended.append(await served.gateway.expiry.expire_overdue(limit=2000))

        counts = await cost(meter, end)
        assert [2 * count] == ended
        # One range of each user's leaves: the tombstones, the tree without the keys, the receipts.
        assert (3, 2) == (counts["commits"], counts["syncs"])
        assert counts["statements"] <= 31
