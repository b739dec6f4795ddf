"""
Finding people by what they prove, without keeping it: HMAC-SHA256 under a look-up key.

Numbers are few enough to be tried out by whoever has that key, a leaf of the service's own slot. So it is numbered: a newer
one can take its place, and the one before can be shredded once everybody is found by the newer one. Nothing does that yet.
"""

import hashlib
import hmac
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from gateway.base.secret import Secret
from gateway.catalog.markers import read_marker
from gateway.crypto.keys import key_bytes, subkey
from gateway.database import Database
from gateway.keyring import Keyring
from gateway.keyring.errors import LeafShredded

_REPLACED: Final = "look-up-key"
"""In the catalog: how often the look-up key was replaced."""


class LookUpKeys:
    """
    The look-up key of now, and, while that is being replaced, the one before.
    """

    def __init__(self, keys: Mapping[int, Secret]) -> None:
        self._keys = keys
        self.generation = max(keys)
        """The number of the key of now."""

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
        async with self._catalog.read() as connection:
            generation = 1 + await read_marker(connection, _REPLACED)
        keys = {generation: await self._key(generation)}
        if generation > 1:
            with suppress(LeafShredded):
                keys[generation - 1] = await self._key(generation - 1)
        return LookUpKeys(keys)

    async def _key(self, generation: int) -> Secret:
        return subkey(await self._keyring.service_key(f"look-up-{generation}"), "look-up")


def _hash(key: Secret, space: str, subject: str) -> bytes:
    return hmac.new(key_bytes(key), f"{space}\0{subject}".encode(), hashlib.sha256).digest()
