"""
Peak memory of the daemon: many uploads at once, and one very long one.

The peak is the kernel's own high-water mark of resident memory, set back before each workload.
A warm-up comes first, so that what every process needs once (imports, thread stacks, database pages) is not counted.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.gateway import Daemon, running_daemon

MIB = 1024 * 1024
BLOCK = os.urandom(MIB)


async def measure_memory(*, quick: bool = False) -> int:
    """
    Print what each workload adds to the daemon's memory; 1 if one passes its limit.
    """
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    try:
        # As it is served in earnest: with the allocator that scrubs what is freed.
        environment = {"GATEWAY_HARDENING__SCRUB_FREED_MEMORY": "true", "GATEWAY_LOG__LEVEL": "warning"}
        async with running_daemon(folder / "data", environment=environment) as daemon:
            _, auth = daemon.new_user()
            await upload_all(daemon, auth, count=20, size=2 * MIB)
            print(f"idle after warm-up: {resident_mib(daemon.pid):.0f} MiB")
            results = [
                # The long one first: what many uploads leave free in the heap would hide its growth.
                await _measure(daemon, auth, "one upload of 2 GB", count=1, size=2_000_000_000, limit=16),
                await _measure(
                    daemon, auth, "100 uploads of 20 MB at once", count=100, size=20_000_000, limit=200
                ),
            ]
    finally:
        shutil.rmtree(folder)
    return 0 if all(results) else 1


async def _measure(
    daemon: Daemon, auth: dict[str, str], name: str, *, count: int, size: int, limit: int
) -> bool:
    grown = await measure_peak(daemon, lambda: upload_all(daemon, auth, count=count, size=size))
    print(f"{name}: peak {grown:+.1f} MiB above idle (limit {limit} MiB)")
    return grown < limit


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


async def _upload(url: str, auth: dict[str, str], size: int, all_begun: asyncio.Barrier) -> None:
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
