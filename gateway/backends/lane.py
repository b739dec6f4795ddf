"""
Threads for the plugins that call a blocking library.

The local backend has a lane of its own: there a cancelled caller waits for his call, which is short.
Here a call may wait for a network, so the caller goes at once and the thread follows when it can.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from gateway.api import Transient

ResultT = TypeVar("ResultT")


class Lane:
    """
    A `gateway.api.ThreadLane` of so many threads, and so many calls that wait for one.

    The threads are daemons: a library that hangs for good cannot hold up the end of the process.
    """

    def __init__(self, name: str, threads: int, *, queue: int) -> None:
        self._most = threads + queue
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # What each unfinished call tells its caller; a call stays here until its thread is done with it.
        self._unfinished: dict[Future[Any], asyncio.Future[Any]] = {}
        self._closed = False
        self._threads = [
            threading.Thread(target=_work, args=(self._calls,), name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, call: Callable[[], ResultT]) -> ResultT:
        """
        Return what *call* returns, having run it in a thread with the caller's context variables.

        A cancelled caller returns at once; his call goes on if it was begun, and is never begun if it was not.

        Raises:
            Transient: too many calls are waiting already, or the lane was closed.
        """
        if self._closed:
            raise Transient("The backend was disconnected.")
        if len(self._unfinished) >= self._most:
            raise Transient(f"{self._most} calls of this backend are under way or waiting already.")
        outcome: Future[ResultT] = Future()
        # First of the callbacks: whoever hears of the end finds the slot free.
        outcome.add_done_callback(self._forget)
        told = asyncio.wrap_future(outcome)
        self._unfinished[outcome] = told
        context = contextvars.copy_context()
        self._calls.put(partial(_carry_out, outcome, partial(context.run, call)))
        try:
            return await told
        except asyncio.CancelledError:
            if told.done() and not told.cancelled():
                # It failed in the same moment, and nobody else will look.
                told.exception()
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                raise Transient("The backend was disconnected.") from None
            raise

    async def close(self, *, patience_s: float) -> None:
        """
        Refuse new calls, drop those that wait, and give those in a thread *patience_s* to end.

        Whoever still waits then gets `Transient`; the second time do nothing.
        """
        if self._closed:
            return
        self._closed = True
        for outcome in tuple(self._unfinished):
            outcome.cancel()
        for _ in self._threads:
            self._calls.put(None)
        running = [asyncio.wrap_future(outcome) for outcome in tuple(self._unfinished)]
        try:
            if running:
                await asyncio.wait(running, timeout=patience_s)
        finally:
            # Also where whoever closes has no more patience.
            for ending in running:
                if not ending.cancel() and not ending.cancelled():
                    # Counts as looked at: its caller hears of it, if there is still one.
                    ending.exception()
            for told in tuple(self._unfinished.values()):
                told.cancel()

    def _forget(self, outcome: Future[Any]) -> None:
        # In the thread that ended it; a dict's own methods may be called from any.
        self._unfinished.pop(outcome, None)


def _work(calls: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (call := calls.get()) is not None:
        call()
        # An idle thread must not keep the last call's bytes alive.
        del call


def _carry_out(outcome: Future[ResultT], call: Callable[[], ResultT]) -> None:
    if not outcome.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as exc:  # noqa: BLE001 - whatever it is, the caller is told
        outcome.set_exception(exc)
    else:
        outcome.set_result(result)
