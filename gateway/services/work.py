"""
Waking the workers of this process when there is something to do.
"""

import asyncio
from collections.abc import Callable
from typing import Final

_REST: Final = 10
_LONGEST_REST_S: Final = 0.5


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

    Only a convenience: the job is a row, and a worker that misses the bell finds it a little later.
    """

    def __init__(self, *others: "WorkBell") -> None:
        self._event = asyncio.Event()
        self._others = others

    def ring(self) -> None:
        """
        Wake whoever waits, at this bell and at the others that ring with it.
        """
        for other in self._others:
            other.ring()
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, timeout_s: float) -> None:
        """
        Return when the bell rings or *timeout_s* has passed.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            pass


class Courtesy:
    """
    Lets whoever waits for an answer go first: while *is_busy*, background work rests after each piece of work.
    """

    def __init__(self, is_busy: Callable[[], bool]) -> None:
        self._is_busy = is_busy

    async def rest(self, worked_s: float) -> None:
        """
        Rest in proportion to what was worked, if others are waiting.
        """
        if self._is_busy():
            await asyncio.sleep(min(worked_s * _REST, _LONGEST_REST_S))
