"""
Waking the workers of this process when there is something to do.
"""

import asyncio


class WorkBell:
    """
    Rung after a transaction that enqueued a job, so that nobody waits for the next poll.

    Only a convenience: the job is a row, and a worker that misses the bell finds it a little later.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """
        Wake whoever waits.
        """
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
