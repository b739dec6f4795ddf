"""
The disk is full while an export is asked for and while it is prepared: refused clearly, or prepared later, and no room
is taken for nothing.
"""

import io
import zipfile
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, Final

import aiohttp
from sqlalchemy import func, select

from gateway.catalog import export_tables, tables
from gateway.console import open_console
from tests.crash.conftest import Installation
from tests.crash.tracing import sabotaging
from tests.http.phone import metadata_of, speech
from tests.support.forked_daemon import ForkedDaemon, forked_daemon
from tests.support.gateway import APPEND
from tests.support.waiting import until

SETTINGS: Final = {
    "GATEWAY_DATA__POOL_SIZE": "1",
    "GATEWAY_JOBS__BACKOFF_BASE_MS": "100",
    "GATEWAY_JOBS__BACKOFF_MAX_MS": "100",
    # What fell with its job in hand is taken up again soon.
    "GATEWAY_JOBS__LEASE_S": "3",
    "GATEWAY_JOBS__POLL_INTERVAL_S": "1",
    "GATEWAY_EXPORTS__PER_DAY": "1000",
}
RECORDINGS: Final = 6
STEP: Final = 20
"""Writes that the disk takes more of each time round, before it is full."""
_FULL: Final = "disk is full"
CATALOG: Final = ("catalog.db", "catalog.db-wal")


async def filled(http: aiohttp.ClientSession) -> list[bytes]:
    """
    Store recordings; return their sounds.
    """
    sounds = [speech(20_000, seed=number) for number in range(RECORDINGS)]
    for sound in sounds:
        headers = {**APPEND, "Upload-Length": str(len(sound)), "Upload-Metadata": metadata_of(note="n")}
        async with http.post("/v1/uploads", data=sound, headers=headers) as response:
            assert 201 == response.status
    return sounds


async def told(http: aiohttp.ClientSession, export: str) -> dict[str, Any]:
    async with http.get(f"/v1/exports/{export}") as response:
        assert 200 == response.status
        found: dict[str, Any] = await response.json()
        return found


async def sounds_of(http: aiohttp.ClientSession, export: Mapping[str, Any]) -> list[bytes]:
    async with http.get(export["archive"]) as response:
        assert 200 == response.status
        archive = zipfile.ZipFile(io.BytesIO(await response.read()))
    assert archive.testzip() is None
    return [archive.read(name) for name in archive.namelist() if name.startswith("recordings/")]


async def kept_for_exports(daemon: ForkedDaemon) -> int:
    """
    Return how many rows there are of exports, of what is in them, and of work on them.
    """
    async with open_console(daemon.settings) as console, console.catalog.read() as connection:
        rows = 0
        for table in (export_tables.export_entries, export_tables.export_parts):
            rows += (await connection.execute(select(func.count()).select_from(table))).scalar_one()
        live = select(func.count()).where(export_tables.exports.c.state != "ended")
        rows += (await connection.execute(live)).scalar_one()
        jobs = select(func.count()).where(tables.jobs.c.kind.in_(("export", "end-export")))
        rows += (await connection.execute(jobs)).scalar_one()
    return rows


def files_in(daemon: ForkedDaemon) -> set[Path]:
    return {path for path in daemon.data_dir.rglob("*") if path.is_file()}


async def test_a_full_disk_refuses_an_export_clearly_or_puts_it_off(
    installation: Installation, tmp_path: Path
) -> None:
    """
    It takes a few writes more each time: until asking fits, and preparing does not.
    """
    account = installation.copy_to(tmp_path / "data")
    async with (
        forked_daemon(tmp_path / "data", settings=SETTINGS) as daemon,
        aiohttp.ClientSession(daemon.url, headers=dict(account.auth)) as http,
    ):
        sounds = await filled(http)
        await until(lambda: [] == list((daemon.data_dir / "spool").iterdir()))
        files = files_in(daemon)
        refused = put_off = 0
        for taken in count(0, STEP):
            export, is_put_off = await asked_on_a_full_disk(daemon, http, taken)
            if export is None:
                refused += 1
                assert 0 == await kept_for_exports(daemon)
                async with http.get("/v1/exports") as response:
                    assert [] == (await response.json())["exports"]
                continue
            put_off += is_put_off
            document = await prepared(http, export)
            assert (RECORDINGS, 0) == (document["checked"], document["missing_count"])
            assert sorted(sounds) == sorted(await sounds_of(http, document))
            await ended(daemon, http, export)
            assert files == files_in(daemon)
            if not is_put_off:
                break
        assert refused >= 1
        assert put_off >= 2


async def prepared(http: aiohttp.ClientSession, export: str) -> dict[str, Any]:
    async def is_ready() -> bool:
        return (await told(http, export))["state"] == "ready"

    await until(is_ready)
    return await told(http, export)


async def asked_on_a_full_disk(
    daemon: ForkedDaemon, http: aiohttp.ClientSession, taken: int
) -> tuple[str | None, bool]:
    """
    Ask for an export while the catalog can be written to *taken* times more; return it, and whether preparing it has to wait.
    """
    log = len(daemon.log_text)
    paths = [daemon.data_dir / name for name in CATALOG]
    async with sabotaging(daemon.pid, f"pwrite64:error=ENOSPC:when={taken + 1}+", paths=paths):
        async with http.post("/v1/exports", json={"include": ["audio"]}) as response:
            answer = await response.json()
            if response.status != 202:
                assert 503 == response.status, answer
                assert _FULL in answer["detail"]
                assert answer["retry"]
                assert response.headers["Retry-After"]
                return None, False
        export: str = answer["id"]

        async def is_put_off_or_ready() -> bool:
            # What is told can be read however full the disk is.
            state = (await told(http, export))["state"]
            assert state in ("preparing", "ready")
            return state == "ready" or _FULL in daemon.log_text[log:]

        await until(is_put_off_or_ready)
        return export, (await told(http, export))["state"] == "preparing"


async def ended(daemon: ForkedDaemon, http: aiohttp.ClientSession, export: str) -> None:
    """
    End it, and make sure that nothing of it stays.
    """
    async with http.delete(f"/v1/exports/{export}") as response:
        assert response.status in (200, 202)

    async def is_nothing_kept() -> bool:
        return 0 == await kept_for_exports(daemon)

    await until(is_nothing_kept)
