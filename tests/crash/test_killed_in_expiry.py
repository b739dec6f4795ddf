"""
The daemon dies while recordings expire: their keys and blobs go all the same, and nothing else does.

A year is made to pass by setting back when recordings were stored; the daemon sweeps as soon as it starts.
"""

import asyncio
import base64
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

import aiohttp
import pytest
from sqlalchemy import update

from gateway.catalog.markers import move_marker
from gateway.catalog.tables import recordings
from gateway.database import Database
from gateway.keyring import verify_receipt
from gateway.settings import Settings
from tests.conftest import DatabaseUrls
from tests.crash import aftermath
from tests.crash.test_killed_at_system_calls import SETTINGS
from tests.crash.tracing import Calls, started_to_die
from tests.support.forked_daemon import ForkedDaemon, forked_daemon
from tests.support.gateway import APPEND
from tests.support.waiting import until

KILLS: Final = {"sqlite": 10, "postgresql": 5}
CALLS: Final = (
    Calls("fdatasync", 12, ("catalog.db", "catalog.db-wal")),
    Calls("fdatasync", 6, ("keys.db", "keys.db-wal")),
    Calls("pwrite64", 40, ("keys.db", "keys.db-wal")),
    Calls("pwrite64", 2, ("root/slots",)),
    Calls("unlinkat", 7),
)
YEAR_MS: Final = 366 * 86400 * 1000


@dataclass(frozen=True)
class Kept:
    """
    What one user has: what is overdue, with a gap in it, and what is young.
    """

    auth: dict[str, str]
    overdue: list[str]
    young: dict[str, bytes]


async def fill(daemon: ForkedDaemon) -> list[Kept]:
    """
    Have two users store recordings, and let a year pass for most of them; the daemon is stopped then.
    """
    kept = []
    async with aiohttp.ClientSession(daemon.url) as http:
        for _ in range(2):
            _, auth = await daemon.new_user()
            ids: dict[str, bytes] = {}
            for _ in range(6):
                content = secrets.token_bytes(3000)
                headers = {**auth, **APPEND, "Upload-Length": str(len(content))}
                async with http.post("/v1/uploads", data=content, headers=headers) as response:
                    assert 201 == response.status
                    ids[response.headers["Location"].rpartition("/")[2]] = content
            # The third parts what is overdue into two ranges.
            young = [list(ids)[2], list(ids)[5]]
            kept.append(
                Kept(auth, [one for one in ids if one not in young], {one: ids[one] for one in young})
            )
    assert 0 == daemon.stop()
    # Nothing is left to do but what comes of it.
    assert [] == (await aftermath.settle(daemon.settings)).jobs
    await grow_old(daemon.settings, [one for user in kept for one in user.overdue])
    return kept


async def grow_old(settings: Settings, ids: list[str]) -> None:
    catalog = await Database.connect(settings.catalog_url, schema=settings.data.catalog_schema)
    async with catalog.write() as connection:
        await connection.execute(
            update(recordings)
            .where(recordings.c.id.in_(ids))
            .values(stored_at=recordings.c.stored_at - YEAR_MS)
        )
        # The sweep of when this was filled was long ago as well.
        await move_marker(connection, "retention-swept", 0)
    await catalog.close()


async def check(daemon: ForkedDaemon, kept: list[Kept]) -> None:
    """
    Wait until all that is overdue is gone, and make sure that it is, with receipts, and that the rest plays.
    """
    async with aiohttp.ClientSession(daemon.url) as http:
        async with http.get("/v1/receipt-keys") as response:
            keys = [key_of(text) for text in (await response.json())["keys"]]
        for user in kept:
            for recording in user.overdue:
                erasure = await purged(http, user, recording)
                verify_receipt(
                    erasure["receipt"],
                    keys,
                    subject_id=erasure["subject"],
                    salt=bytes.fromhex(erasure["salt"]),
                )
                async with http.get(f"/v1/recordings/{recording}/audio", headers=user.auth) as response:
                    assert 404 == response.status
            for recording, content in user.young.items():
                async with http.get(f"/v1/recordings/{recording}/audio", headers=user.auth) as response:
                    assert content == await response.read()
    assert 0 == daemon.stop()
    young = {recording for user in kept for recording in user.young}
    aftermath.check(await aftermath.settle(daemon.settings), live=young, unfinished=())


def key_of(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def purged(http: aiohttp.ClientSession, user: Kept, recording: str) -> dict[str, Any]:
    erasure: dict[str, Any] = {}

    async def is_purged() -> bool:
        nonlocal erasure
        async with http.get(f"/v1/receipts/{recording}", headers=user.auth) as response:
            erasure = await response.json()
            return response.status == 200 and erasure["state"] == "purged"

    await until(is_purged, within_s=60)
    return erasure


@asynccontextmanager
async def overdue_installation(folder: Path) -> AsyncIterator[tuple[Path, list[Kept]]]:
    template = ForkedDaemon(folder / "template", settings=SETTINGS)
    try:
        await template.start()
        yield template.data_dir, await fill(template)
    finally:
        template.kill()


async def sweep(template: Path, kept: list[Kept], data_dir: Path, calls: Calls, number: int) -> bool:
    """
    Let a daemon on a copy sweep and die at the call; check that the next one makes all good; return whether it died.
    """
    shutil.copytree(template, data_dir)
    daemon = ForkedDaemon(data_dir, settings=SETTINGS)
    try:
        async with started_to_die(daemon, calls, number) as died_at_once:
            status = died_at_once
            if status is None:
                ending = asyncio.create_task(daemon.ended())
                swept = asyncio.create_task(all_purged(daemon, kept))
                await asyncio.wait([ending, swept], return_when=asyncio.FIRST_COMPLETED)
                status = await ending if ending.done() else None
                for task in (ending, swept):
                    task.cancel()
                await asyncio.gather(ending, swept, return_exceptions=True)
        assert status in (None, -9), daemon.log_text
        if status is not None:
            await daemon.start()
        await check(daemon, kept)
    finally:
        daemon.kill()
    return status is not None


async def all_purged(daemon: ForkedDaemon, kept: list[Kept]) -> None:
    """
    Return when all that is overdue is gone; never, if the daemon dies before.
    """
    try:
        async with aiohttp.ClientSession(daemon.url) as http:
            for user in kept:
                for recording in user.overdue:
                    await purged(http, user, recording)
    except aiohttp.ClientError:
        await asyncio.Event().wait()


@pytest.mark.parametrize("calls", CALLS, ids=str)
async def test_death_at_some_call_of_an_expiry_leaves_nothing_half_done(tmp_path: Path, calls: Calls) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it where the test fails
    async with overdue_installation(tmp_path) as (template, kept):
        await sweep(template, kept, tmp_path / "data", calls, Random(seed).randrange(calls.about) + 1)


@pytest.mark.torture
@pytest.mark.parametrize("calls", CALLS, ids=str)
async def test_death_at_every_call_of_an_expiry_leaves_nothing_half_done(
    tmp_path: Path, calls: Calls
) -> None:
    async with overdue_installation(tmp_path) as (template, kept):
        for number in count(1):
            if not await sweep(template, kept, tmp_path / f"data-{number}", calls, number):
                print(f"{calls}: {number - 1} calls")  # noqa: T201 - what `about` says
                break
            shutil.rmtree(tmp_path / f"data-{number}")


async def test_an_expiry_that_is_killed_again_and_again_comes_to_its_end(
    tmp_path: Path, database_urls: DatabaseUrls, thoroughness: int
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it where the test fails
    random = Random(seed)
    urls = {
        "GATEWAY_DATA__CATALOG_URL": database_urls.catalog,
        "GATEWAY_DATA__KEYS_URL": database_urls.keys,
    }
    async with forked_daemon(tmp_path / "data", settings=urls) as daemon:
        kept = await fill(daemon)
        for _ in range(KILLS[database_urls.dialect] * thoroughness):
            daemon.spawn()
            await worked_for(daemon, random.uniform(0, 0.4))
            daemon.kill()
        await daemon.start()
        await check(daemon, kept)


async def worked_for(daemon: ForkedDaemon, seconds: float) -> None:
    try:
        async with asyncio.timeout(3):
            while daemon.is_running and daemon.cpu_seconds() < seconds:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
    except TimeoutError:
        pass  # It idles.
