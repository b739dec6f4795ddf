"""
Whose proof a proof is: who signs in with it, and whose account it is joined to.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog

from gateway.base.clock import Clock
from gateway.base.ids import USER_LEAF, KeySlot, UserId
from gateway.base.secret import Secret
from gateway.catalog import identities as catalog
from gateway.catalog.identities import Identity
from gateway.catalog.users import User, get_user, insert_user, lock_active_user
from gateway.crypto.errors import CryptoError
from gateway.crypto.keys import subkey
from gateway.crypto.wrap import open_record, seal_record
from gateway.database import Database
from gateway.keyring import Keyring
from gateway.services.accounts import AccountService, Personal
from gateway.services.disclosures import DisclosureRegister, Recipient
from gateway.services.errors import IdentityTaken, LastIdentity, NotFound, NotInvited
from gateway.services.look_ups import LookUpKeys, LookUps
from gateway.services.ways import PHONE

log = structlog.get_logger()

_RECORD_LABEL: Final = b"IDEN\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """
    Somebody has shown that he is *subject* of *space*; he knows it as *label*.
    """

    space: str
    subject: str
    label: str

    def __repr__(self) -> str:
        return f"Proven({self.space}, <somebody>)"


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    subject: str
    label: str

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityView:
    """
    One of a user's identities as he sees it; *label* is None if what is kept of it is damaged.
    """

    id: str
    space: str
    label: str | None
    created_at: int
    subject: str | None = None
    """The number, or the provider's lasting name of the account."""


class IdentityService:
    """
    Knows who is whom.

    *recipients* are those who learn of it when somebody proves who he is, by the spaces; where nobody does there is none.
    """

    def __init__(
        self,
        catalog_db: Database,
        keyring: Keyring,
        accounts: AccountService,
        look_ups: LookUps,
        disclosures: DisclosureRegister,
        recipients: Mapping[str, Recipient],
        clock: Clock,
        *,
        is_open: bool,
    ) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._accounts = accounts
        self._look_ups = look_ups
        self._disclosures = disclosures
        self._recipients = recipients
        self._clock = clock
        self._is_open = is_open

    async def enter(self, proven: Proven) -> tuple[User, bool]:
        """
        Return whose identity it is, and whether an account was made for him just now.

        Raises:
            NotInvited: he has no account, and the operator lets nobody make one.
        """
        while True:
            keys = await self._look_ups.keys()
            async with self._catalog.read() as connection:
                found = await catalog.find_identity(connection, keys.all(proven.space, proven.subject))
                user = None if found is None else await get_user(connection, found.user_id)
            if found is not None and user is not None and user.is_active:
                if found.generation != keys.generation:
                    await self._renew(found, user, proven, keys)
                await self._disclosed(user, proven.space)
                return user, False
            if not self._is_open:
                raise NotInvited("there is no account for this, and new ones are not made here")
            made = await self._made(proven, keys)
            if made is not None:
                log.info("user.signed_up", user=made.id, space=proven.space)
                await self._disclosed(made, proven.space)
                return made, True

    async def join(self, user: User, proven: Proven) -> IdentityView:
        """
        Make it one of the user's identities; joined before, it stays so.

        Raises:
            IdentityTaken: it is another account's.
            NotFound: he was erased meanwhile.
        """
        while True:
            keys = await self._look_ups.keys()
            identity = await self._sealed(user.id, user.key_slot, proven, keys)
            async with self._catalog.write() as connection:
                if not await lock_active_user(connection, user.id):
                    raise NotFound("there is no such user")
                if await catalog.look_up_generation(connection, holds=True) != keys.generation:
                    continue
                found = await catalog.find_identity(connection, keys.all(proven.space, proven.subject))
                if found is None and not await catalog.insert_identity(connection, identity):
                    found = await catalog.find_identity(connection, keys.all(proven.space, proven.subject))
            break
        if found is not None and found.user_id != user.id:
            raise IdentityTaken(
                "this belongs to another account. Recordings do not move between accounts: sign in to that one, fetch "
                "what you want to keep, and remove this from it or erase it; then add it here"
            )
        await self._disclosed(user, proven.space)
        return await self._view(user.key_slot, identity if found is None else found)

    async def leave(self, user: User, identity_id: str) -> None:
        """
        Remove one of the user's identities.

        Raises:
            NotFound: he has none of that id.
            LastIdentity: it is the only one, and he could not sign in any more.
        """
        async with self._catalog.write() as connection:
            if not await lock_active_user(connection, user.id):
                raise NotFound("there is no such user")
            held = await catalog.identities_of(connection, user.id)
            if all(identity.id != identity_id for identity in held):
                raise NotFound("there is no such identity")
            if len(held) == 1:
                raise LastIdentity("this is the only way to sign in; add another one first")
            await catalog.delete_identity(connection, user.id, identity_id)

    async def list_of(self, user: User) -> list[IdentityView]:
        """
        Return the user's identities, oldest first.
        """
        async with self._catalog.read() as connection:
            held = await catalog.identities_of(connection, user.id)
        return [await self._view(user.key_slot, identity) for identity in held]

    async def opened(self, slot: KeySlot, identity: Identity) -> Proven | None:
        """
        Return what an identity proves, None if what is kept of it is damaged.
        """
        try:
            kept = open_record(
                await self._key(slot), identity.sealed, _data(identity.user_id, slot, identity.id)
            )
        except CryptoError:
            return None
        read = msgspec.json.decode(kept, type=_Kept)
        return Proven(space=identity.kind, subject=read.subject, label=read.label)

    async def _disclosed(self, user: User, space: str) -> None:
        if space in self._recipients:
            await self._disclosures.note_proof(user, space, self._recipients[space])

    async def _made(self, proven: Proven, keys: LookUpKeys) -> User | None:
        """
        Make an account with this identity; None if somebody was quicker, or the look-up key was replaced just now.
        """
        email = proven.label if "@" in proven.label else None
        phone = proven.subject if proven.space == PHONE else None
        user = await self._accounts.prepared(Personal(name="", phone=phone, email=email))
        identity = await self._sealed(user.id, user.key_slot, proven, keys)
        try:
            async with self._catalog.write() as connection:
                await insert_user(connection, user)
                if await catalog.look_up_generation(connection, holds=True) != keys.generation:
                    raise _Overtaken
                # Under another key than this one's row would be, nothing else tells that he is there already.
                if (
                    await catalog.find_identity(connection, keys.all(proven.space, proven.subject))
                    is not None
                ):
                    raise _Overtaken
                if not await catalog.insert_identity(connection, identity):
                    raise _Overtaken
        except _Overtaken:
            # The slot stays unused for good; slots are many.
            return None
        return user

    async def _renew(self, found: Identity, user: User, proven: Proven, keys: LookUpKeys) -> None:
        """
        Have an identity found by the newest key, and seal it anew: what is kept of it may be damaged.
        """
        renewed = await self._sealed(user.id, user.key_slot, proven, keys, identity_id=found.id)
        async with self._catalog.write() as connection:
            await catalog.renew_identity(connection, renewed)

    async def _sealed(
        self,
        user_id: UserId,
        slot: KeySlot,
        proven: Proven,
        keys: LookUpKeys,
        *,
        identity_id: str | None = None,
    ) -> Identity:
        identity_id = identity_id or str(uuid.uuid4())
        kept = msgspec.json.encode(_Kept(subject=proven.subject, label=proven.label))
        return Identity(
            id=identity_id,
            user_id=user_id,
            kind=proven.space,
            look_up=keys.current(proven.space, proven.subject),
            generation=keys.generation,
            sealed=seal_record(await self._key(slot), kept, _data(user_id, slot, identity_id)),
            created_at=self._clock.now_ms(),
        )

    async def _view(self, slot: KeySlot, identity: Identity) -> IdentityView:
        proven = await self.opened(slot, identity)
        return IdentityView(
            id=identity.id,
            space=identity.kind,
            label=None if proven is None else proven.label or proven.subject,
            created_at=identity.created_at,
            subject=None if proven is None else proven.subject,
        )

    async def _key(self, slot: KeySlot) -> Secret:
        return subkey(await self._keyring.leaf(slot, USER_LEAF), "identities")


class _Overtaken(Exception):
    pass


def _data(user_id: UserId, slot: KeySlot, identity_id: str) -> bytes:
    return _RECORD_LABEL + uuid.UUID(user_id).bytes + slot.to_bytes(8, "big") + uuid.UUID(identity_id).bytes
