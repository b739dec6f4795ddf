"""
What a benchmark found: printed as it is found, beside its goal, and written as JSON at the end.
"""

import json
import logging
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog


@dataclass(frozen=True, slots=True)
class Figure:
    """
    One number.

    Attributes:
        most, least: the goal; None where there is none.
    """

    name: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None

    @property
    def misses_goal(self) -> bool:
        over = self.most is not None and self.value > self.most
        return over or (self.least is not None and self.value < self.least)

    def __str__(self) -> str:
        goal = ""
        if self.most is not None:
            goal = f"goal <= {self.most:,g}"
        if self.least is not None:
            goal = f"goal >= {self.least:,g}"
        verdict = f"   {goal}: {'missed' if self.misses_goal else 'reached'}" if goal else ""
        return f"  {self.name:66}{_short(self.value):>12} {self.unit}{verdict}"


class Report:
    """
    The figures of one benchmark.
    """

    def __init__(self, name: str) -> None:
        # Of a gateway in this process: its log would stand between the figures.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
        self._name = name
        self._figures: list[Figure] = []
        print(f"\n{name}", flush=True)

    def add(
        self, name: str, value: float, unit: str, *, most: float | None = None, least: float | None = None
    ) -> None:
        """
        Print a figure, and keep it.
        """
        figure = Figure(name, value, unit, most, least)
        self._figures.append(figure)
        print(figure, flush=True)

    def add_latencies(
        self, name: str, seconds: Sequence[float], *, most_p50_ms: float | None = None
    ) -> float:
        """
        Print the median and the 95th percentile of *seconds*, in milliseconds; return the median in seconds.
        """
        median = statistics.median(seconds)
        self.add(f"{name}, p50", 1000 * median, "ms", most=most_p50_ms)
        self.add(f"{name}, p95", 1000 * percentile(seconds, 95), "ms")
        return median

    def finish(self) -> int:
        """
        Write the JSON file; 1 if a goal was missed.
        """
        path = Path(tempfile.gettempdir()) / f"gateway-bench-{self._name}.json"
        path.write_text(json.dumps([asdict(figure) for figure in self._figures], indent=1) + "\n")
        print(f"  ({path})", flush=True)
        return 1 if any(figure.misses_goal for figure in self._figures) else 0


def percentile(values: Sequence[float], percent: int) -> float:
    """
    Return the value that so many percent of *values* do not pass.
    """
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def _short(value: float) -> str:
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.2f}"
