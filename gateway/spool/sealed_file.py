"""
The file that one piece is written to: sealed as it goes, past the page cache where that pays.
"""

import errno
import fcntl
import mmap
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.base.secret import Secret
from gateway.crypto.chunked import CHUNK_SIZE, MESSAGE_HEADER_SIZE, SEALED_CHUNK_SIZE, Buffer, Sealer
from gateway.crypto.preamble import PREAMBLE_SIZE

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_BLOCK: Final = 4096
"""What offsets, lengths and addresses of direct writes are multiples of; every disk's own block divides it."""
_HEAD: Final = PREAMBLE_SIZE + MESSAGE_HEADER_SIZE


class _Buffers(threading.local):
    """
    Sealed bytes on their way to the disk: one buffer per thread, instead of one per upload. Nothing in it is secret.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    def of(self, size: int) -> memoryview:
        """
        Return a buffer of at least *size* bytes that begins on a page, as direct writes need it.
        """
        if len(self._memory) < size:
            self._memory = mmap.mmap(-1, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
        return memoryview(self._memory)


_buffers = _Buffers()


class SealedFile:
    """
    A new file with one message. Everything here blocks, and nothing is durable before `sync`.

    With *is_direct* the bytes go from our buffer to the disk without the page cache, where the file system can do that:
    it spares a copy, and cleaning up after it. What does not fill a block waits in memory for the next write or the end.
    """

    def __init__(self, path: Path, preamble: bytes, key: Secret, *, is_direct: bool) -> None:
        self._sealer = Sealer(key, preamble)
        self._fd = os.open(path, _NEW_FILE, 0o600)
        self._is_direct = is_direct and _set_direct(self._fd, True)
        self._waiting = preamble + self._sealer.header
        """Sealed bytes that come before all later ones, and are still to be written."""
        self._written = 0

    @property
    def commitment(self) -> bytes:
        """
        The message's key commitment, 32 bytes.
        """
        return self._sealer.commitment

    def append(self, plaintext: Buffer) -> None:
        """
        Seal and write whole chunks.

        Raises:
            OSError: not all could be written. What was sealed is never sealed again: its nonces are spent.
        """
        ahead = len(self._waiting)
        with _buffers.of(ahead + len(plaintext) // CHUNK_SIZE * SEALED_CHUNK_SIZE) as buffer:
            buffer[:ahead] = self._waiting
            self._waiting = b""
            end = ahead + self._sealer.seal_into(plaintext, buffer[ahead:])
            whole = end - end % _BLOCK if self._is_direct else end
            self._write(buffer[:whole])
            self._waiting = bytes(buffer[whole:end])

    def end(self, rest: Buffer) -> None:
        """
        Seal and write the message's last chunk.

        Raises:
            OSError: it could not be written.
        """
        self._waiting += self._sealer.finish(rest)
        self._write_waiting()

    def keep_whole_chunks(self) -> int:
        """
        Write what waits, as far as that is possible, and return how many chunks are there whole.
        """
        with suppress(OSError):
            self._write_waiting()
        return max(0, self._written - _HEAD) // SEALED_CHUNK_SIZE

    def sync(self) -> None:
        """
        Make the bytes durable.
        """
        os.fsync(self._fd)

    def close(self) -> None:
        """
        Let go of the file.
        """
        os.close(self._fd)

    def _write_waiting(self) -> None:
        if self._is_direct:
            # The end of the file fills no block.
            _set_direct(self._fd, False)
            self._is_direct = False
        waiting, self._waiting = self._waiting, b""
        self._write(memoryview(waiting))

    def _write(self, data: memoryview) -> None:
        while data:
            try:
                size = os.write(self._fd, data)
            except OSError as error:
                if not (self._is_direct and error.errno == errno.EINVAL):
                    raise
                # A file system that took the flag, and wants greater blocks than ours.
                _set_direct(self._fd, False)
                self._is_direct = False
                continue
            self._written += size
            data = data[size:]


def _set_direct(fd: int, is_direct: bool) -> bool:
    """
    Switch direct writes on or off; tell whether the file system and the platform can do that.
    """
    flag = getattr(os, "O_DIRECT", 0)
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | flag if is_direct else flags & ~flag)
    except OSError:
        return False
    return bool(flag)
