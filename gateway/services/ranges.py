"""
Erasing what expired together, recordings or unfinished uploads: one range of leaves, one puncture, one receipt.

As with a deletion, the tombstones and the job that carries the rest through are one transaction;
the keys go next, many ranges in one round; the blobs go last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import structlog

from gateway.base.clock import Clock
from gateway.base.ids import KeySlot, LeafIndex, RecordingId
from gateway.catalog import expiries as catalog
from gateway.catalog import uploads, users
from gateway.catalog.expiries import Expiry, Overdue, ranges_of
from gateway.catalog.holds import active_holds
from gateway.catalog.jobs import enqueue_job, enqueue_jobs
from gateway.database import Connection, Database
from gateway.keyring import Keyring, PurgeState, ShredRequest, subject_hash
from gateway.services.playback import LiveReads
from gateway.services.purging import PurgeService, how_much_remains
from gateway.services.shredding import Shredding
from gateway.services.work import WorkBell

log = structlog.get_logger()

_MOST_USERS: Final = 1000
_MOST_RANGES: Final = 1000
"""As many as one round of shredding takes."""
_PURGED_TOGETHER: Final = 100
_FORGOTTEN_TOGETHER: Final = 1000


@dataclass(frozen=True, slots=True)
class Buried:
    """
    What one transaction made tombstones of, and when the oldest overdue recording it found was stored.
    """

    recordings: int
    expiries: Sequence[Expiry]
    oldest_at: int


class RangeErasure:
    """
    Buries, shreds and purges recordings by ranges.
    """

    def __init__(
        self,
        catalog_db: Database,
        keyring: Keyring,
        shredding: Shredding,
        purging: PurgeService,
        reads: LiveReads,
        clock: Clock,
        bell: WorkBell,
    ) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._shredding = shredding
        self._purging = purging
        self._reads = reads
        self._clock = clock
        self._bell = bell

    async def bury(self, *, stored_before: int, since: int, limit: int) -> Buried:
        """
        Turn up to *limit* overdue recordings that nobody holds into tombstones, the oldest first.
        """
        now = self._clock.now_ms()
        async with self._catalog.read() as connection:
            oldest_at, owners = await catalog.owners_of_oldest(
                connection,
                stored_before=stored_before,
                since=since,
                at=now,
                limit=limit,
                most_owners=_MOST_USERS,
            )
        if not owners:
            return Buried(0, (), oldest_at)
        async with self._catalog.write() as connection:
            await users.share_users(connection, owners)
            found = await catalog.lock_overdue_of(
                connection, owners, stored_before=stored_before, limit=limit
            )
            holds = await active_holds(connection, owners, at=now)
            if holds:
                held_users = {hold.user_id for hold in holds if hold.recording_id is None}
                held = {str(hold.recording_id) for hold in holds}
                found = [one for one in found if one.user_id not in held_users and one.id not in held]
            expired, buried = await self._ranges(connection, found, now)
            if expired:
                await catalog.bury_expired(connection, expired)
                await enqueue_jobs(connection, "expire", [expiry.id for expiry in expired])
        self._reads.end_all_in({one.id for one in buried})
        return Buried(len(buried), expired, oldest_at)

    async def _ranges(
        self, connection: Connection, found: Sequence[Overdue], now: int
    ) -> tuple[list[Expiry], list[Overdue]]:
        expired: list[Expiry] = []
        buried: list[Overdue] = []
        by_leaf = sorted(found, key=lambda one: (one.key_slot, one.leaf_index))
        for slot, group in groupby(by_leaf, lambda one: one.key_slot):
            of_user = list(group)
            leaves = [one.leaf_index for one in of_user]
            has_gaps = leaves[-1] - leaves[0] >= len(leaves)
            gone = await catalog.gone_leaves(connection, slot, leaves[0], leaves[-1]) if has_gaps else set()
            ranges = ranges_of(leaves, gone)[: _MOST_RANGES - len(expired)]
            expired += [Expiry(of_user[0].user_id, slot, first, last, now) for first, last in ranges]
            buried += [one for one in of_user if ranges and one.leaf_index <= ranges[-1][1]]
            if len(expired) == _MOST_RANGES:
                break
        return expired, buried

    async def end_uploads(
        self, upload_ids: Sequence[RecordingId], *, overdue_at: int, remembered_until: int
    ) -> list[Expiry]:
        """
        End those of these unfinished uploads whose deadline has passed; return the ranges that their keys go in.
        """
        async with self._catalog.write() as connection:
            ended = await uploads.expire_uploads(
                connection, upload_ids, overdue_at=overdue_at, expires_at=remembered_until
            )
            owners = {slot: user_id for user_id, slot, _ in ended}
            leaves: dict[KeySlot, list[LeafIndex]] = {}
            for _, slot, leaf in sorted(ended, key=lambda one: one[1:]):
                leaves.setdefault(slot, []).append(leaf)
            expired = [
                Expiry(owners[slot], slot, first, last, self._clock.now_ms())
                for slot, of_user in leaves.items()
                for first, last in ranges_of(of_user, ())
            ]
            if expired:
                await catalog.insert_expiries(connection, expired)
                await enqueue_jobs(connection, "expire-uploads", [expiry.id for expiry in expired])
        self._bell.ring()
        return expired

    async def finish_uploads(self, expiry_id: str) -> None:
        """
        Carry the end of uploads on: shred, and remove what they left in the spool.
        """
        expired = await self._get(expiry_id)
        await self.shred(expired)
        for expiry in expired:
            async with self._catalog.read() as connection:
                ids = await uploads.expired_by_leaves(connection, expiry.key_slot, expiry.first, expiry.last)
            for first in range(0, len(ids), _FORGOTTEN_TOGETHER):
                await self._purging.forget_pieces(ids[first : first + _FORGOTTEN_TOGETHER])
            async with self._catalog.write() as connection:
                await catalog.mark_expiry_purged(connection, expiry, at=self._clock.now_ms())

    async def shred(self, expired: Sequence[Expiry]) -> None:
        """
        Shred the keys of these ranges in one round, as far as their accounts still have any.

        Raises:
            KeyringError: of one that failed; its job goes on with it.
        """
        salts = await self._shredding.salts([(expiry.key_slot, expiry.id) for expiry in expired])
        requests = [
            ShredRequest(
                subject_id=expiry.id,
                kind="recordings",
                slot=expiry.key_slot,
                first=expiry.first,
                last=expiry.last,
                revoked_at_ms=expiry.revoked_at,
                subject_hash=subject_hash(expiry.id, salts[expiry.id]),
                commitment=None,
            )
            for expiry in expired
            if expiry.id in salts
        ]
        for outcome in await self._keyring.shred_all(requests) if requests else ():
            if isinstance(outcome, Exception):
                raise outcome

    async def finish(self, expiry_id: str) -> None:
        """
        Carry an expiry on: shred, and leave the blobs to a job of their own, for clouds may not answer.
        """
        expired = await self._get(expiry_id)
        await self.shred(expired)
        async with self._catalog.write() as connection:
            await enqueue_job(connection, "purge-expired", expiry_id)
        self._bell.ring()

    async def purge(self, expiry_id: str) -> None:
        """
        Delete the blobs of an expiry whose keys are shredded, and sign what became of them.

        Raises:
            BackendError: a place asks for another attempt; what is done is noted.
        """
        for expiry in await self._get(expiry_id):
            states: dict[str, PurgeState] = {}
            while True:
                async with self._catalog.read() as connection:
                    left = await catalog.unpurged_in(connection, expiry, limit=_PURGED_TOGETHER)
                if not left:
                    break
                await self._purging.remove_blobs_of_all(left)
            async with self._catalog.read() as connection:
                ids = await catalog.recordings_in(connection, expiry)
            for first in range(0, len(ids), _PURGED_TOGETHER):
                found = await self._purging.states_of_all(ids[first : first + _PURGED_TOGETHER])
                for state in (state for each in found.values() for state in each):
                    other = states.get(state.backend, state)
                    states[state.backend] = max(other, state, key=how_much_remains)
            if await self._keyring.receipts_of(expiry.id):
                await self._keyring.record_purge(expiry.id, [states[name] for name in sorted(states)])
            async with self._catalog.write() as connection:
                await catalog.mark_expiry_purged(connection, expiry, at=self._clock.now_ms())

    async def _get(self, expiry_id: str) -> list[Expiry]:
        async with self._catalog.read() as connection:
            return await catalog.get_expiries(connection, [expiry_id])
