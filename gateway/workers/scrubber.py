"""
Looking after copies, slowly, all the time.
"""

import asyncio

from gateway.base.clock import Clock
from gateway.services.checking import CheckService
from gateway.settings import Scrub as Pace


class Scrubber:
    """
    Looks at each copy once in a while, and calls for another in place of what is missing or damaged.
    """

    def __init__(self, checks: CheckService, clock: Clock, pace: Pace) -> None:
        self._checks = checks
        self._clock = clock
        self._pace = pace

    async def run(self) -> None:
        """
        Scrub until cancelled.
        """
        while self._pace.every_s:
            await self.scrub()
            await asyncio.sleep(60)

    async def scrub(self) -> None:
        """
        Look at as many recordings as one minute allows, those first that nobody has looked at for longest.
        """
        due = await self._checks.due(
            checked_before=self._clock.now_ms() - self._pace.every_s * 1000, limit=self._pace.per_minute
        )
        for recording_id in due:
            await self._checks.check(recording_id, deep=self._pace.deep)
