"""
How fast what is overdue goes: unfinished uploads that nobody came back for.

Their rows and keys are filled in, without bytes in the spool: what is measured is ending them, and shredding their keys.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from typing import Final

from bench.filled import serving_filled
from bench.report import Report
from gateway.workers.sweeper import UploadSweeper

COUNTS: Final = (100_000, 1_000_000)
_QUICK_COUNTS: Final = (2_000,)
_OF_ONE: Final = 100
"""Overdue uploads of each user."""
_LEAST_PER_S: Final = 20_000


async def measure_expiring(counts: Sequence[int] = COUNTS, *, quick: bool = False) -> int:
    """
    Print how fast overdue uploads end; 1 if that is slower than the goal.
    """
    report = Report("expiring")
    for count in _QUICK_COUNTS if quick else counts:
        async with serving_filled(
            f"expiring-{count}",
            users_count=count // _OF_ONE,
            recordings_of=lambda _: 0,
            overdue_of=lambda _: _OF_ONE,
        ) as (served, _):
            gateway = served.gateway
            name = f"{count:,} overdue uploads of {count // _OF_ONE:,} users"
            began = time.perf_counter()
            await UploadSweeper(gateway.expiry, interval_s=60).sweep()
            seconds = time.perf_counter() - began
            receipts = len(await gateway.context.keyring.shredded_since(0, count))
            assert receipts == count // _OF_ONE
            report.add(f"{name}, until their keys are shredded", count / seconds, "per s", least=_LEAST_PER_S)
            await asyncio.gather(*[gateway.do_due_jobs() for _ in range(gateway.settings.jobs.workers)])
            seconds = time.perf_counter() - began
            report.add(f"{name}, until nothing is left in the spool", count / seconds, "per s")
    return report.finish()


def main() -> None:
    """
    Measure with other numbers of uploads: ``python -m bench.expiring --count 1000``.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, action="append")
    asked = parser.parse_args()
    asyncio.run(measure_expiring(asked.count or COUNTS))


if __name__ == "__main__":
    main()
