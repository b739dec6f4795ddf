"""
``python -m bench``: run the benchmarks, or those that are named; ``--quick`` tries them out with little of everything.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from bench.deletes import measure_deletes
from bench.expiring import measure_expiring
from bench.lists import measure_lists
from bench.memory import measure_memory
from bench.placing import measure_placing
from bench.placing_s3 import measure_placing_s3
from bench.retention import measure_retention
from bench.side_by_side import measure_side_by_side
from bench.slopes import measure_slopes
from bench.stalls import measure_stalls
from bench.starting import measure_starting
from bench.workers import measure_workers

BENCHMARKS: Final[dict[str, Callable[[bool], Awaitable[int]]]] = {
    "side-by-side": lambda quick: measure_side_by_side(quick=quick),
    "memory": lambda quick: measure_memory(quick=quick),
    "placing": lambda quick: measure_placing(quick=quick),
    "placing-s3": lambda quick: measure_placing_s3(quick=quick),
    "stalls": lambda quick: measure_stalls(quick=quick),
    "deletes": lambda quick: measure_deletes(quick=quick),
    "workers": lambda quick: measure_workers(quick=quick),
    "expiring": lambda quick: measure_expiring(quick=quick),
    "retention": lambda quick: measure_retention(quick=quick),
    "lists": lambda quick: measure_lists(quick=quick),
    "starting": lambda quick: measure_starting(quick=quick),
    "slopes": lambda quick: measure_slopes(quick=quick),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="little of everything: shows that it works")
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark is called {unknown[0]}; there are: {', '.join(BENCHMARKS)}")
    return max([asyncio.run(_one(name, asked.quick)) for name in asked.names or BENCHMARKS])


async def _one(name: str, quick: bool) -> int:
    return await BENCHMARKS[name](quick)


raise SystemExit(main())
