"""
Writing one piece: the bytes of one unbroken append, sealed as they come.
"""

import asyncio
import hashlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from gateway.base.secret import Secret
from gateway.crypto.chunked import CHUNK_SIZE
from gateway.spool.errors import SpoolFull, from_os_error
from gateway.spool.files import SLAB, sync_directory
from gateway.spool.pieces import SettledPiece
from gateway.spool.sealed_file import SealedFile

Run = Callable[..., Awaitable[Any]]

_BURST: Final = 8 * 1024 * 1024
"""The most that a thread takes of one body before others have their turn."""
_PATIENCE_S: Final = 0.002
"""How long a thread waits for more of a body before it leaves that to the event loop."""


class Source(Protocol):
    """
    Where a thread takes a body's bytes from.
    """

    missing: int
    """How many bytes are still to come."""

    def read_into(self, buffer: memoryview) -> int | None:
        """
        Read what is there; return how many bytes that was, 0 where there will be none any more, None where none are there yet.
        """
        ...

    def wait(self, seconds: float) -> bool:
        """
        Wait so long for more to read at once; tell whether it came. Blocks.
        """
        ...


class _PlainSlab(threading.local):
    """
    Where a thread receives plaintext: one buffer per thread, which holds none once it was lent.
    """

    def __init__(self) -> None:
        self._memory = bytearray(SLAB)

    @contextmanager
    def lent(self) -> Iterator[memoryview]:
        """
        Lend the buffer, and wipe it after.
        """
        with memoryview(self._memory) as view:
            try:
                yield view
            finally:
                view[:] = _ZEROS


_ZEROS: Final = bytes(SLAB)
_plain_slab = _PlainSlab()


class PieceWriter:
    """
    Takes plaintext, writes sealed chunks.

    While one slab is sealed and written in a thread the next one is gathered, and no more: two are held at most.
    The file appears with the first full slab, or at the end.
    Nothing counts before `finish` or `salvage` has returned: they make durable what they report.
    Use it from one task at a time.
    """

    def __init__(
        self,
        path: Path,
        preamble: bytes,
        key: Secret,
        *,
        run: Run,
        check_room: Callable[[int], None],
        sync_names: Callable[[], None],
    ) -> None:
        self._path = path
        self._preamble = preamble
        self._key = key
        self._run = run
        self._check_room = check_room
        self._sync_names = sync_names
        self._gathered: list[bytes] = []
        self._gathered_size = 0
        self._in_flight: asyncio.Future[None] | None = None
        self._rest = b""
        """What came after the last whole chunk; the threads' alone."""
        self._file: SealedFile | None = None
        self._has_failed = False
        self.length = 0
        """Plaintext bytes taken so far."""

    async def write(self, data: bytes) -> None:
        """
        Take more plaintext; waits while two slabs wait to be written, so that the sender feels the disk.

        Raises:
            SpoolFull, SpoolFailed: a slab could not be written; go on with `salvage` or `discard`.
        """
        self._require_health()
        self._gathered.append(data)
        self._gathered_size += len(data)
        self.length += len(data)
        if self._gathered_size >= SLAB:
            await self._landed()
            self._in_flight = asyncio.ensure_future(self._run(self._write_slab, self._taken()))

    async def take(self, source: Source, *, on_bytes: Callable[[memoryview], object] | None = None) -> bool:
        """
        Take what *source* has at once, received, sealed and written by one thread; tell whether it will have no more.

        That may be everything, or what fits into one turn, or nothing. *on_bytes* is shown each byte, in the thread.

        Raises:
            SpoolFull, SpoolFailed: what came could not be written; go on with `salvage` or `discard`.
        """
        self._require_health()
        await self._landed()
        return await self._run(self._take, self._taken(), source, on_bytes)  # type: ignore[no-any-return]

    async def finish(self) -> SettledPiece | None:
        """
        End the message, make it durable, and return what there is of it; None if no byte ever came.

        Raises:
            SpoolFull, SpoolFailed: the end could not be written; go on with `salvage` or `discard`.
        """
        self._require_health()
        if self.length == 0:
            return None
        await self._landed()
        commitment = await self._run(self._write_end, self._taken())
        return SettledPiece(self.length, is_ended=True, commitment=commitment)

    async def salvage(self) -> SettledPiece | None:
        """
        After a failed write: keep the whole chunks that were written, make them durable, and return what there is.

        None if that is nothing, or if the disk did not make it durable; then the file is to be discarded.
        """
        await self._landed_somehow()
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
        await self._landed_somehow()
        await self._run(self._remove)

    def _require_health(self) -> None:
        # While a slab is on its way its failure has not been told yet.
        if self._has_failed and self._in_flight is None:
            raise RuntimeError("a piece whose write failed is only salvaged or discarded")

    def _taken(self) -> list[bytes]:
        gathered, self._gathered, self._gathered_size = self._gathered, [], 0
        return gathered

    async def _landed(self) -> None:
        """
        Wait for the slab that is on its way, and raise what became of it.
        """
        if self._in_flight is not None:
            await asyncio.wait([self._in_flight])
            in_flight, self._in_flight = self._in_flight, None
            in_flight.result()

    async def _landed_somehow(self) -> None:
        if self._in_flight is not None:
            in_flight, self._in_flight = self._in_flight, None
            await asyncio.wait([in_flight])
            # Whoever salvages or discards knows that something failed, or does not care.
            in_flight.exception()

    def _write_slab(self, gathered: list[bytes]) -> None:
        with self._failing():
            self._check_room(sum(map(len, gathered)))
            self._rest = self._append(b"".join([self._rest, *gathered]))

    def _take(
        self, gathered: list[bytes], source: Source, on_bytes: Callable[[memoryview], object] | None
    ) -> bool:
        most = min(source.missing, _BURST)
        with self._failing(), _plain_slab.lent() as slab:
            self._check_room(most + sum(map(len, gathered)))
            rest = self._append(b"".join([self._rest, *gathered]))
            filled = len(rest)
            slab[:filled] = rest
            is_over = False
            while most and not is_over:
                size = source.read_into(slab[filled : min(SLAB, filled + most)])
                if size is None:
                    if source.wait(_PATIENCE_S):
                        continue
                    break
                if on_bytes is not None:
                    on_bytes(slab[filled : filled + size])
                is_over = size == 0
                most -= size
                filled += size
                self.length += size
                if filled == SLAB:
                    filled = 0
                    self._append_whole(slab[:SLAB])
            whole = filled - filled % CHUNK_SIZE
            self._append_whole(slab[:whole])
            self._rest = bytes(slab[whole:filled])
            return is_over

    def _write_end(self, gathered: list[bytes]) -> bytes:
        with self._failing():
            self._check_room(sum(map(len, gathered)))
            rest = self._append(b"".join([self._rest, *gathered]))
            file = self._opened()
            file.end(rest)
            self._sync()
            return file.commitment

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """
        Have a failure remembered, and told as the spool's.
        """
        try:
            yield
        except SpoolFull:
            self._has_failed = True
            raise
        except OSError as error:
            self._has_failed = True
            raise from_os_error(error) from error

    def _append(self, plaintext: bytes) -> bytes:
        """
        Write the whole chunks of *plaintext*, and return the rest of it.
        """
        whole = len(plaintext) - len(plaintext) % CHUNK_SIZE
        self._append_whole(memoryview(plaintext)[:whole])
        return plaintext[whole:]

    def _append_whole(self, plaintext: memoryview) -> None:
        if plaintext:
            self._opened().append(plaintext)

    def _opened(self) -> SealedFile:
        if self._file is None:
            self._file = SealedFile(self._path, self._preamble, self._key)
        return self._file

    def _keep_whole_chunks(self) -> SettledPiece | None:
        if self._file is None or (chunks := self._file.keep_whole_chunks()) == 0:
            return None
        try:
            # What lies behind the last whole chunk stays and is never read: someone else may be counting it already.
            self._sync()
        except OSError:
            return None
        return SettledPiece(chunks * CHUNK_SIZE, is_ended=False)

    def _sync(self) -> None:
        """
        Make the file and its name durable, and close it; after a failure as well, and then nothing of it counts.

        An fsync that failed may have dropped what it could not write, and the next one reports success.
        """
        assert self._file is not None
        try:
            self._file.sync()
        finally:
            self._close()
        self._sync_names()

    def _remove(self) -> None:
        self._close()
        self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def write_message(path: Path, preamble: bytes, key: Secret, plaintext: Any) -> bytes:
    """
    Seal an iterable of plaintext buffers as one message with a fresh salt into *path*, which is new; return its commitment.

    On return the file is durable; after an exception there is none. Blocks.
    """
    file = SealedFile(path, preamble, key)
    try:
        rest = bytearray()
        for part in plaintext:
            rest += part
            whole = len(rest) - len(rest) % CHUNK_SIZE
            with memoryview(rest) as view, view[:whole] as chunks:
                file.append(chunks)
            del rest[:whole]
        file.end(rest)
        file.sync()
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        file.close()
    sync_directory(path.parent)
    return file.commitment


def digest_of(path: Path) -> bytes:
    """
    Return the SHA-256 of a file. Blocks.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
