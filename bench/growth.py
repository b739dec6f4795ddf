"""
What an installation of so many recordings needs, and costs in a month: computed from measured slopes and from assumptions,
each of them named here. ``python -m bench.growth`` prints the table of docs/GROWTH.md; ``--slopes FILE`` takes fresh slopes
from what ``python -m bench slopes`` wrote.

It is a model: nothing of 10^8 recordings was run. Where a number was not measured it stands among the assumptions.
"""

import argparse
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

_GB: Final = 10**9
_GIB: Final = 2**30
_DAY_S: Final = 86_400
_MONTH_S: Final = 365 * _DAY_S / 12
COUNTS: Final = (10**6, 10**8, 10**10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slopes:
    """
    What one more costs, as `bench.slopes` and `bench.workers` measured it on a virtual machine of two processors.

    Attributes:
        upload_ms, upload_s_per_gib: processor time of the gateway for an upload on SQLite, checking and placing included:
            for each, and for its bytes.
        postgres_gateway_ms, postgres_server_ms: of an upload of 100 KB on PostgreSQL.
        delete_ms: for one delete alone, its blob and both receipts included.
        upload_dirty, delete_dirty: bytes of pages that the gateway made dirty on the disk for each, besides the recording.
    """

    sqlite_recording: float
    sqlite_user: float
    sqlite_user_keys: float
    postgres_recording: float
    postgres_user: float
    postgres_user_keys: float
    delete_catalog: float
    delete_keys: float
    upload_ms: float
    upload_s_per_gib: float
    postgres_gateway_ms: float
    postgres_server_ms: float
    play_s_per_gib: float
    page_ms: float
    delete_ms: float
    upload_dirty: float
    delete_dirty: float

    @classmethod
    def read(cls, file: Path, otherwise: Self) -> Self:
        """
        Return what *file*, written by `bench.slopes`, tells; what it does not tell is taken from *otherwise*.
        """
        found = {
            figure["name"] + ", " + figure["unit"]: figure["value"] for figure in json.loads(file.read_text())
        }

        def told(name: str) -> float:
            return float(found[name])

        recording = {name: told(f"{name}: catalog, a recording, bytes") for name in ("SQLite", "PostgreSQL")}
        small, large = "an upload of 100 KB, 16 at once", "an upload of 5 MB, 8 at once"
        small_ms, large_ms = told(f"{small}: CPU, ms"), told(f"{large}: CPU, ms")
        per_byte_ms = (large_ms - small_ms) / (5_000_000 - 100_000)
        return replace(
            otherwise,
            sqlite_recording=recording["SQLite"],
            sqlite_user=told("SQLite: catalog, a user with one recording, bytes") - recording["SQLite"],
            sqlite_user_keys=told("SQLite: key database, a user with one recording, bytes"),
            postgres_recording=recording["PostgreSQL"],
            postgres_user=told("PostgreSQL: catalog, a user with one recording, bytes")
            - recording["PostgreSQL"],
            postgres_user_keys=told("PostgreSQL: key database, a user with one recording, bytes"),
            delete_catalog=told("SQLite: catalog, a delete, bytes"),
            delete_keys=told("SQLite: key database, a delete, bytes"),
            upload_ms=small_ms - 100_000 * per_byte_ms,
            upload_s_per_gib=per_byte_ms / 1000 * _GIB,
            play_s_per_gib=told("playing: CPU, s/GiB"),
            page_ms=told("a page of 50: CPU, ms"),
            delete_ms=told("a delete, one after the other, blob and all: CPU, ms"),
            upload_dirty=1024 * told(f"{small}: pages of files made dirty, KiB") - 100_000,
            delete_dirty=1024
            * told("a delete, one after the other, blob and all: pages of files made dirty, KiB"),
        )


MEASURED: Final = Slopes(
    sqlite_recording=1_152,
    sqlite_user=278,
    sqlite_user_keys=158,
    postgres_recording=1_287,
    postgres_user=316,
    postgres_user_keys=242,
    delete_catalog=82,
    delete_keys=4_571,
    upload_ms=1.74,
    upload_s_per_gib=1.17,
    postgres_gateway_ms=3.61,
    postgres_server_ms=0.75,
    play_s_per_gib=0.45,
    page_ms=2.24,
    delete_ms=10.5,
    upload_dirty=53_425,
    delete_dirty=117_006,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """
    What people do; assumed.

    Attributes:
        size: of a recording, bytes: five minutes of speech at 32 kbit/s.
        kept_days: how long ago the oldest recording arrived; with it the count tells how many arrive in a second.
        deleted: the share of recordings that are deleted one by one.
        played: how often a recording is played, on average, in its life.
        pages: of lists that a user looks at in a day.
        peak: how many times the mean the busiest hour has.
    """

    recordings_of_user: int = 1_000
    size: int = 1_200_000
    kept_days: int = 365
    deleted: float = 0.05
    played: float = 0.3
    pages: float = 3
    peak: float = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """
    What one node, one database server and one disk are good for; assumed.

    Attributes:
        of_process: processors that one gateway process keeps busy under small uploads.
        busy: how busy a processor may be in the busiest hour.
        memory: of a node; a SQLite catalog is to fit into half of it.
    """

    of_process: float = 1.4
    busy: float = 0.5
    memory: int = 16 * _GB
    node_processors: int = 2
    database_processors: int = 2
    database_disk: int = 2_000 * _GB


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """
    In dollars, assumed: about what the large clouds list for ordinary classes in their cheapest regions. Put in your own.
    """

    node_month: float = 60
    """Two processors, 8 to 16 GB of memory."""
    database_month: float = 160
    """A managed PostgreSQL with two processors and 16 GB, a synchronous standby not counted."""
    database_gb_month: float = 0.115
    object_gb_month: float = 0.023
    put_thousand: float = 0.005
    get_thousand: float = 0.0004
    egress_gb: float = 0.09


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """
    An installation of *count* recordings, its home a bucket.
    """

    count: int
    slopes: Slopes = MEASURED
    use: Use = Use()
    machines: Machines = Machines()
    prices: Prices = Prices()

    @property
    def users(self) -> float:
        return self.count / self.use.recordings_of_user

    @property
    def arrivals(self) -> float:
        """
        Recordings that arrive in a second, on average.
        """
        return self.count / (self.use.kept_days * _DAY_S)

    @property
    def peak_arrivals(self) -> float:
        return self.arrivals * self.use.peak

    @property
    def sqlite_catalog(self) -> float:
        return self.count * self.slopes.sqlite_recording + self.users * self.slopes.sqlite_user

    @property
    def postgres_catalog(self) -> float:
        return self.count * self.slopes.postgres_recording + self.users * self.slopes.postgres_user

    @property
    def key_tree(self) -> float:
        return self.users * self.slopes.postgres_user_keys

    @property
    def receipts_a_year(self) -> float:
        """
        Bytes by which the key database grows in a year, for good: the shredding log and the receipts.
        """
        return self.arrivals * 365 * _DAY_S * self.use.deleted * self.slopes.delete_keys

    @property
    def blobs(self) -> float:
        return self.count * self.use.size

    @property
    def peak_processors(self) -> float:
        """
        Processors that the gateways keep busy in the busiest hour.
        """
        slopes = self.slopes
        if not self.needs_postgres:
            return self._peak_processors(slopes.upload_ms)
        return self._peak_processors(
            slopes.postgres_gateway_ms - 1000 * 100_000 / _GIB * slopes.upload_s_per_gib
        )

    def _peak_processors(self, upload_ms: float) -> float:
        slopes, use = self.slopes, self.use
        for_one = (
            upload_ms / 1000
            + use.size / _GIB * slopes.upload_s_per_gib
            + use.played * use.size / _GIB * slopes.play_s_per_gib
            + use.deleted * slopes.delete_ms / 1000
        )
        pages = self.users * use.pages / _DAY_S * slopes.page_ms / 1000
        return self.peak_arrivals * for_one + use.peak * pages

    @property
    def gateways(self) -> int:
        """
        Processes, and so installations, for the gateway serves each installation by one.
        """
        return self._gateways(self.peak_processors)

    def _gateways(self, processors: float) -> int:
        machines = self.machines
        each = min(machines.of_process, machines.node_processors) * machines.busy
        return max(1, math.ceil(processors / each))

    @property
    def needs_postgres(self) -> bool:
        """
        Whether a SQLite catalog would be too large, with as many gateways as would do on SQLite.
        """
        gateways = self._gateways(self._peak_processors(self.slopes.upload_ms))
        return self.sqlite_catalog / gateways > self.machines.memory / 2

    @property
    def database_processors(self) -> float:
        """
        Processors that PostgreSQL keeps busy in the busiest hour, with nothing but uploads.
        """
        return self.peak_arrivals * self.slopes.postgres_server_ms / 1000

    @property
    def database_servers(self) -> int:
        if not self.needs_postgres:
            return 0
        machines = self.machines
        by_processors = self.database_processors / machines.busy / machines.database_processors
        by_disk = (self.postgres_catalog + self.key_tree + self.receipts_a_year) / machines.database_disk
        return math.ceil(max(1, by_processors, by_disk))

    @property
    def written_at_peak(self) -> float:
        """
        Bytes that all nodes write to their disks in a second of the busiest hour, the spool's copy included.
        """
        use, slopes = self.use, self.slopes
        return self.peak_arrivals * (use.size + slopes.upload_dirty + use.deleted * slopes.delete_dirty)

    @property
    def incoming_at_peak(self) -> float:
        return self.peak_arrivals * self.use.size

    @property
    def scrub_per_minute(self) -> float:
        """
        What ``scrub.per_minute`` must be for each copy to be looked at in a week.
        """
        return self.count / (7 * 24 * 60)

    @property
    def nodes_cost(self) -> float:
        return self.gateways * self.prices.node_month

    @property
    def database_cost(self) -> float:
        if not self.needs_postgres:
            return 0
        size = self.postgres_catalog + self.key_tree + self.receipts_a_year
        return self.database_servers * self.prices.database_month + size / _GB * self.prices.database_gb_month

    @property
    def bucket_cost(self) -> float:
        """
        Storage and requests: one put for each arrival, a get for each play, and one for each weekly look.
        """
        prices = self.prices
        arrivals = self.arrivals * _MONTH_S
        looks = self.count * 30.4 / 7
        return (
            self.blobs / _GB * prices.object_gb_month
            + arrivals / 1000 * prices.put_thousand
            + (arrivals * self.use.played + looks) / 1000 * prices.get_thousand
        )

    @property
    def egress_cost(self) -> float:
        return self.arrivals * _MONTH_S * self.use.played * self.use.size / _GB * self.prices.egress_gb

    @property
    def cost(self) -> float:
        return self.nodes_cost + self.database_cost + self.bucket_cost + self.egress_cost


def _amount(value: float) -> str:
    """
    Write a number with two digits that count.
    """
    if value == 0:
        return "0"
    if value >= 100:
        return f"{round(value, 1 - math.floor(math.log10(value))):,.0f}"
    return f"{float(f'{value:.2g}'):.10f}".rstrip("0").rstrip(".")


def _bytes(value: float) -> str:
    for name, size in (("PB", 10**15), ("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if value >= size:
            return f"{_amount(value / size)} {name}"
    return f"{_amount(value / 1000)} kB"


def _dollars(value: float) -> str:
    return f"${_amount(value)}"


_ROWS: Final[Mapping[str, Callable[[Growth], str]]] = {
    "users": lambda g: f"{g.users:,.0f}",
    "uploads, mean / busiest hour": lambda g: f"{_amount(g.arrivals)} / {_amount(g.peak_arrivals)} per s",
    "blobs": lambda g: _bytes(g.blobs),
    "catalog on SQLite": lambda g: _bytes(g.sqlite_catalog),
    "catalog on PostgreSQL": lambda g: _bytes(g.postgres_catalog),
    "key tree": lambda g: _bytes(g.key_tree),
    "shredding log and receipts, each year": lambda g: _bytes(g.receipts_a_year),
    "processors of the gateways, busiest hour": lambda g: _amount(g.peak_processors),
    "processors of PostgreSQL, busiest hour": lambda g: _amount(g.database_processors),
    "coming in, busiest hour": lambda g: f"{_bytes(g.incoming_at_peak)}/s",
    "written to disks of nodes, busiest hour": lambda g: f"{_bytes(g.written_at_peak)}/s",
    "`scrub.per_minute` for a look each week": lambda g: _amount(g.scrub_per_minute),
    "gateways, each an installation": lambda g: f"{g.gateways:,}",
    "database servers": lambda g: f"{g.database_servers:,}" if g.needs_postgres else "none: SQLite",
    "nodes, a month": lambda g: _dollars(g.nodes_cost),
    "PostgreSQL, a month": lambda g: _dollars(g.database_cost),
    "bucket, a month": lambda g: _dollars(g.bucket_cost),
    "played bytes going out, a month": lambda g: _dollars(g.egress_cost),
    "all, a month": lambda g: _dollars(g.cost),
    "of it for 1,000 recordings": lambda g: f"${1000 * g.cost / g.count:.3f}",
}


def table(slopes: Slopes = MEASURED) -> str:
    """
    Return the table for `COUNTS` recordings, in Markdown.
    """
    columns = [Growth(count=count, slopes=slopes) for count in COUNTS]
    heads = [f"10^{math.log10(count):.0f}" for count in COUNTS]
    lines = [f"| recordings | {' | '.join(heads)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(map(tell, columns))} |" for name, tell in _ROWS.items()]
    return "\n".join(lines)


def main() -> None:
    """
    Print the table.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--slopes", type=Path, help="gateway-bench-slopes.json, as `python -m bench slopes` wrote it"
    )
    asked = parser.parse_args()
    slopes = MEASURED if asked.slopes is None else Slopes.read(asked.slopes, MEASURED)
    if asked.slopes is not None:
        print(slopes)
    print(table(slopes))


if __name__ == "__main__":
    main()
