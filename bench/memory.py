"""
Peak memory of the daemon: many uploads at once, fast, slow and idle, and one very long one.

The peak is the kernel's own high-water mark of resident memory, set back before each workload.
A warm-up comes first, so that what every process needs once (imports, thread stacks, database pages) is not counted.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.report import Report
from tests.support.gateway import Daemon, running_daemon

MIB = 1024 * 1024
BLOCK = os.urandom(MIB)
_SLOW: Final = 100
_SLOW_PART: Final = 16 * 1024
_SLOW_PAUSE_S: Final = 0.25
_IDLE: Final = 1_000
_IDLE_PART: Final = 64 * 1024
_LENGTHS: Final = (400_000, 20_000_000, 2_000_000_000)
"""What slow and idle uploads say that they will bring: memory is not to grow with it. Short ones come through aiohttp."""


async def measure_memory(*, quick: bool = False) -> int:
    """
    Print what each workload adds to the daemon's memory; 1 if one passes its limit.
    """
    report = Report("memory")
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    try:
        # As it is served in earnest: with the allocator that scrubs what is freed.
        environment = {
            "GATEWAY_HARDENING__SCRUB_FREED_MEMORY": "true",
            "GATEWAY_LOG__LEVEL": "warning",
            # Those that are broken off stay open.
            "GATEWAY_UPLOADS__MAX_OPEN_PER_USER": "100000",
        }
        async with running_daemon(folder / "data", environment=environment) as daemon:
            _, auth = daemon.new_user()
            await _measure_all(report, daemon, auth, part=10 if quick else 1)
    finally:
        shutil.rmtree(folder)
    return report.finish()


async def _measure_all(report: Report, daemon: Daemon, auth: dict[str, str], *, part: int) -> None:
    """
    Measure each workload, or only that part of it.
    """
    await upload_all(daemon, auth, count=20, size=2 * MIB)
    report.add("idle after a warm-up", resident_mib(daemon.pid), "MiB")

    async def add(name: str, work: Callable[[], Awaitable[None]], limit_mib: int | None = None) -> float:
        grown = await measure_peak(daemon, work)
        report.add(f"{name}: peak above idle", grown, "MiB", most=limit_mib)
        return grown

    # The long one first: what many uploads leave free in the heap would hide its growth.
    size = 2_000_000_000 // part
    await add(f"one upload of {size / 1e9:g} GB", partial(upload_all, daemon, auth, count=1, size=size), 16)
    for length in _LENGTHS:
        said = f"of {length / 1e6:,g} MB"
        count = _SLOW // part
        parts = min(60 // part, length // _SLOW_PART - 2)
        work = partial(hold_all, daemon, auth, count=count, length=length, first=_SLOW_PART, parts=parts)
        await add(f"{count} slow uploads {said}", work, 100)
        count = _IDLE // part
        work = partial(hold_all, daemon, auth, count=count, length=length, first=_IDLE_PART, parts=0)
        grown = await add(f"{count:,} idle uploads {said}", work)
        report.add("  the same, each", grown * 1024 / count, "KiB", most=64)
    count = 100 // part
    await add(
        f"{count} uploads of 20 MB at once",
        partial(upload_all, daemon, auth, count=count, size=20_000_000),
        200,
    )


async def measure_peak(daemon: Daemon, work: Callable[[], Awaitable[None]]) -> float:
    """
    Return by how many MiB the daemon's memory passes what it is now while *work* is done.
    """
    before = resident_mib(daemon.pid)
    _reset_peak(daemon.pid)
    await work()
    return _peak_mib(daemon.pid) - before


async def upload_all(daemon: Daemon, auth: dict[str, str], *, count: int, size: int) -> None:
    """
    Send *count* uploads at the same time, each in one request; all are under way before the first one ends.
    """
    all_begun = asyncio.Barrier(count)
    await asyncio.gather(*[_upload(daemon.url, auth, size, all_begun) for _ in range(count)])


async def hold_all(
    daemon: Daemon, auth: dict[str, str], *, count: int, length: int, first: int, parts: int
) -> None:
    """
    Begin *count* uploads with *first* bytes of *length*, send *parts* more parts of each, slowly, and break off.
    """
    all_begun = asyncio.Barrier(count)

    async def hold() -> None:
        reader, writer = await _begun(daemon.url, auth, length)
        answer = asyncio.create_task(reader.readline())
        try:
            writer.write(BLOCK[:first])
            await writer.drain()
            await all_begun.wait()
            for _ in range(parts):
                await asyncio.sleep(_SLOW_PAUSE_S)
                writer.write(BLOCK[:_SLOW_PART])
                await writer.drain()
            if not parts:
                # Longer than the gateway takes to fetch what came.
                await asyncio.sleep(5)
            if answer.done():
                raise RuntimeError(f"an upload that was to be held was answered: {answer.result()!r}")
        finally:
            answer.cancel()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    await asyncio.gather(*[hold() for _ in range(count)])


async def _begun(
    url: str, auth: dict[str, str], size: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """
    Open a connection, and send the head of an upload that comes whole in one request.
    """
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = [
        "POST /v1/uploads HTTP/1.1",
        f"Host: {address.netloc}",
        f"Authorization: {auth['Authorization']}",
        "Tus-Resumable: 1.0.0",
        f"Upload-Length: {size}",
        "Content-Type: application/offset+octet-stream",
        f"Content-Length: {size}",
        "",
        "",
    ]
    writer.write("\r\n".join(head).encode())
    return reader, writer


async def _upload(url: str, auth: dict[str, str], size: int, all_begun: asyncio.Barrier) -> None:
    reader, writer = await _begun(url, auth, size)
    left = size
    while left:
        if left <= size // 2 < left + len(BLOCK):
            await all_begun.wait()
        part = BLOCK[: min(len(BLOCK), left)]
        writer.write(part)
        await writer.drain()
        left -= len(part)
    answer = await reader.readuntil(b"\r\n\r\n")
    if not answer.startswith(b"HTTP/1.1 201"):
        raise RuntimeError(answer.decode())
    writer.close()
    await writer.wait_closed()


def _reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def resident_mib(pid: int) -> float:
    return _status_kib(pid, "VmRSS") / 1024


def _peak_mib(pid: int) -> float:
    return _status_kib(pid, "VmHWM") / 1024


def _status_kib(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise KeyError(name)
