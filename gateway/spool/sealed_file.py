"""
The file that one piece is written to: sealed as it goes, and on its way to the disk before its end.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.base.secret import Secret
from gateway.crypto.chunked import CHUNK_SIZE, MESSAGE_HEADER_SIZE, SEALED_CHUNK_SIZE, Buffer, Sealer
from gateway.crypto.preamble import PREAMBLE_SIZE

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_HEAD: Final = PREAMBLE_SIZE + MESSAGE_HEADER_SIZE
_STRETCH: Final = 4 * 1024 * 1024
"""So many written bytes are sent on their way to the disk at once."""
_ON_THEIR_WAY: Final = 4
"""Stretches behind which one is taken to have arrived, and leaves memory."""


class _Buffers(threading.local):
    """
    Sealed bytes on their way to the file: one buffer per thread, instead of one per upload. Nothing in it is secret.
    """

    def __init__(self) -> None:
        self._memory = bytearray()

    def of(self, size: int) -> memoryview:
        """
        Return a buffer of at least *size* bytes.
        """
        if len(self._memory) < size:
            self._memory = bytearray(size)
        return memoryview(self._memory)


_buffers = _Buffers()


class SealedFile:
    """
    A new file with one message. Everything here blocks, and nothing is durable before `sync`.

    While the next bytes come, the disk writes those before them, instead of all of them at the end; and what it has written
    leaves the page cache, so that a long recording pushes nothing else out and always has memory that was in use just now.
    """

    def __init__(self, path: Path, preamble: bytes, key: Secret) -> None:
        self._sealer = Sealer(key, preamble)
        self._fd = os.open(path, _NEW_FILE, 0o600)
        self._waiting = preamble + self._sealer.header
        """Sealed bytes that come before all later ones, and are still to be written."""
        self._written = 0
        self._sent_off = 0

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
            self._write(buffer[:end])

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
        waiting, self._waiting = self._waiting, b""
        self._write(memoryview(waiting))

    def _write(self, data: memoryview) -> None:
        while data:
            size = os.write(self._fd, data)
            self._written += size
            data = data[size:]
        while self._written - self._sent_off >= _STRETCH:
            self._send_off()

    def _send_off(self) -> None:
        # Linux begins to write what is told to leave, and drops what it has written (mm/fadvise.c).
        _tell_to_leave(self._fd, self._sent_off)
        if (arrived := self._sent_off - _ON_THEIR_WAY * _STRETCH) >= 0:
            _tell_to_leave(self._fd, arrived)
        self._sent_off += _STRETCH


def _tell_to_leave(fd: int, start: int) -> None:
    # Only advice: where it is none, the sync at the end writes everything.
    with suppress(OSError, AttributeError):
        os.posix_fadvise(fd, start, _STRETCH, os.POSIX_FADV_DONTNEED)
