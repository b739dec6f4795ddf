"""
Users and their tokens.
"""

import hashlib
import secrets
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

import msgspec
import structlog

from gateway.base.batches import Batches
from gateway.base.clock import Clock
from gateway.base.ids import USER_LEAF, KeySlot, UserId
from gateway.base.secret import Secret
from gateway.catalog import users as catalog
from gateway.catalog.unused import cancel_end
from gateway.crypto.errors import CryptoError
from gateway.crypto.keys import subkey
from gateway.crypto.wrap import open_record, seal_record
from gateway.database import Database, DatabaseUnavailable, Remembered
from gateway.keyring import Keyring
from gateway.services.errors import InvalidField, Leaving, NotFound, Unauthenticated

log = structlog.get_logger()

TOKEN_PREFIX: Final = "rgt_"
"""Lets scanners for leaked secrets know one."""
_MOST_TOKENS: Final = 500
_REMEMBERED: Final = 1024
"""Tokens whose holders are remembered."""
_ABSENCE_MS: Final = 7 * 24 * 3600 * 1000
"""Nobody who was away for less was told that his account ends."""
_RECORD_LABEL: Final = b"USER\x01"


class Personal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What is known about a person; sealed under his own leaf, which dies with the account.
    """

    name: str
    phone: str | None = None
    email: str | None = None


class AccountService:
    """
    Makes users and tokens, and knows whose token is whose.
    """

    def __init__(self, catalog_db: Database, keyring: Keyring, clock: Clock) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._clock = clock
        self._asked = Batches(self._holders_of, most=_MOST_TOKENS)
        self._holders = Remembered(catalog_db, self._asked.submit, most=_REMEMBERED)

    async def add_user(self, *, name: str, phone: str | None = None, email: str | None = None) -> UserId:
        """
        Make a user with a key slot of his own.

        The slot comes first: a crash in between leaves a slot that nobody uses, never a user without keys.

        Raises:
            InvalidField: a value is empty or malformed.
        """
        user = await self.prepared(_checked(Personal(name=name, phone=phone, email=email)))
        async with self._catalog.write() as connection:
            await catalog.insert_user(connection, user)
        return user.id

    async def prepared(self, personal: Personal) -> catalog.User:
        """
        Return a new user with a key slot of his own, not in the catalog yet.
        """
        user_id = UserId(str(uuid.uuid4()))
        slot = await self._unused_slot()
        leaf = await self._keyring.leaf(slot, USER_LEAF)
        sealed = seal_record(
            subkey(leaf, "personal"), msgspec.json.encode(personal), _associated_data(user_id, slot)
        )
        return catalog.User(user_id, slot, "active", self._clock.now_ms(), sealed)

    async def _unused_slot(self) -> KeySlot:
        """
        Return a new slot that no user in the catalog has; see `UploadService` on how one might.
        """
        while True:
            slot = await self._keyring.add_slot()
            async with self._catalog.read() as connection:
                if await catalog.get_user_of_slot(connection, slot) is None:
                    return slot
            log.error("keys.older_than_catalog", slot=slot)

    async def counted_users(self) -> AsyncIterator[tuple[catalog.User, int]]:
        """
        Yield every user, erased ones too, oldest first, with the number of his recordings.
        """
        async with self._catalog.read() as connection:
            rows = [row async for row in catalog.iterate_users(connection)]
        for row in rows:
            yield row

    async def get_user(self, user_id: UserId) -> catalog.User:
        """
        Return an active user.

        Raises:
            NotFound: there is none of this id, or he was erased.
        """
        async with self._catalog.read() as connection:
            user = await catalog.get_user(connection, user_id)
        if user is None or not user.is_active:
            raise NotFound(f"there is no user {user_id}")
        return user

    async def personal_of(self, user: catalog.User) -> Personal | None:
        """
        Return what is known about a user; None if it cannot be opened.
        """
        async with self._catalog.read() as connection:
            current = await catalog.get_user(connection, user.id)
        return None if current is None else await self._open_personal(current)

    async def change_personal(self, user: catalog.User, changes: Mapping[str, str | None]) -> Personal:
        """
        Correct what is known about a user: name, phone, e-mail; None removes.

        Raises:
            InvalidField: a value is malformed.
            NotFound: he was erased meanwhile.
        """
        before = await self.personal_of(user) or Personal(name="")
        values = {**msgspec.structs.asdict(before), **changes}
        personal = _checked(Personal(**{**values, "name": values["name"] or ""}), needs_name=False)
        leaf = await self._keyring.leaf(user.key_slot, USER_LEAF)
        sealed = seal_record(
            subkey(leaf, "personal"), msgspec.json.encode(personal), _associated_data(user.id, user.key_slot)
        )
        async with self._catalog.write() as connection:
            if not await catalog.change_personal(connection, user.id, sealed):
                raise NotFound(f"there is no user {user.id}")
        return personal

    async def new_token(self, user_id: UserId, *, lifetime_s: int) -> Secret:
        """
        Make a bearer token for the user; only its hash is kept.
        """
        user = await self.get_user(user_id)
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        now = self._clock.now_ms()
        row = catalog.Token(
            id=uuid.uuid4().hex,
            user_id=user.id,
            token_hash=token_hash(token),
            created_at=now,
            expires_at=now + lifetime_s * 1000,
        )
        async with self._catalog.write() as connection:
            if not await catalog.lock_active_user(connection, user.id):
                raise NotFound(f"there is no user {user_id}")
            await catalog.insert_token(connection, row)
        return Secret(token.encode())

    async def revoke_token(self, token: str) -> None:
        """
        End a token.

        Raises:
            NotFound: there is no such token, or it was revoked before.
        """
        async with self._catalog.write() as connection:
            if not await catalog.revoke_token(connection, token_hash(token), at=self._clock.now_ms()):
                raise NotFound("there is no such token, or it was revoked before")

    async def revoke_tokens_of(self, user_id: UserId) -> int:
        """
        End all tokens of a user; return how many there were.
        """
        user = await self.get_user(user_id)
        async with self._catalog.write() as connection:
            return await catalog.revoke_tokens_of(connection, user.id, at=self._clock.now_ms())

    async def authenticate(self, token: str) -> catalog.User:
        """
        Return the user that *token* stands for.

        Raises:
            Unauthenticated: it is unknown, expired or revoked, or its user was erased.
        """
        holder = await self._holders.get(token_hash(token))
        if holder is None or holder.expires_at <= self._clock.now_ms():
            raise Unauthenticated("this token is unknown, expired or revoked")
        await self._note_use(holder.user)
        return holder.user

    async def _holders_of(self, token_hashes: Sequence[bytes]) -> list[catalog.TokenHolder | None]:
        async with self._catalog.read() as connection:
            found = await catalog.get_token_holders(connection, set(token_hashes), at=self._clock.now_ms())
        return [found.get(token_hash) for token_hash in token_hashes]

    async def _note_use(self, user: catalog.User) -> None:
        """
        Note that a user is here for the first time today: a write a day for each, not one for each request.
        """
        today = catalog.day_of(self._clock.now_ms())
        if user.used_at is not None and user.used_at >= today:
            return
        try:
            async with self._catalog.write() as connection:
                await catalog.note_use(connection, user.id, day=today)
                if user.used_at is None or today - user.used_at > _ABSENCE_MS:
                    await cancel_end(connection, user.id, at=self._clock.now_ms())
        except DatabaseUnavailable as error:
            # Reading may go on where nothing can be written; the next request notes it.
            log.warning("users.use_not_noted", user=user.id, error=str(error))

    async def _open_personal(self, user: catalog.User) -> Personal | None:
        if user.personal is None:
            return None
        try:
            leaf = await self._keyring.leaf(user.key_slot, USER_LEAF)
            opened = open_record(
                subkey(leaf, "personal"), user.personal, _associated_data(user.id, user.key_slot)
            )
        except CryptoError:
            return None
        return msgspec.json.decode(opened, type=Personal)


def refuse_leaving(user: catalog.User) -> None:
    """
    Make sure that something may be added to what the user has.

    Raises:
        Leaving: he is about to be erased.
    """
    if user.is_leaving:
        raise Leaving


def token_hash(token: str) -> bytes:
    """
    Return what is kept of a token; 256 random bits need no slow hash.
    """
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _associated_data(user_id: UserId, slot: KeySlot) -> bytes:
    return _RECORD_LABEL + uuid.UUID(user_id).bytes + slot.to_bytes(8, "big")


def _checked(personal: Personal, *, needs_name: bool = True) -> Personal:
    if needs_name and not personal.name.strip():
        raise InvalidField("name", "is empty")
    if personal.phone is not None and not any(letter.isdigit() for letter in personal.phone):
        raise InvalidField("phone", "holds no digit")
    if personal.email is not None and "@" not in personal.email:
        raise InvalidField("email", "holds no @")
    for field in ("name", "phone", "email"):
        value = getattr(personal, field)
        if value is not None and len(value) > 1024:
            raise InvalidField(field, "is longer than 1024 characters")
    return personal
