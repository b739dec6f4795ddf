"""
A backend in memory whose calls can be told to fail, before or after they took effect.
"""

import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from gateway.api import (
    Backend,
    BlobKey,
    BlobRef,
    BlobSource,
    BlobStat,
    Conflict,
    NotFound,
    PutSession,
    Quota,
    ResumablePuts,
    SessionLost,
    Span,
    Traits,
)
from tests.support.clock import FakeClock

TRAITS = Traits(max_concurrency=4, delete_recoverable_for=timedelta(0))


class ScriptedBackend:
    """
    For each operation a list of what its next calls raise: `before` it does anything, or `after` it was done.
    """

    def __init__(self, traits: Traits = TRAITS, *, piece_size: int = 10) -> None:
        self._traits = traits
        self._piece_size = piece_size
        self.blobs: dict[BlobKey, bytes] = {}
        self.before: defaultdict[str, list[Exception | None]] = defaultdict(list)
        self.after: defaultdict[str, list[Exception | None]] = defaultdict(list)
        self.waits: dict[str, Callable[[], Awaitable[object]]] = {}
        self.calls: list[str] = []
        self.spans: list[Span | None] = []
        self.breaks_at: list[tuple[int, Exception]] = []
        """Reads break when they have given so many bytes, each once."""
        self.read_surplus = b""
        self.digest: str | None = None
        self.stored: Callable[[bytes], bytes] = bytes
        self.puts = ScriptedPuts(self)

    async def enter(self, operation: str) -> None:
        self.calls.append(operation)
        if operation in self.waits:
            await self.waits[operation]()
        if self.before[operation] and (failure := self.before[operation].pop(0)):
            raise failure

    def leave(self, operation: str) -> None:
        if self.after[operation] and (failure := self.after[operation].pop(0)):
            raise failure

    @property
    def traits(self) -> Traits:
        return self._traits

    @property
    def resumable(self) -> ResumablePuts | None:
        return self.puts

    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        await self.enter("put")
        async with body.open() as pieces:
            content = b"".join([piece async for piece in pieces])
        if key in self.blobs:
            raise Conflict("taken")
        self.blobs[key] = self.stored(content)
        self.leave("put")
        return BlobRef(key)

    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        await self.enter("read")
        self.spans.append(span)
        content = self._content(ref.key)
        if span is not None:
            content = content[span.start : span.end]
        yield self._pieces(content + self.read_surplus)

    async def _pieces(self, content: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(content), self._piece_size):
            if self.breaks_at and start >= self.breaks_at[0][0]:
                raise self.breaks_at.pop(0)[1]
            await self.enter("piece")
            yield content[start : start + self._piece_size]

    async def stat(self, ref: BlobRef) -> BlobStat:
        await self.enter("stat")
        return BlobStat(ref, len(self._content(ref.key)), self.digest)

    async def find(self, key: BlobKey) -> BlobRef | None:
        await self.enter("find")
        return BlobRef(key) if key in self.blobs else None

    async def delete(self, ref: BlobRef) -> None:
        await self.enter("delete")
        self.blobs.pop(ref.key, None)

    async def scan(self) -> AsyncIterator[BlobStat]:
        await self.enter("scan")
        for key, content in self.blobs.items():
            yield BlobStat(BlobRef(key), len(content))
            self.leave("scan")

    async def quota(self) -> Quota | None:
        await self.enter("quota")
        return Quota(1, 2)

    async def probe(self) -> None:
        await self.enter("probe")

    def _content(self, key: BlobKey) -> bytes:
        if key not in self.blobs:
            raise NotFound("no such blob")
        return self.blobs[key]


class ScriptedPuts:
    """
    One session at a time; its token is the key.
    """

    part_multiple = 1
    max_part_size = 100

    def __init__(self, backend: ScriptedBackend) -> None:
        self._backend = backend
        self.received: bytes | None = None

    async def begin(self, key: BlobKey, *, size: int, sha256: bytes) -> PutSession:
        await self._backend.enter("begin")
        assert size > 0
        assert len(sha256) == hashlib.sha256().digest_size
        self.received = b""
        return PutSession(key, 0)

    async def resume(self, session: PutSession) -> PutSession:
        await self._backend.enter("resume")
        return replace(session, offset=len(self._known()))

    async def append(self, session: PutSession, part: bytes) -> PutSession:
        await self._backend.enter("append")
        assert session.offset == len(self._known())
        self.received = self._known() + part
        self._backend.leave("append")
        return replace(session, offset=len(self.received))

    async def commit(self, session: PutSession) -> BlobRef:
        await self._backend.enter("commit")
        key = BlobKey(session.token)
        if key in self._backend.blobs:
            raise Conflict("taken")
        self._backend.blobs[key] = self._backend.stored(self._known())
        self._backend.leave("commit")
        return BlobRef(key)

    async def abort(self, session: PutSession) -> None:
        await self._backend.enter("abort")
        self.received = None

    def _known(self) -> bytes:
        if self.received is None:
            raise SessionLost("unknown")
        return self.received


class Sleeps:
    """
    A sleep that takes no time but the fake clock's, and remembers how long it was.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)


def _checked_by_mypy(backend: ScriptedBackend) -> Backend:
    return backend
