"""
Bringing a finished recording's blob from the spool to its home; from there it is copied to wherever else it is to be.

Every step may be cut by a crash and is taken again:
merge the pieces into one blob, put it, note that it is placed, forget the pieces, remove their files.
Whatever is found done is not done twice.
"""

import secrets

import structlog

from gateway.api import BlobSource
from gateway.base.clock import Clock
from gateway.base.ids import RecordingId
from gateway.catalog import placements as placed
from gateway.catalog import uploads as spooled
from gateway.catalog.jobs import enqueue_job
from gateway.catalog.placements import Placement
from gateway.catalog.recordings import RecordingRow, get_recording, set_commitment
from gateway.catalog.uploads import Piece
from gateway.crypto.errors import Truncated
from gateway.database import Database
from gateway.keyring import Keyring
from gateway.keyring.errors import LeafShredded, SlotShredded
from gateway.services.blobs import audio_key, blob_size, identity_of
from gateway.services.places import HOME, Places
from gateway.services.purging import PurgeService
from gateway.services.putting import BlobPutter, Landed, Overtaken
from gateway.services.work import WorkBell
from gateway.spool import PieceMissing, Spool, SpoolBlob, StoredPiece

log = structlog.get_logger()


class PlacementService:
    """
    Places blobs at home.
    """

    def __init__(
        self,
        catalog_db: Database,
        keyring: Keyring,
        spool: Spool,
        places: Places,
        putter: BlobPutter,
        purging: PurgeService,
        clock: Clock,
        bell: WorkBell,
    ) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._spool = spool
        self._places = places
        self._putter = putter
        self._purging = purging
        self._clock = clock
        self._bell = bell

    async def place(self, recording_id: RecordingId) -> None:
        """
        Bring the recording home, and call for the copies that are to be made of it; done again, it changes nothing.

        Raises:
            BackendError: the home refused; its disposition says what to do.
            CryptoError: a piece in the spool is damaged.
            PieceMissing: a piece is not there.
        """
        async with self._catalog.read() as connection:
            recording = await get_recording(connection, recording_id)
            everywhere = await placed.placements_of(connection, recording_id)
        if recording is None:
            return
        if not recording.is_live:
            # It was erased meanwhile; an attempt that died may have left a blob behind the purge's back.
            await self._purging.remove_blobs(recording_id)
            return
        for placement in everywhere:
            is_wanted = placement.backend == HOME and placement.state == "pending"
            if is_wanted and not await self._bring(recording, placement):
                return
        await self._clear_spool(recording_id)

    async def _bring(self, recording: RecordingRow, placement: Placement) -> bool:
        """
        Put the blob of *placement*; False if the recording was erased meanwhile.
        """
        size = blob_size(recording)
        async with self._places.at(HOME) as home:
            landed = await self._putter.find(home, placement, size)
            if landed is None:
                piece = await self._single_piece(recording)
                if piece is None:
                    return False
                blob: BlobSource = SpoolBlob(self._spool, recording.id, piece.fence)
                if blob.size != size:
                    raise Truncated(f"the blob in the spool has {blob.size} bytes, not {size}")
                try:
                    landed = await self._putter.put(home, recording, placement, blob)
                except (Overtaken, LeafShredded, SlotShredded):
                    log.info("placement.overtaken", recording=str(recording.id))
                    return True
            await self._note_placed(placement, landed, size)
        return True

    async def _single_piece(self, recording: RecordingRow) -> Piece | None:
        """
        Return the one piece that is the recording's blob, merging several into it first; None if it was erased meanwhile.

        Every chunk was opened once before the blob is placed: the spool's copy goes after that.
        """
        async with self._catalog.read() as connection:
            pieces = await spooled.pieces_of(connection, recording.id)
        if sum(piece.length for piece in pieces) != recording.size:
            raise PieceMissing("the spool holds fewer bytes than the recording has")
        is_blob = len(pieces) == 1 and pieces[0].is_ended
        if is_blob and recording.commitment is not None:
            return pieces[0]
        identity = identity_of(recording)
        try:
            key = await audio_key(self._keyring, recording)
        except (LeafShredded, SlotShredded):
            return None
        stored = [StoredPiece(piece.fence, piece.length, piece.is_ended) for piece in pieces]
        if is_blob:
            commitment = await self._spool.verify_piece(identity, key, stored[0])
            async with self._catalog.write() as connection:
                await set_commitment(connection, recording.id, commitment)
            return pieces[0]
        # Never the number of another attempt's file: one that lost its lease may be at the same work still.
        into = max((piece.fence for piece in pieces), default=0) + 1 + secrets.randbelow(2**48)
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
        return blob

    async def _note_placed(self, placement: Placement, landed: Landed, size: int) -> None:
        async with self._catalog.write() as connection:
            is_placed = await placed.mark_placed(
                connection,
                placement.blob_key,
                locator=landed.ref.locator,
                sealed_size=size,
                digest=landed.digest,
                at=self._clock.now_ms(),
            )
            everywhere = await placed.placements_of(connection, placement.recording_id)
            copies = [p for p in everywhere if p.backend != HOME and p.state == "pending"]
            if is_placed:
                for copy in copies:
                    await enqueue_job(connection, "copy", copy.blob_key)
            else:
                # Two attempts may be at it where one has lost its lease: the other's blob is the same one, and stays.
                is_placed = any(p.blob_key == placement.blob_key and p.state == "placed" for p in everywhere)
        if copies:
            self._bell.ring()
        if not is_placed:
            log.info("placement.too_late", recording=str(placement.recording_id), place=placement.backend)
            async with self._places.at(HOME) as home:
                await home.delete(landed.ref)

    async def _clear_spool(self, recording_id: RecordingId) -> None:
        async with self._catalog.write() as connection:
            everywhere = await placed.placements_of(connection, recording_id)
            if any(p.backend == HOME and p.state == "pending" for p in everywhere):
                return
            await spooled.delete_pieces(connection, recording_id)
        # Not only what the rows named: a crash after a merge may have left the merged pieces' files.
        await self._spool.remove_all_of(recording_id)
