"""
How long ``gateway serve`` takes from its start to its first healthy answer, with few recordings in its catalog and with many.
"""

import argparse
import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aiohttp

from bench.filled import filled_folder
from bench.filling import Filled
from bench.report import Report
from tests.support.gateway import Daemon
from tests.support.s3_store import free_ports
from tests.support.waiting import until

COUNTS: Final = (1_000, 100_000, 1_000_000)
_QUICK_COUNTS: Final = (1_000, 10_000)
_STARTS: Final = 7
_OF_ONE: Final = 100
"""Recordings of each user."""
_MOST_TIMES: Final = 1.25
"""The goal: with the most recordings a start takes at most so many times as long as with the fewest."""


async def measure_starting(counts: Sequence[int] = COUNTS, *, quick: bool = False) -> int:
    """
    Print how long starts take; 1 if that grows with the recordings.
    """
    counts = _QUICK_COUNTS if quick else counts
    report = Report("starting")
    medians = []
    for count in counts:
        async with filled_folder(
            f"recordings-{count}-{_OF_ONE}",
            users_count=count // _OF_ONE,
            recordings_of=lambda number: _OF_ONE,
        ) as filled:
            name = f"{count:,} recordings of {count // _OF_ONE:,} users"
            # The first one finds the databases as the filling left them.
            await _started(filled)
            warm = [await _started(filled) for _ in range(_STARTS)]
            cold = [await _started(filled, is_cold=True) for _ in range(_STARTS)]
            medians.append(report.add_latencies(f"{name}: a start", warm))
            report.add_latencies(f"{name}: the same, databases not in memory", cold)
    report.add("a start: the most ÷ the fewest", medians[-1] / medians[0], "times", most=_MOST_TIMES)
    return report.finish()


async def _started(filled: Filled, *, is_cold: bool = False) -> float:
    """
    Start the daemon as it is served in earnest; return the seconds until it says that it is ready.
    """
    data_dir = filled.settings.data_dir
    if is_cold:
        for name in ("catalog.db", "keys.db"):
            _drop_from_memory(data_dir / name)
    [port] = free_ports(1)
    daemon = Daemon(
        data_dir,
        environment={
            "GATEWAY_HARDENING__SCRUB_FREED_MEMORY": "true",
            "GATEWAY_LOG__LEVEL": "warning",
            # What was filled in is old; nothing of it is overdue.
            "GATEWAY_RETENTION__RECORDINGS_DAYS": "36500",
        },
    )
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:

        async def is_ready() -> bool:
            try:
                async with http.get("/readyz") as answer:
                    return answer.status == 200
            except aiohttp.ClientConnectorError:
                return False

        began = time.perf_counter()
        starting = asyncio.create_task(daemon.start(port=port))
        try:
            await until(is_ready, within_s=60)
            seconds = time.perf_counter() - began
            await starting
        finally:
            starting.cancel()
            daemon.stop()
    return seconds


def _drop_from_memory(path: Path) -> None:
    """
    Let the kernel forget what it keeps of a file in memory.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def main() -> None:
    """
    Measure with other numbers of recordings: ``python -m bench.starting --count 1000``.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, action="append")
    asked = parser.parse_args()
    asyncio.run(measure_starting(asked.count or COUNTS))


if __name__ == "__main__":
    main()
