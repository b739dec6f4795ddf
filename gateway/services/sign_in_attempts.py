"""
Attempts to sign in: what has to be remembered until somebody has proved who he is.

What is remembered is sealed under a secret that the asker alone was given (FORMAT §5.11). The catalog has a hash of it, so
neither it nor a backup of it tells who tried to sign in.
"""

import base64
import binascii
import hashlib
import os
from typing import Any, Final, TypeVar

import msgspec

from gateway.base.clock import Clock
from gateway.base.secret import Secret
from gateway.catalog import sign_ins as catalog
from gateway.catalog.sign_ins import Attempt
from gateway.crypto.keys import KEY_SIZE, subkey
from gateway.crypto.wrap import open_record, seal_record
from gateway.database import Database
from gateway.services.errors import SignInGone

KeptT = TypeVar("KeptT", bound="Kept")

_RECORD_LABEL: Final = b"SIGN\x01"


class Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What an attempt remembers; it prints as nothing.
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<sealed at rest>)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class Attempts:
    """
    Keeps attempts.
    """

    def __init__(self, catalog_db: Database, clock: Clock, *, lifetime_s: int) -> None:
        self._catalog = catalog_db
        self._clock = clock
        self._lifetime_s = lifetime_s

    async def begin(self, kind: str, kept: Kept) -> tuple[str, int]:
        """
        Remember *kept*; return the secret that names it, and until when (Unix ms).
        """
        secret = os.urandom(KEY_SIZE)
        expires_at = self._clock.now_ms() + self._lifetime_s * 1000
        attempt = Attempt(
            secret_hash=_hash(secret),
            kind=kind,
            sealed=seal_record(_key(secret), msgspec.json.encode(kept), _data(kind)),
            tries=0,
            expires_at=expires_at,
        )
        async with self._catalog.write() as connection:
            await catalog.insert_attempt(connection, attempt)
        return base64.urlsafe_b64encode(secret).decode().rstrip("="), expires_at

    async def attempted(self, kind: str, name: str, wanted: type[KeptT], *, most: int) -> tuple[KeptT, int]:
        """
        Count a try of the attempt and return what it remembers, and how many tries are left after this one.

        Raises:
            SignInGone: it is unknown, too old, or was tried too often.
        """
        secret = _secret(name)
        async with self._catalog.write() as connection:
            attempt = await catalog.try_attempt(connection, _hash(secret), at=self._clock.now_ms(), most=most)
        return _opened(attempt, kind, secret, wanted), most - (attempt.tries if attempt else most)

    async def take(self, kind: str, name: str, wanted: type[KeptT]) -> KeptT:
        """
        Return what the attempt remembers, to one caller alone.

        Raises:
            SignInGone: it is unknown, too old, or was taken before.
        """
        secret = _secret(name)
        async with self._catalog.write() as connection:
            attempt = await catalog.take_attempt(connection, _hash(secret), at=self._clock.now_ms())
        return _opened(attempt, kind, secret, wanted)


def _opened(attempt: Attempt | None, kind: str, secret: bytes, wanted: type[KeptT]) -> KeptT:
    if attempt is None or attempt.kind != kind:
        raise SignInGone("this was used before, came too late, or was never asked for")
    return msgspec.json.decode(open_record(_key(secret), attempt.sealed, _data(kind)), type=wanted)


def _secret(name: str) -> bytes:
    try:
        secret = base64.urlsafe_b64decode(name.encode("ascii") + b"=")
    except (UnicodeEncodeError, binascii.Error, ValueError):
        secret = b""
    if len(secret) != KEY_SIZE:
        raise SignInGone("this was used before, came too late, or was never asked for")
    return secret


def _hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _key(secret: bytes) -> Secret:
    return subkey(Secret(secret), "sign-in")


def _data(kind: str) -> bytes:
    return _RECORD_LABEL + kind.encode("ascii")
