"""
A place that holds other people's blobs as well, seen as if it held only one's own.

So the suites, which count on an empty place, can be run where recordings already lie.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field

from gateway.api import (
    Backend,
    BackendError,
    BlobKey,
    BlobRef,
    BlobSource,
    BlobStat,
    PutSession,
    Quota,
    ResumablePuts,
    Span,
    Traits,
)

PROBES = 3
"""Another's put may fall into one probe, but hardly into each of so many."""


@dataclass
class Traces:
    """
    What was put at a place by way of `AmongOthers`, and may lie there still.
    """

    put: set[BlobKey] = field(default_factory=set)
    """Every key that was ever put."""

    keys: set[BlobKey] = field(default_factory=set)
    """Those that may lie there."""

    sessions: dict[str, PutSession] = field(default_factory=dict)
    """Puts in parts that were begun, by their first token."""

    left: set[BlobKey] = field(default_factory=set)
    """Blobs that came up with every probe; shown, but not removed: who put them is not certain."""

    def note(self, key: BlobKey) -> None:
        """
        Note that *key* is about to be put.
        """
        self.put.add(key)
        self.keys.add(key)

    async def remove(self, backend: Backend) -> None:
        """
        Remove every blob that was put, and drop every put in parts; what is done is forgotten here.
        """
        for key in sorted(self.keys):
            ref = await backend.find(key)
            if ref is not None:
                await backend.delete(ref)
            self.keys.discard(key)
        for token, session in list(self.sessions.items()):
            if backend.resumable is not None:
                # One that was committed is lost to some providers, and an error to others.
                with suppress(BackendError):
                    await backend.resumable.abort(session)
            del self.sessions[token]


class AmongOthers:
    """
    *inner*, without the blobs that did not come by way of it.

    A key is noted before anything is sent, so that `Traces.remove` finds what a cut or a kill left.
    """

    def __init__(self, inner: Backend, traces: Traces) -> None:
        self._inner = inner
        self._traces = traces

    @property
    def traits(self) -> Traits:
        return self._inner.traits

    @property
    def resumable(self) -> ResumablePuts | None:
        puts = self._inner.resumable
        return None if puts is None else _PutsAmongOthers(puts, self._traces)

    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        self._traces.note(key)
        return await self._inner.put(key, body)

    def read(
        self, ref: BlobRef, span: Span | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._inner.read(ref, span)

    async def stat(self, ref: BlobRef) -> BlobStat:
        return await self._inner.stat(ref)

    async def find(self, key: BlobKey) -> BlobRef | None:
        return await self._inner.find(key)

    async def delete(self, ref: BlobRef) -> None:
        await self._inner.delete(ref)

    async def scan(self) -> AsyncIterator[BlobStat]:
        async for blob in self._inner.scan():
            if blob.ref.key in self._traces.keys or blob.ref.key in self._traces.left:
                yield blob

    async def quota(self) -> Quota | None:
        return await self._inner.quota()

    async def probe(self) -> None:
        added: set[BlobKey] = set()
        for _ in range(PROBES):
            before = await self._keys()
            await self._inner.probe()
            now = await self._keys() - before
            if not now:
                return
            added |= now
        self._traces.left |= added

    async def _keys(self) -> set[BlobKey]:
        return {blob.ref.key async for blob in self._inner.scan()}


class _PutsAmongOthers:
    def __init__(self, inner: ResumablePuts, traces: Traces) -> None:
        self._inner = inner
        self._traces = traces

    @property
    def part_multiple(self) -> int:
        return self._inner.part_multiple

    @property
    def max_part_size(self) -> int:
        return self._inner.max_part_size

    async def begin(self, key: BlobKey, *, size: int, sha256: bytes) -> PutSession:
        self._traces.note(key)
        session = await self._inner.begin(key, size=size, sha256=sha256)
        self._traces.sessions[session.token] = session
        return session

    async def resume(self, session: PutSession) -> PutSession:
        return await self._inner.resume(session)

    async def append(self, session: PutSession, part: bytes) -> PutSession:
        return await self._inner.append(session, part)

    async def commit(self, session: PutSession) -> BlobRef:
        return await self._inner.commit(session)

    async def abort(self, session: PutSession) -> None:
        await self._inner.abort(session)


def _checked_by_mypy(backend: AmongOthers) -> Backend:
    return backend
