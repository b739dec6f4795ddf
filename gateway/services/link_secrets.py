"""
What is kept of a linked account and of an attempt to link one, and how that is sealed.

Both are one AEAD record under the user's own leaf (FORMAT §5.8), so they are gone with his account.
"""

import uuid
from typing import Any, Final, TypeVar

import msgspec

from gateway.base.ids import USER_LEAF, KeySlot, UserId
from gateway.base.secret import Secret
from gateway.catalog.links import Attempt, LinkRow
from gateway.catalog.users import User, get_user
from gateway.crypto.errors import SealBroken
from gateway.crypto.keys import subkey
from gateway.crypto.wrap import open_record, seal_record
from gateway.database import Database
from gateway.keyring import Keyring
from gateway.keyring.errors import SlotShredded

SecretsT = TypeVar("SecretsT", bound="_Unshown")

_LINK_LABEL: Final = b"LINK\x01"
_ATTEMPT_LABEL: Final = b"LTRY\x01"


class _Unshown(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Prints as nothing, wherever it turns up.
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<sealed at rest>)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class LinkSecrets(_Unshown, frozen=True, kw_only=True, omit_defaults=True):
    """
    What opens a linked account, and whose it is. Times are Unix ms.
    """

    subject: str
    """The provider's lasting id of the account; for kinds without OAuth, a hash of the settings that are shown."""

    label: str
    """What its owner recognises it by."""

    settings: dict[str, Any] = {}
    """What the user said himself, for kinds without OAuth."""

    scopes: tuple[str, ...] = ()
    """What was asked for; a refresh asks for the same."""

    has_wider_scopes: bool = False
    access_token: str | None = None

    fresh_until: int | None = None
    """From then on another access token is brought; None: this one does not run out."""

    refresh_token: str | None = None


class AttemptSecrets(_Unshown, frozen=True, kw_only=True, omit_defaults=True):
    """
    What the gateway has to remember while the user is at the provider's.
    """

    verifier: str
    """PKCE's code verifier."""

    redirect_uri: str
    scopes: tuple[str, ...]
    has_wider_scopes: bool = False
    return_to: str | None = None


class LinkVault:
    """
    Seals and opens both under the keys of their users.
    """

    def __init__(self, catalog_db: Database, keyring: Keyring) -> None:
        self._catalog = catalog_db
        self._keyring = keyring

    async def seal_link(self, user_id: UserId, link_id: str, secrets: LinkSecrets) -> bytes:
        """
        Seal what is kept of a link.
        """
        slot = await self._slot_of(user_id)
        return await self._seal(slot, secrets, _link_data(user_id, slot, link_id))

    async def open_link(self, link: LinkRow) -> LinkSecrets:
        """
        Open what is kept of a live link.

        Raises:
            CryptoError: it is damaged.
            KeyringError: the keys of its user are gone.
        """
        if link.secrets is None:
            raise SealBroken
        slot = await self._slot_of(link.user_id)
        associated = _link_data(link.user_id, slot, link.id)
        return await self._open(slot, link.secrets, associated, LinkSecrets)

    async def is_shredded(self, user_id: UserId) -> bool:
        """
        Tell whether nothing opens any more what is kept of the user's links.
        """
        try:
            await self._key(await self._slot_of(user_id))
        except SlotShredded:
            return True
        return False

    async def seal_attempt(self, user: User, state_hash: bytes, secrets: AttemptSecrets) -> bytes:
        """
        Seal what is kept of an attempt.
        """
        associated = _attempt_data(user.id, user.key_slot, state_hash)
        return await self._seal(user.key_slot, secrets, associated)

    async def open_attempt(self, attempt: Attempt) -> AttemptSecrets:
        """
        Open what is kept of an attempt.

        Raises:
            CryptoError: it is damaged.
            KeyringError: the keys of its user are gone.
        """
        slot = await self._slot_of(attempt.user_id)
        associated = _attempt_data(attempt.user_id, slot, attempt.state_hash)
        return await self._open(slot, attempt.secrets, associated, AttemptSecrets)

    async def _slot_of(self, user_id: UserId) -> KeySlot:
        async with self._catalog.read() as connection:
            user = await get_user(connection, user_id)
        assert user is not None
        return user.key_slot

    async def _seal(self, slot: KeySlot, secrets: _Unshown, associated_data: bytes) -> bytes:
        return seal_record(await self._key(slot), msgspec.json.encode(secrets), associated_data)

    async def _open(
        self, slot: KeySlot, sealed: bytes, associated_data: bytes, kind: type[SecretsT]
    ) -> SecretsT:
        return msgspec.json.decode(open_record(await self._key(slot), sealed, associated_data), type=kind)

    async def _key(self, slot: KeySlot) -> Secret:
        return subkey(await self._keyring.leaf(slot, USER_LEAF), "links")


def _link_data(user_id: UserId, slot: KeySlot, link_id: str) -> bytes:
    return _LINK_LABEL + uuid.UUID(user_id).bytes + slot.to_bytes(8, "big") + uuid.UUID(link_id).bytes


def _attempt_data(user_id: UserId, slot: KeySlot, state_hash: bytes) -> bytes:
    return _ATTEMPT_LABEL + uuid.UUID(user_id).bytes + slot.to_bytes(8, "big") + state_hash
