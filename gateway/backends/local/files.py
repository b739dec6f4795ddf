"""
The two sorts of open file: one being gathered, one being read.
"""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from gateway.api import BlobKey, IntegrityMismatch, Span

PIECE_SIZE: Final = 1 << 20
"""How many bytes one call reads, and about how many one call writes."""

INCOMING: Final = ".incoming"
"""The folder of files that are being gathered, below the root."""

FILE_MODE: Final = 0o600


class IncomingFile:
    """
    A file in which a blob is gathered; only sweeps see it, and they leave it alone until it is closed.
    """

    def __init__(self, root_fd: int, name: str) -> None:
        self.place = f"{INCOMING}/{name}.{secrets.token_hex(8)}"
        self._root_fd = root_fd
        self._fd = -1

    def open(self) -> None:
        """
        Create the file, and lock it against sweeps.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        while True:
            self._fd = os.open(self.place, flags, FILE_MODE, dir_fd=self._root_fd)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            if os.fstat(self._fd).st_nlink:
                return
            # A sweep came between creating and locking; that is as good as never having created it.
            self.close()

    def write(self, pieces: Iterable[bytes]) -> None:
        """
        Append *pieces*.
        """
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._fd, rest) :]

    def sync(self) -> None:
        """
        Make durable what was written.
        """
        os.fsync(self._fd)

    def close(self) -> None:
        """
        Remove the incoming name, and close the file; does nothing if it is not open.

        What was published stays, under its own name.
        """
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            # A name that cannot be removed now is left to the next sweep. Closing unlocks, so it comes last.
            with suppress(OSError):
                os.unlink(self.place, dir_fd=self._root_fd)
            with suppress(OSError):
                os.close(fd)


class OpenBlob:
    """
    A blob, or a span of it, being read.

    The call that reads its last byte closes the file as well: a small span takes one change of thread, not three.
    """

    def __init__(self, open_file: Callable[[], int], key: BlobKey, span: Span | None) -> None:
        self._open_file = open_file
        self._key = key
        self._span = span
        self._fd = -1
        self._position = 0
        self._end = 0

    @property
    def is_open(self) -> bool:
        """
        Whether there is more to read, or a failed call left the file open.
        """
        return self._fd >= 0

    def open(self) -> bytes:
        """
        Open the file and return the first piece, empty if there is none: a small span takes one call.

        Raises:
            NotFound: there is no such blob.
            IntegrityMismatch: it ends before the span does.
        """
        self._fd = self._open_file()
        size = os.fstat(self._fd).st_size
        span = Span(0, size) if self._span is None else self._span
        if span.end > size:
            raise IntegrityMismatch(
                f"Blob {self._key} has {size} bytes, not the {span.end} that a span of it needs."
            )
        self._position, self._end = span.start, span.end
        return self.next_piece()

    def next_piece(self) -> bytes:
        """
        Return the next bytes, at most `PIECE_SIZE`; none at the end.

        Raises:
            IntegrityMismatch: the file is shorter than it was when it was opened.
        """
        wanted = min(PIECE_SIZE, self._end - self._position)
        if wanted == 0:
            self.close()
            return b""
        piece = os.pread(self._fd, wanted, self._position)
        if not piece:
            raise IntegrityMismatch(
                f"Blob {self._key} was cut to {self._position} bytes or fewer while it was read."
            )
        self._position += len(piece)
        if self._position == self._end:
            self.close()
        return piece

    def close(self) -> None:
        """
        Close the file, if it is open.
        """
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
