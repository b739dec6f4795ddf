"""
A few threads in which blocking file calls run, so that the event loop never waits for a disk.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from gateway.api import Transient

ResultT = TypeVar("ResultT")


class FileLane:
    """
    Runs blocking calls, so many at once and no more; the rest wait their turn.

    A thread cannot be cancelled.
    A cancelled caller gets his `CancelledError` when his call has ended, or was never begun.
    So what he does then cannot be overtaken by his own thread.
    That is prompt enough because each call is short, one piece of 1 MiB or one `fsync`.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._pending: set[asyncio.Future[Any]] = set()
        self._closed = False

    async def run(self, call: Callable[[], ResultT]) -> ResultT:
        """
        Return what *call* returns, having run it in a thread of the lane.

        Raises:
            Transient: the lane was closed.
        """
        if self._closed:
            raise Transient("The backend was disconnected.")
        running, ended = self._submit(call)
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            if not running.cancel():
                await _settled(ended)
            raise

    async def run_through(self, call: Callable[[], None]) -> None:
        """
        Run *call* to its end even if the caller is cancelled; the cancellation is raised afterwards.

        For tidying up. On a closed lane it does nothing: `close` has tidied up by then.
        """
        if self._closed:
            return
        _, ended = self._submit(call)
        cancelled = await _settled(ended)
        if cancelled is not None:
            raise cancelled
        ended.result()

    async def close(self, last_call: Callable[[], None]) -> None:
        """
        Refuse new calls, wait for those that are in flight, then run *last_call*; the second time do nothing.
        """
        if self._closed:
            return
        self._closed = True
        try:
            await self._drained()
            self._submit(last_call)
            await self._drained()
        finally:
            # Not waiting for idle threads: joining them would block the loop.
            self._executor.shutdown(wait=False)

    async def _drained(self) -> None:
        while self._pending:
            await asyncio.wait(self._pending)

    def _submit(self, call: Callable[[], ResultT]) -> tuple[Future[ResultT], asyncio.Future[ResultT]]:
        running = self._executor.submit(call)
        ended = asyncio.wrap_future(running)
        self._pending.add(ended)
        ended.add_done_callback(self._forget)
        return running, ended

    def _forget(self, ended: asyncio.Future[ResultT]) -> None:
        self._pending.discard(ended)
        if not ended.cancelled():
            # Counts as looked at: when its caller was cancelled, a failed call has nobody left to hear of it.
            ended.exception()


async def _settled(ended: asyncio.Future[ResultT]) -> asyncio.CancelledError | None:
    """
    Wait until *ended* is done, however often the waiting task is cancelled; return the last cancellation.
    """
    cancelled = None
    while not ended.done():
        try:
            await asyncio.wait([ended])
        except asyncio.CancelledError as exc:
            cancelled = exc
    return cancelled
