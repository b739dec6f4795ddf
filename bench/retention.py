"""
How fast recordings expire whose time is over.

Their rows and keys are filled in, without blobs: what is measured is the sweep, which makes tombstones of them and shreds
their keys by ranges. The blobs go afterwards, in jobs, as with deletes.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from typing import Final

from bench.filled import serving_filled
from bench.report import Report
from gateway.services.roles import CONSOLE, Actor

COUNTS: Final = (100_000, 1_000_000)
_QUICK_COUNTS: Final = (2_000,)
_OF_ONE: Final = 100
"""Overdue recordings of each user."""
_LEAST_PER_S: Final = 20_000
_GOAL_COUNT: Final = 1_000_000


async def measure_retention(
    counts: Sequence[int] = COUNTS, *, of_one: int = _OF_ONE, quick: bool = False
) -> int:
    """
    Print how fast overdue recordings expire; 1 if that is slower than the goal.
    """
    report = Report("retention")
    for count in _QUICK_COUNTS if quick else counts:
        async with serving_filled(
            f"recordings-{count}-{of_one}", users_count=count // of_one, recordings_of=lambda _: of_one
        ) as (served, _):
            retention = served.gateway.retention
            # What was kept before there was a first sweep waits for an operator: say that it is meant.
            await retention.tick()
            stop = (await retention.state()).stop
            assert stop is not None
            assert stop.due == count
            await retention.approve(
                by=Actor("console:bench", CONSOLE), due=stop.due, stored_before=stop.stored_before
            )
            began = time.perf_counter()
            assert await retention.sweep() == count
            report.add(
                f"{count:,} overdue recordings of {count // of_one:,} users, until their keys are shredded",
                count / (time.perf_counter() - began),
                "per s",
                least=_LEAST_PER_S if count == _GOAL_COUNT else None,
            )
    return report.finish()


def main() -> None:
    """
    Measure with other numbers: ``python -m bench.retention --count 1000 --of-one 1``.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, action="append")
    parser.add_argument("--of-one", type=int, default=_OF_ONE)
    asked = parser.parse_args()
    asyncio.run(measure_retention(asked.count or COUNTS, of_one=asked.of_one))


if __name__ == "__main__":
    main()
