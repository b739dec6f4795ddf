"""
Bringing a finished recording's blob from the spool to its home.

Every step may be cut by a crash and is taken again:
merge the pieces into one blob, put it, note that it is placed, forget the pieces, remove their files.
Whatever is found done is not done twice.
"""

import secrets
from collections.abc import Mapping
from typing import Final

import structlog

from gateway.api.backend import Backend
from gateway.api.blobs import BlobKey, BlobRef, BlobSource
from gateway.api.errors import Conflict
from gateway.base.clock import Clock
from gateway.base.ids import RecordingId
from gateway.catalog import placements as placed
from gateway.catalog import uploads as spooled
from gateway.catalog.placements import Placement
from gateway.catalog.recordings import RecordingRow, get_recording, set_commitment
from gateway.catalog.uploads import Piece
from gateway.crypto.chunked import sealed_size
from gateway.crypto.errors import Truncated
from gateway.crypto.keys import subkey
from gateway.crypto.preamble import PREAMBLE_SIZE, Preamble
from gateway.database import Database
from gateway.keyring import Keyring
from gateway.keyring.errors import LeafShredded, SlotShredded
from gateway.spool import PieceMissing, Spool, SpoolBlob, StoredPiece

log = structlog.get_logger()

HOME: Final = "home"
"""The operator's own backend, as placements name it."""


class PlacementService:
    """
    Places blobs, and takes away what it placed too late.
    """

    def __init__(
        self,
        catalog_db: Database,
        keyring: Keyring,
        spool: Spool,
        backends: Mapping[str, Backend],
        clock: Clock,
    ) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._spool = spool
        self._backends = backends
        self._clock = clock

    async def place(self, recording_id: RecordingId) -> None:
        """
        Place the recording wherever it is still to go; done again, it changes nothing.

        Raises:
            BackendError: a backend refused; its disposition says what to do.
            CryptoError: a piece in the spool is damaged.
            PieceMissing: a piece is not there.
        """
        async with self._catalog.read() as connection:
            recording = await get_recording(connection, recording_id)
        if recording is None:
            return
        if not recording.is_live:
            # It was erased meanwhile; an attempt that died may have left a blob behind the purge's back.
            await self.remove_blobs(recording_id)
            return
        async with self._catalog.read() as connection:
            pending = [
                p for p in await placed.placements_of(connection, recording_id) if p.state == "pending"
            ]
        pending = [p for p in pending if not await self._is_there_already(p, recording)]
        if pending:
            piece = await self._single_piece(recording)
            if piece is None:
                return
            blob = SpoolBlob(self._spool, recording_id, piece.fence)
            if blob.size != _blob_size(recording):
                raise Truncated(f"the blob in the spool has {blob.size} bytes, not {_blob_size(recording)}")
            for placement in pending:
                await self._put(placement, blob)
        await self._clear_spool(recording_id)

    async def remove_blobs(self, recording_id: RecordingId) -> list[Placement]:
        """
        Delete the recording's blob at every backend and its pieces in the spool; return where it was.

        Only for a recording whose key is shredded: deleting comes after shredding, never instead of it.

        Raises:
            BackendError: a backend refused; what others acknowledged is noted.
        """
        async with self._catalog.read() as connection:
            everywhere = await placed.placements_of(connection, recording_id)
        for placement in everywhere:
            backend = self._backends[placement.backend]
            key = BlobKey(placement.blob_key)
            ref = BlobRef(key, placement.locator) if placement.locator else await backend.find(key)
            if ref is not None:
                await backend.delete(ref)
            async with self._catalog.write() as connection:
                await placed.mark_placement_purged(connection, key, at=self._clock.now_ms())
        async with self._catalog.write() as connection:
            await spooled.delete_pieces(connection, recording_id)
        await self._spool.remove_all_of(recording_id)
        return everywhere

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
        identity = Preamble(recording.id, recording.key_slot, recording.leaf_index)
        try:
            leaf = await self._keyring.leaf(recording.key_slot, recording.leaf_index)
        except (LeafShredded, SlotShredded):
            return None
        key = subkey(leaf, "audio")
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

    async def _is_there_already(self, placement: Placement, recording: RecordingRow) -> bool:
        """
        Note a blob as placed that an earlier attempt, or the time before an old catalog was restored, has brought.

        Keys are random and used once, so what lies under one is this recording's blob; its size says that it is whole.
        """
        backend = self._backends[placement.backend]
        found = await backend.find(BlobKey(placement.blob_key))
        size = _blob_size(recording)
        if found is None or (await backend.stat(found)).size != size:
            return False
        await self._note_placed(placement, found, size)
        return True

    async def _put(self, placement: Placement, blob: BlobSource) -> None:
        backend = self._backends[placement.backend]
        ref = BlobRef(BlobKey(placement.blob_key), placement.locator)
        try:
            ref = await backend.put(ref.key, blob)
        except Conflict:
            # An earlier attempt got through and its answer was lost: keys are random and used once.
            found = await backend.find(ref.key)
            if found is None or (await backend.stat(found)).size != blob.size:
                raise
            ref = found
        await self._note_placed(placement, ref, blob.size)

    async def _note_placed(self, placement: Placement, ref: BlobRef, size: int) -> None:
        async with self._catalog.write() as connection:
            is_placed = await placed.mark_placed(
                connection,
                placement.blob_key,
                locator=ref.locator,
                sealed_size=size,
                at=self._clock.now_ms(),
            )
            if not is_placed:
                # Two attempts may be at it where one has lost its lease: the other's blob is the same one, and stays.
                others = await placed.placements_of(connection, placement.recording_id)
                is_placed = any(p.blob_key == placement.blob_key and p.state == "placed" for p in others)
        if not is_placed:
            log.info("placement.too_late", recording=str(placement.recording_id), backend=placement.backend)
            await self._backends[placement.backend].delete(ref)

    async def _clear_spool(self, recording_id: RecordingId) -> None:
        async with self._catalog.write() as connection:
            if any(p.state == "pending" for p in await placed.placements_of(connection, recording_id)):
                return
            await spooled.delete_pieces(connection, recording_id)
        # Not only what the rows named: a crash after a merge may have left the merged pieces' files.
        await self._spool.remove_all_of(recording_id)


def _blob_size(recording: RecordingRow) -> int:
    return PREAMBLE_SIZE + sealed_size(recording.size)
