"""
Uploads: from the first byte of a phone to a finished recording.

An upload offset is answered only once its bytes are durable.
An append is recorded in two transactions: one says that it began, the other what it brought.
A crash between them leaves an *unsettled* append; whoever comes next looks at its file, counts the whole verified chunks,
and goes on from there.
The transaction that records the last byte makes the recording and its placement job as well.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from gateway.base.clock import Clock
from gateway.base.ids import RecordingId
from gateway.catalog import uploads as catalog
from gateway.catalog.jobs import enqueue_job
from gateway.catalog.recordings import RecordingRow, insert_recording
from gateway.catalog.uploads import Piece, Upload
from gateway.catalog.users import User, lock_active_user
from gateway.crypto.errors import CryptoError
from gateway.crypto.keys import subkey
from gateway.crypto.preamble import Preamble
from gateway.database import Connection, Database
from gateway.keyring import Keyring
from gateway.services.accounts import refuse_leaving
from gateway.services.bodies import Append
from gateway.services.details import Details, open_details
from gateway.services.errors import (
    Gone,
    NotFound,
    Superseded,
    TooLong,
)
from gateway.services.expiry import UploadExpiry
from gateway.services.holders import Holder, Holders
from gateway.services.new_uploads import NewUploads
from gateway.services.receiving import Ending, check_room, receive, settle
from gateway.services.routing import DefaultRoute, insert_placements
from gateway.services.work import WorkBell
from gateway.settings import Uploads as Limits
from gateway.spool import PieceWriter, SettledPiece, Spool

log = structlog.get_logger()


class UploadService:
    """
    Creates uploads, appends to them, ends them; tells *on_received* how many bytes have become durable, each time,
    and *on_stored* of each recording.
    """

    def __init__(
        self,
        catalog_db: Database,
        keyring: Keyring,
        new: NewUploads,
        spool: Spool,
        clock: Clock,
        bell: WorkBell,
        holders: Holders,
        expiry: UploadExpiry,
        limits: Limits,
        *,
        default_route: DefaultRoute = "home",
        on_received: Callable[[int], object] = lambda size: None,
        on_stored: Callable[[], object] = lambda: None,
    ) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._new = new
        self._spool = spool
        self._clock = clock
        self._bell = bell
        self._limits = limits
        self._default_route: DefaultRoute = default_route
        self._on_received = on_received
        self._on_stored = on_stored
        self._holders = holders
        self._expiry = expiry

    async def create(
        self, user: User, *, length: int | None, details: Details, idempotency_key: str | None
    ) -> Upload:
        """
        Begin an upload; one of length 0 is complete at once.

        The same *idempotency_key* of the same user gives back the upload that it began.

        Raises:
            Leaving: the user is about to be erased.
            TooLong: *length* passes the operator's limit.
            TooManyUploads: the user has too many unfinished ones.
            OutOfRoom: the spool is full.
        """
        refuse_leaving(user)
        idempotency_hash = None
        if idempotency_key is not None:
            idempotency_hash = hashlib.sha256(
                f"{user.id}\n{idempotency_key}".encode("utf-8", "surrogateescape")
            ).digest()
            async with self._catalog.read() as connection:
                known = await catalog.find_upload(connection, user.id, idempotency_hash)
            if known is not None:
                return known
        upload, _ = await self._new.begin(user, length=length, details=details)
        async with self._catalog.write() as connection:
            if not await lock_active_user(connection, user.id):
                raise NotFound("there is no such user any more")
            if idempotency_hash is not None:
                known = await catalog.find_upload(connection, user.id, idempotency_hash)
                if known is not None:
                    return known
            await self._new.refuse_too_many(connection, user)
            await catalog.insert_upload(connection, upload, idempotency_hash=idempotency_hash)
            is_complete = length == 0 and await self._complete(connection, upload)
        if not is_complete:
            return upload
        self._on_stored()
        return await self._reload(upload)

    async def get(self, user: User, upload_id: RecordingId) -> Upload:
        """
        Return the upload as it stands; a request that is writing to it lets go first.

        Raises:
            NotFound: there is none, or it is another user's, or it was terminated.
            Gone: it expired.
        """
        async with self._hold(user, upload_id):
            return await self._settled(user, upload_id)

    async def details_of(self, upload: Upload) -> Details | None:
        """
        Return what the sender said about an unfinished upload; None once its row no longer holds it, or if it is damaged.
        """
        if upload.details is None:
            return None
        leaf = await self._keyring.leaf(upload.key_slot, upload.leaf_index)
        try:
            return open_details(
                upload.details,
                leaf,
                recording_id=upload.id,
                slot=upload.key_slot,
                index=upload.leaf_index,
            )
        except (CryptoError, ValueError):
            # Its bytes are worth more than what was said about them: the upload goes on.
            log.error("details.unreadable", recording=str(upload.id))
            return None

    async def append(self, user: User, upload_id: RecordingId, request: Append) -> Upload:
        """
        Add the body's bytes and return the upload as it then stands.

        If the body ends early, everything that came is kept, unless it carried a checksum.

        Raises:
            Leaving: the user is about to be erased.
            NotFound, Gone: as `get`.
            OffsetMismatch: the upload ends elsewhere.
            TooLong: more bytes than declared or allowed; nothing of this body is kept.
            LengthConflict: *upload_length* contradicts what is known.
            ChecksumMismatch: nothing of this body is kept.
            OutOfRoom, SpoolFailed: the disk is full or failing; what was durably written before counts.
            Superseded: a newcomer has taken the upload.
            BodyCut, BodyIdle: the body did not end; what came is durable.
        """
        refuse_leaving(user)
        async with self._hold(user, upload_id) as holder:
            upload = await self._settled(user, upload_id)
            declared = request.checked(upload.received, upload.length, limit=self._limits.max_length)
            if not upload.is_open:
                if await holder.read(request.body.read(), idle_timeout_s=self._limits.idle_timeout_s):
                    raise TooLong("the upload is complete", limit=upload.received)
                return upload
            if request.body_length == 0 and declared is None and request.checksum is None:
                return upload
            check_room(self._spool)
            fence = upload.fence + 1
            async with self._catalog.write() as connection:
                if not await catalog.begin_append(
                    connection,
                    upload.id,
                    expected_fence=upload.fence,
                    is_atomic=request.checksum is not None,
                    # With a checksum nothing of the request counts until all of it does.
                    length=declared if request.checksum is None else None,
                ):
                    raise Superseded("another request has taken this upload over")
            length = upload.length if declared is None else declared
            key = subkey(await self._keyring.leaf(upload.key_slot, upload.leaf_index), "audio")
            writer = self._spool.begin_piece(_identity(upload), fence, key)
            limit = self._limits.max_length if length is None else length
            await self._receive(holder, upload, fence, writer, request, limit=limit)
            return await self._reload(upload)

    async def terminate(self, user: User, upload_id: RecordingId) -> bool:
        """
        End an unfinished upload for good; False if it had become a recording already.

        Its key and its bytes are gone once the job that this enqueues is done.

        Raises:
            NotFound, Gone: as `get`.
        """
        async with self._hold(user, upload_id):
            upload = await self._own(user, upload_id)
            if upload.state == "complete":
                return False
            now = self._clock.now_ms()
            async with self._catalog.write() as connection:
                if not await catalog.end_upload(
                    connection,
                    upload_id,
                    "terminated",
                    expires_at=now + self._limits.ended_memory_s * 1000,
                ):
                    raise Superseded("another request has ended this upload")
                await enqueue_job(connection, "discard", str(upload_id))
        self._bell.ring()
        return True

    def interrupt_all(self) -> None:
        """
        End every append under way; what came counts. For a daemon that stops.
        """
        self._holders.request_release_of_all()

    async def _receive(
        self,
        holder: Holder,
        upload: Upload,
        fence: int,
        writer: PieceWriter,
        request: Append,
        *,
        limit: int,
    ) -> None:
        """
        Take the body, then record what there is of it, whatever ended it.
        """
        ending = await receive(
            holder,
            writer,
            request,
            received=upload.received,
            limit=limit,
            idle_timeout_s=self._limits.idle_timeout_s,
        )
        # Cancelled (the daemon is stopping) or not: what was received is recorded before anything else happens.
        recording = asyncio.ensure_future(self._record(upload, fence, writer, request, ending))
        try:
            await asyncio.shield(recording)
        except asyncio.CancelledError:
            await asyncio.wait([recording])
            raise
        if ending.interruption is not None:
            raise ending.interruption

    async def _record(
        self, upload: Upload, fence: int, writer: PieceWriter, request: Append, ending: Ending
    ) -> None:
        """
        Make durable what *writer* took, and move the offset.
        """
        settled, failure = await settle(writer, request, ending)
        counts_wholly = request.checksum is not None and ending.keeps and failure is None
        declared = request.upload_length if counts_wholly else None
        if not await self._settle(upload, fence, settled, length=declared):
            await self._leave(upload, fence, writer)
            raise Superseded("another request has taken this upload over")
        if settled is None:
            await writer.discard()
        if failure is not None:
            raise failure

    async def _leave(self, upload: Upload, fence: int, writer: PieceWriter) -> None:
        """
        Leave the file of an append that was passed by to whoever counted it; what nobody counts is removed.
        """
        async with self._catalog.read() as connection:
            counted = {piece.fence for piece in await catalog.pieces_of(connection, upload.id)}
        if fence in counted:
            writer.abandon()
        else:
            await writer.discard()

    async def _settle(
        self, upload: Upload, fence: int, settled: SettledPiece | None, *, length: int | None = None
    ) -> bool:
        """
        Record what the append under *fence* brought, perhaps the upload's *length* too; the last byte makes the recording.
        """
        piece = None
        if settled is not None:
            piece = Piece(fence, upload.received, settled.length, settled.is_ended)
        deadline = self._clock.now_ms() + self._limits.unfinished_lifetime_s * 1000
        async with self._catalog.write() as connection:
            if not await lock_active_user(connection, upload.user_id):
                return False
            if not await catalog.settle_append(
                connection, upload.id, piece, fence=fence, expires_at=deadline, length=length
            ):
                return False
            current = await catalog.get_upload(connection, upload.id)
            assert current is not None
            # One piece from the first byte to the last is the blob as it will be placed.
            commitment = None if settled is None or upload.received else settled.commitment
            is_complete = current.received == current.length and await self._complete(
                connection, current, commitment=commitment
            )
        if settled is not None:
            self._on_received(settled.length)
        if is_complete:
            self._on_stored()
            self._bell.ring()
        return True

    async def _complete(
        self, connection: Connection, upload: Upload, *, commitment: bytes | None = None
    ) -> bool:
        """
        Make the recording and its work, in the transaction that found the upload complete.
        """
        now = self._clock.now_ms()
        if not await catalog.end_upload(
            connection, upload.id, "complete", expires_at=now + self._limits.finished_lifetime_s * 1000
        ):
            return False
        await insert_recording(
            connection,
            RecordingRow(
                id=upload.id,
                user_id=upload.user_id,
                key_slot=upload.key_slot,
                leaf_index=upload.leaf_index,
                state="live",
                size=upload.received,
                stored_at=now,
                details=upload.details,
                details_revision=0,
                commitment=commitment,
            ),
        )
        await insert_placements(connection, upload.id, upload.user_id, default=self._default_route, at=now)
        await enqueue_job(connection, "place", str(upload.id))
        return True

    @asynccontextmanager
    async def _hold(self, user: User, upload_id: RecordingId) -> AsyncIterator[Holder]:
        """
        Take the user's upload; whoever has no right to it disturbs nobody.
        """
        await self._own(user, upload_id)
        async with self._holders.hold(upload_id) as holder:
            yield holder

    async def _settled(self, user: User, upload_id: RecordingId) -> Upload:
        """
        Return the user's upload with nothing unsettled, looking at what a crash left where need be.
        """
        upload = await self._own(user, upload_id)
        while upload.is_open and upload.unsettled_fence is not None:
            fence = upload.unsettled_fence
            key = subkey(await self._keyring.leaf(upload.key_slot, upload.leaf_index), "audio")
            left = await self._spool.settle_piece(
                _identity(upload), fence, key, is_atomic=upload.unsettled_is_atomic
            )
            log.info("upload.settled", upload=str(upload_id), kept=left.length if left else 0)
            await self._settle(upload, fence, left)
            upload = await self._own(user, upload_id)
        if upload.is_open and upload.received:
            await self._refuse_lost_pieces(upload)
        return upload

    async def _refuse_lost_pieces(self, upload: Upload) -> None:
        """
        Expire an upload whose bytes are no longer in the spool, as after an older catalog was restored.

        Its offset would be a lie, and going on from there would end in a recording that nobody can hear.
        """
        async with self._catalog.read() as connection:
            pieces = await catalog.pieces_of(connection, upload.id)
        if await self._spool.has_all(upload.id, [piece.fence for piece in pieces]):
            return
        log.warning("upload.pieces_lost", upload=str(upload.id))
        await self._expiry.expire(upload.id)
        raise Gone("the bytes of this upload are no longer here; begin it anew")

    async def _own(self, user: User, upload_id: RecordingId) -> Upload:
        async with self._catalog.read() as connection:
            upload = await catalog.get_upload(connection, upload_id)
        if upload is None or upload.user_id != user.id or upload.state == "terminated":
            raise NotFound("there is no such upload")
        if upload.state == "expired" or (upload.is_open and upload.expires_at <= self._clock.now_ms()):
            raise Gone("this upload was not finished in time and has expired")
        return upload

    async def _reload(self, upload: Upload) -> Upload:
        async with self._catalog.read() as connection:
            current = await catalog.get_upload(connection, upload.id)
        if current is None or current.state == "terminated":
            raise NotFound("there is no such upload any more")
        return current


def _identity(upload: Upload) -> Preamble:
    return Preamble(upload.id, upload.key_slot, upload.leaf_index)
