"""
Hearing a recording: any stretch of its plaintext, opened chunk by chunk as it is sent.

The bytes come from its home, or from the spool while it is not placed yet.
Every chunk is verified before a byte of it goes out; damage ends the stream with an error, never with a short answer.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from gateway.api.backend import Backend
from gateway.api.blobs import BlobKey, BlobRef, Span
from gateway.api.errors import BackendError
from gateway.base.ids import RecordingId, UserId
from gateway.base.secret import Secret
from gateway.catalog.placements import Placement, placements_of
from gateway.catalog.recordings import RecordingRow, get_recording
from gateway.catalog.uploads import pieces_of
from gateway.crypto.chunked import MESSAGE_HEADER_SIZE, SEALED_CHUNK_SIZE, ChunkRange, Opener, chunk_range
from gateway.crypto.errors import CryptoError, MalformedBlob, Truncated
from gateway.crypto.keys import subkey
from gateway.crypto.preamble import PREAMBLE_SIZE, Preamble
from gateway.database import Database
from gateway.keyring import Keyring
from gateway.keyring.errors import LeafShredded, SlotShredded
from gateway.services.errors import NotFound, Unreadable
from gateway.spool import PieceMissing, Spool, SpoolFailed
from gateway.spool.pieces import SEALED_SLAB

log = structlog.get_logger()

_HEAD_SIZE = PREAMBLE_SIZE + MESSAGE_HEADER_SIZE


class ReadEnded(Exception):
    """
    The recording was erased while it was being read.
    """


class _Read:
    def __init__(self) -> None:
        self.is_ended = False


class LiveReads:
    """
    The streams of this process that are going out right now, so that an erasure can end them.
    """

    def __init__(self) -> None:
        self._of_recording: dict[RecordingId, set[_Read]] = defaultdict(set)
        self._of_user: dict[UserId, set[_Read]] = defaultdict(set)

    @asynccontextmanager
    async def following(self, recording: RecordingRow) -> AsyncIterator[_Read]:
        """
        Take part, for as long as the context is entered.
        """
        read = _Read()
        self._of_recording[recording.id].add(read)
        self._of_user[recording.user_id].add(read)
        try:
            yield read
        finally:
            self._leave(self._of_recording, recording.id, read)
            self._leave(self._of_user, recording.user_id, read)

    def end_all_of(self, recording_id: RecordingId) -> None:
        """
        End every stream of this recording at its next slab.
        """
        for read in self._of_recording.get(recording_id, ()):
            read.is_ended = True

    def end_all_of_user(self, user_id: UserId) -> None:
        """
        End every stream of this user's recordings.
        """
        for read in self._of_user.get(user_id, ()):
            read.is_ended = True

    @staticmethod
    def _leave(reads: dict, key: object, read: _Read) -> None:  # type: ignore[type-arg]
        reads[key].discard(read)
        if not reads[key]:
            del reads[key]


class SealedSource(Protocol):
    """
    A sealed file, ``preamble ‖ message``, of which any stretch can be read.
    """

    def read(self, start: int, length: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...


@dataclass(frozen=True, slots=True)
class _Blob:
    backend: Backend
    ref: BlobRef

    def read(self, start: int, length: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self.backend.read(self.ref, Span(start, length))


@dataclass(frozen=True, slots=True)
class _SpoolFile:
    spool: Spool
    recording_id: RecordingId
    fence: int

    def read(self, start: int, length: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self.spool.read(self.recording_id, self.fence, start=start, length=length)


@dataclass(frozen=True, slots=True)
class Stretch:
    """
    *length* bytes of a recording's plaintext from *start*, sealed as one message at *source*.

    *is_ended* is False for a piece that a crash or a lost connection cut short of its last chunk.
    *commitment* is the message's, where the catalog knows it: an older message of the same recording is not this one
    (FORMAT §3.13).
    """

    source: SealedSource
    start: int
    length: int
    is_ended: bool
    commitment: bytes | None = None


class PlaybackService:
    """
    Opens recordings.
    """

    def __init__(
        self,
        catalog_db: Database,
        keyring: Keyring,
        spool: Spool,
        backends: Mapping[str, Backend],
        reads: LiveReads,
    ) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._spool = spool
        self._backends = backends
        self._reads = reads

    async def open(self, recording: RecordingRow, *, start: int, length: int) -> AsyncIterator[bytes]:
        """
        Yield *length* bytes of the recording's plaintext from *start*, verified, in slabs.

        Raises:
            NotFound: it is erased.
            Unreadable: what lies at rest is missing or damaged.
            ReadEnded: it was erased meanwhile.
        """
        try:
            leaf = await self._keyring.leaf(recording.key_slot, recording.leaf_index)
        except (LeafShredded, SlotShredded):
            raise NotFound("there is no such recording") from None
        key = subkey(leaf, "audio")
        preamble = Preamble(recording.id, recording.key_slot, recording.leaf_index).to_bytes()
        end = start + length
        attempts_without_progress = 0
        async with self._reads.following(recording) as read:
            while start < end:
                reached = start
                try:
                    for stretch in await self._stretches(recording):
                        async for plaintext in _open_stretch(stretch, key, preamble, start, end):
                            if read.is_ended:
                                raise ReadEnded
                            yield plaintext
                            start += len(plaintext)
                except (PieceMissing, BackendError) as error:
                    # It may just have been placed, and its pieces removed: then it lies elsewhere now.
                    attempts_without_progress = 0 if start > reached else attempts_without_progress + 1
                    if attempts_without_progress > 2:
                        raise Unreadable(
                            "the recording's bytes cannot be read where they should lie"
                        ) from error
                    log.info("playback.moved", recording=str(recording.id))
                except (CryptoError, SpoolFailed) as error:
                    raise Unreadable(f"the recording's bytes at rest are damaged: {error}") from error

    async def _stretches(self, recording: RecordingRow) -> Sequence[Stretch]:
        """
        Return where the recording's bytes lie now, in order.
        """
        async with self._catalog.read() as connection:
            current = await get_recording(connection, recording.id)
            placements = await placements_of(connection, recording.id)
            pieces = await pieces_of(connection, recording.id)
        if current is None or not current.is_live:
            raise ReadEnded
        for placement in placements:
            if placement.state == "placed":
                blob = self._blob(placement)
                return [Stretch(blob, 0, recording.size, is_ended=True, commitment=current.commitment)]
        if sum(piece.length for piece in pieces) != recording.size:
            raise PieceMissing("the spool holds fewer bytes than the recording has")
        return [
            Stretch(
                _SpoolFile(self._spool, recording.id, piece.fence), piece.start, piece.length, piece.is_ended
            )
            for piece in pieces
        ]

    def _blob(self, placement: Placement) -> _Blob:
        ref = BlobRef(BlobKey(placement.blob_key), placement.locator)
        return _Blob(self._backends[placement.backend], ref)


async def _open_stretch(
    stretch: Stretch, key: Secret, preamble: bytes, start: int, end: int
) -> AsyncIterator[bytes]:
    """
    Yield the part of *stretch* that lies within the recording's bytes *start* to *end*.
    """
    first = max(start, stretch.start) - stretch.start
    length = min(end, stretch.start + stretch.length) - stretch.start - first
    if length <= 0:
        return
    # A piece that was cut has no last chunk; to the arithmetic it is a message that goes on.
    chunks = chunk_range(first, length, stretch.length if stretch.is_ended else stretch.length + 1)
    opener = await _opener(stretch.source, key, preamble)
    if stretch.commitment is not None and opener.commitment != stretch.commitment:
        raise MalformedBlob("the blob is another message of this recording than the one that was placed")
    async with stretch.source.read(PREAMBLE_SIZE + chunks.sealed_start, chunks.sealed_length) as sealed:
        async for plaintext in _open_chunks(sealed, opener, chunks):
            yield plaintext


async def _opener(source: SealedSource, key: Secret, preamble: bytes) -> Opener:
    async with source.read(0, _HEAD_SIZE) as parts:
        head = b"".join([part async for part in parts])
    if len(head) < _HEAD_SIZE:
        raise Truncated("the blob ends within its header")
    # What the catalog says is the context, so another recording's blob opens nothing here; the copy in the blob,
    # from which a lost catalog would be rebuilt, must say the same.
    if head[:PREAMBLE_SIZE] != preamble:
        raise MalformedBlob("the blob's preamble is not this recording's")
    return Opener(key, preamble, head[PREAMBLE_SIZE:])


async def _open_chunks(
    sealed: AsyncIterator[bytes], opener: Opener, chunks: ChunkRange
) -> AsyncIterator[bytes]:
    """
    Open the chunks of *sealed*, cut anywhere, and yield the plaintext that the range wants.
    """
    pending = bytearray()
    chunk = chunks.first_chunk
    last = chunk + chunks.chunks
    skip, left = chunks.skip, chunks.length
    async for part in sealed:
        pending += part
        whole = len(pending) // SEALED_CHUNK_SIZE
        if len(pending) < SEALED_SLAB or not whole:
            continue
        whole = min(whole, last - chunk - 1)
        plaintext = opener.open_chunks(chunk, bytes(pending[: whole * SEALED_CHUNK_SIZE]), ends_message=False)
        del pending[: whole * SEALED_CHUNK_SIZE]
        chunk += whole
        wanted = plaintext[skip : skip + left]
        skip = 0
        left -= len(wanted)
        if wanted:
            yield wanted
    plaintext = opener.open_chunks(chunk, pending, ends_message=chunks.ends_message)
    wanted = plaintext[skip : skip + left]
    left -= len(wanted)
    if left:
        raise Truncated(f"{left} bytes are missing")
    if wanted:
        yield wanted
