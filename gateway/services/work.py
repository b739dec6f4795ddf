"""
Waking the workers of this process when there is something to do, and letting others go first.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

_REST: Final = 10
_LONGEST_REST_S: Final = 0.5
_LOOK_EVERY_S: Final = 0.25


class NotNow(Exception):
    """
    Work that is to be taken up again after *delay_ms*, and did not fail.
    """

    def __init__(self, reason: str, *, delay_ms: int) -> None:
        super().__init__(reason)
        self.delay_ms = delay_ms


class WorkBell:
    """
    Rung after a transaction that enqueued a job, so that nobody waits for the next poll.

    It wakes one worker, who wakes more if there is more than he takes: waking all of many costs more than the job.
    Only a convenience: the job is a row, and a worker that misses the bell finds it a little later.
    """

    def __init__(self, *others: "WorkBell") -> None:
        self._others = others
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_rung = False
        self._poll: asyncio.TimerHandle | None = None

    def ring(self) -> None:
        """
        Wake one of those who wait, at this bell and at the others that ring with it; without any, the next one who comes.
        """
        for other in self._others:
            other.ring()
        self._wake_one()

    def wake(self, most: int) -> int:
        """
        Wake up to *most* of those who wait at this bell; return how many.
        """
        woken = 0
        while woken < most and self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                woken += 1
        return woken

    def _wake_one(self) -> None:
        self._is_rung = not self.wake(1)

    async def wait(self, timeout_s: float) -> None:
        """
        Return when the bell rings; of all who wait one returns every *timeout_s* without that.
        """
        if self._is_rung:
            self._is_rung = False
            return
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        self._waiting.append(woken)
        if self._poll is None:
            self._poll = loop.call_later(timeout_s, self._wake_to_poll, timeout_s)
        try:
            await woken
        except asyncio.CancelledError:
            if woken in self._waiting:
                self._waiting.remove(woken)
            elif not woken.cancelled():
                # What he was woken for is for another one.
                self._wake_one()
            raise
        finally:
            if not self._waiting:
                self._stop_polling()

    def _stop_polling(self) -> None:
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None

    def _wake_to_poll(self, timeout_s: float) -> None:
        self._poll = None
        self.wake(1)
        if self._waiting:
            self._poll = asyncio.get_running_loop().call_later(timeout_s, self._wake_to_poll, timeout_s)


class Courtesy:
    """
    Lets whoever waits for an answer go first, while *is_busy*.
    """

    def __init__(self, is_busy: Callable[[], bool]) -> None:
        self._is_busy = is_busy

    async def let_pass(self, at_most_s: float) -> None:
        """
        Return once nobody has to be let pass any more, or *at_most_s* have gone.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + at_most_s
        while self._is_busy() and (left := until - loop.time()) > 0:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(min(left, _LOOK_EVERY_S))

    async def rest(self, worked_s: float) -> None:
        """
        Rest in proportion to what was worked, if others are waiting.
        """
        if self._is_busy():
            await asyncio.sleep(min(worked_s * _REST, _LONGEST_REST_S))
