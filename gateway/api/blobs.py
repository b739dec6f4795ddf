"""
What a backend stores, and how it is named, found and handed over.

A blob is sealed before it comes here; nothing in this module can open one.
"""

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NewType, Protocol

BlobKey = NewType("BlobKey", str)
"""
The name of a blob: 64 lower-case hex digits, random, never reused, saying nothing.

Flat and lower-case, so that no provider's folding of case, reserved characters or path rules can touch it.
"""

_BLOB_KEY: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


def new_blob_key() -> BlobKey:
    """
    Return a fresh random key.
    """
    return BlobKey(secrets.token_hex(32))


def as_blob_key(text: str) -> BlobKey:
    """
    Return *text* as a key, having checked that it is one.

    A backend that builds a path or a URL out of a key checks it with this first.

    Raises:
        ValueError: *text* is not 64 lower-case hex digits.
    """
    if _BLOB_KEY.fullmatch(text) is None:
        raise ValueError(f"a blob key has 64 lower-case hex digits, not {text[:80]!r}")
    return BlobKey(text)


@dataclass(frozen=True, slots=True)
class BlobRef:
    """
    Where a blob is to be found again.
    """

    key: BlobKey
    locator: str | None = None
    """The provider's own id of the blob, if it has one: opaque to the gateway, kept in the catalog."""


@dataclass(frozen=True, slots=True)
class BlobStat:
    """
    What a backend says about a blob without reading it.
    """

    ref: BlobRef
    size: int
    digest: str | None = None
    """The provider's hash of the bytes, in lower-case hex, where it tells one: see `Traits.hash_offered`."""


@dataclass(frozen=True, slots=True)
class Span:
    """
    A stretch of a blob: *length* bytes from byte *start*.
    """

    start: int
    length: int

    def __post_init__(self) -> None:
        if self.start < 0 or self.length < 0:
            raise ValueError(f"a span has no negative start or length: {self.start}, {self.length}")

    @property
    def end(self) -> int:
        """
        The first byte behind the span.
        """
        return self.start + self.length


class BlobSource(Protocol):
    """
    Bytes to be stored, which can be read as often as need be; so trying again needs no help from a plugin.
    """

    @property
    def size(self) -> int:
        """
        How many bytes there are.
        """
        ...

    @property
    def path(self) -> Path | None:
        """
        A local file that holds exactly these bytes and never changes again, if there is one.

        A backend on the same file system may take it over by a hard link.
        Its owner may unlink it at any time after `Backend.put` returned, but must never write to it.
        """
        ...

    async def sha256(self) -> bytes:
        """
        Return the SHA-256 of all bytes; may have to read them.
        """
        ...

    def open(self, start: int = 0) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """
        Return the bytes from *start* to the end, in pieces of any length, read anew.

        Leaving the context closes what it opened; a backend closes nothing else.
        """
        ...
