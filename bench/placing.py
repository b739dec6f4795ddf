"""
Peak memory of the daemon while many long recordings are placed at a cloud at once.

The clouds are the tests' own, in this process; the daemon is a process of its own, as it is served in earnest.
"""

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.memory import measure_peak, resident_mib, upload_all
from tests.clouds.test_killed import environment_for, phone_at
from tests.clouds.world import JSON, link_new_account
from tests.emulators.dropbox import DropboxEmulator
from tests.emulators.gdrive import DriveEmulator
from tests.emulators.onedrive import GraphEmulator
from tests.emulators.s3_front import S3Front
from tests.http.phone import Phone
from tests.support.gateway import running_daemon
from tests.support.seaweedfs import running_seaweedfs

COUNT = 20
SIZE = 200_000_000
LIMIT_MIB = 400
PATIENCE_S = 600


async def measure_placing(*, quick: bool = False) -> int:
    """
    Print what placing adds to the daemon's memory, for each cloud; 1 if one passes the limit.
    """
    with running_seaweedfs() as store:
        makers = (DriveEmulator, GraphEmulator, DropboxEmulator, lambda: S3Front(store))
        size = 20_000_000 if quick else SIZE
        results = [await _measured(make, size) for make in makers]
    return 0 if all(results) else 1


async def _measured(make: Callable[[], Any], size: int) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    try:
        with make() as cloud:
            environment = environment_for(cloud) | {
                "GATEWAY_HARDENING__SCRUB_FREED_MEMORY": "true",
                "GATEWAY_LOG__LEVEL": "warning",
                "GATEWAY_JOBS__COPY_WORKERS": str(COUNT),
            }
            async with (
                running_daemon(folder / "data", environment=environment) as daemon,
                phone_at(daemon.url, *daemon.new_user()) as phone,
            ):
                account = await link_new_account(phone, cloud)
                route = json.dumps({"home": True, "copies": [account.link_id]}).encode()
                await phone.ask("PUT", "/v1/route", JSON, route)
                await upload_all(daemon, phone.auth, count=4, size=20_000_000)
                await _all_placed(phone, account, 4)
                idle = resident_mib(daemon.pid)
                began = time.perf_counter()

                async def work() -> None:
                    await upload_all(daemon, phone.auth, count=COUNT, size=size)
                    await _all_placed(phone, account, 4 + COUNT)

                grown = await measure_peak(daemon, work)
                seconds = time.perf_counter() - began
        print(
            f"{cloud.kind}: {COUNT} recordings of {size // 1_000_000} MB uploaded and placed in {seconds:.0f} s: "
            f"peak {grown:+.1f} MiB above idle ({idle:.0f} MiB; limit {LIMIT_MIB} MiB)",
            flush=True,
        )
        return grown < LIMIT_MIB
    finally:
        shutil.rmtree(folder)


async def _all_placed(phone: Phone, account: Any, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            recordings = await phone.listed()
            copies = [(await phone.ask("GET", f"/v1/recordings/{id_}/copies")).document for id_ in recordings]
            placed = [
                copy
                for document in copies
                for copy in document["copies"]
                if (copy["place"], copy["state"]) == (account.link_id, "placed")
            ]
            if len(placed) == count:
                return
            await asyncio.sleep(0.5)
