"""
What is asked for again and again costs no more where there is more of it.

A query that takes more than a millisecond's worth of SQLite's instructions is handed to a thread: here none is.
"""

from pathlib import Path

import pytest

from bench.filling import Filled, fill
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
