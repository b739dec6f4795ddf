"""
``python -m bench``: run the benchmarks, or those that are named.
"""

import asyncio
import sys

from bench.deletes import measure_deletes
from bench.memory import measure_memory
from bench.placing import measure_placing
from bench.side_by_side import measure_side_by_side
from bench.stalls import measure_stalls

BENCHMARKS = {
    "side-by-side": measure_side_by_side,
    "memory": measure_memory,
    "placing": measure_placing,
    "stalls": measure_stalls,
    "deletes": measure_deletes,
}


def main() -> int:
    names = sys.argv[1:] or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        print(f"no benchmark is called {unknown[0]}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    return max([asyncio.run(BENCHMARKS[name]()) for name in names])


sys.exit(main())
