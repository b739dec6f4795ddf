"""
Limits: no more calls at once than do a provider good, and fewer after it has complained.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import timedelta
from typing import TypeVar

from gateway.api import Backend, BlobRef, BlobStat, RateLimited, Span
from gateway.backends.wrapped import WrappedBackend, closing_stream, stepped
from gateway.base.clock import Clock

ResultT = TypeVar("ResultT")

Sleep = Callable[[float], Awaitable[None]]


class Narrows:
    """
    Lets so many through at once, in the order they came; slows down when the provider asks for it.

    After `RateLimited` nobody enters until the provider's time is over, and half as many at once from then on.
    Each *successes_to_widen* successes let one more in again, up to *widest*.
    """

    def __init__(
        self,
        widest: int,
        clock: Clock,
        sleep: Sleep,
        *,
        successes_to_widen: int,
        pause_s: float,
        longest_wait_s: float,
    ) -> None:
        self._widest = widest
        self._clock = clock
        self._sleep = sleep
        self._successes_to_widen = successes_to_widen
        self._pause_s = pause_s
        self._longest_wait_s = longest_wait_s
        self.width = widest
        self.inside = 0
        self._successes = 0
        self._closed_until = clock.monotonic()
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def through(self, _operation: str, call: Callable[[], Awaitable[ResultT]], /) -> ResultT:
        """
        Make *call* when its turn has come.

        Raises:
            RateLimited: the provider's, or at once where its time lasts longer than *longest_wait_s*.
        """
        await self._enter()
        try:
            await self._reopened()
            try:
                result = await call()
            except RateLimited as exc:
                self._slow_down(exc.retry_after)
                raise
            self._count_success()
            return result
        finally:
            self.inside -= 1
            self._admit()

    async def _enter(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                # Let in and cancelled in one breath.
                self.inside -= 1
            self._admit()
            raise

    def _admit(self) -> None:
        while self._waiting and self.inside < self.width:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self.inside += 1

    async def _reopened(self) -> None:
        while (left_s := self._closed_until - self._clock.monotonic()) > 0:
            if left_s > self._longest_wait_s:
                raise RateLimited(
                    f"The provider wants to be left alone for {left_s:.0f} s more.",
                    retry_after=timedelta(seconds=left_s),
                )
            await self._sleep(left_s)

    def _slow_down(self, retry_after: timedelta | None) -> None:
        now = self._clock.monotonic()
        if now >= self._closed_until:
            # Calls that were under way together are one complaint, not several.
            self.width = max(1, self.width // 2)
        self._successes = 0
        pause_s = self._pause_s if retry_after is None else retry_after.total_seconds()
        self._closed_until = max(self._closed_until, now + pause_s)

    def _count_success(self) -> None:
        if self.width == self._widest:
            return
        self._successes += 1
        if self._successes >= self._successes_to_widen:
            self._successes = 0
            self.width += 1


class LimitedBackend(WrappedBackend):
    """
    Keeps calls waiting that would be too many at once.

    A stream counts while it is asked for a piece, not while its reader thinks:
    listeners who pause do not keep uploads from being stored.
    """

    def __init__(self, inner: Backend, narrows: Narrows) -> None:
        super().__init__(inner)
        self._narrows = narrows

    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        async with AsyncExitStack() as stack:
            opening = self._inner.read(ref, span)
            pieces = await self._through("read", lambda: stack.enter_async_context(opening))
            async with aclosing(stepped("read", self._through, pieces)) as steps:
                yield steps

    async def scan(self) -> AsyncIterator[BlobStat]:
        async with closing_stream(self._inner.scan()) as blobs:
            async for blob in stepped("scan", self._through, blobs):
                yield blob

    async def _through(self, operation: str, call: Callable[[], Awaitable[ResultT]], /) -> ResultT:
        return await self._narrows.through(operation, call)
