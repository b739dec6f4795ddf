"""
Bringing counts by day into the catalog.
"""

import asyncio

from gateway.services.day_counts import DayCounts


class DayCounter:
    """
    Brings them there again and again.
    """

    def __init__(self, counts: DayCounts, *, interval_s: float) -> None:
        self._counts = counts
        self._interval_s = interval_s

    async def run(self) -> None:
        """
        Go on until cancelled.
        """
        while True:
            await asyncio.sleep(self._interval_s)
            await self._counts.bring()
