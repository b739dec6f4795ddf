"""
The audit log: who of the operators did what, when, to whom, and why.

Each entry has the hash of the one before (`gateway.services.audit_chain`), and goes into the transaction of what it tells of,
or is there before anything is shown. A reason is sealed under the key of the user it is about and dies with it; everything else
is ids, words and numbers.
"""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import structlog

from gateway.base.clock import Clock
from gateway.base.ids import USER_LEAF, KeySlot, UserId
from gateway.base.secret import Secret
from gateway.catalog import audit as catalog
from gateway.catalog.audit import Entry
from gateway.catalog.users import User
from gateway.crypto.errors import CryptoError
from gateway.crypto.keys import subkey
from gateway.crypto.wrap import open_record, seal_record
from gateway.database import Connection, Database
from gateway.keyring import Keyring, LogHead
from gateway.services.audit_chain import FIRST_PREVIOUS, entry_hash, entry_mac, flaws_of
from gateway.services.errors import InvalidField
from gateway.services.roles import Actor

log = structlog.get_logger()

LOG: Final = "audit"
"""What the signed heads call this log."""

_RECORD_LABEL: Final = b"AUDT\x01"
_LONGEST_REASON: Final = 1024
_BATCH: Final = 500

Facts = Mapping[str, str | int]


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """
    An entry that has no place in the chain yet.
    """

    id: str
    by: Actor
    action: str
    user_id: UserId | None
    subject: str | None
    facts: str
    sealed: bytes | None
    mac_key: Secret
    after: int
    """It gets a number above this one: what was signed is never numbered again, also not in an older catalog."""


@dataclass(frozen=True, slots=True)
class View:
    """
    An entry, and its reason where there is one that can be opened.
    """

    entry: Entry
    reason: str | None

    @property
    def facts(self) -> dict[str, str | int]:
        return msgspec.json.decode(self.entry.facts, type=dict[str, str | int])


@dataclass(frozen=True, slots=True)
class Signed:
    """
    The newest signed head, None for an empty log, and what is wrong with what came since the one before.
    """

    head: LogHead | None
    flaws: tuple[str, ...]


class AuditLog:
    """
    Writes entries, and shows them.
    """

    def __init__(self, catalog_db: Database, keyring: Keyring, clock: Clock) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._clock = clock

    async def draft(
        self,
        by: Actor,
        action: str,
        *,
        user: User | None = None,
        subject: str | None = None,
        reason: str | None = None,
        facts: Facts | None = None,
    ) -> Draft:
        """
        Prepare an entry; before the transaction that it goes into, for keys are asked for.

        Args:
            user: whom it is about; he can see it. A *reason* needs one, for it is sealed under his key.
            facts: words, numbers and ids, in clear for good: nothing that says something about a person.

        Raises:
            InvalidField: the reason is empty or too long.
            KeyringError: the user's keys are gone.
        """
        entry_id = str(uuid.uuid4())
        sealed = None
        if reason is not None:
            assert user is not None
            reason = " ".join(reason.split())
            if not reason:
                raise InvalidField("reason", "is empty; say why")
            if len(reason) > _LONGEST_REASON:
                raise InvalidField("reason", f"is longer than {_LONGEST_REASON} characters")
            leaf = await self._keyring.leaf(user.key_slot, USER_LEAF)
            kept = msgspec.json.encode(_Kept(reason=reason))
            sealed = seal_record(subkey(leaf, "audit"), kept, _data(entry_id, user.key_slot))
        signed = await self._keyring.newest_log_head(LOG)
        return Draft(
            id=entry_id,
            by=by,
            action=action,
            user_id=None if user is None else user.id,
            subject=subject,
            facts=msgspec.json.encode(dict(facts or {}), order="sorted").decode(),
            sealed=sealed,
            mac_key=await self.mac_key(),
            after=0 if signed is None else signed.sequence,
        )

    async def append(self, connection: Connection, draft: Draft) -> None:
        """
        Write the entry, in the transaction of what it tells of; the last thing in it that locks anything.
        """
        newest = await catalog.lock_newest(connection)
        previous = FIRST_PREVIOUS if newest.entry_hash is None else newest.entry_hash
        entry = Entry(
            sequence=max(newest.sequence, draft.after) + 1,
            id=draft.id,
            at=self._clock.now_ms(),
            actor=draft.by.id,
            role=draft.by.role,
            action=draft.action,
            user_id=draft.user_id,
            subject=draft.subject,
            facts=draft.facts,
            sealed=draft.sealed,
            sealed_hash=None if draft.sealed is None else hashlib.sha256(draft.sealed).digest(),
            entry_hash=b"",
            mac=b"",
        )
        digest = entry_hash(entry, previous)
        entry = replace(entry, entry_hash=digest, mac=entry_mac(draft.mac_key, digest))
        await catalog.insert_entry(connection, entry)

    async def note(
        self,
        by: Actor,
        action: str,
        *,
        user: User | None = None,
        subject: str | None = None,
        reason: str | None = None,
        facts: Facts | None = None,
    ) -> None:
        """
        Write an entry in a transaction of its own: on return it is there for good.

        Raises:
            InvalidField: the reason is empty or too long.
        """
        draft = await self.draft(by, action, user=user, subject=subject, reason=reason, facts=facts)
        async with self._catalog.write() as connection:
            await self.append(connection, draft)

    async def note_looks(self, by: Actor, action: str, users: Sequence[User], reason: str) -> None:
        """
        Write, for each of *users*, that somebody looks at what is known about him.

        Raises:
            InvalidField: the reason is empty or too long.
        """
        for first in range(0, len(users), _BATCH):
            drafts = [
                await self.draft(by, action, user=user, reason=reason)
                for user in users[first : first + _BATCH]
            ]
            async with self._catalog.write() as connection:
                for draft in drafts:
                    await self.append(connection, draft)

    async def page(self, *, before: int | None, limit: int) -> list[View]:
        """
        Return entries before *before*, newest first, without their reasons: to see one is to look at its user's data.
        """
        async with self._catalog.read() as connection:
            found = await catalog.latest_entries(connection, before=before, limit=limit)
        return [View(entry, None) for entry in found]

    async def about(self, user: User, *, before: int | None = None, limit: int = 100) -> list[View]:
        """
        Return what was done that concerns *user*, newest first, with the reasons.
        """
        async with self._catalog.read() as connection:
            found = await catalog.latest_entries(connection, before=before, limit=limit, user_id=user.id)
        return [View(entry, await self._reason(entry, user.key_slot)) for entry in found]

    async def shown_to(self, user: User, *, before: int | None, limit: int) -> tuple[list[View], int | None]:
        """
        Return what *user* is told of it, newest first, and what to ask with for those before; None after the last.

        A hold that he is not told of is left out, and what is shown is as long without it: a page that is shorter would tell.
        """
        shown: list[View] = []
        while True:
            views = await self.about(user, before=before, limit=limit)
            for view in views:
                before = view.entry.sequence
                if view.facts.get("tells_user") != "no":
                    shown.append(view)
                    if len(shown) == limit:
                        return shown, before
            if len(views) < limit:
                return shown, None

    async def sign_head(self) -> Signed:
        """
        Sign how far the log has come, and look through what is new since the last time.

        Flaws don't keep it from being signed, or whoever made one would have a free hand from then on.
        """
        head = await self._keyring.newest_log_head(LOG)
        async with self._catalog.read() as connection:
            newest = await catalog.newest_entry(connection)
            known = None if head is None else await catalog.get_entry(connection, head.sequence)
        flaws = []
        if head is not None and (known is None or known.entry_hash != head.digest):
            flaws.append(f"entry {head.sequence} is not there as it was signed")
        if newest is not None and (head is None or newest.sequence > head.sequence):
            flaws += await self._flaws_since(known)
            head = await self._keyring.sign_log_head(LOG, newest.sequence, newest.entry_hash)
            log.info("audit.head_signed", sequence=head.sequence, hash=head.digest.hex())
        for flaw in flaws:
            log.error("audit.broken", flaw=flaw)
        return Signed(head, tuple(flaws))

    async def _flaws_since(self, known: Entry | None) -> list[str]:
        mac_key = await self.mac_key()
        flaws: list[str] = []
        previous = known
        while True:
            after = 0 if previous is None else previous.sequence
            async with self._catalog.read() as connection:
                found = await catalog.entries_after(connection, after, limit=_BATCH)
            if not found:
                return flaws
            for entry in found:
                before = FIRST_PREVIOUS if previous is None else previous.entry_hash
                flaws += [f"entry {entry.sequence}: {flaw}" for flaw in flaws_of(entry, before, mac_key)]
                if entry.sequence != after + 1:
                    flaws.append(f"entries {after + 1} to {entry.sequence - 1} are missing")
                previous, after = entry, entry.sequence

    async def mac_key(self) -> Secret:
        """
        Return the key that shows who wrote an entry.
        """
        return subkey(await self._keyring.service_key("audit"), "audit-mac")

    async def _reason(self, entry: Entry, slot: KeySlot) -> str | None:
        if entry.sealed is None:
            return None
        try:
            leaf = await self._keyring.leaf(slot, USER_LEAF)
            kept = open_record(subkey(leaf, "audit"), entry.sealed, _data(entry.id, slot))
        except CryptoError:
            return None
        return msgspec.json.decode(kept, type=_Kept).reason


def _data(entry_id: str, slot: KeySlot) -> bytes:
    return _RECORD_LABEL + uuid.UUID(entry_id).bytes + slot.to_bytes(8, "big")
