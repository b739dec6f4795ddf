"""
What the daemon's memory holds of keys, read from outside as somebody would who has taken the machine over.

The daemon is started as from a shell: its allocator is chosen at exec.
"""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import pytest
from sqlalchemy import select

from gateway.base.ids import KeySlot
from gateway.catalog import tables
from gateway.console import Console, open_console
from gateway.crypto.keys import subkey
from gateway.settings import Settings, passed_environment
from tests.support.gateway import Daemon, running_daemon
from tests.support.waiting import until

RECORDINGS: Final = 12
SIZE: Final = 40_000
_NODE: Final = 37
"""Bytes of a node in the state of a user's keys; the last 32 are its seed."""


@asynccontextmanager
async def console(data_dir: Path) -> AsyncIterator[Console]:
    settings = Settings.load(overrides={"data": {"dir": str(data_dir)}}, environment={})
    async with open_console(settings) as opened:
        yield opened


async def signed_in(data_dir: Path) -> dict[str, str]:
    async with console(data_dir) as opened:
        user_id = await opened.accounts.add_user(name="Ada")
        token = await opened.accounts.new_token(user_id, lifetime_s=3600)
    return {"Authorization": f"Bearer {token.reveal().decode()}", "Tus-Resumable": "1.0.0"}


async def keys_of(data_dir: Path) -> dict[str, bytes]:
    """
    Return every key that belongs to an upload or a recording, derived beside the daemon, by what it is.
    """
    keys = {}
    async with console(data_dir) as opened:
        async with opened.catalog.read() as connection:
            rows = list(await connection.execute(select(tables.uploads)))
        for row in rows:
            leaf = await opened.keyring.leaf(row.key_slot, row.leaf_index)
            keys[f"{row.id} leaf"] = leaf.reveal()
            keys[f"{row.id} audio"] = subkey(leaf, "audio").reveal()
            keys[f"{row.id} details"] = subkey(leaf, "details").reveal()
    return keys


async def ancestors(data_dir: Path) -> dict[str, bytes]:
    """
    Return the keys that lead to those of recordings: the root, and the seeds of every user's state.
    """
    above = {}
    async with console(data_dir) as opened:
        async with opened.catalog.read() as connection:
            slots = list((await connection.execute(select(tables.users.c.key_slot))).scalars())
        for slot in slots:
            nodes = (await opened.keyring._tree.state(KeySlot(slot))).to_bytes()
            for start in range(0, len(nodes), _NODE):
                above[f"slot {slot} seed {start // _NODE}"] = nodes[start : start + _NODE][-32:]
        roots = opened.keyring._roots
        for epoch in await roots.epochs():
            above[f"root of epoch {epoch}"] = (await roots.read(epoch)).reveal()
    return above


def found_in_memory(pid: int, keys: Mapping[str, bytes]) -> set[str]:
    """
    Return which of *keys* lie anywhere in the writable memory of a process.
    """
    found = set()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            region = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if region is None:
                continue
            start, end = int(region[1], 16), int(region[2], 16)
            memory.seek(start)
            try:
                content = memory.read(end - start)
            except OSError:
                continue  # The kernel's own, or unmapped since.
            found |= {name for name, key in keys.items() if key in content}
    return found


async def uploaded(http: aiohttp.ClientSession, auth: Mapping[str, str], content: bytes) -> str:
    """
    Upload a recording, hear it and edit it, so that its keys are used in every way; return its path.
    """
    headers = {
        **auth,
        "Content-Type": "application/offset+octet-stream",
        "Upload-Length": str(len(content)),
        "Upload-Metadata": "filename aGVsbG8=",
    }
    async with http.post("/v1/uploads", data=content, headers=headers) as response:
        assert 201 == response.status
        path = f"/v1/recordings/{response.headers['Location'].rpartition('/')[2]}"
    async with http.get(f"{path}/audio", headers=auth) as response:
        assert content == await response.read()
    async with http.patch(path, json={"note": "heard"}, headers=auth) as response:
        assert 200 == response.status
    return path


@asynccontextmanager
async def upload_under_way(daemon: Daemon, auth: Mapping[str, str]) -> AsyncIterator[None]:
    """
    Have an upload hang in mid-body, with a slab of it sealed.
    """
    address = urlsplit(daemon.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    lines = [
        "POST /v1/uploads HTTP/1.1",
        "Host: gateway",
        *(f"{name}: {value}" for name, value in auth.items()),
        "Content-Type: application/offset+octet-stream",
        "Upload-Length: 1500000",
        "Content-Length: 1500000",
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode() + bytes(1_000_000))
    await writer.drain()
    spool = daemon.data_dir / "spool"
    await until(lambda: any(file.stat().st_size > 200_000 for file in spool.iterdir()))
    try:
        yield
    finally:
        writer.close()
        await writer.wait_closed()


async def no_jobs(http: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(30):
        while True:
            async with http.get("/metrics") as response:
                if "gateway_jobs{" not in await response.text():
                    return


async def test_erased_keys_are_nowhere_in_memory(tmp_path: Path) -> None:
    """
    Neither the recordings' keys, nor anything that they were derived from; while they are in use, they are found.
    """
    readable = {"GATEWAY_HARDENING__SCRUB_FREED_MEMORY": "true", "GATEWAY_HARDENING__NO_CORE_DUMPS": "false"}
    async with (
        running_daemon(tmp_path / "data", environment=readable) as daemon,
        aiohttp.ClientSession(daemon.url) as http,
    ):
        auth = await signed_in(daemon.data_dir)
        paths = [await uploaded(http, auth, bytes([n]) * SIZE) for n in range(RECORDINGS)]
        async with upload_under_way(daemon, auth):
            keys, above = await keys_of(daemon.data_dir), await ancestors(daemon.data_dir)
            in_use = found_in_memory(daemon.pid, {**keys, **above})
        unfinished = {name.partition(" ")[0] for name in keys} - {path.rpartition("/")[2] for path in paths}
        assert {f"{upload} audio" for upload in unfinished} <= in_use
        assert any("seed" in name for name in in_use)

        for path in paths:
            async with http.delete(path, headers=auth) as response:
                assert 200 == response.status
        for upload in unfinished:
            async with http.delete(f"/v1/uploads/{upload}", headers=auth) as response:
                assert 204 == response.status
        await no_jobs(http)
        still_valid = await ancestors(daemon.data_dir)
        gone = {name: key for name, key in {**keys, **above}.items() if key not in still_valid.values()}
        assert len(keys) + 2 <= len(gone)
        assert set() == found_in_memory(daemon.pid, gone)


@asynccontextmanager
async def powerless_daemon(data_dir: Path, *, hardened: bool) -> AsyncIterator[int]:
    """
    Run a daemon without the power over other processes that root has; give its pid.
    """
    environment = {
        **passed_environment(),
        "GATEWAY_HARDENING__SCRUB_FREED_MEMORY": "false",
        "GATEWAY_HARDENING__NO_CORE_DUMPS": str(hardened).lower(),
    }
    process = await asyncio.create_subprocess_exec(
        *[*powerless(), sys.executable, "-m", "gateway", "serve", "--data-dir", str(data_dir), "--port", "0"],
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            while b"Listening on" not in (line := await process.stderr.readline()):
                assert line, "the daemon ended"
        yield process.pid
    finally:
        process.terminate()
        await process.communicate()


def powerless() -> list[str]:
    """
    Return what to put before a command so that it cannot look into other processes just because it is root.
    """
    return ["setpriv", "--bounding-set=-all"] if os.geteuid() == 0 else []


@pytest.mark.parametrize("hardened", [True, False], ids=["hardened", "control"])
async def test_a_hardened_daemon_dumps_no_core_and_shows_its_memory_to_no_process_of_its_user(
    tmp_path: Path, hardened: bool
) -> None:
    async with powerless_daemon(tmp_path / "data", hardened=hardened) as pid:
        look = subprocess.run(
            [*powerless(), sys.executable, "-c", f"open('/proc/{pid}/environ').close()"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert hardened == ("PermissionError" in look.stderr), look.stderr
        limits = Path(f"/proc/{pid}/limits").read_text()
        if hardened:
            assert [("0", "0")] == re.findall(r"Max core file size\s+(\S+)\s+(\S+)", limits)
