"""
The operators' page of counts by day, as charts and as tables.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from gateway.base.wording import size
from gateway.web.operator_gate import PATH, Desk, Gate, operating_of

_SPANS: Final = (7, 30, 90)
_USUAL: Final = 30


@dataclass(frozen=True, slots=True)
class Bar:
    """
    One day of a chart; *share* is its part of the largest, in per cent.
    """

    day: int
    text: str
    share: float


@dataclass(frozen=True, slots=True)
class Chart:
    """
    One bar for each day.
    """

    title: str
    total: str
    largest: str
    bars: Sequence[Bar]


class OperatorCountPages:
    """
    Counts.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def add_to(self, app: web.Application) -> None:
        """
        Add the address.
        """
        app.router.add_get(f"{PATH}/counts", self._gate.open_to("see-counts", self.show))

    async def show(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Show how much there was of what on the latest days.
        """
        told = request.query.get("days", "")
        span = int(told) if told in map(str, _SPANS) else _USUAL
        days, counts = await operating_of(request).counts.latest(span)

        def of(what: str, label: str = "") -> list[int]:
            by_day: Mapping[int, int] = counts.get((what, label), {})
            return [by_day.get(day, 0) for day in days]

        erased = of("erased")
        delays = [
            (spent / number / 1000 if number else 0.0)
            for spent, number in zip(of("erase-ms"), erased, strict=True)
        ]
        slowest = max(delays)
        charts = [
            _chart("Recordings stored", days, of("stored"), str),
            _chart("Bytes received", days, of("bytes"), size),
            _chart("Recordings erased by their users", days, erased, str),
            _chart("Recordings expired", days, of("expired"), str),
            Chart(
                "Seconds from a deletion to the end of its key, on average",
                "",
                f"{slowest:.1f} s",
                [
                    Bar(day, f"{delay:.1f} s", 100 * delay / slowest if slowest else 0)
                    for day, delay in zip(days, delays, strict=True)
                ],
            ),
            *(
                _chart(f"Blobs that arrived: {label}", days, of(what, label), str)
                for what, label in sorted(counts)
                if what == "placed"
            ),
        ]
        return self._gate.page(
            "operator_counts.html", desk, here="/counts", charts=charts, days=days, span=span, spans=_SPANS
        )


def _chart(title: str, days: Sequence[int], values: Sequence[int], write: Callable[[int], str]) -> Chart:
    largest = max(values)
    bars = [
        Bar(day, write(value), 100 * value / largest if largest else 0)
        for day, value in zip(days, values, strict=True)
    ]
    return Chart(title, write(sum(values)), write(largest), bars)
