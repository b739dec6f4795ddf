"""
Uploads that come whole in the request that creates them: one transaction, shared with all that end at the same time.

Nothing of such an upload is in the catalog while its body comes: until the answer nobody knows its address, so after a
crash or a cut connection nobody could go on with it. What did not become whole for another reason is told to the sender
with an address, and is recorded as an unfinished upload before.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.base.batches import Batches
from gateway.base.clock import Clock
from gateway.catalog.arrivals import Arrival, insert_arrivals
from gateway.catalog.recordings import RecordingRow
from gateway.catalog.uploads import FIRST_FENCE, Piece, Upload, insert_piece, insert_upload
from gateway.catalog.users import User, lock_active_user, lock_active_users
from gateway.crypto.keys import subkey
from gateway.crypto.preamble import Preamble
from gateway.database import Database, DatabaseUnavailable
from gateway.services.accounts import refuse_leaving
from gateway.services.bodies import Append, BodyCut
from gateway.services.details import Details
from gateway.services.errors import NotFound, TooManyUploads
from gateway.services.holders import Holders
from gateway.services.new_uploads import NewUploads
from gateway.services.receiving import Ending, receive, refusal_of, settle
from gateway.services.routing import DefaultRoute, places_of, routes_in_force
from gateway.services.work import WorkBell
from gateway.settings import Uploads as Limits
from gateway.spool import PieceWriter, SettledPiece, Spool, SpoolFailed, SpoolFull

_MOST_IN_A_TRANSACTION: Final = 200


@dataclass(frozen=True, slots=True)
class Unfinished:
    """
    An upload that exists now, although its body was not taken as a whole, and why.
    """

    upload: Upload
    error: BaseException


class WholeUploads:
    """
    Takes them in; tells *on_received* how many bytes have become durable, and *on_stored* of each recording.
    """

    def __init__(
        self,
        catalog_db: Database,
        new: NewUploads,
        spool: Spool,
        clock: Clock,
        bell: WorkBell,
        holders: Holders,
        limits: Limits,
        *,
        default_route: DefaultRoute,
        on_received: Callable[[int], object],
        on_stored: Callable[[], object] = lambda: None,
    ) -> None:
        self._catalog = catalog_db
        self._new = new
        self._spool = spool
        self._clock = clock
        self._bell = bell
        self._holders = holders
        self._limits = limits
        self._default_route: DefaultRoute = default_route
        self._on_received = on_received
        self._on_stored = on_stored
        # A sync of names that failed is not asked for again: the next one may report success for names that were dropped.
        self._arrivals = Batches(
            self._insert,
            most=_MOST_IN_A_TRANSACTION,
            for_all=(DatabaseUnavailable, SpoolFull, SpoolFailed),
        )

    async def receive(self, user: User, details: Details, request: Append) -> Upload | Unfinished:
        """
        Take the whole upload that *request* brings, of as many bytes as its body has, at least one.

        Raises:
            Leaving: the user is about to be erased.
            TooLong: that is more than the operator's limit.
            OutOfRoom: the spool is full.
            NotFound: the user is no more.
            BodyCut: the connection ended before the body did; nothing is left of it.
            TooManyUploads: the body did not become whole, and the user has too many unfinished uploads already.
        """
        refuse_leaving(user)
        assert request.body_length
        upload, leaf = await self._new.begin(
            user, length=request.body_length, details=details, fence=FIRST_FENCE
        )
        identity = Preamble(upload.id, upload.key_slot, upload.leaf_index)
        # Its name is made durable with those of all that end at the same time.
        writer = self._spool.begin_piece(identity, FIRST_FENCE, subkey(leaf, "audio"), syncs_name=False)
        async with self._holders.hold(upload.id) as holder:
            ending = await receive(
                holder,
                writer,
                request,
                received=0,
                limit=request.body_length,
                idle_timeout_s=self._limits.idle_timeout_s,
            )
            if isinstance(ending.interruption, BodyCut | asyncio.CancelledError):
                await writer.discard()
                raise ending.interruption
            # Whatever becomes of the request now: what was written is recorded, or removed.
            recording = asyncio.ensure_future(self._record(user, upload, writer, request, ending))
            try:
                return await asyncio.shield(recording)
            except asyncio.CancelledError:
                await asyncio.wait([recording])
                raise

    async def close(self) -> None:
        """
        Let what is being recorded come to its end.
        """
        await self._arrivals.close()

    async def _record(
        self, user: User, upload: Upload, writer: PieceWriter, request: Append, ending: Ending
    ) -> Upload | Unfinished:
        settled, failure = await settle(writer, request, ending)
        error = ending.interruption or failure
        if settled is not None and error is None and settled.length == upload.length:
            try:
                return await self._arrive(upload, writer, settled)
            except (SpoolFull, SpoolFailed) as failed:
                # Its name is not durable, so nothing of it counts, and nothing was recorded.
                settled, error = None, refusal_of(failed)
        left = await self._leave_open(user, upload, writer, settled)
        return left if error is None else Unfinished(left, error)

    async def _arrive(self, upload: Upload, writer: PieceWriter, settled: SettledPiece) -> Upload:
        """
        Record the recording that the upload has become.
        """
        now = self._clock.now_ms()
        finished = replace(
            upload,
            state="complete",
            received=settled.length,
            details=None,
            expires_at=now + self._limits.finished_lifetime_s * 1000,
        )
        recording = RecordingRow(
            id=upload.id,
            user_id=upload.user_id,
            key_slot=upload.key_slot,
            leaf_index=upload.leaf_index,
            state="live",
            size=settled.length,
            stored_at=now,
            details=upload.details,
            details_revision=0,
            commitment=settled.commitment,
        )
        piece = Piece(FIRST_FENCE, 0, settled.length, settled.is_ended)
        # Where this raises, the commit may have happened all the same: the file stays, and the next start looks.
        if not await self._arrivals.submit(Arrival(finished, piece, recording)):
            await writer.discard()
            raise NotFound("there is no such user any more")
        self._on_received(settled.length)
        self._on_stored()
        self._bell.ring()
        return finished

    async def _insert(self, arrivals: Sequence[Arrival]) -> list[bool]:
        """
        Make the names of many files durable and record them at once; tell of each whether its user is still there.
        """
        await self._spool.sync_names()
        async with self._catalog.write() as connection:
            active = await lock_active_users(connection, {one.upload.user_id for one in arrivals})
            routes = await routes_in_force(connection, active, self._default_route)
            wanted = [
                (one, places_of(routes[one.upload.user_id]))
                for one in arrivals
                if one.upload.user_id in active
            ]
            if wanted:
                await insert_arrivals(connection, wanted)
        return [one.upload.user_id in active for one in arrivals]

    async def _leave_open(
        self, user: User, upload: Upload, writer: PieceWriter, settled: SettledPiece | None
    ) -> Upload:
        """
        Record an upload that can be gone on with, having as much as was kept of its body.
        """
        if settled is not None:
            try:
                await self._spool.sync_names()
            except (SpoolFull, SpoolFailed):
                settled = None
        left = upload if settled is None else replace(upload, received=settled.length)
        try:
            async with self._catalog.write() as connection:
                if not await lock_active_user(connection, user.id):
                    raise NotFound("there is no such user any more")
                await self._new.refuse_too_many(connection, user)
                await insert_upload(connection, left, idempotency_hash=None)
                if settled is not None:
                    piece = Piece(FIRST_FENCE, 0, settled.length, settled.is_ended)
                    await insert_piece(connection, upload.id, piece)
        except (NotFound, TooManyUploads):
            await writer.discard()
            raise
        if settled is None:
            await writer.discard()
        else:
            self._on_received(settled.length)
        return left
