"""
How long the event loop pauses while a cloud answers nothing, with asyncio's debug mode on.
"""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import structlog

from tests.clouds.test_stalls import longest_lag
from tests.emulators.cloud import Cloud
from tests.emulators.dropbox import DropboxEmulator
from tests.emulators.gdrive import DriveEmulator
from tests.emulators.onedrive import GraphEmulator
from tests.emulators.s3_front import S3Front
from tests.support.seaweedfs import running_seaweedfs

LIMIT_MS = 50
ROUNDS = 3


async def measure_stalls(*, quick: bool = False) -> int:
    """
    Print the longest pause for each cloud; 1 if one passes the limit.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    worst_ms = []
    with running_seaweedfs() as store:
        makers: tuple[Callable[[], Cloud], ...] = (
            DriveEmulator,
            GraphEmulator,
            DropboxEmulator,
            lambda: S3Front(store),
        )
        for make in makers:
            lags_ms = []
            for _ in range(1 if quick else ROUNDS):
                cloud = make()
                with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
                    lags_ms.append(await longest_lag(Path(folder), cloud) * 1000)
            worst_ms.append(max(lags_ms))
            told = ", ".join(f"{lag_ms:.0f}" for lag_ms in lags_ms)
            print(
                f"{cloud.kind}: longest pauses of the event loop {told} ms (limit {LIMIT_MS} ms)", flush=True
            )
    return 0 if max(worst_ms) < LIMIT_MS else 1
