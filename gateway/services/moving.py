"""
Moving all of a user's recordings from one place to another, and taking leave of a linked account.

A move goes through the recordings in the order of their ids and keeps its place in the catalog;
a copy is removed only after the other is there.
"""

import uuid
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import structlog

from gateway.api import BackendError, Disposition, Transient, new_blob_key
from gateway.base.clock import Clock
from gateway.base.ids import RecordingId, UserId
from gateway.catalog import moves as catalog
from gateway.catalog import placements as placed
from gateway.catalog.jobs import enqueue_job, find_job
from gateway.catalog.links import get_link, links_of
from gateway.catalog.moves import Move
from gateway.catalog.placements import Placement
from gateway.catalog.recordings import get_recording
from gateway.catalog.routes import Route, get_route, put_route
from gateway.catalog.users import User, lock_active_user
from gateway.database import Connection, Database
from gateway.services.accounts import refuse_leaving
from gateway.services.copying import CopyService
from gateway.services.errors import InvalidField, MoveUnderWay, NotFound, OnlyCopies
from gateway.services.places import HOME
from gateway.services.purging import PurgeService
from gateway.services.work import WorkBell

log = structlog.get_logger()

Farewell = Literal["home", "leave", "delete"]
"""What becomes of the copies at an account that is unlinked."""

EndLink = Callable[[UserId, str], Awaitable[None]]

_BATCH: Final = 100


class MoveService:
    """
    Moves recordings, and empties accounts before they are unlinked with *end_link*.
    """

    def __init__(
        self,
        catalog_db: Database,
        copies: CopyService,
        purging: PurgeService,
        clock: Clock,
        bell: WorkBell,
        *,
        end_link: EndLink,
    ) -> None:
        self._catalog = catalog_db
        self._copies = copies
        self._purging = purging
        self._clock = clock
        self._bell = bell
        self._end_link = end_link

    async def start(self, user: User, source: str, target: str) -> Move:
        """
        Begin to move all of the user's recordings at *source* to *target*: "home", or ids of his links.

        Raises:
            Leaving: the user is about to be erased.
            InvalidField: one of them is no place of his, or both are the same.
            MoveUnderWay: he moves recordings from there already.
        """
        refuse_leaving(user)
        if source == target:
            raise InvalidField("target", "is where they are already")
        async with self._catalog.write() as connection:
            places = {HOME, *(link.id for link in await links_of(connection, user.id))}
            for field, place in (("source", source), ("target", target)):
                if place not in places:
                    raise InvalidField(field, f"{place[:80]!r} is neither home nor one of your links")
            move = await self._insert(connection, user, source, target, unlinks=False)
        self._bell.ring()
        return move

    async def get(self, user: User, move_id: str) -> tuple[Move, str | None]:
        """
        Return the user's move, and what it is stuck at, if it is.

        Raises:
            NotFound: there is no such move, or it is another user's.
        """
        async with self._catalog.read() as connection:
            move = await catalog.get_move(connection, move_id)
            job = await find_job(connection, "move", move_id)
        if move is None or move.user_id != user.id:
            raise NotFound("there is no such move")
        return move, None if job is None or move.state != "running" else job.last_error

    async def list_moves(self, user: User) -> list[Move]:
        """
        Return the user's moves, latest first.
        """
        async with self._catalog.read() as connection:
            return await catalog.moves_of(connection, user.id)

    async def stop(self, user: User, move_id: str) -> Move:
        """
        End a move where it is; what was moved stays moved.

        Raises:
            NotFound: there is no such move, or it is another user's.
        """
        await self.get(user, move_id)
        async with self._catalog.write() as connection:
            await catalog.end_move(connection, move_id, "stopped", at=self._clock.now_ms())
        return (await self.get(user, move_id))[0]

    async def unlink(self, user: User, link_id: str, farewell: Farewell) -> Move | None:
        """
        Take leave of a linked account; return the move that has to end first, if there is one.

        No new recording goes there from now on.

        Raises:
            NotFound: there is no such link, or it is another user's.
            OnlyCopies: recordings lie there and nowhere else, and *farewell* would lose them.
            MoveUnderWay: recordings are being moved from there already.
        """
        now = self._clock.now_ms()
        move = None
        async with self._catalog.write() as connection:
            if not await lock_active_user(connection, user.id):
                raise NotFound("there is no such link")
            if link_id not in {link.id for link in await links_of(connection, user.id)}:
                raise NotFound("there is no such link")
            count = await placed.count_live_at(connection, user.id, link_id)
            if farewell == "home":
                if count:
                    move = await self._insert(connection, user, link_id, HOME, unlinks=True)
            else:
                only = await placed.count_only_at(connection, user.id, link_id)
                if only:
                    raise OnlyCopies(
                        f"{only} of your recordings lie only there; move them home first (copies=home)"
                    )
                if farewell == "leave":
                    await placed.leave_all_at(connection, link_id, at=now)
                elif count:
                    await enqueue_job(connection, "empty", link_id)
            await _leave_out(connection, user.id, link_id, at=now)
        self._bell.ring()
        if move is None and not (farewell == "delete" and count):
            await self._end_link(user.id, link_id)
        return move

    async def carry_on(self, move_id: str) -> None:
        """
        Carry a move to its end.

        Raises:
            BackendError: a place refused; its disposition says what to do.
            SourceFailed: a recording cannot be read at any place.
        """
        position: str | None = None
        is_new_pass, moved = False, 0
        while True:
            async with self._catalog.read() as connection:
                move = await catalog.get_move(connection, move_id)
                if move is None or move.state != "running":
                    return
                batch = await placed.live_recordings_at(
                    connection,
                    move.user_id,
                    move.source,
                    after=position if is_new_pass else move.position,
                    limit=_BATCH,
                )
            if not batch:
                if not is_new_pass or moved:
                    # Ids are random: what came in meanwhile may lie before the place that was reached.
                    position, is_new_pass, moved = None, True, 0
                    continue
                break
            for recording_id in batch:
                moved += await self._move(move, recording_id)
                position = str(recording_id)
                async with self._catalog.write() as connection:
                    await catalog.advance_move(connection, move_id, position=position)
        if move.unlinks:
            await self._end_link(move.user_id, move.source)
        async with self._catalog.write() as connection:
            await catalog.end_move(connection, move_id, "done", at=self._clock.now_ms())

    async def empty(self, link_id: str) -> None:
        """
        Delete every copy at an account, all of which have another elsewhere, and then unlink it.

        Raises:
            BackendError: the place asks for another attempt.
        """
        while True:
            async with self._catalog.read() as connection:
                batch = await placed.blobs_at(connection, link_id, states=("pending", "placed"), limit=_BATCH)
            if not batch:
                break
            for placement in batch:
                await self._remove(placement)
        async with self._catalog.read() as connection:
            link = await get_link(connection, link_id)
        if link is not None:
            await self._end_link(link.user_id, link_id)

    async def _insert(
        self, connection: Connection, user: User, source: str, target: str, *, unlinks: bool
    ) -> Move:
        running = await catalog.moves_of(connection, user.id, state="running")
        if any(source in (move.source, move.target) or target == move.source for move in running):
            raise MoveUnderWay("recordings are being moved from or to there already")
        move = Move(
            id=str(uuid.uuid4()),
            user_id=user.id,
            source=source,
            target=target,
            state="running",
            total=await placed.count_live_at(connection, user.id, source),
            done=0,
            position=None,
            created_at=self._clock.now_ms(),
            ended_at=None,
            unlinks=unlinks,
        )
        await catalog.insert_move(connection, move)
        await enqueue_job(connection, "move", move.id)
        return move

    async def _move(self, move: Move, recording_id: RecordingId) -> bool:
        async with self._catalog.write() as connection:
            recording = await get_recording(connection, recording_id)
            if recording is None or not recording.is_live:
                return False
            everywhere = await placed.placements_of(connection, recording_id)
            source = next(p for p in everywhere if p.backend == move.source)
            target = next((p for p in everywhere if p.backend == move.target), None)
            if source.state == "pending" and move.source == HOME:
                raise Transient("A recording is still on its way home.")
            blob_key = (
                new_blob_key() if target is None or target.state in ("purged", "left") else target.blob_key
            )
            now = self._clock.now_ms()
            if target is None:
                await placed.insert_placement(
                    connection, recording_id, backend=move.target, blob_key=blob_key, at=now
                )
            elif target.blob_key != blob_key:
                await placed.place_anew(connection, target, backend=move.target, blob_key=blob_key, at=now)
        await self._copies.copy(blob_key)
        async with self._catalog.read() as connection:
            everywhere = await placed.placements_of(connection, recording_id)
        is_there = any(p.backend == move.target and p.state == "placed" for p in everywhere)
        if is_there:
            await self._remove(next(p for p in everywhere if p.backend == move.source))
        return is_there

    async def _remove(self, placement: Placement) -> None:
        try:
            await self._purging.remove_copy(placement)
        except BackendError as error:
            if error.disposition is Disposition.RETRY:
                raise
            # The account is out of reach, and the recording safe elsewhere.
            log.warning("copy.left", place=placement.backend, error=error.code)
            async with self._catalog.write() as connection:
                await placed.mark_left(connection, placement.blob_key, at=self._clock.now_ms())


async def _leave_out(connection: Connection, user_id: UserId, link_id: str, *, at: int) -> None:
    """
    Take a link out of its user's route, which then has a place all the same.
    """
    route = await get_route(connection, user_id)
    if route is None or link_id not in route.targets:
        return
    targets = tuple(target for target in route.targets if target != link_id)
    await put_route(
        connection, user_id, Route(route.keeps_home or not targets, targets, route.falls_over), at=at
    )
