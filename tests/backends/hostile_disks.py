"""
Real disks that refuse, in processes of their own: what is done to them must not touch the tests' process.

    python -m tests.backends.hostile_disks WAY FOLDER

puts a blob that fits and then one that does not, and prints what the second came to, as JSON.
"""

import asyncio
import ctypes
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from gateway.api import BackendContext, BackendError, BlobKey
from gateway.backends.local.backend import connect
from gateway.backends.local.settings import LocalSettings
from gateway.testing.sources import BytesSource, pattern

SMALL = BlobKey(64 * "1")
LARGE = BlobKey(64 * "2")
_MIB = 1 << 20

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_RDONLY, _MS_REMOUNT, _MS_REC, _MS_PRIVATE = 1, 32, 0x4000, 1 << 18


def limit_file_size(folder: Path) -> None:
    """
    Let the kernel stop each file at 2 MiB: possible everywhere.
    """
    del folder
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * _MIB, 2 * _MIB))


def mount_small_disk(folder: Path) -> None:
    """
    Mount a file system of 3 MiB that only this process sees.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def must(answer: int) -> None:
        if answer != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        must(libc.unshare(_CLONE_NEWNS))
    else:
        must(libc.unshare(_CLONE_NEWNS | _CLONE_NEWUSER))
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    must(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
    must(libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=3m,mode=700"))


def make_read_only(folder: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(None, os.fsencode(folder), None, _MS_REMOUNT | _MS_RDONLY, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def take_permission(folder: Path) -> None:
    """
    Become someone who may read there, but not write.
    """
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555)
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)


def nothing(folder: Path) -> None:
    del folder


# What is done before connecting, and what is done once a small blob is there.
WAYS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "limited file size": (limit_file_size, nothing),
    "full disk": (mount_small_disk, nothing),
    "read-only disk": (mount_small_disk, make_read_only),
    "no permission": (nothing, take_permission),
}


def can_mount(folder: Path) -> bool:
    """
    Say whether this machine lets us mount anything.
    """
    command = [sys.executable, "-c", f"from {__name__} import *; mount_small_disk(Path({str(folder)!r}))"]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def main(way: str, folder: str) -> None:
    before, then = WAYS[way]
    before(Path(folder))
    json.dump(asyncio.run(_tried(Path(folder), then)), sys.stdout)


async def _tried(folder: Path, then: Callable[[Path], None]) -> dict[str, object]:
    root = folder / "blobs"
    async with connect(BackendContext(account="home"), LocalSettings(root=root)) as backend:
        small = await backend.put(SMALL, BytesSource(pattern(_MIB)))
        # Opened while it may be.
        incoming = os.open(root / ".incoming", os.O_RDONLY)
        then(root if then is take_permission else folder)
        refused = failed_probe = None
        try:
            await backend.put(LARGE, BytesSource(pattern(4 * _MIB)))
        except BackendError as exc:
            refused = exc
        try:
            await backend.probe()
        except BackendError as exc:
            failed_probe = exc
        found = await backend.find(LARGE)
        async with backend.read(small) as pieces:
            read = b"".join([piece async for piece in pieces])
        return {
            "refused": type(refused).__name__,
            "message": str(refused),
            "probe": type(failed_probe).__name__,
            "probe message": str(failed_probe),
            "found": found is not None,
            "incoming": [entry.name for entry in os.scandir(incoming)],
            "the first is readable": read == pattern(_MIB),
        }


if __name__ == "__main__":
    main(*sys.argv[1:])
