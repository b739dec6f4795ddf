"""
Shredding the keys of recordings whose tombstones stand, many in one round.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.base.batches import Batches
from gateway.base.clock import Clock
from gateway.base.ids import USER_LEAF, KeySlot, LeafIndex, RecordingId
from gateway.base.secret import Secret
from gateway.catalog import recordings
from gateway.catalog.recordings import RecordingRow
from gateway.crypto.keys import subkey
from gateway.database import Database, DatabaseUnavailable
from gateway.keyring import Keyring, PurgeState, Receipt, ShredRequest, subject_hash
from gateway.keyring.errors import SlotShredded
from gateway.services.purging import PurgeService

_MOST_TOGETHER: Final = 256
"""Bounds what one batch reads; those that come while it runs are the next one."""


@dataclass(frozen=True, slots=True)
class Shredded:
    """
    A recording whose key is gone; salt and receipt are None where it went with the whole account.
    """

    recording: RecordingRow
    salt: bytes | None
    receipt: Receipt | None


class Shredding:
    """
    Hands recordings to the keyring, those that were asked for at the same time in one round.
    """

    def __init__(self, catalog_db: Database, keyring: Keyring, purging: PurgeService, clock: Clock) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._purging = purging
        self._clock = clock
        self._batches = Batches(self._shred_all, most=_MOST_TOGETHER, for_all=(DatabaseUnavailable,))

    async def close(self) -> None:
        """
        Let what was asked for come to its end.
        """
        await self._batches.close()

    async def shred(self, recording_id: RecordingId) -> Shredded | None:
        """
        Shred the leaf of a recording whose tombstone stands; None if it is live or unknown.

        Raises:
            KeyringError: as `Keyring.shred`; whoever asks again goes on with it.
        """
        return await self._batches.submit(recording_id)

    async def salt(self, slot: KeySlot, subject_id: str) -> bytes | None:
        """
        Return the salt of the subject's receipts, which only its user is told; None once his account is shredded.

        It is derived under the user's own leaf instead of stored, so that it dies with the account.
        """
        try:
            leaf = await self._keyring.leaf(slot, USER_LEAF)
        except SlotShredded:
            return None
        return _salt_of(leaf, subject_id)

    async def salts(self, subjects: Sequence[tuple[KeySlot, str]]) -> dict[str, bytes]:
        """
        Return the salts of many subjects, each given with its slot, as `salt` does; those without one are absent.
        """
        leaves = await self._keyring.leaf_of_each({slot for slot, _ in subjects}, USER_LEAF)
        return {subject: _salt_of(leaves[slot], subject) for slot, subject in subjects if slot in leaves}

    async def _shred_all(self, asked: Sequence[RecordingId]) -> list[Shredded | Exception | None]:
        """
        Shred the leaves of recordings whose tombstones stand; None for those that are live or unknown.
        """
        async with self._catalog.read() as connection:
            found = await recordings.get_recordings(connection, set(asked))
        erased = [recording for recording in found.values() if not recording.is_live]
        placements = await self._purging.states_of_all([recording.id for recording in erased])
        leaves = await self._keyring.leaf_of_each({recording.key_slot for recording in erased}, USER_LEAF)
        salts = {
            recording.id: _salt_of(leaves[recording.key_slot], str(recording.id))
            for recording in erased
            if recording.key_slot in leaves
        }
        answers: dict[RecordingId, Shredded | Exception] = {
            # Where the whole account is shredded, this leaf went with it.
            recording.id: Shredded(recording, None, None)
            for recording in erased
        }
        shreddable = [recording for recording in erased if recording.id in salts]
        requests = [
            request_of(
                subject_id=str(recording.id),
                slot=recording.key_slot,
                index=recording.leaf_index,
                revoked_at=recording.revoked_at or self._clock.now_ms(),
                commitment=recording.commitment,
                placements=tuple(placements[recording.id]),
                salt=salts[recording.id],
            )
            for recording in shreddable
        ]
        if requests:
            outcomes = await self._keyring.shred_all(requests)
            for recording, outcome in zip(shreddable, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    answers[recording.id] = outcome
                else:
                    answers[recording.id] = Shredded(recording, salts[recording.id], outcome)
        return [answers.get(recording_id) for recording_id in asked]


def _salt_of(leaf: Secret, subject_id: str) -> bytes:
    """
    Return the salt of a subject's receipts, made of its user's own leaf.
    """
    return hmac.digest(subkey(leaf, "receipt-salt").reveal(), subject_id.encode(), "sha256")


def request_of(
    *,
    subject_id: str,
    slot: KeySlot,
    index: LeafIndex,
    revoked_at: int,
    commitment: bytes | None,
    placements: tuple[PurgeState, ...],
    salt: bytes,
) -> ShredRequest:
    """
    Ask for the shredding of one leaf.
    """
    return ShredRequest(
        subject_id=subject_id,
        kind="recording",
        slot=slot,
        first=index,
        last=index,
        revoked_at_ms=revoked_at,
        subject_hash=subject_hash(subject_id, salt),
        commitment=commitment,
        placements=placements,
    )
