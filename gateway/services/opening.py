"""
Opening what is sealed: any stretch of a recording's plaintext out of a sealed file, chunk by chunk, each verified.
"""

import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.backends.near import MOST_AT_ONCE, NearBlob
from gateway.base.secret import Secret
from gateway.crypto.chunked import (
    CHUNK_SIZE,
    MESSAGE_HEADER_SIZE,
    SEALED_CHUNK_SIZE,
    Buffer,
    ChunkRange,
    Opener,
    chunk_range,
    sealed_size,
)
from gateway.crypto.errors import MalformedBlob, Truncated
from gateway.crypto.preamble import PREAMBLE_SIZE
from gateway.spool.pieces import SEALED_SLAB

_HEAD_SIZE: Final = PREAMBLE_SIZE + MESSAGE_HEADER_SIZE
_KEPT_HEADS: Final = 4096


class SealedSource(Protocol):
    """
    A sealed file, ``preamble ‖ message``, of which any stretch can be read.
    """

    def read(self, start: int, length: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...


class Heads:
    """
    The first bytes of blobs that were read lately, up to their chunks: a salt and a commitment, nothing secret.

    What lies under a blob key never changes, so whoever hears a recording by ranges needs them once.
    """

    def __init__(self) -> None:
        self._of_blob: OrderedDict[str, bytes] = OrderedDict()

    def get(self, blob_key: str) -> bytes | None:
        """
        Return the head of that blob, if it is known.
        """
        return self._of_blob.get(blob_key)

    def keep(self, blob_key: str, head: bytes) -> None:
        """
        Remember a head from which an opener was made.
        """
        self._of_blob[blob_key] = head
        if len(self._of_blob) > _KEPT_HEADS:
            self._of_blob.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Stretch:
    """
    *length* bytes of a recording's plaintext from *start*, sealed as one message at *source*.

    *is_ended* is False for a piece that a crash or a lost connection cut short of its last chunk.
    *commitment* is the message's, where the catalog knows it: an older message of the same recording is not this one
    (FORMAT §3.13).
    """

    source: SealedSource
    start: int
    length: int
    is_ended: bool
    commitment: bytes | None = None
    blob_key: str | None = None
    """Where the sealed file is a blob that was placed."""
    near: NearBlob | None = None
    """The sealed file, where it is one of this machine."""


async def open_stretch(
    stretch: Stretch, key: Secret, preamble: bytes, start: int, end: int, *, heads: Heads | None = None
) -> AsyncIterator[Buffer]:
    """
    Yield the part of *stretch* that lies within the recording's bytes *start* to *end*.

    Args:
        heads: where heads are looked up and kept.
    """
    first = max(start, stretch.start) - stretch.start
    length = min(end, stretch.start + stretch.length) - stretch.start - first
    if length <= 0:
        return
    # A piece that was cut has no last chunk; to the arithmetic it is a message that goes on.
    chunks = chunk_range(first, length, stretch.length if stretch.is_ended else stretch.length + 1)
    opener = await opener_of(stretch, key, preamble, heads=heads)
    if chunks.sealed_length <= MOST_AT_ONCE:
        sealed = await _read_near(stretch, PREAMBLE_SIZE + chunks.sealed_start, chunks.sealed_length)
        if sealed is not None:
            opened = opener.open_chunks(chunks.first_chunk, sealed, ends_message=chunks.ends_message)
            yield memoryview(opened)[chunks.skip : chunks.skip + chunks.length]
            return
    async with stretch.source.read(PREAMBLE_SIZE + chunks.sealed_start, chunks.sealed_length) as parts:
        async for plaintext in _open_chunks(parts, opener, chunks):
            yield plaintext


async def opener_of(stretch: Stretch, key: Secret, preamble: bytes, *, heads: Heads | None = None) -> Opener:
    """
    Return what opens the chunks of *stretch*, having checked that it is the message that it should be.

    Raises:
        CryptoError: it is damaged, or another.
    """
    known = None if heads is None or stretch.blob_key is None else heads.get(stretch.blob_key)
    head = known or await _head(stretch, preamble)
    opener = Opener(key, preamble, head[PREAMBLE_SIZE:])
    if known is None and heads is not None and stretch.blob_key is not None:
        heads.keep(stretch.blob_key, head)
    if stretch.commitment is not None and opener.commitment != stretch.commitment:
        raise MalformedBlob("the blob is another message of this recording than the one that was placed")
    return opener


async def _read_near(stretch: Stretch, start: int, length: int) -> memoryview | None:
    """
    Return sealed bytes of a file of this machine, None where the source is to be asked. Good until the next call.
    """
    if stretch.near is None:
        return None
    sealed = stretch.near.read_now(start, length)
    return await stretch.near.read(start, length) if sealed is None else sealed


async def _head(stretch: Stretch, preamble: bytes) -> bytes:
    near = await _read_near(stretch, 0, _HEAD_SIZE)
    if near is not None:
        head = bytes(near)
    else:
        async with stretch.source.read(0, _HEAD_SIZE) as parts:
            head = b"".join([part async for part in parts])
    if len(head) < _HEAD_SIZE:
        raise Truncated("the blob ends within its header")
    # What the catalog says is the context, so another recording's blob opens nothing here; the copy in the blob,
    # from which a lost catalog would be rebuilt, must say the same.
    if head[:PREAMBLE_SIZE] != preamble:
        raise MalformedBlob("the blob's preamble is not this recording's")
    return head


async def _open_chunks(
    sealed: AsyncIterator[bytes], opener: Opener, chunks: ChunkRange
) -> AsyncIterator[Buffer]:
    """
    Open the chunks of *sealed*, cut anywhere, and yield the plaintext that the range wants.
    """
    pending = bytearray()
    chunk = chunks.first_chunk
    last = chunk + chunks.chunks
    skip, left = chunks.skip, chunks.length
    async for part in sealed:
        size = len(pending) + len(part)
        whole = min(size // SEALED_CHUNK_SIZE, last - chunk - 1)
        if size < SEALED_SLAB or whole * SEALED_CHUNK_SIZE <= len(pending):
            pending += part
            continue
        # Only the chunk that lies across two parts is put together; the others are opened where they lie.
        fill = -len(pending) % SEALED_CHUNK_SIZE
        pending += part[:fill]
        ahead = len(pending) // SEALED_CHUNK_SIZE
        end = fill + (whole - ahead) * SEALED_CHUNK_SIZE
        plaintext = memoryview(bytearray(whole * CHUNK_SIZE))
        opener.open_into(chunk, pending, plaintext, ends_message=False)
        with memoryview(part)[fill:end] as sealed_chunks:
            opener.open_into(
                chunk + ahead, sealed_chunks, plaintext[ahead * CHUNK_SIZE :], ends_message=False
            )
        pending = bytearray(part[end:])
        chunk += whole
        wanted = plaintext[skip : skip + left]
        skip = 0
        left -= len(wanted)
        if wanted:
            yield wanted
    plaintext = memoryview(opener.open_chunks(chunk, pending, ends_message=chunks.ends_message))
    wanted = plaintext[skip : skip + left]
    left -= len(wanted)
    if left:
        raise Truncated(f"{left} bytes are missing")
    if wanted:
        yield wanted


async def verified_sha256(
    source: SealedSource, key: Secret, preamble: bytes, *, size: int, commitment: bytes | None
) -> bytes:
    """
    Open every chunk of a whole blob of *size* plaintext bytes, and return the SHA-256 of its sealed bytes.

    Raises:
        CryptoError: it is damaged, cut short, or another recording's.
    """
    hashed = _Hashed(source)
    if size:
        stretch = Stretch(hashed, 0, size, is_ended=True, commitment=commitment)
        async for _ in open_stretch(stretch, key, preamble, 0, size):
            pass
    else:
        opener = await opener_of(Stretch(hashed, 0, 0, is_ended=True), key, preamble)
        async with hashed.read(_HEAD_SIZE, sealed_size(0) - MESSAGE_HEADER_SIZE) as parts:
            opener.open_chunks(0, b"".join([part async for part in parts]), ends_message=True)
    return hashed.digest()


class _Hashed:
    """
    A sealed file that hashes what is read of it; it is read once, from its first byte to its last.
    """

    def __init__(self, source: SealedSource) -> None:
        self._source = source
        self._running = hashlib.sha256()
        self._reached = 0

    @asynccontextmanager
    async def read(self, start: int, length: int) -> AsyncIterator[AsyncIterator[bytes]]:
        assert start == self._reached
        async with self._source.read(start, length) as parts:
            yield self._hashing(parts)

    async def _hashing(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for part in parts:
            self._running.update(part)
            self._reached += len(part)
            yield part

    def digest(self) -> bytes:
        return self._running.digest()
