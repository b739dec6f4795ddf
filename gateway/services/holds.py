"""
Legal holds: an operator says that something must not be erased, and until when.

A hold stops expiry, deletion, and the end of an account, in the transaction that would have begun them.
Why it was placed, and by whom, is personal: it is sealed under the user's own leaf and dies with the account.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from gateway.base.clock import Clock
from gateway.base.ids import USER_LEAF, KeySlot, RecordingId, UserId
from gateway.base.secret import Secret
from gateway.catalog import holds as catalog
from gateway.catalog import recordings, users
from gateway.catalog.holds import Hold
from gateway.catalog.users import User
from gateway.crypto.errors import CryptoError
from gateway.crypto.keys import subkey
from gateway.crypto.wrap import open_record, seal_record
from gateway.database import Connection, Database
from gateway.keyring import Keyring
from gateway.services.audit import AuditLog
from gateway.services.errors import Held, InvalidField, NotFound
from gateway.services.roles import Actor

log = structlog.get_logger()

_RECORD_LABEL: Final = b"HOLD\x01"
_LONGEST_REASON: Final = 1024


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """
    Why something is held, and who placed the hold; sealed under the user's own leaf.
    """

    reason: str
    placed_by: str


@dataclass(frozen=True, slots=True)
class HoldView:
    """
    A hold as an operator sees it; *cause* is None if he did not ask for it, or if it cannot be opened.
    """

    hold: Hold
    is_active: bool
    cause: Cause | None


class HoldService:
    """
    Places and lifts holds.
    """

    def __init__(self, catalog_db: Database, keyring: Keyring, audit: AuditLog, clock: Clock) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._audit = audit
        self._clock = clock

    async def place(
        self,
        user_id: UserId,
        cause: Cause,
        *,
        by: Actor,
        recording_id: RecordingId | None = None,
        tells_user: bool = False,
        ends_at: int | None = None,
    ) -> str:
        """
        Hold a recording of the user, or all that he has and will have; return the hold's id.

        What is being erased already is gone: the erasure and the hold meet at the user's row, and one comes first.

        Args:
            tells_user: whether he is told that, and why, his recordings are held.
            ends_at: Unix ms; None: until it is lifted.

        Raises:
            NotFound: there is no such user or recording, or it is erased.
            InvalidField: a value is empty, too long or past.
        """
        self._check(cause, ends_at)
        async with self._catalog.read() as connection:
            user = await users.get_user(connection, user_id)
        if user is None or not user.is_active:
            raise NotFound(f"there is no user {user_id}")
        hold_id = str(uuid.uuid4())
        leaf = await self._keyring.leaf(user.key_slot, USER_LEAF)
        hold = Hold(
            id=hold_id,
            user_id=user_id,
            recording_id=recording_id,
            sealed=seal_record(
                subkey(leaf, "hold"), msgspec.json.encode(cause), _associated_data(hold_id, user.key_slot)
            ),
            tells_user=tells_user,
            created_at=self._clock.now_ms(),
            ends_at=ends_at,
        )
        facts = {"tells_user": "yes" if tells_user else "no"}
        if recording_id is not None:
            facts["recording"] = str(recording_id)
        entry = await self._audit.draft(
            by, "hold.placed", user=user, subject=hold_id, reason=cause.reason, facts=facts
        )
        async with self._catalog.write() as connection:
            if not await users.lock_active_user(connection, user_id):
                raise NotFound(f"there is no user {user_id}")
            if recording_id is not None:
                recording = await recordings.get_recording(connection, recording_id)
                if recording is None or recording.user_id != user_id or not recording.is_live:
                    raise NotFound(f"user {user_id} has no recording {recording_id}")
            await catalog.insert_hold(connection, hold)
            await self._audit.append(connection, entry)
        log.warning(
            "audit.hold_placed",
            hold=hold_id,
            user=user_id,
            recording=None if recording_id is None else str(recording_id),
            ends_at=ends_at,
        )
        return hold_id

    async def lift(self, hold_id: str, *, by: Actor) -> None:
        """
        End a hold. What is due goes on by itself; a deletion that was refused meanwhile is not remembered.

        Raises:
            NotFound: there is no such hold, or it was lifted before.
        """
        async with self._catalog.read() as connection:
            hold = await catalog.get_hold(connection, hold_id)
            user = None if hold is None else await users.get_user(connection, hold.user_id)
        entry = await self._audit.draft(
            by,
            "hold.lifted",
            user=user,
            subject=hold_id,
            facts={"tells_user": "yes" if hold is not None and hold.tells_user else "no"},
        )
        async with self._catalog.write() as connection:
            if not await catalog.lift_hold(connection, hold_id, at=self._clock.now_ms()):
                raise NotFound(f"there is no hold {hold_id}, or it was lifted before")
            await self._audit.append(connection, entry)
        log.warning("audit.hold_lifted", hold=hold_id)

    async def list_holds(self) -> list[HoldView]:
        """
        Return every hold, lifted and ended ones too, oldest first; without its cause, for that is about a person.
        """
        async with self._catalog.read() as connection:
            found = await catalog.list_holds(connection)
        now = self._clock.now_ms()
        return [HoldView(hold, hold.is_active(now), None) for hold in found]

    async def look_at_causes(self, *, by: Actor, reason: str) -> list[HoldView]:
        """
        Return every hold with its cause, to somebody who says why he looks; each user can see that he did.

        Raises:
            InvalidField: the reason is empty or too long.
        """
        async with self._catalog.read() as connection:
            found = await catalog.list_holds(connection)
            held = {hold.user_id: await users.get_user(connection, hold.user_id) for hold in found}
        people = {user_id: user for user_id, user in held.items() if user is not None and user.is_active}
        await self._audit.note_looks(by, "user.looked-at", list(people.values()), reason)
        now = self._clock.now_ms()
        return [
            HoldView(hold, hold.is_active(now), await self._open(hold, people[hold.user_id].key_slot))
            for hold in found
            if hold.user_id in people
        ]

    async def refuse_held(self, connection: Connection, user: User) -> None:
        """
        Make sure that neither the user nor a recording of his is held; he is locked, so none comes in between.

        Raises:
            Held: one is. Why, is told only if nothing in the way is a secret.
        """
        placed = await catalog.active_holds(connection, [user.id], at=self._clock.now_ms())
        if placed:
            first = next((hold for hold in placed if not hold.tells_user), placed[0])
            raise await self.refusal(first, user.key_slot)

    async def told_to(self, user: User) -> list[HoldView]:
        """
        Return the holds that a user is told of, those in force.
        """
        now = self._clock.now_ms()
        async with self._catalog.read() as connection:
            found = await catalog.active_holds(connection, [user.id], at=now)
        return [
            HoldView(hold, True, await self._open(hold, user.key_slot)) for hold in found if hold.tells_user
        ]

    async def causes_of(self, user: User) -> list[HoldView]:
        """
        Return the holds on a user with their causes; for whoever has said why he looks.
        """
        async with self._catalog.read() as connection:
            found = await catalog.list_holds(connection, user_id=user.id)
        now = self._clock.now_ms()
        return [HoldView(hold, hold.is_active(now), await self._open(hold, user.key_slot)) for hold in found]

    async def refusal(self, hold: Hold, slot: KeySlot) -> Held:
        """
        Return what someone is told whose erasure *hold* stopped; *slot* is the user's.
        """
        cause = await self._open(hold, slot) if hold.tells_user else None
        return Held(None if cause is None else cause.reason)

    def _check(self, cause: Cause, ends_at: int | None) -> None:
        if not cause.reason.strip():
            raise InvalidField("reason", "is empty")
        for field, value in (("reason", cause.reason), ("placed_by", cause.placed_by)):
            if len(value) > _LONGEST_REASON:
                raise InvalidField(field, f"is longer than {_LONGEST_REASON} characters")
        if ends_at is not None and ends_at <= self._clock.now_ms():
            raise InvalidField("ends_at", "is past")

    async def _open(self, hold: Hold, slot: KeySlot) -> Cause | None:
        try:
            leaf: Secret = await self._keyring.leaf(slot, USER_LEAF)
            opened = open_record(subkey(leaf, "hold"), hold.sealed, _associated_data(hold.id, slot))
        except CryptoError:
            return None
        return msgspec.json.decode(opened, type=Cause)


def told_of(found: Sequence[Hold], recording_ids: Collection[RecordingId]) -> set[RecordingId]:
    """
    Return those of one user's recordings of which he is told that they are held.
    """
    told = [hold for hold in found if hold.tells_user]
    return {one for one in recording_ids if any(hold.covers(one) for hold in told)}


def _associated_data(hold_id: str, slot: KeySlot) -> bytes:
    return _RECORD_LABEL + uuid.UUID(hold_id).bytes + slot.to_bytes(8, "big")
