"""
Second tries: what may well work later is tried again, and what may have happened is looked for first.
"""

import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from gateway.api import (
    Backend,
    BackendError,
    BlobKey,
    BlobRef,
    BlobSource,
    BlobStat,
    Conflict,
    Disposition,
    PutSession,
    RateLimited,
    ResumablePuts,
    SessionLost,
    Span,
)
from gateway.backends.wrapped import Through, WrappedBackend, WrappedPuts, closing_stream

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """
    How often to try, and how long to wait between.
    """

    attempts: int
    base_s: float
    """The longest first wait; it doubles with each attempt. The true wait is anywhere from half of it to all of it."""

    longest_s: float
    """No wait is longer; a provider that asks for more than this is left to whoever asked us."""

    sleep: Callable[[float], Awaitable[None]]
    rng: random.Random

    async def wait(self, failure: BackendError, failures: int) -> None:
        """
        Wait until it is time to try again after so many failures; raise the last *failure* if it is not worth it.
        """
        if failure.disposition is not Disposition.RETRY or isinstance(failure, SessionLost):
            raise failure
        asked_s = 0.0
        if isinstance(failure, RateLimited) and failure.retry_after is not None:
            asked_s = failure.retry_after.total_seconds()
        if failures >= self.attempts or asked_s > self.longest_s:
            raise failure
        backoff_s = min(self.longest_s, self.base_s * 2.0 ** (failures - 1))
        await self.sleep(max(asked_s, backoff_s * self.rng.uniform(0.5, 1.0)))


class RetryingBackend(WrappedBackend):
    """
    Tries again what failed with `Disposition.RETRY`; an error that stays keeps its class.

    A read that breaks goes on from the byte it reached.
    A scan is begun again only while it has shown nothing: what it showed is not remembered.
    """

    def __init__(self, inner: Backend, patience: Patience) -> None:
        super().__init__(inner)
        self._patience = patience

    @property
    def resumable(self) -> ResumablePuts | None:
        puts = self._inner.resumable
        return None if puts is None else RetryingPuts(puts, self._through, self._patience)

    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        failures = 0
        while True:
            try:
                return await self._inner.put(key, body)
            except Conflict:
                # After an unclear attempt it may be our own bytes that are in the way.
                landed = await self._landed(key, body) if failures else None
                if landed is None:
                    raise
                return landed
            except BackendError as exc:
                failures += 1
                await self._patience.wait(exc, failures)
            landed = await self._landed(key, body)
            if landed is not None:
                return landed

    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        async with AsyncExitStack() as stack:
            pieces = await self._opened(stack, ref, span)
            async with aclosing(self._continued(stack, ref, span, pieces)) as continued:
                yield continued

    async def scan(self) -> AsyncIterator[BlobStat]:
        failures = 0
        while True:
            shown = False
            try:
                async with closing_stream(self._inner.scan()) as blobs:
                    async for blob in blobs:
                        shown = True
                        yield blob
                return
            except BackendError as exc:
                if shown:
                    raise
                failures += 1
                await self._patience.wait(exc, failures)

    async def _through(self, _operation: str, call: Callable[[], Awaitable[ResultT]], /) -> ResultT:
        failures = 0
        while True:
            try:
                return await call()
            except BackendError as exc:
                failures += 1
                await self._patience.wait(exc, failures)

    async def _landed(self, key: BlobKey, body: BlobSource) -> BlobRef | None:
        """
        Return the blob if it is there with the size it should have.
        """
        ref = await self.find(key)
        return ref if ref is not None and (await self.stat(ref)).size == body.size else None

    async def _opened(self, stack: AsyncExitStack, ref: BlobRef, span: Span | None) -> AsyncIterator[bytes]:
        return await self._through("read", lambda: stack.enter_async_context(self._inner.read(ref, span)))

    async def _continued(
        self, stack: AsyncExitStack, ref: BlobRef, span: Span | None, pieces: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        reached = 0 if span is None else span.start
        failures = 0
        while True:
            try:
                piece = await anext(pieces, None)
            except BackendError as exc:
                failures += 1
                await self._patience.wait(exc, failures)
                await stack.aclose()
                end = (await self.stat(ref)).size if span is None else span.end
                if reached >= end:
                    return
                pieces = await self._opened(stack, ref, Span(reached, end - reached))
                continue
            if piece is None:
                return
            reached += len(piece)
            # Progress: the attempts are counted from here.
            failures = 0
            yield piece


class RetryingPuts(WrappedPuts):
    """
    Puts in parts, tried again; what an unclear answer left open is asked of the provider.
    """

    def __init__(self, inner: ResumablePuts, through: Through, patience: Patience) -> None:
        super().__init__(inner, through)
        self._patience = patience

    async def append(self, session: PutSession, part: bytes) -> PutSession:
        failures = 0
        current = session
        while True:
            try:
                return await self._inner.append(current, part)
            except BackendError as exc:
                failures += 1
                await self._patience.wait(exc, failures)
            current = await self.resume(current)
            if current.offset != session.offset:
                # It got somewhere else; which bytes come next the host knows.
                return current

    async def commit(self, session: PutSession) -> BlobRef:
        failures = 0
        while True:
            try:
                return await self._inner.commit(session)
            except Conflict as exc:
                if failures == 0:
                    raise
                # It may be our own blob that is in the way: the host looks for it.
                raise SessionLost(
                    "An earlier commit of this put had no answer, and the key is taken now."
                ) from exc
            except BackendError as exc:
                failures += 1
                await self._patience.wait(exc, failures)
