"""
What an upload, its placing and a range cost, in counts that do not depend on the machine.

A count that grows is a decision, not an accident: whoever needs more changes the number here and says why.
"""

import os
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from gateway.base.threads import Lane
from gateway.crypto.chunked import CHUNK_SIZE, SEALED_CHUNK_SIZE
from gateway.spool import PieceWriter
from gateway.spool.files import SLAB
from tests.http.phone import Phone, speech
from tests.support.gateway import Served, serving
from tests.support.pieces import HEAD

SMALL = speech(100_000)
LARGE = speech(8_000_000)
LOGGED = 28 * 1024


class Meter:
    """
    Counts what the databases, the disk and the event loop are asked for.
    """

    def __init__(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        self._counts = Counter[str]()
        context = served.gateway.context
        for database in (context.catalog, context.keyring._database):
            event.listen(database.sync_engine, "before_cursor_execute", self._on_statement)
            event.listen(database.sync_engine, "commit", self._on_commit)
        self._patch(monkeypatch, os, "fsync", "syncs")
        self._patch(monkeypatch, os, "write", "writes")
        self._patch(monkeypatch, os, "write", "bytes", counts=lambda _, data: len(data))
        self._patch(monkeypatch, ThreadPoolExecutor, "submit", "hand-overs", counts=_is_ours)
        self._patch(monkeypatch, Lane, "run", "hand-overs")

    def _patch(
        self,
        monkeypatch: pytest.MonkeyPatch,
        owner: Any,
        name: str,
        what: str,
        counts: Callable[..., int] = lambda *_: True,
    ) -> None:
        original = getattr(owner, name)

        def counting(*arguments: Any) -> Any:
            self._counts[what] += counts(*arguments)
            return original(*arguments)

        monkeypatch.setattr(owner, name, counting)

    def _on_statement(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        self._counts["begins" if statement.startswith("BEGIN") else "statements"] += 1

    def _on_commit(self, connection: Any) -> None:
        self._counts["commits"] += 1

    @contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """
        Count from here to the end of the context; what is counted is complete afterwards.
        """
        counted = Counter[str]()
        self._counts.clear()
        yield counted
        counted.update(self._counts)


def sealed_size(size: int) -> int:
    """
    Return how many bytes a message of *size* has, if its last chunk is not whole.
    """
    return HEAD + size + (SEALED_CHUNK_SIZE - CHUNK_SIZE) * (size // CHUNK_SIZE + 1)


def _is_ours(executor: Any, *_: Any) -> bool:
    # The client of this test has threads as well.
    return str(executor._thread_name_prefix).startswith(("local", "sender"))


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path / "data", with_workers=False) as gateway:
        yield gateway


@pytest.fixture
async def phone(served: Served) -> Phone:
    phone = await Phone.of_new_user(served)
    # Once and for all: the first block of indexes, connections, folders.
    recording = await phone.record(SMALL)
    await served.placed()
    await phone.audio(recording)
    return phone


async def cost(meter: Meter, work: Callable[[], Awaitable[Any]]) -> dict[str, int]:
    with meter.counting() as counted:
        await work()
    return dict(counted)


async def test_a_small_upload(served: Served, phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Meter(served, monkeypatch)
    assert {
        # The one that records everything. Whose token it is, and which epoch the keys are of, was asked before, and nobody
        # has committed since.
        "begins": 1,
        "statements": 7,
        "commits": 1,
        # The file, and its name. SQLite's own sync of the commit comes on top.
        "syncs": 2,
        # The head with the whole chunks, and the last chunk.
        "writes": 2,
        "bytes": sealed_size(len(SMALL)),
        # The file as a whole, its name, and the commit; the last two are shared by all that end at the same time.
        "hand-overs": 3,
    } == await cost(meter, lambda: phone.record(SMALL))
    # Now somebody has: the token is asked for anew.
    counts = await cost(meter, lambda: phone.record(SMALL))
    assert (2, 8) == (counts["begins"], counts["statements"])


async def test_bytes_that_an_upload_writes_into_the_log(served: Served, phone: Phone) -> None:
    catalog = served.gateway.settings.data_dir / "catalog.db"
    with closing(sqlite3.connect(catalog)) as own:
        own.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for _ in range(8):
        await phone.record(SMALL)
    written = catalog.with_name("catalog.db-wal").stat().st_size / 8
    # Each page that has something of it: rows and indexes of five tables, of 1 KiB each.
    assert written <= LOGGED, written


async def test_a_megabyte_more_of_an_upload_costs_a_few_hand_overs_and_nothing_else(
    served: Served, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = Meter(served, monkeypatch)
    counts = await cost(meter, lambda: phone.create(len(LARGE), None, LARGE))
    slabs = len(LARGE) // SLAB
    assert counts.pop("hand-overs") <= slabs + 2
    assert counts.pop("writes") <= slabs + 3
    assert counts.pop("bytes") == sealed_size(len(LARGE))
    assert {"begins": 1, "statements": 7, "commits": 1, "syncs": 2} == counts


async def test_placing_at_home(served: Served, phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    await phone.record(SMALL)
    meter = Meter(served, monkeypatch)
    assert {
        # The job is claimed, the recording looked at, the blob noted, the job done; twice there is nothing more to do.
        "begins": 6,
        "statements": 11,
        "commits": 3,
        # The file and two new folders for it, its name there, its name in the spool.
        "syncs": 5,
        # Each commit; link, look, remove. The file itself is not read.
        "hand-overs": 6,
    } == await cost(meter, served.placed)


async def test_a_range(served: Served, phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = (await phone.create(len(LARGE), None, LARGE)).upload_id
    await served.placed()
    await phone.audio(recording, {"Range": "bytes=0-1"})
    meter = Meter(served, monkeypatch)
    counts = await cost(meter, lambda: phone.audio(recording, {"Range": "bytes=4000000-4065535"}))
    # Some file systems don't tell what is in memory, and are asked in a thread.
    assert counts.pop("hand-overs", 0) <= 1
    assert {} == counts

    await phone.record(SMALL)
    counts = await cost(meter, lambda: phone.audio(recording, {"Range": "bytes=5000000-5065535"}))
    assert counts.pop("hand-overs", 0) <= 1
    # Somebody has committed to the catalog since: the token, the recording, where it lies, its pieces.
    assert {"begins": 2, "statements": 4} == counts


async def test_a_long_answer_costs_a_few_hand_overs(
    served: Served, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = (await phone.create(len(LARGE), None, LARGE)).upload_id
    await served.placed()
    await phone.audio(recording)
    meter = Meter(served, monkeypatch)
    counts = await cost(meter, lambda: phone.audio(recording))
    # One turn for what the listener takes at once, and one who helps for each slab: he is in this process, and slow.
    assert 2 <= counts.pop("hand-overs") <= 2 * len(LARGE) // (4 * CHUNK_SIZE)
    assert {} == counts


async def test_a_megabyte_more_costs_no_memory(
    served: Served, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What an upload holds at its worst does not grow with its length.
    """
    held = []
    for size in (2_000_000, 8_000_000):
        monkeypatch.undo()
        most = 0
        take = PieceWriter.take

        async def watching(writer: PieceWriter, source: Any, *, take: Any = take, **options: Any) -> bool:
            nonlocal most
            is_over: bool = await take(writer, source, **options)
            most = max(most, writer._gathered_size + len(writer._rest))
            return is_over

        monkeypatch.setattr(PieceWriter, "take", watching)
        await phone.create(size, None, LARGE[:size])
        held.append(most)
    assert 0 < max(held) < CHUNK_SIZE
