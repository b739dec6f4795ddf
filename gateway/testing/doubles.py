"""
Doubles of what the host lends to a plugin, and a backend whose calls go wrong on order.
"""

import asyncio
import enum
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from gateway.api import (
    AuthRevoked,
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
    ThreadLane,
    TokenSource,
    Traits,
    Transient,
)

ResultT = TypeVar("ResultT")


class TokensOnOrder:
    """
    A `TokenSource` that renews as the host's does, counts that, and ends when told to.

    *issue* makes a token that the pretend provider takes; without it they are ``token 0``, ``token 1``, and so on.
    """

    def __init__(self, issue: Callable[[], str] | None = None) -> None:
        numbers = count()
        self._issue = issue or (lambda: f"token {next(numbers)}")
        self.current = self._issue()
        self.asked = 0
        """How often a plugin asked for a token."""
        self.renewals = 0
        """How often it got another one, because the one before had been refused."""
        self.is_ended = False

    def end(self) -> None:
        """
        Have the grant be gone, so that every further call raises `AuthRevoked`.
        """
        self.is_ended = True

    async def access_token(self, *, stale: str | None = None) -> str:
        """
        Return the current token, or another one if the current one is *stale*.
        """
        self.asked += 1
        if self.is_ended:
            raise AuthRevoked("The grant is gone.")
        if stale == self.current:
            self.renewals += 1
            self.current = self._issue()
        return self.current


class CountingLane:
    """
    A `ThreadLane` without a limit, which counts its calls.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.running = 0
        self.most = 0
        """How many calls ran at once, at most."""

    async def run(self, call: Callable[[], ResultT]) -> ResultT:
        """
        Run *call* in a thread.
        """
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await asyncio.to_thread(call)
        finally:
            self.running -= 1


class _Effect(enum.Enum):
    FAIL = "it is not done, and an error is raised"
    LOSE = "it is done, and an error is raised all the same"
    STALL = "it is not done, and nothing comes"


@dataclass
class _Order:
    effect: _Effect
    left: int
    times: int
    error: BackendError


class FaultyBackend:
    """
    *inner*, with calls that go wrong on order.

    Operations have the names of the methods, those of puts in parts too; ``piece`` is the next piece of a read.
    """

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self._orders: dict[str, list[_Order]] = {}
        self.calls: Counter[str] = Counter()
        """How often each operation was called, faulty calls too."""

    def fail(self, operation: str, error: BackendError, *, nth: int = 1, times: int = 1) -> None:
        """
        Have the *nth* call from now on, and those after it up to *times*, raise *error* with nothing done.
        """
        self._order(operation, _Order(_Effect.FAIL, nth - 1, times, error))

    def lose_answer(self, operation: str, *, nth: int = 1) -> None:
        """
        Have the *nth* call from now on raise `Transient` after it was done.
        """
        self._order(operation, _Order(_Effect.LOSE, nth - 1, 1, Transient("The answer was lost.")))

    def stall(self, operation: str, *, nth: int = 1) -> None:
        """
        Have the *nth* call from now on wait until it is cancelled.
        """
        self._order(operation, _Order(_Effect.STALL, nth - 1, 1, Transient("It stalled.")))

    @property
    def traits(self) -> Traits:
        return self._inner.traits

    @property
    def resumable(self) -> ResumablePuts | None:
        puts = self._inner.resumable
        return None if puts is None else _FaultyPuts(puts, self)

    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        return await self.through("put", lambda: self._inner.put(key, body))

    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        await self.through("read", _nothing)
        async with self._inner.read(ref, span) as pieces:
            yield self._pieces(pieces)

    async def stat(self, ref: BlobRef) -> BlobStat:
        return await self.through("stat", lambda: self._inner.stat(ref))

    async def find(self, key: BlobKey) -> BlobRef | None:
        return await self.through("find", lambda: self._inner.find(key))

    async def delete(self, ref: BlobRef) -> None:
        await self.through("delete", lambda: self._inner.delete(ref))

    async def scan(self) -> AsyncIterator[BlobStat]:
        await self.through("scan", _nothing)
        async for blob in self._inner.scan():
            yield blob

    async def quota(self) -> Quota | None:
        return await self.through("quota", self._inner.quota)

    async def probe(self) -> None:
        await self.through("probe", self._inner.probe)

    async def through(self, operation: str, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """
        Make *call*, unless something was ordered of *operation*.
        """
        self.calls[operation] += 1
        order = self._due(operation)
        if order is None:
            return await call()
        if order.effect is _Effect.STALL:
            await asyncio.Event().wait()
        if order.effect is _Effect.LOSE:
            await call()
        raise order.error

    async def _pieces(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in pieces:
            await self.through("piece", _nothing)
            yield piece

    def _order(self, operation: str, order: _Order) -> None:
        self._orders.setdefault(operation, []).append(order)

    def _due(self, operation: str) -> _Order | None:
        orders = self._orders.get(operation, [])
        for order in orders:
            if order.left:
                order.left -= 1
                continue
            order.times -= 1
            if not order.times:
                orders.remove(order)
            return order
        return None


class _FaultyPuts:
    def __init__(self, inner: ResumablePuts, backend: FaultyBackend) -> None:
        self._inner = inner
        self._backend = backend

    @property
    def part_multiple(self) -> int:
        return self._inner.part_multiple

    @property
    def max_part_size(self) -> int:
        return self._inner.max_part_size

    async def begin(self, key: BlobKey, *, size: int, sha256: bytes) -> PutSession:
        return await self._backend.through("begin", lambda: self._inner.begin(key, size=size, sha256=sha256))

    async def resume(self, session: PutSession) -> PutSession:
        return await self._backend.through("resume", lambda: self._inner.resume(session))

    async def append(self, session: PutSession, part: bytes) -> PutSession:
        return await self._backend.through("append", lambda: self._inner.append(session, part))

    async def commit(self, session: PutSession) -> BlobRef:
        return await self._backend.through("commit", lambda: self._inner.commit(session))

    async def abort(self, session: PutSession) -> None:
        await self._backend.through("abort", lambda: self._inner.abort(session))


async def _nothing() -> None:
    pass


def _checked_by_mypy(
    tokens: TokensOnOrder, lane: CountingLane, backend: FaultyBackend
) -> tuple[TokenSource, ThreadLane, Backend]:
    return tokens, lane, backend
