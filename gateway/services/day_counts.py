"""
How much there was of what on a day: what this process counts anyway, brought into the catalog from time to time.

So it costs no request anything. A crash loses what was counted since the last time.
"""

from collections.abc import Callable, Mapping
from typing import Final

from gateway.base.clock import Clock
from gateway.catalog import day_counts as catalog
from gateway.catalog.users import day_of
from gateway.database import Database

Readings = Mapping[tuple[str, str], int]
"""How much was counted since the process started, by what it is of and a label."""

DAY_MS: Final = 24 * 3600 * 1000


class DayCounts:
    """
    Brings counts into the catalog, and gives them back.
    """

    def __init__(self, catalog_db: Database, clock: Clock, read: Callable[[], Readings]) -> None:
        self._catalog = catalog_db
        self._clock = clock
        self._read = read
        self._brought: dict[tuple[str, str], int] = {}

    async def bring(self) -> None:
        """
        Add what was counted since the last time to today.
        """
        now = self._read()
        new = {key: count - self._brought.get(key, 0) for key, count in now.items()}
        new = {key: count for key, count in new.items() if count}
        if not new:
            return
        async with self._catalog.write() as connection:
            await catalog.add_counts(connection, day_of(self._clock.now_ms()), new)
        self._brought = dict(now)

    async def latest(self, days: int) -> tuple[list[int], dict[tuple[str, str], dict[int, int]]]:
        """
        Return the latest so many days, today last (Unix ms when they began), and what was counted on them.
        """
        today = day_of(self._clock.now_ms())
        wanted = [today - DAY_MS * back for back in reversed(range(days))]
        async with self._catalog.read() as connection:
            return wanted, await catalog.counts_since(connection, wanted[0])
