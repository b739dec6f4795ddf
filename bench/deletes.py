"""
What deleting costs, with up to a million users: one recording at a time, and many at once.

The users are filled in; recordings that are deleted singly were uploaded by some of them, as by a phone.
"""

import argparse
import asyncio
import os
import random
import sqlite3
import time
import uuid
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Final

from bench.counters import Counters
from bench.filled import phone_of, serving_filled
from bench.filling import Filled
from bench.report import Report
from gateway.base.ids import RecordingId, UserId
from tests.http.phone import Phone, speech
from tests.support.gateway import Served

KIB: Final = 1024
MOST_MS: Final = 25
MOST_KIB: Final = 64
LEAST_PER_S: Final = 20_000
USERS: Final = (1_000, 100_000, 1_000_000)
_QUICK_USERS: Final = (1_000,)
_GOAL_USERS: Final = 1_000_000
"""The goals for one delete are meant with so many users; filling them in takes some minutes."""
_OF_ONE: Final = 100_000
"""Recordings of the first user, whose account is erased."""
_SINGLE: Final = 60
_BLOCK: Final = 10
_TOGETHER: Final = 1_024
_AUDIO: Final = speech(20_000)


async def measure_deletes(counts: Sequence[int] = USERS, *, quick: bool = False) -> int:
    """
    Print what deletes cost; 1 if a goal is missed.
    """
    counts = _QUICK_USERS if quick else counts
    report = Report("deletes")
    for count in counts:
        async with serving_filled(
            f"deletes-{count}",
            users_count=count,
            recordings_of=lambda number: 1 if number else _OF_ONE,
        ) as (served, filled):
            bench = _Deletes(served, filled, report, f"{count:,} users")
            await bench.one_at_a_time()
            await bench.many_at_once()
            await bench.an_account()
    return report.finish()


class _Deletes:
    def __init__(self, served: Served, filled: Filled, report: Report, name: str) -> None:
        self._served = served
        self._filled = filled
        self._report = report
        self._name = name
        self._random = random.Random(1)

    async def one_at_a_time(self) -> None:
        """
        Delete as phones do, one after the other; then remove the blobs, as the jobs do.
        """
        recordings = await self._uploaded(_SINGLE)
        # Once and for all: the round after a start settles what an earlier one may have left.
        await self._erase(recordings.pop())
        await self._served.placed()
        seconds, wal, whole_wal = [], 0, 0
        used = Counters(0, 0, 0)
        while recordings:
            block = [recordings.pop() for _ in range(min(_BLOCK, len(recordings)))]
            self._empty_logs()
            before = Counters.of(os.getpid())
            seconds += [await _timed(self._erase(recording)) for recording in block]
            used += Counters.of(os.getpid()) - before
            wal += self._log_bytes()
            await self._served.placed()
            whole_wal += self._log_bytes()
        count, name = len(seconds), self._name
        is_most = len(self._filled.user_ids) >= _GOAL_USERS
        self._report.add_latencies(
            f"{name}: a delete, answered", seconds, most_p50_ms=MOST_MS if is_most else None
        )
        self._report.add(
            f"{name}: CPU of a delete, the client's included", 1000 * used.cpu_seconds / count, "ms"
        )
        self._report.add(
            f"{name}: written to the databases' logs",
            wal / count / KIB,
            "KiB",
            most=MOST_KIB if is_most else None,
        )
        self._report.add(f"{name}: the same with the blob's removal", whole_wal / count / KIB, "KiB")
        self._report.add(f"{name}: handed to the kernel", used.written / count / KIB, "KiB")
        self._report.add(f"{name}: pages of files made dirty", used.to_disk / count / KIB, "KiB")

    async def many_at_once(self) -> None:
        """
        Delete many singly at the same time: they share rounds and transactions.
        """
        recordings = await self._uploaded(_TOGETHER)
        erasure = self._served.gateway.context.erasure
        self._empty_logs()
        seconds = await _timed(
            asyncio.gather(
                *[erasure.erase_recording(user, recording, wait_s=600) for user, recording, _ in recordings]
            )
        )
        name = f"{self._name}: {_TOGETHER:,} single deletes at once"
        self._report.add(f"{name}, until shredded", _TOGETHER / seconds, "recordings/s")
        self._report.add(f"{name}, in the logs", self._log_bytes() / _TOGETHER / KIB, "KiB each")
        gateway = self._served.gateway
        workers = range(gateway.settings.jobs.workers)
        seconds += await _timed(asyncio.gather(*[gateway.do_due_jobs() for _ in workers]))
        self._report.add(f"{name}, until the blobs are gone", _TOGETHER / seconds, "recordings/s")

    async def an_account(self) -> None:
        """
        Delete everything of one user, in one request.
        """
        erasure = self._served.gateway.context.erasure
        user_id = UserId(self._filled.user_ids[0])
        self._empty_logs()

        async def erase() -> None:
            salt = await erasure.bury_account(user_id)
            await erasure.shred_account(user_id, salt=salt)

        seconds = await _timed(erase())
        name = f"{self._name}: {_OF_ONE:,} recordings of one account"
        self._report.add(f"{name}, until shredded", _OF_ONE / seconds, "recordings/s", least=LEAST_PER_S)
        self._report.add(f"{name}, in the logs", self._log_bytes() / _OF_ONE / KIB, "KiB each")

    async def _uploaded(self, count: int) -> list[tuple[UserId, RecordingId, Phone]]:
        """
        Upload recordings of as many users, and bring them home.
        """
        ids = self._filled.user_ids[1:]
        some = self._random.choices(ids, k=count)
        found = []
        for number, user_id in enumerate(map(UserId, some)):
            phone = await phone_of(self._served, user_id)
            recording = await phone.record(_AUDIO, party_name=f"Party {number}")
            found.append((user_id, RecordingId(uuid.UUID(recording)), phone))
        await self._served.placed()
        return found

    async def _erase(self, recording: tuple[UserId, RecordingId, Phone]) -> None:
        answer = await recording[2].erase(str(recording[1]))
        assert answer.document["state"] == "shredded", answer.body

    def _empty_logs(self) -> None:
        for path in self._databases():
            connection = sqlite3.connect(path)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()

    def _log_bytes(self) -> int:
        return sum(Path(f"{path}-wal").stat().st_size for path in self._databases())

    def _databases(self) -> list[Path]:
        return [self._filled.settings.data_dir / name for name in ("catalog.db", "keys.db")]


async def _timed(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


def main() -> None:
    """
    Measure with other numbers of users: ``python -m bench.deletes --users 1000``.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, action="append")
    asked = parser.parse_args()
    asyncio.run(measure_deletes(asked.users or USERS))


if __name__ == "__main__":
    main()
