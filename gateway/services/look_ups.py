"""
Finding people by what they prove, without keeping it: HMAC-SHA256 under a look-up key.

Numbers are few enough to be tried out by whoever has that key, a leaf of the service's own slot. So it is numbered: a newer
one takes its place after somebody has left, and the one before is shredded once everybody is found by the newer one
(`gateway.services.look_up_replacement`).
"""

import hashlib
import hmac
from collections.abc import Mapping

from gateway.base.secret import Secret
from gateway.catalog.identities import look_up_generation
from gateway.crypto.keys import key_bytes, subkey
from gateway.database import Database
from gateway.keyring import Keyring
from gateway.keyring.errors import KeyringError, LeafShredded


class LookUpsLost(KeyringError):
    """
    There is no key to find people by, for a reason that nothing here explains.
    """

    code = "look-ups-lost"


class LookUpKeys:
    """
    The look-up key of now, and, while people are moved to it, the one before.
    """

    def __init__(self, keys: Mapping[int, Secret]) -> None:
        self._keys = keys
        self.generation = max(keys)
        """The number of the key of now."""
        self.oldest = min(keys)
        """The number of the oldest that there is."""

    def current(self, space: str, subject: str) -> bytes:
        """
        Return what a new row about *subject* of *space* is found by.
        """
        return _hash(self._keys[self.generation], space, subject)

    def all(self, space: str, subject: str) -> list[bytes]:
        """
        Return all that a row about *subject* of *space* may be found by.
        """
        return [_hash(key, space, subject) for key in self._keys.values()]


class LookUps:
    """
    Gives the look-up keys.
    """

    def __init__(self, catalog_db: Database, keyring: Keyring) -> None:
        self._catalog = catalog_db
        self._keyring = keyring

    async def keys(self) -> LookUpKeys:
        """
        Return the keys that are in use now.
        """
        generation = await self._generation()
        while (newest := await self._find(generation)) is None:
            # It was the newest a moment ago, or what finds people is lost.
            before, generation = generation, await self._generation()
            if generation == before:
                raise LookUpsLost(
                    f"the look-up key {generation} is shredded, and no newer one took its place"
                )
        keys = {generation: newest}
        if generation > 1 and (old := await self._find(generation - 1)) is not None:
            keys[generation - 1] = old
        return LookUpKeys(keys)

    async def _find(self, generation: int) -> Secret | None:
        try:
            return await self._key(generation)
        except LeafShredded:
            return None

    async def _generation(self) -> int:
        async with self._catalog.read() as connection:
            return await look_up_generation(connection)

    async def prepare(self, generation: int) -> None:
        """
        See to it that there is a key of that number, durably.
        """
        await self._key(generation)

    async def _key(self, generation: int) -> Secret:
        return subkey(await self._keyring.service_key(key_name(generation)), "look-up")


def key_name(generation: int) -> str:
    """
    Return what the keyring, and the receipt of its shredding, call the look-up key of that number.
    """
    return f"look-up-{generation}"


def _hash(key: Secret, space: str, subject: str) -> bytes:
    return hmac.new(key_bytes(key), f"{space}\0{subject}".encode(), hashlib.sha256).digest()
