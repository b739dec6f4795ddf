"""
Writing one piece: the bytes of one unbroken append, sealed as they come.
"""

import hashlib
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from gateway.base.secret import Secret
from gateway.crypto.chunked import CHUNK_SIZE, SEALED_CHUNK_SIZE, Sealer
from gateway.spool.errors import SpoolFull, from_os_error
from gateway.spool.files import SLAB, sync_directory, write_all
from gateway.spool.pieces import SettledPiece

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

Run = Callable[..., Awaitable[Any]]


class _SealedSlab(threading.local):
    """
    One output buffer per thread, instead of one per upload.
    """

    def __init__(self) -> None:
        self.buffer = bytearray(SLAB // CHUNK_SIZE * SEALED_CHUNK_SIZE)


_sealed_slab = _SealedSlab()


class PieceWriter:
    """
    Takes plaintext, writes sealed chunks; holds at most one slab of plaintext in memory.

    The file appears with the first full slab, or at the end.
    Nothing counts before `finish` or `salvage` has returned: they make durable what they report.
    Use it from one task at a time.
    """

    def __init__(
        self, path: Path, preamble: bytes, key: Secret, *, run: Run, check_room: Callable[[int], None]
    ) -> None:
        self._path = path
        self._preamble = preamble
        self._key = key
        self._run = run
        self._check_room = check_room
        self._buffer = bytearray()
        self._sealer: Sealer | None = None
        self._fd = -1
        self._whole_chunks = 0
        self._has_failed = False
        self.length = 0
        """Plaintext bytes taken so far."""

    async def write(self, data: bytes) -> None:
        """
        Take more plaintext; waits while a full slab is sealed and written, so that the sender feels the disk.

        Raises:
            SpoolFull, SpoolFailed: the slab could not be written; go on with `salvage` or `discard`.
        """
        if self._has_failed:
            raise RuntimeError("a piece whose write failed is only salvaged or discarded")
        view = memoryview(data)
        while view:
            taken = view[: SLAB - len(self._buffer)]
            self._buffer += taken
            self.length += len(taken)
            view = view[len(taken) :]
            if len(self._buffer) == SLAB:
                await self._run(self._write_slab)
                self._buffer.clear()

    async def finish(self) -> SettledPiece | None:
        """
        End the message, make it durable, and return what there is of it; None if no byte ever came.

        Raises:
            SpoolFull, SpoolFailed: the end could not be written; go on with `salvage` or `discard`.
        """
        if self._has_failed:
            raise RuntimeError("a piece whose write failed is only salvaged or discarded")
        if self.length == 0:
            return None
        await self._run(self._write_end)
        return SettledPiece(self.length, is_ended=True)

    async def salvage(self) -> SettledPiece | None:
        """
        After a failed write: keep the whole chunks that were written, make them durable, and return what there is.

        None if that is nothing, or if the disk did not make it durable; then the file is to be discarded.
        """
        return await self._run(self._keep_whole_chunks)  # type: ignore[no-any-return]

    def abandon(self) -> None:
        """
        Let go of the file and leave it as it is: it counts for whoever took the upload over.
        """
        self._close()

    async def discard(self) -> None:
        """
        Leave no file behind.
        """
        await self._run(self._remove)

    def _write_slab(self) -> None:
        try:
            self._open()
            with memoryview(self._buffer) as buffered:
                self._seal_and_write(buffered)
        except SpoolFull:
            self._has_failed = True
            raise
        except OSError as error:
            # What was sealed is never sealed again: its nonces are spent.
            self._has_failed = True
            raise from_os_error(error) from error

    def _write_end(self) -> None:
        try:
            self._open()
            whole = len(self._buffer) // CHUNK_SIZE * CHUNK_SIZE
            with memoryview(self._buffer) as buffered:
                if whole:
                    self._seal_and_write(buffered[:whole])
                assert self._sealer is not None
                last = self._sealer.finish(buffered[whole:])
            write_all(self._fd, memoryview(last))
            self._sync()
        except SpoolFull:
            self._has_failed = True
            raise
        except OSError as error:
            self._has_failed = True
            raise from_os_error(error) from error
        self._buffer.clear()

    def _open(self) -> None:
        if self._sealer is not None:
            return
        self._check_room(len(self._buffer))
        self._fd = os.open(self._path, _NEW_FILE, 0o600)
        self._sealer = Sealer(self._key, self._preamble)
        write_all(self._fd, memoryview(self._preamble + self._sealer.header))

    def _seal_and_write(self, plaintext: memoryview) -> None:
        assert self._sealer is not None
        self._check_room(len(plaintext))
        with memoryview(_sealed_slab.buffer) as sealed:
            size = self._sealer.seal_into(plaintext, sealed)
            write_all(self._fd, sealed[:size])
        self._whole_chunks += len(plaintext) // CHUNK_SIZE

    def _keep_whole_chunks(self) -> SettledPiece | None:
        if self._fd < 0 or self._whole_chunks == 0:
            return None
        try:
            # What lies behind the last whole chunk stays and is never read: someone else may be counting it already.
            self._sync()
        except OSError:
            return None
        return SettledPiece(self._whole_chunks * CHUNK_SIZE, is_ended=False)

    def _sync(self) -> None:
        """
        Make the file and its name durable, and close it; after a failure as well, and then nothing of it counts.

        An fsync that failed may have dropped what it could not write, and the next one reports success.
        """
        try:
            os.fsync(self._fd)
        finally:
            self._close()
        sync_directory(self._path.parent)

    def _remove(self) -> None:
        self._close()
        self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def write_message(path: Path, preamble: bytes, key: Secret, plaintext: Any) -> bytes:
    """
    Seal an iterable of plaintext buffers as one message with a fresh salt into *path*, which is new; return its commitment.

    On return the file is durable; after an exception there is none. Blocks.
    """
    fd = os.open(path, _NEW_FILE, 0o600)
    try:
        sealer = Sealer(key, preamble)
        write_all(fd, memoryview(preamble + sealer.header))
        rest = bytearray()
        for part in plaintext:
            rest += part
            whole = len(rest) // CHUNK_SIZE * CHUNK_SIZE
            sealed = bytearray(whole // CHUNK_SIZE * SEALED_CHUNK_SIZE)
            with memoryview(rest) as view:
                sealer.seal_into(view[:whole], sealed)
            write_all(fd, memoryview(sealed))
            del rest[:whole]
        write_all(fd, memoryview(sealer.finish(rest)))
        os.fsync(fd)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    sync_directory(path.parent)
    return sealer.commitment


def digest_of(path: Path) -> bytes:
    """
    Return the SHA-256 of a file. Blocks.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
