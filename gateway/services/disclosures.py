"""
The register of what went to others: to whom, outside of the operator's organisation, something of a user's was given.

The gateway notes what it gives itself, once in a calendar year for each account and each way of signing in; operators note the
rest. A number that somebody asked a code for and never proved to be his is not in it: it is nobody's user's.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from gateway.base.clock import Clock
from gateway.base.ids import USER_LEAF, KeySlot, UserId
from gateway.base.secret import Secret
from gateway.catalog import disclosures as catalog
from gateway.catalog.disclosures import Disclosure
from gateway.catalog.links import get_link
from gateway.catalog.users import User, get_user, lock_active_user
from gateway.crypto.errors import CryptoError
from gateway.crypto.keys import subkey
from gateway.crypto.wrap import open_record, seal_record
from gateway.database import Connection, Database
from gateway.keyring import Keyring
from gateway.services.audit import AuditLog
from gateway.services.errors import InvalidField, NotFound
from gateway.services.roles import Actor

_RECORD_LABEL: Final = b"DISC\x01"
_LONGEST: Final = 1024
_MOST_KNOWN: Final = 10_000
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9998

Kind = Literal["cloud", "sign-in", "code", "other"]

WHAT: Final[Mapping[str, tuple[str, str]]] = {
    "cloud": (
        "Your recordings, sealed: random names, sizes and times. Nothing that was said or noted can be read there",
        "You linked an account there for copies of your recordings",
    ),
    "sign-in": ("That you sign in here, and when", "You sign in with an account there"),
    "code": ("Your phone number, and when you asked for a code", "Codes are sent to your phone from there"),
}
"""What is given, and why, where the gateway itself does it."""


class _Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    kind: Kind
    recipient: str
    what: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosureView:
    """
    One line of the register as its user sees it.
    """

    at: int
    kind: Kind
    recipient: str
    """A company, a person; for clouds, the kind of account."""
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """
    Who learns of a user when he proves who he is in some way, and what kind of thing that is.
    """

    name: str
    kind: Literal["sign-in", "code"]


class DisclosureRegister:
    """
    Notes and shows what went to others.
    """

    def __init__(self, catalog_db: Database, keyring: Keyring, audit: AuditLog, clock: Clock) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._audit = audit
        self._clock = clock
        self._known: set[str] = set()

    async def of_copy(self, user_id: UserId, slot: KeySlot, link_id: str) -> Disclosure | None:
        """
        Return what is to be noted when a recording's bytes lie at a linked account; None if this year that was done.
        """
        source = f"link:{link_id}:{self._year()}"
        if await self._is_known(source):
            return None
        async with self._catalog.read() as connection:
            link = await get_link(connection, link_id)
        kept = _Kept(kind="cloud", recipient=link_id if link is None else link.kind)
        return await self._sealed(user_id, slot, kept, source)

    async def insert(self, connection: Connection, disclosure: Disclosure | None) -> None:
        """
        Note what `of_copy` returned, in the transaction that says that the bytes lie there.
        """
        if disclosure is not None:
            await catalog.insert_disclosure(connection, disclosure)

    async def note_proof(self, user: User, space: str, recipient: Recipient) -> None:
        """
        Note who learned of a user who has proved who he is.
        """
        source = f"way:{space}:{user.id}:{self._year()}"
        if await self._is_known(source):
            return
        kept = _Kept(kind=recipient.kind, recipient=recipient.name)
        disclosure = await self._sealed(user.id, user.key_slot, kept, source)
        async with self._catalog.write() as connection:
            if await lock_active_user(connection, user.id):
                await catalog.insert_disclosure(connection, disclosure)

    async def add(self, user_id: UserId, *, by: Actor, recipient: str, what: str, why: str) -> None:
        """
        Note that an operator gave something of a user's to somebody; the user can see it.

        Raises:
            NotFound: there is no such user, or he was erased.
            InvalidField: a value is empty or too long.
        """
        values = {"recipient": recipient, "what": what, "why": why}
        for field, value in values.items():
            if not value.strip():
                raise InvalidField(field, "is empty")
            if len(value) > _LONGEST:
                raise InvalidField(field, f"is longer than {_LONGEST} characters")
        async with self._catalog.read() as connection:
            user = await get_user(connection, user_id)
        if user is None or not user.is_active:
            raise NotFound(f"there is no user {user_id}")
        kept = _Kept(kind="other", **{field: value.strip() for field, value in values.items()})
        disclosure = await self._sealed(user.id, user.key_slot, kept, None)
        entry = await self._audit.draft(by, "disclosure.added", user=user, subject=disclosure.id, reason=why)
        async with self._catalog.write() as connection:
            if not await lock_active_user(connection, user.id):
                raise NotFound(f"there is no user {user_id}")
            await catalog.insert_disclosure(connection, disclosure)
            await self._audit.append(connection, entry)

    async def of(self, user: User, *, year: int | None = None) -> list[DisclosureView]:
        """
        Return what of a user's went to others, in a calendar year (UTC) or ever, newest first.

        Raises:
            InvalidField: this is no year.
        """
        since, before = 0, 2**62
        if year is not None:
            if not _FIRST_YEAR <= year <= _LAST_YEAR:
                raise InvalidField("year", "is no year")
            since, before = _began(year), _began(year + 1)
        async with self._catalog.read() as connection:
            found = await catalog.disclosures_of(connection, user.id, since=since, before=before)
        views = [await self._view(disclosure, user.key_slot) for disclosure in found]
        return [view for view in views if view is not None]

    def _year(self) -> int:
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC).year

    async def _is_known(self, source: str) -> bool:
        if source in self._known:
            return True
        async with self._catalog.read() as connection:
            is_known = await catalog.has_source(connection, source)
        if is_known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known.add(source)
        return is_known

    async def _sealed(self, user_id: UserId, slot: KeySlot, kept: _Kept, source: str | None) -> Disclosure:
        disclosure_id = str(uuid.uuid4())
        return Disclosure(
            id=disclosure_id,
            user_id=user_id,
            at=self._clock.now_ms(),
            source=source,
            sealed=seal_record(await self._key(slot), msgspec.json.encode(kept), _data(disclosure_id, slot)),
        )

    async def _view(self, disclosure: Disclosure, slot: KeySlot) -> DisclosureView | None:
        try:
            opened = open_record(await self._key(slot), disclosure.sealed, _data(disclosure.id, slot))
        except CryptoError:
            return None
        kept = msgspec.json.decode(opened, type=_Kept)
        what, why = WHAT.get(kept.kind, (kept.what, kept.why))
        return DisclosureView(at=disclosure.at, kind=kept.kind, recipient=kept.recipient, what=what, why=why)

    async def _key(self, slot: KeySlot) -> Secret:
        return subkey(await self._keyring.leaf(slot, USER_LEAF), "disclosure")


def _began(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1000


def _data(disclosure_id: str, slot: KeySlot) -> bytes:
    return _RECORD_LABEL + uuid.UUID(disclosure_id).bytes + slot.to_bytes(8, "big")
