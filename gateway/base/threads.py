"""
Blocking calls in threads, which nothing cuts short.

A thread cannot be cancelled: a caller who is gets his `CancelledError` when the call has ended, however often he is, so
nothing that he does then meets his own thread at work.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")


async def run_to_end(executor: Executor, call: Callable[[], T]) -> T:
    """
    Run *call* in a thread of *executor*, and return what it returns.
    """
    running = asyncio.get_running_loop().run_in_executor(executor, call)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        # What it failed with is nobody's any more.
        running.exception()
        raise


class Lane:
    """
    Up to so many *threads*, for one event loop, that begin when there is work for them.

    It does what `run_to_end` does with an executor, for calls so short that an executor costs more: no locks, and one
    future instead of three.
    """

    def __init__(self, threads: int, *, name: str) -> None:
        self._most = threads
        self._name = name
        self._threads: list[threading.Thread] = []
        self._under_way = 0
        self._calls: SimpleQueue[_Call[Any] | None] = SimpleQueue()
        self._is_shut_down = False

    async def run(self, call: Callable[[], T]) -> T:
        """
        Run *call* in a thread, and return what it returns.

        Raises:
            RuntimeError: the lane was shut down.
        """
        if self._is_shut_down:
            raise RuntimeError("a lane that was shut down takes no calls")
        asked = _Call(call, asyncio.get_running_loop())
        self._under_way += 1
        try:
            if len(self._threads) < min(self._under_way, self._most):
                self._begin_thread()
            self._calls.put(asked)
            return await asked.ended
        finally:
            self._under_way -= 1

    def shutdown(self) -> None:
        """
        End the threads, once what was asked for is done. Blocks.
        """
        self._is_shut_down = True
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _begin_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}_{len(self._threads)}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _work(self) -> None:
        while (asked := self._calls.get()) is not None:
            asked.carry_out()
            # Or what it brought would live until the next one comes.
            del asked


class _Ended(asyncio.Future[T]):
    """
    Not to be cancelled: a task that is waits on, and is told when this is done.
    """

    def cancel(self, msg: Any = None) -> bool:
        return False


class _Call(Generic[T]):
    """
    One call: made by the loop, carried out by a thread.
    """

    def __init__(self, call: Callable[[], T], loop: asyncio.AbstractEventLoop) -> None:
        self._call = call
        self._loop = loop
        self.ended: _Ended[T] = _Ended(loop=loop)

    def carry_out(self) -> None:
        """
        Call, and have the loop told what came of it.
        """
        try:
            result = self._call()
        except BaseException as error:  # noqa: BLE001 - it is raised again, for whoever asked
            self._tell(self.ended.set_exception, error)
        else:
            self._tell(self.ended.set_result, result)

    def _tell(self, settle: Callable[[Any], None], outcome: Any) -> None:
        # A loop that was closed has nobody who waits.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(settle, outcome)
