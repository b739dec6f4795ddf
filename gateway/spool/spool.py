"""
The spool's directory: which files there are, how much they take, and what is done with them.
"""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, Self, TypeVar

from gateway.base.ids import RecordingId
from gateway.base.secret import Secret
from gateway.base.threads import Lane
from gateway.crypto.chunked import COMMITMENT_SIZE, MESSAGE_HEADER_SIZE, SALT_SIZE, Buffer
from gateway.crypto.errors import CryptoError
from gateway.crypto.pieces import measure_piece
from gateway.crypto.preamble import PREAMBLE_SIZE, Preamble
from gateway.spool.errors import SpoolFull, from_os_error
from gateway.spool.files import SharedSync, read_slabs, sync_directory
from gateway.spool.pieces import SEALED_SLAB, SettledPiece, StoredPiece, open_piece, read_plaintext
from gateway.spool.writer import PieceWriter, digest_of, write_message

T = TypeVar("T")

READ_SIZE: Final = SEALED_SLAB


class Spool:
    """
    Sealed pieces in one directory, named ``<recording id>.<fence>``.

    File calls block in a few threads of its own, never on the event loop.
    """

    def __init__(self, directory: Path, *, min_free_bytes: int, max_bytes: int, threads: int) -> None:
        self._directory = directory
        self._min_free_bytes = min_free_bytes
        self._max_bytes = max_bytes
        self._names = SharedSync(directory)
        self._lane = Lane(threads, name="spool")
        # Long work on whole recordings has a lane of its own, or a merge would make every phone wait.
        self._slow_lane = Lane(1, name="spool-slow")

    @classmethod
    def open(cls, directory: Path, *, min_free_bytes: int, max_bytes: int, threads: int) -> Self:
        """
        Make the directory if it is absent.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(directory, min_free_bytes=min_free_bytes, max_bytes=max_bytes, threads=threads)

    def close(self) -> None:
        """
        End the threads, once what they do is done.
        """
        self._lane.shutdown()
        self._slow_lane.shutdown()

    def check_room(self, size: int = 0) -> None:
        """
        Raise `SpoolFull` where *size* more bytes would pass a limit.
        """
        free = shutil.disk_usage(self._directory).free
        if free - size < self._min_free_bytes:
            raise SpoolFull("the spool's disk has no room for more")
        if self._max_bytes and self._used_bytes() + size > self._max_bytes:
            raise SpoolFull("the spool has reached its limit")

    def _used_bytes(self) -> int:
        used = 0
        with os.scandir(self._directory) as entries:
            for entry in entries:
                try:
                    used += entry.stat().st_size
                except FileNotFoundError:
                    continue
        return used

    def path_of(self, recording_id: RecordingId, fence: int) -> Path:
        """
        Return where a piece's file is, or would be.
        """
        return self._directory / f"{recording_id}.{fence}"

    def begin_piece(
        self, identity: Preamble, fence: int, key: Secret, *, syncs_name: bool = True
    ) -> PieceWriter:
        """
        Start a piece under a *fence* that was never used for this recording before.

        Unless it *syncs_name*, what the writer reports is durable only after `sync_names`.
        """
        return PieceWriter(
            self.path_of(_recording_id(identity), fence),
            identity.to_bytes(),
            key,
            run=self._run,
            check_room=self.check_room,
            sync_names=self._names.sync if syncs_name else lambda: None,
        )

    async def sync_names(self) -> None:
        """
        Make the names of all files durable that were there at the call.

        Raises:
            SpoolFull, SpoolFailed: the disk did not.
        """
        await self._run(self._names.sync)

    async def settle_piece(
        self, identity: Preamble, fence: int, key: Secret, *, is_atomic: bool
    ) -> SettledPiece | None:
        """
        Return what a crash left of a piece: its verified whole chunks, made durable; None if that is nothing.

        Args:
            is_atomic: the append promised a checksum, so nothing of it counts.
        """
        path = self.path_of(_recording_id(identity), fence)
        return await self._run(_settle, path, identity, key, is_atomic, lane=self._slow_lane)

    async def merge_pieces(
        self, identity: Preamble, key: Secret, pieces: Sequence[StoredPiece], *, into: int
    ) -> StoredPiece:
        """
        Re-seal *pieces* as one message with a fresh salt, in the file that the fence *into* names (FORMAT, "Pieces").

        Raises:
            CryptoError: a piece is damaged; nothing of the result is left.
            SpoolFull, SpoolFailed, PieceMissing: a file could not be read or written.
        """
        recording_id = _recording_id(identity)
        sources = [(self.path_of(recording_id, piece.fence), piece) for piece in pieces]
        target = self.path_of(recording_id, into)
        await self._run(_merge, sources, target, identity, key, lane=self._slow_lane)
        return StoredPiece(into, sum(piece.length for piece in pieces), is_ended=True)

    async def verify_piece(self, identity: Preamble, key: Secret, piece: StoredPiece) -> bytes:
        """
        Open every chunk of a piece and return the key commitment of its message.

        Raises:
            CryptoError: the piece is damaged.
            SpoolFailed, PieceMissing: its file cannot be read.
        """
        path = self.path_of(_recording_id(identity), piece.fence)
        return await self._run(_verify, path, key, piece, lane=self._slow_lane)

    async def has_all(self, recording_id: RecordingId, fences: Sequence[int]) -> bool:
        """
        Tell whether every one of these pieces has its file.
        """
        paths = [self.path_of(recording_id, fence) for fence in fences]
        return await self._run(lambda: all(path.exists() for path in paths))

    async def commitment_of(self, recording_id: RecordingId, fence: int) -> bytes:
        """
        Return the key commitment of the message in a piece's file.
        """
        return await self._run(_read_commitment, self.path_of(recording_id, fence))

    async def digest_of(self, recording_id: RecordingId, fence: int) -> bytes:
        """
        Return the SHA-256 of a piece's file.
        """
        return await self._run(digest_of, self.path_of(recording_id, fence), lane=self._slow_lane)

    async def remove(self, recording_id: RecordingId, fences: Sequence[int]) -> None:
        """
        Remove pieces' files; those that are not there are no matter.
        """
        await self._run(_remove, [self.path_of(recording_id, fence) for fence in fences], self._directory)

    async def remove_all_of(self, *recording_ids: RecordingId) -> None:
        """
        Remove every file of these recordings, also those that no row names.
        """
        await self._run(_remove_matching, self._directory, set(map(str, recording_ids)))

    async def file_names(self) -> list[tuple[str, Path]]:
        """
        Return every file with the id that its name begins with.
        """
        paths = await self._run(lambda: sorted(self._directory.iterdir()))
        return [(path.name.partition(".")[0], path) for path in paths]

    @asynccontextmanager
    async def read(
        self, recording_id: RecordingId, fence: int, *, start: int, length: int
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """
        Open a piece's file and iterate over *length* of its sealed bytes from *start*.

        A file that is removed meanwhile is still read to its end.

        Raises:
            PieceMissing: on entering; the file is not there.
        """
        fd = await self._run(os.open, self.path_of(recording_id, fence), os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield self._slabs(fd, start, length)
        finally:
            os.close(fd)

    async def _slabs(self, fd: int, start: int, length: int) -> AsyncIterator[bytes]:
        while length > 0:
            slab = await self._run(os.pread, fd, min(READ_SIZE, length), start)
            if not slab:
                return
            yield slab
            start += len(slab)
            length -= len(slab)

    async def _run(self, call: Callable[..., T], *arguments: object, lane: Lane | None = None) -> T:
        """
        Run a blocking call in a thread and wait for its end, even when cancelled: files are not left half-written.
        """
        try:
            return await (lane or self._lane).run(partial(call, *arguments))
        except OSError as error:
            raise from_os_error(error) from error


class SpoolBlob:
    """
    A whole blob in the spool, as a source for a backend.
    """

    def __init__(self, spool: Spool, recording_id: RecordingId, fence: int) -> None:
        self._spool = spool
        self._recording_id = recording_id
        self._fence = fence
        self._path = spool.path_of(recording_id, fence)
        try:
            self._size = self._path.stat().st_size
        except OSError as error:
            raise from_os_error(error) from error

    @property
    def size(self) -> int:
        return self._size

    @property
    def path(self) -> Path:
        return self._path

    async def sha256(self) -> bytes:
        return await self._spool.digest_of(self._recording_id, self._fence)

    @asynccontextmanager
    async def open(self, start: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._spool.read(
            self._recording_id, self._fence, start=start, length=self._size - start
        ) as slabs:
            yield slabs


def _recording_id(identity: Preamble) -> RecordingId:
    return RecordingId(identity.recording_id)


def _settle(path: Path, identity: Preamble, key: Secret, is_atomic: bool) -> SettledPiece | None:
    if not path.exists():
        return None
    settled = None if is_atomic else _verified_length(path, identity, key)
    if settled is None:
        path.unlink(missing_ok=True)
        return None
    # The process died, perhaps not the machine: what was read may not have reached the disk yet.
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_directory(path.parent)
    return settled


def _verified_length(path: Path, identity: Preamble, key: Secret) -> SettledPiece | None:
    try:
        opener, preamble = open_piece(path, key)
    except CryptoError:
        return None
    if preamble != identity.to_bytes():
        return None
    extent = measure_piece(opener, read_slabs(path, PREAMBLE_SIZE + MESSAGE_HEADER_SIZE, SEALED_SLAB))
    return SettledPiece(extent.plaintext_size, extent.is_ended) if extent.plaintext_size else None


def _merge(
    sources: Sequence[tuple[Path, StoredPiece]], target: Path, identity: Preamble, key: Secret
) -> bytes:
    def plaintext() -> Iterator[Buffer]:
        for path, piece in sources:
            yield from read_plaintext(path, key, piece)

    return write_message(target, identity.to_bytes(), key, plaintext())


def _verify(path: Path, key: Secret, piece: StoredPiece) -> bytes:
    for _ in read_plaintext(path, key, piece):
        pass
    return _read_commitment(path)


def _read_commitment(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(PREAMBLE_SIZE + SALT_SIZE)
        return file.read(COMMITMENT_SIZE)


def _remove(paths: Sequence[Path], directory: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    if paths:
        sync_directory(directory)


def _remove_matching(directory: Path, recording_ids: Collection[str]) -> None:
    found = [path for path in directory.iterdir() if path.name.partition(".")[0] in recording_ids]
    _remove(found, directory)
