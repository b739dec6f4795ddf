"""
The few file calls that the spool is built on, made durable.
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SLAB: Final = 16 * 16 * 1024
"""Plaintext bytes handed from the event loop to a thread at once, about: sixteen chunks. An upload holds two of them."""


def sync_directory(directory: Path) -> None:
    """
    Make names that were added to or removed from *directory* durable.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class _Round:
    def __init__(self) -> None:
        self.ended = threading.Event()
        self.failure: OSError | None = None


class SharedSync:
    """
    Makes the names in one directory durable, once for all threads that ask at the same time.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._joining = threading.Lock()
        self._running = threading.Lock()
        self._next: _Round | None = None

    def sync(self) -> None:
        """
        Return once a sync that began after this call has ended; one that runs already may have missed a name. Blocks.

        Raises:
            OSError: that sync failed.
        """
        with self._joining:
            leads = self._next is None
            mine = self._next = self._next or _Round()
        if leads:
            with self._running:
                with self._joining:
                    self._next = None
                try:
                    sync_directory(self._directory)
                except OSError as error:
                    mine.failure = error
                finally:
                    mine.ended.set()
        mine.ended.wait()
        if mine.failure is not None:
            raise mine.failure


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
