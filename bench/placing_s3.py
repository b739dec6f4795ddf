"""
How fast recordings come from the spool into a bucket, and what processor time that takes; large ones and small ones.

The spool is filled while nobody places. Then the daemon starts with that, and is watched from the outside.
The store is the tests' SeaweedFS, on the same machine: what it takes itself is printed beside it.
"""

import asyncio
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from bench.counters import Counters
from bench.report import Report
from tests.http.phone import Phone, speech
from tests.support.environment import inline_table
from tests.support.gateway import running_daemon, serving
from tests.support.seaweedfs import ACCESS_KEY_ID, SECRET_ACCESS_KEY, running_seaweedfs

_MIB: Final = 1024 * 1024
_PATIENCE_S: Final = 300
_AT_ONCE: Final = 8
_LOOK_EVERY_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class _Kind:
    """
    So many recordings of one size.
    """

    name: str
    count: int
    size: int


_KINDS: Final = (_Kind("large, 128 MiB", 8, 128 * _MIB), _Kind("small, 100 KB", 3_000, 100_000))
_QUICK_KINDS: Final = (_Kind("large, 32 MiB", 2, 32 * _MIB), _Kind("small, 100 KB", 100, 100_000))


async def measure_placing_s3(*, quick: bool = False) -> int:
    """
    Print how fast the spool empties into a bucket.
    """
    report = Report("placing-s3")
    for kind in _QUICK_KINDS if quick else _KINDS:
        # A store of its own for each: what one has in memory would be the next one's start.
        with running_seaweedfs() as store:
            folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
            try:
                settings = {
                    "endpoint": store.endpoint,
                    "bucket": store.create_bucket(),
                    "access_key_id": ACCESS_KEY_ID,
                    "secret_access_key": SECRET_ACCESS_KEY,
                }
                await _fill_spool(folder / "data", settings, kind)
                await _empty_spool(folder / "data", settings, kind, report)
            finally:
                shutil.rmtree(folder)
    return report.finish()


async def _fill_spool(data_dir: Path, settings: dict[str, Any], kind: _Kind) -> None:
    """
    Upload what is to be placed, with nobody there who places it.
    """
    content = speech(kind.size)
    turns = asyncio.Semaphore(_AT_ONCE if kind.size < _MIB else 1)
    async with serving(data_dir, with_workers=False, home={"kind": "s3", "settings": settings}) as served:
        phone = await Phone.of_new_user(served)

        async def upload() -> None:
            async with turns:
                answer = await phone.create(kind.size, data=content)
                assert answer.status == 201, answer.body

        await asyncio.gather(*[upload() for _ in range(kind.count)])


async def _empty_spool(data_dir: Path, settings: dict[str, Any], kind: _Kind, report: Report) -> None:
    """
    Start the daemon as it is served in earnest, and watch it until everything is placed.
    """
    [server] = [process for process in psutil.Process().children() if "weed" in process.name()]
    environment = {
        "GATEWAY_HARDENING__SCRUB_FREED_MEMORY": "true",
        "GATEWAY_LOG__LEVEL": "warning",
        "GATEWAY_HOME__KIND": "s3",
        "GATEWAY_HOME__SETTINGS": inline_table(settings),
    }
    with closing(sqlite3.connect(data_dir / "catalog.db")) as catalog:

        def placed() -> int:
            query = "SELECT count(*) FROM placements WHERE state = 'placed'"
            return int(catalog.execute(query).fetchone()[0])

        async with running_daemon(data_dir, environment=environment) as daemon:
            began, already, before = time.perf_counter(), placed(), Counters.of(daemon.pid)
            stores = server.cpu_times()
            async with asyncio.timeout(_PATIENCE_S):
                while placed() < kind.count:  # noqa: ASYNC110 - a stranger to it does not hear of it
                    await asyncio.sleep(_LOOK_EVERY_S)
            seconds = time.perf_counter() - began
            used = Counters.of(daemon.pid) - before
            stores_now = server.cpu_times()
    count = kind.count - already
    mib = count * kind.size / _MIB
    report.add(f"{kind.name}: placed", mib / seconds, "MiB/s")
    report.add(f"{kind.name}: placed", count / seconds, "recordings/s")
    report.add(f"{kind.name}: CPU of the gateway", used.cpu_seconds / (mib / 1024), "s/GiB")
    report.add(f"{kind.name}: CPU of the gateway", 1000 * used.cpu_seconds / count, "ms each")
    stores_s = stores_now.user + stores_now.system - stores.user - stores.system
    report.add(f"{kind.name}: CPU of the store", stores_s / (mib / 1024), "s/GiB")
    report.add(f"{kind.name}: processors busy with both", (used.cpu_seconds + stores_s) / seconds, "")
