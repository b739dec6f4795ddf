"""
Time-outs: a provider that says nothing for too long is a passing fault.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

from gateway.api import Backend, BlobKey, BlobRef, BlobSource, BlobStat, Span, Transient
from gateway.backends.wrapped import WrappedBackend, closing_stream, stepped

ResultT = TypeVar("ResultT")

_SENDING: Final = frozenset({"put", "append", "commit"})


class TimedBackend(WrappedBackend):
    """
    Ends each call that takes too long, with `Transient`.

    A call that sends bytes may take *put_timeout_s*; each step of a stream may take *idle_timeout_s*.
    A put may take as long as it likes, if it goes on: its time starts anew with each piece that it takes,
    and stands still while the source is asked for one.
    """

    def __init__(
        self, inner: Backend, *, call_timeout_s: float, put_timeout_s: float, idle_timeout_s: float
    ) -> None:
        super().__init__(inner)
        self._call_timeout_s = call_timeout_s
        self._put_timeout_s = put_timeout_s
        self._idle_timeout_s = idle_timeout_s

    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        deadline = _Deadline("put", self._put_timeout_s)
        return await deadline.keep(lambda: self._inner.put(key, _WatchedSource(body, deadline)))

    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        async with AsyncExitStack() as stack:
            opening = self._inner.read(ref, span)
            pieces = await self._through("read", lambda: stack.enter_async_context(opening))
            async with aclosing(stepped("read", self._step, pieces)) as steps:
                yield steps

    async def scan(self) -> AsyncIterator[BlobStat]:
        async with closing_stream(self._inner.scan()) as blobs:
            async for blob in stepped("scan", self._step, blobs):
                yield blob

    async def _through(self, operation: str, call: Callable[[], Awaitable[ResultT]], /) -> ResultT:
        timeout_s = self._put_timeout_s if operation in _SENDING else self._call_timeout_s
        return await _Deadline(operation, timeout_s).keep(call)

    async def _step(self, operation: str, call: Callable[[], Awaitable[ResultT]], /) -> ResultT:
        return await _Deadline(operation, self._idle_timeout_s).keep(call)


class _Deadline:
    """
    The time that one call has; it can be stopped and started anew.
    """

    def __init__(self, operation: str, timeout_s: float) -> None:
        self._operation = operation
        self._timeout_s = timeout_s
        self._timeout = asyncio.timeout(None)

    async def keep(self, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        try:
            async with self._timeout:
                self.start()
                return await call()
        except TimeoutError as exc:
            if not self._timeout.expired():
                # Somebody else's: a source may raise what it likes.
                raise
            raise Transient(
                f"The backend was silent for {self._timeout_s} s ({self._operation}).",
                provider_code="timeout",
            ) from exc

    def start(self) -> None:
        if not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time() + self._timeout_s)

    def stop(self) -> None:
        if not self._timeout.expired():
            self._timeout.reschedule(None)


class _WatchedSource:
    """
    A source that stops the put's time while it is asked for something.
    """

    def __init__(self, body: BlobSource, deadline: _Deadline) -> None:
        self._body = body
        self._deadline = deadline

    @property
    def size(self) -> int:
        return self._body.size

    @property
    def path(self) -> Path | None:
        return self._body.path

    async def sha256(self) -> bytes:
        self._deadline.stop()
        digest = await self._body.sha256()
        self._deadline.start()
        return digest

    @asynccontextmanager
    async def open(self, start: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._body.open(start) as pieces, aclosing(stepped("put", self._step, pieces)) as steps:
            yield steps

    async def _step(self, _operation: str, call: Callable[[], Awaitable[ResultT]], /) -> ResultT:
        self._deadline.stop()
        given = await call()
        self._deadline.start()
        return given
