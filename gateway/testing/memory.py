"""
A backend that keeps everything in memory: the reference of the contract, and what the kit's mutants are bent from.
"""

import hashlib
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from gateway.api import (
    BlobKey,
    BlobRef,
    BlobSource,
    BlobStat,
    Conflict,
    IntegrityMismatch,
    NotFound,
    PutSession,
    Quota,
    ResumablePuts,
    SessionLost,
    Span,
    Traits,
)

PIECE_SIZE = 256 << 10


@dataclass
class _Incoming:
    key: BlobKey
    size: int
    sha256: bytes
    content: bytearray = field(default_factory=bytearray)


@dataclass
class MemoryPlace:
    """
    What connections to one place share.
    """

    blobs: dict[BlobKey, bytes] = field(default_factory=dict)
    incoming: dict[str, _Incoming] = field(default_factory=dict)
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)


class MemoryBackend:
    """
    A connection to a `MemoryPlace`.
    """

    def __init__(self, place: MemoryPlace) -> None:
        self.place = place

    @property
    def traits(self) -> Traits:
        return Traits(max_concurrency=8, delete_recoverable_for=timedelta(0), hash_offered="sha256")

    @property
    def resumable(self) -> ResumablePuts | None:
        return MemoryPuts(self.place)

    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        content = await self.gathered(body)
        if len(content) != body.size:
            raise IntegrityMismatch(f"the source of {key} has {len(content)} bytes, not {body.size}")
        return self.publish(key, content)

    async def gathered(self, body: BlobSource) -> bytes:
        async with body.open() as pieces:
            content = bytearray()
            async for piece in pieces:
                content += piece
                if len(content) > body.size:
                    raise IntegrityMismatch(f"the source has more than its {body.size} bytes")
            return bytes(content)

    def publish(self, key: BlobKey, content: bytes) -> BlobRef:
        if key in self.place.blobs:
            raise Conflict(f"there is a blob {key} already")
        self.place.blobs[key] = content
        return BlobRef(key)

    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        content = self.content(ref)
        span = span or Span(0, len(content))
        if span.end > len(content):
            raise IntegrityMismatch(f"the blob has {len(content)} bytes, and byte {span.end} was asked for")
        yield self.pieces(content[span.start : span.end])

    async def pieces(self, content: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(content), PIECE_SIZE):
            yield content[start : start + PIECE_SIZE]

    def content(self, ref: BlobRef) -> bytes:
        try:
            return self.place.blobs[ref.key]
        except KeyError:
            raise NotFound(f"there is no blob {ref.key}") from None

    async def stat(self, ref: BlobRef) -> BlobStat:
        content = self.content(ref)
        return BlobStat(ref, len(content), hashlib.sha256(content).hexdigest())

    async def find(self, key: BlobKey) -> BlobRef | None:
        return BlobRef(key) if key in self.place.blobs else None

    async def delete(self, ref: BlobRef) -> None:
        self.place.blobs.pop(ref.key, None)

    async def scan(self) -> AsyncIterator[BlobStat]:
        for key in list(self.place.blobs):
            yield await self.stat(BlobRef(key))

    async def quota(self) -> Quota | None:
        return Quota(used=sum(map(len, self.place.blobs.values())), limit=1 << 40)

    async def probe(self) -> None:
        pass


class MemoryPuts:
    """
    Puts in parts at a `MemoryPlace`; parts are multiples of 1 KiB, so that tests with many of them stay small.
    """

    def __init__(self, place: MemoryPlace) -> None:
        self.place = place

    @property
    def part_multiple(self) -> int:
        return 1024

    @property
    def max_part_size(self) -> int:
        return 64 * 1024

    async def begin(self, key: BlobKey, *, size: int, sha256: bytes) -> PutSession:
        token = f"session {next(self.place.numbers)}"
        self.place.incoming[token] = _Incoming(key, size, sha256)
        return PutSession(token, 0)

    async def resume(self, session: PutSession) -> PutSession:
        return PutSession(session.token, len(self.known(session).content))

    async def append(self, session: PutSession, part: bytes) -> PutSession:
        incoming = self.known(session)
        if session.offset == len(incoming.content):
            incoming.content += part
        return PutSession(session.token, len(incoming.content))

    async def commit(self, session: PutSession) -> BlobRef:
        incoming = self.known(session)
        if incoming.key in self.place.blobs:
            raise Conflict(f"there is a blob {incoming.key} already")
        del self.place.incoming[session.token]
        if hashlib.sha256(incoming.content).digest() != incoming.sha256:
            raise IntegrityMismatch(f"the parts of {incoming.key} are not the blob that was announced")
        self.place.blobs[incoming.key] = bytes(incoming.content)
        return BlobRef(incoming.key)

    async def abort(self, session: PutSession) -> None:
        self.place.incoming.pop(session.token, None)

    def known(self, session: PutSession) -> _Incoming:
        try:
            return self.place.incoming[session.token]
        except KeyError:
            raise SessionLost("there is no such session") from None


@asynccontextmanager
async def connect_memory(place: MemoryPlace) -> AsyncIterator[MemoryBackend]:
    """
    Connect to *place*.
    """
    yield MemoryBackend(place)
