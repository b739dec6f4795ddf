"""
Where time comes from.

The one module that asks the machine for the time.
Whoever needs it is handed a `Clock`, so a test can stand still or jump a year without sleeping.
Leases never use it: they are compared in the database's own time.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """
    The time of this node.
    """

    def now_ms(self) -> int:
        """
        Return Unix time in milliseconds; may jump when the machine's clock is set.
        """
        ...

    def monotonic(self) -> float:
        """
        Return seconds since some fixed moment; never goes back.
        """
        ...


class SystemClock:
    """
    The machine's own clock.
    """

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()
