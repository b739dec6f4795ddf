"""
Bringing a finished recording's blob from the spool to its home; from there it is copied to wherever else it is to be.

Every step may be cut by a crash and is taken again:
merge the pieces into one blob, put it, note that it is placed, forget the pieces, remove their files.
Whatever is found done is not done twice.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from gateway.api import Backend, BlobSource
from gateway.base.batches import Batches
from gateway.base.clock import Clock
from gateway.base.ids import RecordingId
from gateway.catalog import placements as placed
from gateway.catalog import uploads as spooled
from gateway.catalog.jobs import enqueue_jobs
from gateway.catalog.placements import Placement
from gateway.catalog.recordings import RecordingRow, set_commitment, set_commitments
from gateway.catalog.uploads import FIRST_FENCE, Piece
from gateway.crypto.errors import Truncated
from gateway.database import Database, DatabaseUnavailable
from gateway.keyring import Keyring
from gateway.keyring.errors import LeafShredded, SlotShredded
from gateway.services.blobs import audio_key, blob_size, identity_of
from gateway.services.places import HOME, Places
from gateway.services.purging import PurgeService
from gateway.services.putting import BlobPutter, Landed, Overtaken
from gateway.services.views import RecordingViews
from gateway.services.work import WorkBell
from gateway.spool import PieceMissing, Spool, SpoolBlob, StoredPiece

log = structlog.get_logger()


_MOST_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class _Landing:
    """
    A blob that has come home; *commitment* is what the catalog does not know yet.
    """

    recording_id: RecordingId
    arrived: placed.Arrived
    commitment: bytes | None


@dataclass(frozen=True, slots=True)
class _Noted:
    """
    Whether the blob that landed is wanted still, and whether nothing in the spool is any more.
    """

    is_wanted: bool
    is_spool_free: bool


class PlacementService:
    """
    Places blobs at home.

    What is asked and noted for several at the same time shares a transaction.
    """

    def __init__(
        self,
        catalog_db: Database,
        views: RecordingViews,
        keyring: Keyring,
        spool: Spool,
        places: Places,
        putter: BlobPutter,
        purging: PurgeService,
        clock: Clock,
        bell: WorkBell,
    ) -> None:
        self._catalog = catalog_db
        self._views = views
        self._keyring = keyring
        self._spool = spool
        self._places = places
        self._putter = putter
        self._purging = purging
        self._clock = clock
        self._bell = bell
        self._landings = Batches(self._note_all, most=_MOST_AT_ONCE, for_all=(DatabaseUnavailable,))

    async def place(self, recording_id: RecordingId) -> None:
        """
        Bring the recording home, and call for the copies that are to be made of it; done again, it changes nothing.

        Raises:
            BackendError: the home refused; its disposition says what to do.
            CryptoError: a piece in the spool is damaged.
            PieceMissing: a piece is not there.
        """
        view = await self._views.view(recording_id)
        recording = view.recording
        if recording is None:
            return
        if not recording.is_live:
            # It was erased meanwhile; an attempt that died may have left a blob behind the purge's back.
            await self._purging.remove_blobs(recording_id)
            return
        pending = [p for p in view.placements if p.backend == HOME and p.state == "pending"]
        if pending:
            await self._bring(recording, pending[0], view.pieces)
        else:
            await self._clear_spool(recording_id)

    async def _bring(self, recording: RecordingRow, placement: Placement, pieces: Sequence[Piece]) -> None:
        """
        Put the blob of *placement*, and empty the spool of it.
        """
        size = blob_size(recording)
        async with self._places.at(HOME) as home:
            try:
                brought = await self._brought(home, recording, placement, pieces)
            except (Overtaken, LeafShredded, SlotShredded):
                log.info("placement.overtaken", recording=str(recording.id))
                await self._clear_spool(recording.id)
                return
        if brought is None:
            return
        landed, commitment = brought
        arrived = placed.Arrived(placement.blob_key, landed.ref.locator, size, landed.digest)
        noted = await self._landings.submit(_Landing(recording.id, arrived, commitment))
        if not noted.is_wanted:
            log.info("placement.too_late", recording=str(recording.id), place=placement.backend)
            async with self._places.at(HOME) as home:
                await home.delete(landed.ref)
        if not noted.is_spool_free:
            return
        if [piece.fence for piece in pieces] == [FIRST_FENCE] and pieces[0].is_ended:
            await self._spool.remove(recording.id, [FIRST_FENCE])
        else:
            # Not only what the rows named: a crash after a merge may have left the merged pieces' files.
            await self._spool.remove_all_of(recording.id)

    async def _brought(
        self, home: Backend, recording: RecordingRow, placement: Placement, pieces: Sequence[Piece]
    ) -> tuple[Landed, bytes | None] | None:
        """
        Put the blob unless it is there, and return it with its commitment if that is new; None if it was erased meanwhile.
        """
        size = blob_size(recording)
        if home.resumable is None and recording.commitment is not None and _are_blob(pieces):
            # A put says itself that the key is taken; only what has to be made first is asked for before.
            with suppress(PieceMissing):
                return await self._put(home, recording, placement, pieces[0], is_checked=False), None
        landed = await self._putter.find(home, placement, size)
        if landed is not None:
            known = recording.commitment is not None
            return landed, None if known else await self._commitment_left(recording, pieces)
        found = await self._single_piece(recording, pieces)
        if found is None:
            return None
        piece, commitment = found
        is_checked = commitment is not None
        return await self._put(home, recording, placement, piece, is_checked=is_checked), commitment

    async def _put(
        self, home: Backend, recording: RecordingRow, placement: Placement, piece: Piece, *, is_checked: bool
    ) -> Landed:
        blob = self._blob(recording, piece, is_checked=is_checked)
        if blob.size != blob_size(recording):
            raise Truncated(f"the blob in the spool has {blob.size} bytes, not {blob_size(recording)}")
        return await self._putter.put(home, recording, placement, blob)

    def _blob(self, recording: RecordingRow, piece: Piece, *, is_checked: bool) -> BlobSource:
        blob = SpoolBlob(self._spool, recording.id, piece.fence)
        if is_checked:
            return blob

        async def check() -> None:
            key = await audio_key(self._keyring, recording)
            await self._spool.verify_piece(identity_of(recording), key, _stored(piece))

        return _CheckedBlob(blob, check)

    async def _commitment_left(self, recording: RecordingRow, pieces: Sequence[Piece]) -> bytes | None:
        """
        Return the commitment of a blob that came home before a crash, from the spool; None if it is no longer there.
        """
        if not _are_blob(pieces):
            return None
        try:
            key = await audio_key(self._keyring, recording)
            return await self._spool.verify_piece(identity_of(recording), key, _stored(pieces[0]))
        except (PieceMissing, LeafShredded, SlotShredded):
            return None

    async def _single_piece(
        self, recording: RecordingRow, pieces: Sequence[Piece]
    ) -> tuple[Piece, bytes | None] | None:
        """
        Return the one piece that is the recording's blob, merging several into it first, and its commitment if it is new.

        None if the recording was erased meanwhile.
        """
        if sum(piece.length for piece in pieces) != recording.size:
            raise PieceMissing("the spool holds fewer bytes than the recording has")
        if _are_blob(pieces) and recording.commitment is not None:
            return pieces[0], None
        identity = identity_of(recording)
        try:
            key = await audio_key(self._keyring, recording)
        except (LeafShredded, SlotShredded):
            return None
        if _are_blob(pieces):
            return pieces[0], await self._spool.verify_piece(identity, key, _stored(pieces[0]))
        # Never the number of another attempt's file: one that lost its lease may be at the same work still.
        into = max((piece.fence for piece in pieces), default=0) + 1 + secrets.randbelow(2**48)
        stored = [_stored(piece) for piece in pieces]
        merged = await self._spool.merge_pieces(identity, key, stored, into=into)
        blob = Piece(merged.fence, 0, merged.length, is_ended=True)
        commitment = await self._spool.commitment_of(recording.id, blob.fence)
        async with self._catalog.write() as connection:
            is_live = await set_commitment(connection, recording.id, commitment)
            if is_live:
                if await spooled.pieces_of(connection, recording.id) != pieces:
                    raise PieceMissing("another attempt has merged the pieces meanwhile")
                await spooled.delete_pieces(connection, recording.id)
                await spooled.insert_piece(connection, recording.id, blob)
        if not is_live:
            # Whoever erased it has removed the pieces, and does not know of what they were merged into.
            await self._spool.remove_all_of(recording.id)
            return None
        await self._spool.remove(recording.id, [piece.fence for piece in pieces])
        return blob, None

    async def _note_all(self, landings: Sequence[_Landing]) -> list[_Noted]:
        """
        Note that blobs have come home, forget their pieces, and call for copies.
        """
        ids = [landing.recording_id for landing in landings]
        keys = {landing.arrived.blob_key for landing in landings}
        commitments = {one.recording_id: one.commitment for one in landings if one.commitment is not None}
        async with self._catalog.write() as connection:
            if commitments:
                # Recordings before placements, as an erasure takes them.
                await set_commitments(connection, commitments)
            everywhere = await placed.placements_of_all(connection, ids, lock=True)
            states = {p.blob_key: p.state for placements in everywhere.values() for p in placements}
            pending = [p for placements in everywhere.values() for p in placements if p.state == "pending"]
            new = [one for one in landings if states.get(one.arrived.blob_key) == "pending"]
            if new:
                await placed.mark_all_placed(
                    connection, [one.arrived for one in new], at=self._clock.now_ms()
                )
            home_now = {one.recording_id for one in new}
            copies = [p.blob_key for p in pending if p.backend != HOME and p.recording_id in home_now]
            if copies:
                await enqueue_jobs(connection, "copy", copies)
            waiting = {p.recording_id for p in pending if p.backend == HOME and p.blob_key not in keys}
            await spooled.delete_pieces(connection, *(one for one in ids if one not in waiting))
        if copies:
            self._bell.ring()
        # Two attempts may be at it where one has lost its lease: the other's blob is the same one, and stays.
        return [
            _Noted(
                is_wanted=states.get(one.arrived.blob_key) in ("pending", "placed"),
                is_spool_free=one.recording_id not in waiting,
            )
            for one in landings
        ]

    async def close(self) -> None:
        """
        Let what is being noted come to its end.
        """
        await self._landings.close()

    async def _clear_spool(self, recording_id: RecordingId) -> None:
        async with self._catalog.write() as connection:
            everywhere = await placed.placements_of(connection, recording_id)
            if any(p.backend == HOME and p.state == "pending" for p in everywhere):
                return
            await spooled.delete_pieces(connection, recording_id)
        await self._spool.remove_all_of(recording_id)


class _CheckedBlob:
    """
    A blob in the spool of which every chunk is opened before any byte of it is copied: the spool's file goes after that.

    A home that takes over the file itself copies nothing, and there is nothing to be found out by reading it.
    """

    def __init__(self, blob: SpoolBlob, check: Callable[[], Awaitable[None]]) -> None:
        self._blob = blob
        self._check = check
        self._is_checked = False

    @property
    def size(self) -> int:
        return self._blob.size

    @property
    def path(self) -> Path | None:
        return self._blob.path

    async def sha256(self) -> bytes:
        await self._checked()
        return await self._blob.sha256()

    @asynccontextmanager
    async def open(self, start: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        await self._checked()
        async with self._blob.open(start) as pieces:
            yield pieces

    async def _checked(self) -> None:
        if not self._is_checked:
            await self._check()
            self._is_checked = True


def _are_blob(pieces: Sequence[Piece]) -> bool:
    return len(pieces) == 1 and pieces[0].is_ended


def _stored(piece: Piece) -> StoredPiece:
    return StoredPiece(piece.fence, piece.length, piece.is_ended)
