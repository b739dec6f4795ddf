"""
What one more of everything costs: bytes in the databases for a user, a recording and a deleted one; processor time and bytes
written for an upload, a delete, a page of a list, a played mebibyte.

The bytes come of filled installations of several sizes, which tells a user's part from a recording's. The rest is counted by
the kernel of a daemon that does one kind of work at a time, until it is idle again. `bench.growth` goes on with these numbers.
"""

import asyncio
import json
import re
import shutil
import sqlite3
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import peers
from bench.counters import Counters
from bench.filling import fill
from bench.load import send
from bench.peers import Peer
from bench.report import Report
from tests.support.postgres import running_postgres

_MIB: Final = 1024 * 1024
_GIB: Final = 1024 * _MIB
_PATIENCE_S: Final = 120
_PART: Final = 10
"""With ``--quick`` there is so much less of everything."""


async def measure_slopes(*, quick: bool = False) -> int:
    """
    Print every slope.
    """
    part = _PART if quick else 1
    report = Report("slopes")
    await _bytes_on_sqlite(report, part)
    await _bytes_on_postgres(report, part)
    await asyncio.to_thread(_work, report, part)
    return report.finish()


@dataclass(frozen=True, slots=True)
class _Sizes:
    """
    Bytes of the two databases.
    """

    catalog: int
    keys: int

    def tell(self, report: Report, name: str, more: "_Sizes", what: str, count: int) -> None:
        """
        Report what *count* of *what* more have added.
        """
        report.add(f"{name}: catalog, {what}", (more.catalog - self.catalog) / count, "bytes")
        report.add(f"{name}: key database, {what}", (more.keys - self.keys) / count, "bytes")


async def _bytes_on_sqlite(report: Report, part: int) -> None:
    sizes = {}
    for users, each in _installations(part):
        folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
        try:
            data = folder / "data"
            await fill(data, users_count=users, recordings_of=lambda _, each=each: each)
            sizes[users, each] = _Sizes(*[_file_bytes(data / name) for name in ("catalog.db", "keys.db")])
        finally:
            shutil.rmtree(folder)
    _tell_bytes(report, "SQLite", sizes)


async def _bytes_on_postgres(report: Report, part: int) -> None:
    sizes = {}
    with running_postgres() as server:
        for users, each in _installations(part):
            url = server.create_database()
            folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
            try:
                await fill(
                    folder / "data",
                    users_count=users,
                    recordings_of=lambda _, each=each: each,
                    catalog_url=url,
                    keys_url=url,
                )
            finally:
                shutil.rmtree(folder)
            query = (
                "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n"
                " ON n.oid = c.relnamespace WHERE n.nspname = '{}' AND c.relkind = 'r'"
            )
            database = url.rpartition("/")[2]
            sizes[users, each] = _Sizes(
                *[int(server.psql(query.format(name), database=database)) for name in ("catalog", "keys")]
            )
            server.drop_database(url)
    _tell_bytes(report, "PostgreSQL", sizes)


def _installations(part: int) -> list[tuple[int, int]]:
    """
    Return how many users there are, and recordings of each.
    """
    return [(20_000 // part, 1), (60_000 // part, 1), (20_000 // part, 5)]


def _tell_bytes(report: Report, name: str, sizes: dict[tuple[int, int], _Sizes]) -> None:
    few, many, more_each = sizes.values()
    (users, each), (more_users, _), (_, more) = sizes
    few.tell(report, name, more_each, "a recording", users * (more - each))
    few.tell(report, name, many, "a user with one recording", (more_users - users) * each)


def _file_bytes(path: Path) -> int:
    """
    Return what a SQLite file needs, without what is free in it.
    """
    with closing(sqlite3.connect(path)) as connection:
        size, pages, free = [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_size", "page_count", "freelist_count")
        ]
    return int(size * (pages - free))


def _work(report: Report, part: int) -> None:
    """
    Have a daemon do one kind of work after the other.
    """
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    try:
        with peers.gateway(folder) as peer:
            _Work(report, peer, folder / "data").all(part)
    finally:
        shutil.rmtree(folder)


class _Work:
    def __init__(self, report: Report, peer: Peer, data_dir: Path) -> None:
        self._report = report
        self._peer = peer
        self._data_dir = data_dir
        self._head = peer.upload(0)
        found = re.search(r"Authorization: .*", self._head)
        assert found is not None
        self._auth = found[0]

    def all(self, part: int) -> None:
        """
        Do all of it, each kind a first time for nothing.
        """
        peer, small, large = self._peer, 100_000, 5_000_000
        send(peer.port, peer.upload(small), requests=200, connections=8, body_bytes=small)
        self._upload("an upload of 100 KB, 16 at once", small, 3_000 // part, 16)
        self._upload("an upload of 100 KB, alone", small, 300 // part, 1)
        self._upload("an upload of 5 MB, 8 at once", large, 200 // part, 8)
        self._download(part)
        self._lists(500 // part)
        self._deletes(500 // part)

    def _upload(self, name: str, size: int, count: int, connections: int) -> None:
        def work() -> None:
            send(
                self._peer.port,
                self._peer.upload(size),
                requests=count,
                connections=connections,
                body_bytes=size,
            )

        used = self._counted(name, count, work)
        self._report.add(f"{name}: CPU", used.cpu_seconds / (count * size / _GIB), "s/GiB")

    def _download(self, part: int) -> None:
        assert self._peer.stored is not None
        assert self._peer.download is not None
        size = 256 * _MIB // part
        path = self._peer.stored(size)
        self._wait_until_idle()
        whole = self._peer.download(path, "")
        send(self._peer.port, whole)
        used = self._used(lambda: send(self._peer.port, whole, requests=4))
        self._report.add("playing: CPU", used.cpu_seconds / (4 * size / _GIB), "s/GiB")
        ranges = self._peer.download(path, "Range: bytes={range}\n")
        count = 2_000 // part
        used = self._used(
            lambda: send(
                self._peer.port, ranges, requests=count, connections=8, file_bytes=size, range_bytes=64 * 1024
            )
        )
        self._report.add("a range of 64 KiB: CPU", 1000 * used.cpu_seconds / count, "ms")

    def _lists(self, count: int) -> None:
        head = f"GET /v1/recordings?limit=50 HTTP/1.1\nHost: 127.0.0.1\n{self._auth}\n\n"
        self._counted("a page of 50", count, lambda: send(self._peer.port, head, requests=count))

    def _deletes(self, count: int) -> None:
        recordings = self._recordings()
        before = self._database_bytes()

        def delete() -> None:
            for recording in [next(recordings) for _ in range(count)]:
                self._ask("DELETE", f"/v1/recordings/{recording}")

        self._counted("a delete, one after the other, blob and all", count, delete)
        before.tell(self._report, "SQLite", self._database_bytes(), "a delete", count)

    def _counted(self, name: str, count: int, work: Callable[[], object]) -> Counters:
        used = self._used(work)
        self._report.add(f"{name}: CPU", 1000 * used.cpu_seconds / count, "ms")
        self._report.add(f"{name}: pages of files made dirty", used.to_disk / count / 1024, "KiB")
        return used

    def _used(self, work: Callable[[], object]) -> Counters:
        """
        Return what *work* takes, and what comes of it in the background.
        """
        before = Counters.of(self._peer.pid)
        work()
        self._wait_until_idle()
        return Counters.of(self._peer.pid) - before

    def _wait_until_idle(self) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        with closing(sqlite3.connect(self._data_dir / "catalog.db")) as catalog:
            while catalog.execute("SELECT count(*) FROM jobs").fetchone()[0] or self._peer.is_busy():
                assert time.monotonic() < deadline

    def _database_bytes(self) -> _Sizes:
        for name in ("catalog.db", "keys.db"):
            with closing(sqlite3.connect(self._data_dir / name)) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        return _Sizes(*[_file_bytes(self._data_dir / name) for name in ("catalog.db", "keys.db")])

    def _recordings(self) -> Iterator[str]:
        """
        Yield the ids of all recordings.
        """
        cursor = ""
        while True:
            page = self._ask("GET", f"/v1/recordings?limit=500{cursor}")
            yield from [recording["id"] for recording in page["recordings"]]
            if page["next"] is None:
                return
            cursor = f"&cursor={page['next']}"

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        name, _, value = self._auth.partition(": ")
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._peer.port}{path}", method=method, headers={name: value}
        )
        with urllib.request.urlopen(request) as answer:
            document: dict[str, Any] = json.load(answer)
        return document
