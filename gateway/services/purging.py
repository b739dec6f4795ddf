"""
Removing blobs whose key is shredded, from wherever they lie.

Deleting comes after shredding, never instead of it.
Where an account can't be reached any more the sealed blob is left behind, and the receipt says so.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

import structlog

from gateway.api import Backend, BackendError, BlobKey, Disposition
from gateway.base.batches import Batches
from gateway.base.clock import Clock
from gateway.base.ids import RecordingId, UserId
from gateway.catalog import placements as placed
from gateway.catalog import uploads as spooled
from gateway.catalog.links import get_link
from gateway.catalog.placements import PlaceEnd, Placement, Purged
from gateway.catalog.recordings import mark_purged
from gateway.database import Connection, Database, DatabaseUnavailable
from gateway.keyring import PurgeState
from gateway.services.blobs import ref_of
from gateway.services.places import HOME, Places
from gateway.spool import Spool

log = structlog.get_logger()

_ENDED = ("purged", "left")
_MOST_TOGETHER: Final = 256
_AT_ONCE: Final = 32
"""Recordings whose blobs are deleted at the same time, where many are to go."""


class PurgeService:
    """
    Deletes blobs, and tells what became of each.
    """

    def __init__(self, catalog_db: Database, spool: Spool, places: Places, clock: Clock) -> None:
        self._catalog = catalog_db
        self._spool = spool
        self._places = places
        self._clock = clock
        self._purged = Batches(self._note_all, most=_MOST_TOGETHER, for_all=(DatabaseUnavailable,))
        self._forgotten = Batches(self._forget_all, most=_MOST_TOGETHER, for_all=(DatabaseUnavailable,))

    async def close(self) -> None:
        """
        Let what is being noted come to its end.
        """
        await self._purged.close()
        await self._forgotten.close()

    async def remove_blobs(self, recording_id: RecordingId) -> None:
        """
        Delete the recording's blob at every place, and its pieces in the spool.

        A place that is out of reach for good, as far as anybody can tell, keeps its sealed blob.

        Raises:
            BackendError: a place asks for another attempt; what the others acknowledged is noted.
        """
        async with self._catalog.read() as connection:
            everywhere = await placed.placements_of(connection, recording_id)
        unfinished: BackendError | None = None
        for placement in everywhere:
            try:
                await self._remove(placement)
            except BackendError as error:
                if error.disposition is Disposition.RETRY or placement.backend == HOME:
                    unfinished = error
                    continue
                log.warning(
                    "purge.left", recording=str(recording_id), place=placement.backend, error=error.code
                )
                async with self._catalog.write() as connection:
                    await placed.mark_left(connection, placement.blob_key, at=self._clock.now_ms())
        await self._forgotten.submit(recording_id)
        await self._spool.remove_all_of(recording_id)
        if unfinished is not None:
            raise unfinished

    async def remove_blobs_of_all(self, recording_ids: Collection[RecordingId]) -> None:
        """
        Do `remove_blobs` for each of these tombstones, and note of which nothing is left.

        Raises:
            BackendError: a place asks for another attempt; those that it did not concern are done.
        """
        unfinished: BackendError | None = None
        purged = []
        wanted = list(recording_ids)
        for first in range(0, len(wanted), _AT_ONCE):
            some = wanted[first : first + _AT_ONCE]
            outcomes = await asyncio.gather(*map(self.remove_blobs, some), return_exceptions=True)
            for recording_id, outcome in zip(some, outcomes, strict=True):
                if isinstance(outcome, BackendError):
                    unfinished = outcome
                elif isinstance(outcome, BaseException):
                    raise outcome
                else:
                    purged.append(recording_id)
        async with self._catalog.write() as connection:
            await mark_purged(connection, purged, at=self._clock.now_ms())
        if unfinished is not None:
            raise unfinished

    async def forget_pieces(self, upload_ids: Collection[RecordingId]) -> None:
        """
        Remove what uploads that ended unfinished have left in the spool.
        """
        async with self._catalog.write() as connection:
            await spooled.delete_pieces(connection, *upload_ids)
        await self._spool.remove_all_of(*upload_ids)

    async def remove_copy(self, placement: Placement) -> None:
        """
        Delete one copy of a live recording.

        Raises:
            BackendError: the place refused.
        """
        await self._remove(placement)

    async def sweep_left(self, link_id: str) -> list[RecordingId]:
        """
        Delete what was left at an account that can be reached again; return what recordings it was of.

        Raises:
            BackendError: the place refused.
        """
        swept: list[RecordingId] = []
        while True:
            async with self._catalog.read() as connection:
                left = await placed.blobs_at(connection, link_id, states=("left",), limit=100)
            for placement in left:
                await self._remove(placement, again=True)
                swept.append(placement.recording_id)
            if not left:
                return swept

    async def states_of(self, recording_id: RecordingId) -> list[PurgeState]:
        """
        Return how far the removal has come at every place, as receipts tell it.
        """
        return (await self.states_of_all([recording_id]))[recording_id]

    async def states_of_all(
        self, recording_ids: Collection[RecordingId]
    ) -> dict[RecordingId, list[PurgeState]]:
        """
        Return for each recording what `states_of` does.
        """
        names: dict[str, str] = {}
        async with self._catalog.read() as connection:
            everywhere = await placed.placements_of_all(connection, recording_ids)
            for backend in {placement.backend for found in everywhere.values() for placement in found}:
                names[backend] = await _name_of(connection, backend)
        return {
            recording_id: [purge_state(placement, names[placement.backend]) for placement in found]
            for recording_id, found in everywhere.items()
        }

    async def states_of_user(self, user_id: UserId) -> list[PurgeState]:
        """
        Return how far the removal of all that a user had has come, one state for each place.
        """
        found: dict[str, PurgeState] = {}
        async with self._catalog.read() as connection:
            for end in await placed.ends_of_user(connection, user_id):
                name = await _name_of(connection, end.backend)
                state = purge_state(end, name)
                found[name] = max(found.get(name, state), state, key=how_much_remains)
        return [found[name] for name in sorted(found)]

    async def _remove(self, placement: Placement, *, again: bool = False) -> None:
        if placement.state in _ENDED and not again:
            return
        async with self._places.at(placement.backend) as backend:
            await _delete(backend, placement)
            recoverable_for = backend.traits.delete_recoverable_for
        now = self._clock.now_ms()
        until = None if recoverable_for is None else now + round(recoverable_for.total_seconds() * 1000)
        await self._purged.submit(Purged(placement.blob_key, at=now, recoverable_until=until))

    async def _note_all(self, purged: Sequence[Purged]) -> list[None]:
        async with self._catalog.write() as connection:
            await placed.mark_placements_purged(connection, purged)
        return [None] * len(purged)

    async def _forget_all(self, recording_ids: Sequence[RecordingId]) -> list[None]:
        async with self._catalog.write() as connection:
            await spooled.delete_pieces(connection, *recording_ids)
        return [None] * len(recording_ids)


def purge_state(placement: Placement | PlaceEnd, place: str) -> PurgeState:
    """
    Return what a receipt says of *placement*.
    """
    if placement.state == "left":
        return PurgeState(place, "left", placement.purged_at)
    if placement.state != "purged":
        return PurgeState(place, "pending", None)
    if placement.recoverable_until == placement.purged_at:
        return PurgeState(place, "purged", placement.purged_at)
    return PurgeState(place, "recoverable-until", placement.recoverable_until)


def how_much_remains(state: PurgeState) -> tuple[int, float]:
    """
    Return what to sort by: of several states at one place the greatest says what remains there.
    """
    order = ("purged", "recoverable-until", "left", "pending").index(state.state)
    return order, float("inf") if state.at_ms is None else state.at_ms


async def _delete(backend: Backend, placement: Placement) -> None:
    key = BlobKey(placement.blob_key)
    ref = ref_of(placement) if placement.locator else await backend.find(key)
    if ref is not None:
        await backend.delete(ref)


async def _name_of(connection: Connection, backend: str) -> str:
    """
    Return what a receipt calls a place: "home", or the kind of cloud and the link's id.
    """
    if backend == HOME:
        return HOME
    link = await get_link(connection, backend)
    return backend if link is None else f"{link.kind}:{link.id}"
