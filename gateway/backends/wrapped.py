"""
What the host's decorators share: a backend round a backend, in which every call passes one place.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Protocol, TypeVar

from gateway.api import (
    Backend,
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

ResultT = TypeVar("ResultT")


class Through(Protocol):
    """
    Makes one call of a backend; *operation* is its name in the contract.
    """

    async def __call__(self, operation: str, call: Callable[[], Awaitable[ResultT]], /) -> ResultT: ...


class WrappedBackend:
    """
    Hands each call to the backend inside, through `_through`.

    `read` and `scan` are streams: what a decorator does to them it says itself.
    """

    def __init__(self, inner: Backend) -> None:
        self._inner = inner

    @property
    def traits(self) -> Traits:
        return self._inner.traits

    @property
    def resumable(self) -> ResumablePuts | None:
        puts = self._inner.resumable
        return None if puts is None else WrappedPuts(puts, self._through)

    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        return await self._through("put", partial(self._inner.put, key, body))

    def read(
        self, ref: BlobRef, span: Span | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._inner.read(ref, span)

    async def stat(self, ref: BlobRef) -> BlobStat:
        return await self._through("stat", partial(self._inner.stat, ref))

    async def find(self, key: BlobKey) -> BlobRef | None:
        return await self._through("find", partial(self._inner.find, key))

    async def delete(self, ref: BlobRef) -> None:
        await self._through("delete", partial(self._inner.delete, ref))

    def scan(self) -> AsyncIterator[BlobStat]:
        return self._inner.scan()

    async def quota(self) -> Quota | None:
        return await self._through("quota", self._inner.quota)

    async def probe(self) -> None:
        await self._through("probe", self._inner.probe)

    async def _through(self, _operation: str, call: Callable[[], Awaitable[ResultT]], /) -> ResultT:
        return await call()


class WrappedPuts:
    """
    Hands each call to the puts inside, through the decorator that they belong to.
    """

    def __init__(self, inner: ResumablePuts, through: Through) -> None:
        self._inner = inner
        self._through = through

    @property
    def part_multiple(self) -> int:
        return self._inner.part_multiple

    @property
    def max_part_size(self) -> int:
        return self._inner.max_part_size

    async def begin(self, key: BlobKey, *, size: int, sha256: bytes) -> PutSession:
        return await self._through("begin", partial(self._inner.begin, key, size=size, sha256=sha256))

    async def resume(self, session: PutSession) -> PutSession:
        return await self._through("resume", partial(self._inner.resume, session))

    async def append(self, session: PutSession, part: bytes) -> PutSession:
        return await self._through("append", partial(self._inner.append, session, part))

    async def commit(self, session: PutSession) -> BlobRef:
        return await self._through("commit", partial(self._inner.commit, session))

    async def abort(self, session: PutSession) -> None:
        await self._through("abort", partial(self._inner.abort, session))


@asynccontextmanager
async def closing_stream(stream: AsyncIterator[ResultT]) -> AsyncIterator[AsyncIterator[ResultT]]:
    """
    Give *stream*; on leaving, close it if it is a generator: nobody waits for the garbage collector.
    """
    try:
        yield stream
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()


async def stepped(
    operation: str, through: Through, stream: AsyncIterator[ResultT]
) -> AsyncGenerator[ResultT, None]:
    """
    Give what *stream* gives, each step of it as a call of its own.
    """

    async def step() -> tuple[ResultT] | None:
        # A StopAsyncIteration must not pass through a coroutine.
        try:
            return (await anext(stream),)
        except StopAsyncIteration:
            return None

    while (given := await through(operation, step)) is not None:
        yield given[0]
