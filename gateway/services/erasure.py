"""
Erasing: tombstone, shred, purge; in this order, followed to completion.

The tombstone and the job that carries the rest through are one transaction.
The request then shreds at once, so that it can answer with the receipt; if it dies, the job does it.
Blobs are deleted last: what makes a recording unreadable is the end of its key.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import structlog

from gateway.base.batches import Batches
from gateway.base.clock import Clock
from gateway.base.ids import KeySlot, LeafIndex, RecordingId, UserId
from gateway.catalog import holds, markers, recordings, uploads, users
from gateway.catalog.holds import Hold
from gateway.catalog.jobs import enqueue_job, enqueue_jobs
from gateway.catalog.links import end_links_of
from gateway.catalog.placements import placements_of
from gateway.catalog.recordings import RecordingRow
from gateway.catalog.unused import used_since
from gateway.catalog.users import User
from gateway.database import Database, DatabaseUnavailable
from gateway.keyring import Keyring, Receipt, ShredRequest, subject_hash
from gateway.services.audit import AuditLog
from gateway.services.burials import bury_all_of, bury_shredded
from gateway.services.errors import NotFound
from gateway.services.holds import HoldService
from gateway.services.parting import Parting
from gateway.services.places import HOME, Places
from gateway.services.playback import LiveReads
from gateway.services.purging import PurgeService
from gateway.services.ranges import RangeErasure
from gateway.services.roles import Actor
from gateway.services.shredding import Shredding, request_of
from gateway.services.work import WorkBell

log = structlog.get_logger()

Basis = Literal["asked-by-user", "legal-order", "abuse", "not-told"]
"""Why an operator erases an account, as a word: it says nothing about a person, and stays."""

_FOLLOWED: Final = "shredding-log"
_LOG_BATCH: Final = 500
_MOST_TOGETHER: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """
    How far an erasure has come, and what proves it.

    Attributes:
        state: revoked, shredded or purged.
        salt: with it the user can show which recording the receipt is about; None once his account is erased.
        receipts: signed, oldest first; empty while only revoked.
        covered_by: the subject of the receipt, where one is of all recordings that expired together.
        leaf: which of the leaves that this names is the recording's.
        is_new: whether the request that this answers is the one that began it.
    """

    subject_id: str
    state: str
    revoked_at: int | None
    salt: bytes | None
    receipts: tuple[Receipt, ...]
    covered_by: str | None = None
    leaf: LeafIndex | None = None
    is_new: bool = False


class ErasureService:
    """
    Erases recordings, unfinished uploads and accounts.

    An account's clouds may hold its keys' end up for *parting_s*, not longer. Tells *on_erased* of each recording that is
    gone how many milliseconds it took to destroy its key.
    """

    def __init__(
        self,
        catalog_db: Database,
        keyring: Keyring,
        purging: PurgeService,
        places: Places,
        reads: LiveReads,
        holds: HoldService,
        audit: AuditLog,
        clock: Clock,
        bell: WorkBell,
        *,
        parting_s: float = 0,
        on_erased: Callable[[int], object] = lambda delay_ms: None,
    ) -> None:
        self._holds = holds
        self._on_erased = on_erased
        self._audit = audit
        self._catalog = catalog_db
        self._keyring = keyring
        self._purging = purging
        self._places = places
        self._reads = reads
        self._clock = clock
        self._bell = bell
        self._burials = Batches(self._bury_all, most=_MOST_TOGETHER, for_all=(DatabaseUnavailable,))
        self._purged = Batches(self._mark_all_purged, most=_MOST_TOGETHER, for_all=(DatabaseUnavailable,))
        self._shredding = Shredding(catalog_db, keyring, purging, clock)
        self._parting = Parting(catalog_db, purging, clock)
        self._parting_s = parting_s
        self.ranges = RangeErasure(catalog_db, keyring, self._shredding, purging, reads, clock, bell)

    async def close(self) -> None:
        """
        Let what is being erased come to its end.
        """
        await self._burials.close()
        await self._purged.close()
        await self._shredding.close()

    async def erase_recording(self, user_id: UserId, recording_id: RecordingId, *, wait_s: float) -> Erasure:
        """
        Erase the user's recording and tell how far that has come; again, it tells the same.

        Waits up to *wait_s* for the key to be shredded; it goes on after that.

        Raises:
            NotFound: there is no such recording, or it is another user's.
            Held: it must stay.
        """
        is_new = await self._burials.submit((user_id, recording_id))
        if not is_new:
            # What expired is its range's to shred: another receipt would say less, not more.
            so_far = await self.erasure_of(user_id, recording_id)
            if so_far.covered_by is not None:
                return so_far
        shredding = asyncio.ensure_future(self._shredding.shred(recording_id))
        shredded = None
        try:
            async with asyncio.timeout(wait_s):
                shredded = await asyncio.shield(shredding)
        except TimeoutError:
            # The job goes on with it; what it raises is the job's to report.
            shredding.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._bell.ring()
        if is_new and shredded is not None and shredded.receipt is not None:
            return Erasure(
                subject_id=str(recording_id),
                state="shredded",
                revoked_at=shredded.recording.revoked_at,
                salt=shredded.salt,
                receipts=(shredded.receipt,),
                is_new=True,
            )
        return replace(await self.erasure_of(user_id, recording_id), is_new=is_new)

    async def _bury_all(self, asked: Sequence[tuple[UserId, RecordingId]]) -> list[bool | Exception]:
        """
        Turn users' recordings into tombstones, each with the job that carries the rest through; tell which were live.
        """
        ids = {recording_id for _, recording_id in asked}
        answers: list[bool | Exception] = []
        now = self._clock.now_ms()
        held: dict[RecordingId, Hold] = {}
        async with self._catalog.write() as connection:
            await users.share_users(connection, {user_id for user_id, _ in asked})
            locked = await holds.lock_with_holds(connection, ids, at=now)
            found = {recording_id: recording for recording_id, (recording, _) in locked.items()}
            wanted = [
                recording_id for user_id, recording_id in asked if _is_of(user_id, found.get(recording_id))
            ]
            live = {recording_id for recording_id in wanted if found[recording_id].is_live}
            kept = {recording_id for recording_id in live if locked[recording_id][1]}
            if kept:
                owners = {found[recording_id].user_id for recording_id in kept}
                placed = await holds.active_holds(connection, owners, at=now)
                held = {one: hold for one in kept for hold in placed if _is_held(found[one], hold)}
                # One that was lifted just now keeps nothing.
                live -= held.keys()
            if live:
                await recordings.bury_recordings(connection, live, at=now)
                await uploads.bury_finished_uploads(connection, live)
                await enqueue_jobs(connection, "erase", [str(recording_id) for recording_id in live])
        # Here and not where it was asked: whoever asked may have gone, and the tombstone stands all the same.
        for recording_id in wanted:
            if recording_id not in held:
                self._reads.end_all_of(recording_id)
        for user_id, recording_id in asked:
            if not _is_of(user_id, found.get(recording_id)):
                answers.append(NotFound("there is no such recording"))
            elif recording_id in held:
                answers.append(await self._holds.refusal(held[recording_id], found[recording_id].key_slot))
            else:
                answers.append(recording_id in live)
                live.discard(recording_id)  # Asked for twice at once: one of them has begun it.
        return answers

    async def erasure_of(self, user_id: UserId, recording_id: RecordingId) -> Erasure:
        """
        Tell how far the erasure of the user's recording has come.

        Raises:
            NotFound: there is no such recording, it is another user's, or it is not erased.
        """
        async with self._catalog.read() as connection:
            recording = await recordings.get_recording(connection, recording_id)
        if recording is None or recording.user_id != user_id or recording.is_live:
            raise NotFound("there is no receipt for this id")
        subject_id = recording.expiry_id or str(recording_id)
        receipts = tuple(await self._keyring.receipts_of(subject_id))
        state = "revoked"
        if receipts:
            state = "shredded" if recording.purged_at is None else "purged"
        salt = await self._shredding.salt(recording.key_slot, subject_id)
        return Erasure(
            subject_id=str(recording_id),
            state=state,
            revoked_at=recording.revoked_at,
            salt=salt,
            receipts=receipts,
            covered_by=recording.expiry_id,
            leaf=None if recording.expiry_id is None else recording.leaf_index,
        )

    async def finish_recording(self, recording_id: RecordingId) -> None:
        """
        Carry a recording's erasure on: shred, and delete its blobs, or leave that to a job where clouds are asked.
        """
        shredded = await self._shredding.shred(recording_id)
        if shredded is None or shredded.recording.purged_at is not None:
            return
        async with self._catalog.read() as connection:
            where = await placements_of(connection, recording_id)
        if all(placement.backend == HOME for placement in where):
            await self.purge_recording(recording_id)
            return
        # A cloud that does not answer must not keep others' recordings from being shredded.
        async with self._catalog.write() as connection:
            await enqueue_job(connection, "purge", str(recording_id))
        self._bell.ring()

    async def purge_recording(self, recording_id: RecordingId) -> None:
        """
        Delete the blobs of a recording whose key is shredded, and sign what became of them.
        """
        await self._purging.remove_blobs(recording_id)
        # One without a receipt went with its account.
        receipts = await self._keyring.receipts_of(str(recording_id))
        if receipts:
            await self._keyring.record_purge(str(recording_id), await self._purging.states_of(recording_id))
        await self._purged.submit(recording_id)
        if receipts:
            told = receipts[0].document
            self._on_erased(told["shredded_at_ms"] - told["revoked_at_ms"])

    async def _mark_all_purged(self, recording_ids: Sequence[RecordingId]) -> list[None]:
        async with self._catalog.write() as connection:
            await recordings.mark_purged(connection, recording_ids, at=self._clock.now_ms())
        return [None] * len(recording_ids)

    async def sweep_left(self, link_id: str) -> None:
        """
        Delete what was left at an account that can be reached again, and sign that.

        Raises:
            BackendError: the place refused.
        """
        for recording_id in await self._purging.sweep_left(link_id):
            if await self._keyring.receipts_of(str(recording_id)):
                await self._keyring.record_purge(
                    str(recording_id), await self._purging.states_of(recording_id)
                )

    async def discard_upload(self, upload_id: RecordingId) -> None:
        """
        Shred the leaf of an upload that ended unfinished, and remove its pieces.
        """
        async with self._catalog.read() as connection:
            upload = await uploads.get_upload(connection, upload_id)
        if upload is None or upload.state not in ("terminated", "expired"):
            return
        # Where there is no salt the whole account is shredded, this leaf with it.
        if (salt := await self._shredding.salt(upload.key_slot, str(upload_id))) is not None:
            await self._keyring.shred(
                request_of(
                    subject_id=str(upload_id),
                    slot=upload.key_slot,
                    index=upload.leaf_index,
                    revoked_at=self._clock.now_ms(),
                    commitment=None,
                    placements=(),
                    salt=salt,
                )
            )
        await self._purging.remove_blobs(upload_id)

    async def bury_account(
        self,
        user_id: UserId,
        *,
        by: Actor | None = None,
        basis: Basis = "not-told",
        unless_used_after: int | None = None,
        left_by: int | None = None,
    ) -> bytes:
        """
        Revoke everything a user had, and leave the rest to a job; return the salt of his receipt.

        Args:
            by: the operator who does it, for the audit log, with his *basis*; None: the user, or the gateway by itself.
            unless_used_after: a day, Unix ms; one who was here later keeps what he has.
            left_by: only if he was to leave by then, in the time that is counted for that.

        Raises:
            NotFound: there is no such user, he was erased before, he was here, or he stays.
            Held: he, or one of his recordings, must stay.
        """
        async with self._catalog.read() as connection:
            user = await users.get_user(connection, user_id)
        salt = None if user is None else await self._shredding.salt(user.key_slot, user_id)
        now = self._clock.now_ms()
        entry = None
        if by is not None:
            # Without a reason in words: that would be sealed under the keys that go.
            entry = await self._audit.draft(by, "user.erased", user=user, facts={"basis": basis})
        async with self._catalog.write() as connection:
            if user is None or salt is None or not await users.lock_active_user(connection, user_id):
                raise NotFound(f"there is no user {user_id}")
            if unless_used_after is not None:
                used = (await used_since(connection, [user_id])).get(user_id, unless_used_after)
                if used > unless_used_after:
                    raise NotFound(f"user {user_id} was here meanwhile")
            if left_by is not None and not await users.has_left(connection, user_id, by=left_by):
                raise NotFound(f"user {user_id} stays")
            await self._holds.refuse_held(connection, user)
            await users.erase_user(connection, user_id, at=now)
            await bury_all_of(connection, user_id, at=now)
            if entry is not None:
                await self._audit.append(connection, entry)
        self._reads.end_all_of_user(user_id)
        self._bell.ring()
        return salt

    async def shred_account(self, user_id: UserId, *, salt: bytes) -> None:
        """
        Shred the keys of an account that was buried; the rest stays with the job.
        """
        async with self._catalog.read() as connection:
            user = await users.get_user(connection, user_id)
            at = await users.erased_at(connection, user_id)
        assert user is not None
        assert not user.is_active
        await self._shred_account(
            user_id, user.key_slot, revoked_at=self._clock.now_ms() if at is None else at, salt=salt
        )

    async def account_erasure_of(self, user_id: UserId, *, salt: bytes | None) -> Erasure:
        """
        Tell how far the erasure of an account has come.

        The salt is known only to whoever erased it: it cannot be derived any more.
        """
        async with self._catalog.read() as connection:
            revoked_at = await users.erased_at(connection, user_id)
        receipts = tuple(await self._keyring.receipts_of(user_id))
        state = ("revoked", "shredded", "purged")[min(len(receipts), 2)]
        return Erasure(subject_id=user_id, state=state, revoked_at=revoked_at, salt=salt, receipts=receipts)

    async def salt_of_account(self, user: User) -> bytes:
        """
        Return the salt of the receipt that the user's erasure will have.
        """
        salt = await self._shredding.salt(user.key_slot, user.id)
        if salt is None:
            raise NotFound(f"there is no user {user.id}")
        return salt

    async def finish_account(
        self, user_id: UserId, *, on_shredded: Callable[[], None] = lambda: None
    ) -> None:
        """
        Carry an account's erasure to its end; *on_shredded* is called when its keys are gone.
        """
        async with self._catalog.read() as connection:
            user = await users.get_user(connection, user_id)
            at = await users.erased_at(connection, user_id)
        if user is None or user.is_active:
            return
        self._reads.end_all_of_user(user_id)
        parting_ends = asyncio.get_running_loop().time() + self._parting_s
        async with self._places.farewell(user_id, patience_s=self._parting_s) as grants:
            await self._parting.part(user_id, grants, until=parting_ends)
            await self._shred_account(
                user_id,
                user.key_slot,
                revoked_at=self._clock.now_ms() if at is None else at,
                salt=await self._shredding.salt(user.key_slot, user_id),
            )
            on_shredded()
            await self._purge_all_of(user_id)
        async with self._catalog.write() as connection:
            await end_links_of(connection, user_id, at=self._clock.now_ms())
        if await self._keyring.receipts_of(user_id):
            await self._keyring.record_purge(user_id, await self._purging.states_of_user(user_id))

    async def _purge_all_of(self, user_id: UserId) -> None:
        while True:
            async with self._catalog.read() as connection:
                left = await recordings.unpurged_of(connection, user_id, limit=100)
            if not left:
                return
            await self._purging.remove_blobs_of_all(left)

    async def follow_shredding_log(self) -> int:
        """
        Bring the catalog to what the key database says is shredded; return how many rows that changed.

        They differ after an older catalog was restored, or after a crash.
        What derives to nothing must not be listed, and must not stay at a backend.
        """
        changed = 0
        async with self._catalog.read() as connection:
            position = await markers.read_marker(connection, _FOLLOWED)
        while entries := await self._keyring.shredded_since(position, _LOG_BATCH):
            async with self._catalog.write() as connection:
                for entry in entries:
                    changed += await bury_shredded(connection, entry, at=self._clock.now_ms())
                position = entries[-1].sequence
                await markers.move_marker(connection, _FOLLOWED, position)
        if changed:
            log.warning("catalog.followed_shredding_log", rows=changed)
            self._bell.ring()
        return changed

    async def salts(self, slot: KeySlot, subject_ids: Sequence[str]) -> dict[str, bytes]:
        """
        Return the salts of receipts of one user, which nobody else is told; none once his account is shredded.
        """
        return await self._shredding.salts([(slot, subject_id) for subject_id in subject_ids])

    async def _shred_account(
        self, user_id: UserId, slot: KeySlot, *, revoked_at: int, salt: bytes | None
    ) -> Receipt:
        done = await self._keyring.receipts_of(user_id)
        if done:
            return done[0]
        assert salt is not None  # a slot without a receipt is not shredded
        return await self._keyring.shred(
            ShredRequest(
                subject_id=user_id,
                kind="account",
                slot=slot,
                first=None,
                last=None,
                revoked_at_ms=revoked_at,
                subject_hash=subject_hash(user_id, salt),
                commitment=None,
                placements=(),
            )
        )


def _is_held(recording: RecordingRow, hold: Hold) -> bool:
    return hold.user_id == recording.user_id and hold.covers(recording.id)


def _is_of(user_id: UserId, recording: RecordingRow | None) -> bool:
    return recording is not None and recording.user_id == user_id
