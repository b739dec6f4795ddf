"""
What one page of a user's list costs, among few of his recordings and among a million.

Served in this process over HTTP, so a page's time has the client's part in it.
"""

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from bench.counters import Statements
from bench.filled import phone_of, serving_filled
from bench.filling import Filled
from bench.report import Report
from gateway.base.ids import UserId
from gateway.catalog.recordings import ListPosition
from gateway.services.recordings import _write_cursor
from tests.support.gateway import Served

COUNTS: Final = (1_000, 10_000, 100_000, 1_000_000)
_QUICK_COUNTS: Final = (1_000, 10_000)
_MOST_TIMES: Final = 1.5
"""The goal: a page among the most costs at most so many times what it costs among the fewest."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """
    One kind of page.

    Attributes:
        opened: how many recordings are looked into for it; a filter that few match looks into many.
    """

    name: str
    query: Mapping[str, str]
    opened: int = 50
    times: int = 100


async def measure_lists(counts: Sequence[int] = COUNTS, *, quick: bool = False) -> int:
    """
    Print what pages cost; 1 if one costs more where there are more recordings.
    """
    counts = _QUICK_COUNTS if quick else counts
    report = Report("lists")
    medians: dict[str, list[float]] = {}
    for count in counts:
        async with serving_filled(
            f"lists-{count}", users_count=1, recordings_of=partial(_all, count), opens=True
        ) as (
            served,
            filled,
        ):
            for name, median in await _pages(served, filled, count, report):
                medians.setdefault(name, []).append(median)
    for name, found in medians.items():
        report.add(f"{name}: the most ÷ the fewest", found[-1] / found[0], "times", most=_MOST_TIMES)
    return report.finish()


def _all(count: int, number: int) -> int:
    return count


async def _pages(served: Served, filled: Filled, count: int, report: Report) -> list[tuple[str, float]]:
    """
    Ask for each kind of page again and again; return their names and median seconds, where there were enough to fill it.
    """
    phone = await phone_of(served, UserId(filled.user_ids[0]))
    middle_ms = filled.stored_at(count // 2)
    deep = _write_cursor(ListPosition(middle_ms, "ffffffff-ffff-ffff-ffff-ffffffffffff"))
    middle = datetime.fromtimestamp(middle_ms / 1000, UTC).isoformat()
    party = {"party": "+4930123456"}
    kinds = (
        _Kind("first page", {}),
        _Kind("page in the middle", {"cursor": deep}),
        _Kind("page of what came before a time", {"stored_before": middle}),
        _Kind("page of a party that all are of", party, opened=200),
        _Kind("the same in the middle", {**party, "cursor": deep}, opened=200),
        _Kind(
            "page of a party that none is of",
            {"party": "nobody"},
            opened=served.gateway.settings.recordings.scan_limit,
            times=10,
        ),
    )
    found = []
    with Statements(served.gateway.context.catalog) as statements:
        for kind in kinds:
            await phone.page(**kind.query)
            statements.count = 0
            seconds = []
            for _ in range(kind.times):
                began = time.perf_counter()
                answer = await phone.page(**kind.query)
                seconds.append(time.perf_counter() - began)
                assert answer.status == 200, answer.body
            name = f"{count:,} recordings: {kind.name}"
            median = report.add_latencies(name, seconds)
            report.add(f"{name}, statements", statements.count / kind.times, "of the catalog")
            if count >= 2 * kind.opened:
                found.append((kind.name, median))
    return found


def main() -> None:
    """
    Measure with other numbers of recordings: ``python -m bench.lists --count 1000``.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, action="append")
    asked = parser.parse_args()
    asyncio.run(measure_lists(asked.count or COUNTS))


if __name__ == "__main__":
    main()
