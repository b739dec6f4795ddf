"""
Measurements: how many calls there were, how they ended, and how long they took.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import Counter, Histogram

from gateway.api import Backend, BackendError, BlobRef, BlobStat, Span
from gateway.backends.wrapped import WrappedBackend, closing_stream, stepped
from gateway.base.clock import Clock

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meters:
    """
    Where the measurements go; whoever has the registry makes them.
    """

    calls: Counter
    """Labels: kind, operation, outcome."""

    duration: Histogram
    """Labels: kind, operation."""


class MeasuredBackend(WrappedBackend):
    """
    Counts each call under its operation and outcome: ``ok``, an error's code, ``cancelled``, or ``error``.

    A stream is one call, and takes the time that was spent waiting for it, not the time its reader took.
    """

    def __init__(self, inner: Backend, *, kind: str, meters: Meters, clock: Clock) -> None:
        super().__init__(inner)
        self._kind = kind
        self._meters = meters
        self._clock = clock

    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        stopwatch = _Stopwatch(self._clock)
        try:
            async with AsyncExitStack() as stack:
                opening = self._inner.read(ref, span)
                pieces = await stopwatch.time("read", lambda: stack.enter_async_context(opening))
                async with aclosing(stepped("read", stopwatch.time, pieces)) as steps:
                    yield steps
        finally:
            self._note("read", stopwatch)

    async def scan(self) -> AsyncIterator[BlobStat]:
        stopwatch = _Stopwatch(self._clock)
        try:
            async with closing_stream(self._inner.scan()) as blobs:
                async for blob in stepped("scan", stopwatch.time, blobs):
                    yield blob
        finally:
            self._note("scan", stopwatch)

    async def _through(self, operation: str, call: Callable[[], Awaitable[ResultT]], /) -> ResultT:
        stopwatch = _Stopwatch(self._clock)
        try:
            return await stopwatch.time(operation, call)
        finally:
            self._note(operation, stopwatch)

    def _note(self, operation: str, stopwatch: "_Stopwatch") -> None:
        self._meters.calls.labels(kind=self._kind, operation=operation, outcome=stopwatch.outcome).inc()
        self._meters.duration.labels(kind=self._kind, operation=operation).observe(stopwatch.spent_s)


class _Stopwatch:
    """
    The time spent in the backend for one call, and how that ended.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.spent_s = 0.0
        self.outcome = "ok"

    async def time(self, _operation: str, call: Callable[[], Awaitable[ResultT]], /) -> ResultT:
        began = self._clock.monotonic()
        try:
            return await call()
        except BackendError as exc:
            self.outcome = exc.code
            raise
        except asyncio.CancelledError:
            self.outcome = "cancelled"
            raise
        except Exception:
            self.outcome = "error"
            raise
        finally:
            self.spent_s += self._clock.monotonic() - began
