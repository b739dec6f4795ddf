"""
Finding people by what they prove, without keeping it: HMAC-SHA256 under a look-up key.

Numbers are few enough to be tried out by whoever has the key. So the key is a leaf of the service's own slot, and it is
replaced and shredded after an account was erased: an old catalog tells no more who had one (KEYS in ``docs/DELETION.md``).
"""

import hashlib
import hmac
from contextlib import suppress
from typing import Final

from gateway.base.secret import Secret
from gateway.catalog.markers import read_marker
from gateway.crypto.keys import key_bytes, subkey
from gateway.database import Database
from gateway.keyring import Keyring
from gateway.keyring.errors import LeafShredded

GENERATION_MARKER: Final = "look-up-key"
"""In the catalog: how often the look-up key was replaced."""


class LookUp:
    """
    What something is found by: under the key of now, and, while that is being replaced, under the one before.
    """

    def __init__(self, hashes: dict[int, bytes]) -> None:
        self._hashes = hashes

    @property
    def generation(self) -> int:
        """
        The number of the look-up key of now.
        """
        return max(self._hashes)

    @property
    def current(self) -> bytes:
        """
        What new rows are found by.
        """
        return self._hashes[self.generation]

    @property
    def all(self) -> list[bytes]:
        """
        What it may be found by.
        """
        return list(self._hashes.values())


class LookUps:
    """
    Makes look-ups.
    """

    def __init__(self, catalog_db: Database, keyring: Keyring) -> None:
        self._catalog = catalog_db
        self._keyring = keyring

    async def of(self, space: str, subject: str) -> LookUp:
        """
        Return what *subject* is found by within *space*.
        """
        generation = await self.generation()
        hashes = {generation: _hash(await self.key(generation), space, subject)}
        if generation > 1:
            with suppress(LeafShredded):
                hashes[generation - 1] = _hash(await self.key(generation - 1), space, subject)
        return LookUp(hashes)

    async def generation(self) -> int:
        """
        Return the number of the look-up key of now, from 1.
        """
        async with self._catalog.read() as connection:
            return 1 + await read_marker(connection, GENERATION_MARKER)

    async def key(self, generation: int) -> Secret:
        """
        Return the look-up key of that number.

        Raises:
            LeafShredded: it was replaced.
        """
        return subkey(await self._keyring.service_key(purpose_of(generation)), "look-up")


def purpose_of(generation: int) -> str:
    """
    Return what the keyring knows a look-up key by.
    """
    return f"look-up-{generation}"


def _hash(key: Secret, space: str, subject: str) -> bytes:
    return hmac.new(key_bytes(key), f"{space}\0{subject}".encode(), hashlib.sha256).digest()
