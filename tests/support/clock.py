"""
A clock that stands still until a test moves it.
"""


class FakeClock:
    """
    A `gateway.base.clock.Clock` whose time passes only by `advance` and `jump`.
    """

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._monotonic = 1000.0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """
        Let *seconds* pass on both clocks.
        """
        self._now_ms += round(seconds * 1000)
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """
        Set the wall clock on or back by *seconds*, as an operator or NTP would; no time passes.
        """
        self._now_ms += round(seconds * 1000)
