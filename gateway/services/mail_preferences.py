"""
What mail a user wants: what is about his account always comes, what is promotional only to whoever asked for it.

A link in each promotional mail ends them without signing in (RFC 8058). It is signed, says no address, and can do nothing
else.
"""

import base64
import binascii
import hashlib
import hmac
import uuid
from typing import Final

import structlog

from gateway.base.clock import Clock
from gateway.base.ids import UserId
from gateway.base.secret import Secret
from gateway.catalog.notices import promotional_wanted, set_promotional
from gateway.catalog.users import lock_active_user
from gateway.crypto.keys import key_bytes, subkey
from gateway.database import Database
from gateway.keyring import Keyring
from gateway.services.errors import NotFound

log = structlog.get_logger()

_LABEL: Final = b"UNSB\x01"
_ID_SIZE: Final = 16


class MailPreferences:
    """
    Knows and changes what mail users want.
    """

    def __init__(self, catalog_db: Database, keyring: Keyring, clock: Clock) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._clock = clock

    async def wants_promotional(self, user_id: UserId) -> bool:
        """
        Tell whether the user asked for promotional mail; nobody did who said nothing.
        """
        async with self._catalog.read() as connection:
            return bool(await promotional_wanted(connection, [user_id]))

    async def set_promotional(self, user_id: UserId, wanted: bool) -> None:
        """
        Note whether the user wants promotional mail.

        Raises:
            NotFound: he was erased.
        """
        async with self._catalog.write() as connection:
            if not await lock_active_user(connection, user_id):
                raise NotFound("there is no such user")
            await set_promotional(connection, user_id, wanted, at=self._clock.now_ms())

    async def unsubscribe_token(self, user_id: UserId) -> str:
        """
        Return what proves that a request to end promotional mail comes from one that he was sent.
        """
        raw = uuid.UUID(user_id).bytes
        return base64.urlsafe_b64encode(raw + _signature(await self._key(), raw)).decode().rstrip("=")

    async def check_token(self, token: str) -> UserId:
        """
        Return whose promotional mail a link ends.

        Raises:
            NotFound: it is no link of ours.
        """
        try:
            given = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            given = b""
        raw, signature = given[:_ID_SIZE], given[_ID_SIZE:]
        if not hmac.compare_digest(signature, _signature(await self._key(), raw)):
            raise NotFound("there is no such link")
        return UserId(str(uuid.UUID(bytes=raw)))

    async def unsubscribe(self, token: str) -> None:
        """
        End promotional mail; for somebody who is erased there is none anyway.

        Raises:
            NotFound: it is no link of ours.
        """
        user_id = await self.check_token(token)
        try:
            await self.set_promotional(user_id, False)
        except NotFound:
            log.info("mail.unsubscribed_after_erasure")

    async def _key(self) -> Secret:
        return subkey(await self._keyring.service_key("unsubscribe"), "unsubscribe")


def _signature(key: Secret, raw: bytes) -> bytes:
    return hmac.new(key_bytes(key), _LABEL + raw, hashlib.sha256).digest()
