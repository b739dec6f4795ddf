"""
The few file calls that the spool is built on, made durable.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SLAB: Final = 16 * 16 * 1024
"""Plaintext bytes handed from the event loop to a thread at once: sixteen chunks."""


def write_all(fd: int, data: memoryview) -> None:
    """
    Write every byte, however often the kernel takes fewer.
    """
    while data:
        data = data[os.write(fd, data) :]


def sync_directory(directory: Path) -> None:
    """
    Make names that were added to or removed from *directory* durable.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_slabs(path: Path, start: int, slab_size: int) -> Iterator[bytes]:
    """
    Yield the file from byte *start* in slabs; only the last may be shorter.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while True:
            slab = _read_fully(file.fileno(), slab_size)
            if slab:
                yield slab
            if len(slab) < slab_size:
                return


def _read_fully(fd: int, size: int) -> bytes:
    parts = []
    while size and (part := os.read(fd, size)):
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
