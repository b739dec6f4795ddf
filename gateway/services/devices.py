"""
The devices on which people are signed in, and what each is given to show for it.

An app has a short-lived access token and a refresh token, which is used once: each use brings both anew. Whoever brings a
used one again has a copy of it, and the device is signed out. A browser has a session token alone.
"""

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
import structlog

from gateway.base.clock import Clock
from gateway.base.ids import USER_LEAF, KeySlot, UserId
from gateway.base.secret import Secret
from gateway.catalog import devices as catalog
from gateway.catalog.devices import Device, RefreshToken
from gateway.catalog.users import Token, User, get_user, insert_token, lock_active_user
from gateway.crypto.errors import CryptoError
from gateway.crypto.keys import subkey
from gateway.crypto.wrap import open_record, seal_record
from gateway.database import Connection, Database
from gateway.keyring import Keyring
from gateway.services.accounts import TOKEN_PREFIX, token_hash
from gateway.services.errors import NotFound, SignedOut
from gateway.settings import SignIn as Limits

log = structlog.get_logger()

REFRESH_PREFIX: Final = "rgr_"
SESSION_PREFIX: Final = "rgs_"
"""They let scanners for leaked secrets know one."""
_RECORD_LABEL: Final = b"DEVI\x01"
_LONGEST_NAME: Final = 100

DeviceKind = Literal["app", "browser"]
EndReason = Literal["signed-out", "revoked", "reused", "crowded-out"]


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """
    What a device is given. Times are Unix ms; a browser has no refresh token.
    """

    user_id: UserId
    device_id: str
    token: Secret
    token_expires_at: int
    refresh_token: Secret | None
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """
    A device as its user sees it; *name* is None if what is kept of it is damaged.
    """

    id: str
    kind: str
    name: str | None
    created_at: int
    used_at: int
    expires_at: int


class DeviceService:
    """
    Signs devices in and out.
    """

    def __init__(self, catalog_db: Database, keyring: Keyring, clock: Clock, limits: Limits) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._clock = clock
        self._limits = limits

    async def sign_in_app(self, user: User, *, name: str) -> SignedIn:
        """
        Sign an app in on a device that its user knows as *name*.

        Raises:
            NotFound: he was erased meanwhile.
        """
        device = await self._new(user, "app", name, lifetime_s=self._limits.refresh_lifetime_s)
        async with self._catalog.write() as connection:
            await self._add(connection, device)
            return await self._give(connection, device)

    async def sign_in_browser(self, user: User, *, name: str, is_remembered: bool) -> SignedIn:
        """
        Sign a browser in, for as long as the operator has it, or longer if it is to be remembered.

        Raises:
            NotFound: he was erased meanwhile.
        """
        limits = self._limits
        lifetime_s = limits.remembered_lifetime_s if is_remembered else limits.session_lifetime_s
        device = await self._new(user, "browser", name, lifetime_s=lifetime_s)
        token = SESSION_PREFIX + secrets.token_urlsafe(32)
        async with self._catalog.write() as connection:
            await self._add(connection, device)
            await insert_token(connection, _token_row(device, token, expires_at=device.expires_at))
        return SignedIn(
            user_id=device.user_id,
            device_id=device.id,
            token=Secret(token.encode()),
            token_expires_at=device.expires_at,
            refresh_token=None,
            expires_at=device.expires_at,
        )

    async def refresh(self, refresh_token: str) -> SignedIn:
        """
        Give a device new tokens for its refresh token, which counts no more then.

        It may come once more within the operator's grace, as long as what it brought was not used: then the first answer
        was lost, and what was in it is taken back.

        Raises:
            SignedOut: it counts no more, or never did.
        """
        used_hash = token_hash(refresh_token)
        now = self._clock.now_ms()
        async with self._catalog.write() as connection:
            device = await self._device_of(connection, used_hash)
            known = None if device is None else await catalog.find_refresh_token(connection, used_hash)
            if device is None or known is None or not device.is_live(now):
                raise SignedOut("this device is signed out; sign in again")
            user = await get_user(connection, device.user_id)
            if user is None or not user.is_active:
                raise SignedOut("this device is signed out; sign in again")
            is_stolen = known.used_at is not None and not await self._was_lost(connection, known, now)
            if is_stolen:
                await catalog.end_devices(
                    connection, device.user_id, reason="reused", at=now, device_id=device.id
                )
            else:
                return await self._give(connection, device, after=known)
        log.warning("device.refresh_token_reused", device=device.id, user=device.user_id)
        raise SignedOut("this refresh token was used before, so its device was signed out; sign in again")

    async def end(self, user: User, device_id: str, *, reason: EndReason = "revoked") -> None:
        """
        Sign one of the user's devices out: its tokens count no more.

        Raises:
            NotFound: he has no such device, or it is signed out already.
        """
        async with self._catalog.write() as connection:
            ended = await catalog.end_devices(
                connection, user.id, reason=reason, at=self._clock.now_ms(), device_id=device_id
            )
        if not ended:
            raise NotFound("there is no such device, or it is signed out already")

    async def end_others(self, user: User, *, but: str | None) -> int:
        """
        Sign all of the user's devices out but the one named; return how many there were.
        """
        async with self._catalog.write() as connection:
            ended = await catalog.end_devices(
                connection, user.id, reason="revoked", at=self._clock.now_ms(), but=but
            )
        return len(ended)

    async def list_of(self, user: User) -> list[DeviceView]:
        """
        Return where the user is signed in, the device that was used last first.
        """
        async with self._catalog.read() as connection:
            devices = await catalog.live_devices_of(connection, user.id, at=self._clock.now_ms())
        return [await self._view(user, device) for device in devices]

    async def device_of(self, token: str) -> str | None:
        """
        Return the id of the device that has *token*; None for one that was made by command.
        """
        async with self._catalog.read() as connection:
            return await catalog.device_of_token(connection, token_hash(token))

    async def is_fresh(self, token: str, *, within_s: int) -> bool:
        """
        Tell whether whoever has *token* signed in within so long.
        """
        async with self._catalog.read() as connection:
            at = await catalog.signed_in_at(connection, token_hash(token))
        return at is not None and self._clock.now_ms() - at <= within_s * 1000

    async def _new(self, user: User, kind: DeviceKind, name: str, *, lifetime_s: int) -> Device:
        device_id = str(uuid.uuid4())
        now = self._clock.now_ms()
        kept = msgspec.json.encode(_Kept(name=" ".join(name.split())[:_LONGEST_NAME]))
        return Device(
            id=device_id,
            user_id=user.id,
            kind=kind,
            sealed=seal_record(
                await self._key(user.key_slot), kept, _data(user.id, user.key_slot, device_id)
            ),
            created_at=now,
            used_at=now,
            expires_at=now + lifetime_s * 1000,
        )

    async def _add(self, connection: Connection, device: Device) -> None:
        if not await lock_active_user(connection, device.user_id):
            raise NotFound("there is no such user")
        live = await catalog.live_devices_of(connection, device.user_id, at=device.created_at)
        for crowded in live[self._limits.max_devices - 1 :]:
            await catalog.end_devices(
                connection,
                device.user_id,
                reason="crowded-out",
                at=device.created_at,
                device_id=crowded.id,
            )
        await catalog.insert_device(connection, device)

    async def _give(
        self, connection: Connection, device: Device, *, after: RefreshToken | None = None
    ) -> SignedIn:
        now = self._clock.now_ms()
        access = TOKEN_PREFIX + secrets.token_urlsafe(32)
        refresh = REFRESH_PREFIX + secrets.token_urlsafe(32)
        access_expires_at = now + self._limits.access_lifetime_s * 1000
        expires_at = now + self._limits.refresh_lifetime_s * 1000
        await insert_token(connection, _token_row(device, access, expires_at=access_expires_at, at=now))
        await catalog.insert_refresh_token(connection, token_hash(refresh), device.id, at=now)
        if after is not None:
            if after.successor_hash is not None:
                await catalog.delete_refresh_token(connection, after.successor_hash)
            await catalog.replace_refresh_token(
                connection, after.token_hash, successor_hash=token_hash(refresh), at=now
            )
            await catalog.touch_device(connection, device.id, at=now, expires_at=expires_at)
        return SignedIn(
            user_id=device.user_id,
            device_id=device.id,
            token=Secret(access.encode()),
            token_expires_at=access_expires_at,
            refresh_token=Secret(refresh.encode()),
            expires_at=expires_at,
        )

    async def _device_of(self, connection: Connection, refresh_hash: bytes) -> Device | None:
        """
        Return the device that a refresh token is of, locked: two that bring it at once take turns.
        """
        known = await catalog.find_refresh_token(connection, refresh_hash)
        return None if known is None else await catalog.lock_device(connection, known.device_id)

    async def _was_lost(self, connection: Connection, used: RefreshToken, now: int) -> bool:
        """
        Tell whether the answer to a token that was used before may not have arrived.
        """
        assert used.used_at is not None
        if now - used.used_at > self._limits.refresh_grace_s * 1000 or used.successor_hash is None:
            return False
        successor = await catalog.find_refresh_token(connection, used.successor_hash)
        return successor is not None and successor.used_at is None

    async def _view(self, user: User, device: Device) -> DeviceView:
        name = None
        try:
            kept = open_record(
                await self._key(user.key_slot), device.sealed, _data(user.id, user.key_slot, device.id)
            )
            name = msgspec.json.decode(kept, type=_Kept).name
        except CryptoError:
            log.error("device.unreadable", device=device.id)
        return DeviceView(
            id=device.id,
            kind=device.kind,
            name=name,
            created_at=device.created_at,
            used_at=device.used_at,
            expires_at=device.expires_at,
        )

    async def _key(self, slot: KeySlot) -> Secret:
        return subkey(await self._keyring.leaf(slot, USER_LEAF), "devices")


def csrf_token(session_token: Secret) -> str:
    """
    Return what a form of this session carries, and nobody who has not read a page of it knows.
    """
    return hashlib.sha256(b"csrf\0" + session_token.reveal()).hexdigest()


def _token_row(device: Device, token: str, *, expires_at: int, at: int | None = None) -> Token:
    return Token(
        id=uuid.uuid4().hex,
        user_id=device.user_id,
        token_hash=token_hash(token),
        created_at=device.created_at if at is None else at,
        expires_at=expires_at,
        device_id=device.id,
    )


def _data(user_id: UserId, slot: KeySlot, device_id: str) -> bytes:
    return _RECORD_LABEL + uuid.UUID(user_id).bytes + slot.to_bytes(8, "big") + uuid.UUID(device_id).bytes
