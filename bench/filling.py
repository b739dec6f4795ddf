"""
An installation with very many users and recordings, made in minutes instead of days.

The rows go through the real tables in bulk; the key tree is a whole one, with fresh keys for every user, as if each had
been added by himself. What is sealed of recordings is sealed only where somebody asked for it to open.
"""

import itertools
import os
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import asyncpg
from sqlalchemy import Table, delete, update
from sqlalchemy.engine import make_url

from gateway.base.clock import SystemClock
from gateway.base.data_directory import DataDirectory
from gateway.base.ids import KeySlot, LeafIndex, RecordingId
from gateway.base.secret import Secret
from gateway.catalog.tables import placements, recordings, uploads, users
from gateway.console import open_databases
from gateway.crypto.ggm import GgmState
from gateway.database import Database
from gateway.keyring import FileRootStore, Keyring
from gateway.keyring.pages import (
    STATE_DEPTH,
    TOP,
    Page,
    Place,
    SealedNode,
    fresh_key,
    open_page,
    seal_node,
    state_place,
)
from gateway.keyring.rows import Head, Rows, read_head, read_pages
from gateway.keyring.tables import index_marks, tree_head, tree_pages, tree_states
from gateway.services.details import Details, seal_details
from gateway.settings import Settings

_BATCH: Final = 20_000
_CACHE_KIB: Final = 2_000_000
_INDEX_BLOCK: Final = 1024
_NOW_MS: Final = 1_750_000_000_000
_SECOND_MS: Final = 1000
PERSONAL_SIZE: Final = 100
DETAILS_SIZE: Final = 260
"""What is sealed about a user, and about a recording with names, numbers and times."""
SIZE: Final = 1_200_000
"""Of a recording: five minutes of speech."""

_DETAILS: Final = Details(
    filename="call.opus", filetype="audio/ogg", direction="in", party_number="+4930123456"
)

Row = tuple[Any, ...]
_Recording = tuple[int, int, bytes, bytes | None]
"""User's number, leaf, id, sealed details."""


@dataclass(slots=True)
class Filled:
    """
    What was put in.

    Attributes:
        first_slot: of the users that were added; one has the slot after the other's.
    """

    settings: Settings
    first_slot: KeySlot
    user_ids: list[str] = field(default_factory=list)

    def slot_of(self, number: int) -> KeySlot:
        """
        Return the slot of the user of that number, from 0.
        """
        return KeySlot(self.first_slot + number)

    @staticmethod
    def stored_at(number: int) -> int:
        """
        Return when the recording of that number arrived, from 0: of one user's those that open are counted, else of all's.
        """
        return _NOW_MS + number * _SECOND_MS


async def fill(
    data_dir: Path,
    *,
    users_count: int,
    recordings_of: Callable[[int], int] = lambda number: 0,
    overdue_of: Callable[[int], int] = lambda number: 0,
    opens: bool = False,
    catalog_url: str = "",
    keys_url: str = "",
) -> Filled:
    """
    Make an installation of *users_count* users in *data_dir*, each with as many recordings as *recordings_of* says.

    Args:
        overdue_of: how many unfinished uploads each has besides, begun long ago, with nothing in the spool.
        opens: whether the recordings' details can be opened; that takes some seconds for each 100,000.
    """
    data = {"dir": str(data_dir), "catalog_url": catalog_url, "keys_url": keys_url}
    settings = Settings.load(overrides={"data": data}, environment={})
    directory = DataDirectory(settings.data_dir)
    directory.prepare()
    roots = FileRootStore(directory.root)
    async with AsyncExitStack() as stack:
        _, keys = await open_databases(settings, stack)
        keyring = await Keyring.open(keys, roots, SystemClock())
        await keyring.close()
        async with keys.read() as connection:
            head = await read_head(connection)
            rows = await read_pages(connection, [0])
        assert head is not None
        root = await roots.read(head.epoch)
        async with keys.write() as connection:
            await connection.execute(delete(tree_pages))
            await connection.execute(update(tree_head).values(next_slot=head.next_slot + users_count))
    filled = Filled(
        settings, head.next_slot, [str(uuid.UUID(bytes=os.urandom(16))) for _ in range(users_count)]
    )
    counts = [recordings_of(number) for number in range(users_count)]
    overdue = [overdue_of(number) for number in range(users_count)]
    async with _Inserts(settings.keys_url, settings.data.keys_schema) as inserts:
        tree = _Tree(head, rows, KeySlot(head.next_slot + users_count))
        states = (_node_row(node)[1:] for node in tree.states(root))
        await inserts.add(tree_states, ("slot", "epoch", "sealed"), states)
        pages = [_node_row(node) for node in tree.pages]
        await inserts.add(tree_pages, ("depth", "first_slot", "epoch", "sealed"), pages)
        marks = (
            (filled.slot_of(number), _mark(counts[number] + overdue[number])) for number in range(users_count)
        )
        await inserts.add(index_marks, ("slot", "next_index"), marks)
    async with _Inserts(settings.catalog_url, settings.data.catalog_schema) as inserts:
        columns = ("id", "key_slot", "state", "created_at", "personal")
        await inserts.add(
            users,
            columns,
            (
                (user_id, filled.slot_of(number), "active", _NOW_MS, os.urandom(PERSONAL_SIZE))
                for number, user_id in enumerate(filled.user_ids)
            ),
        )
        await inserts.add(uploads, _UPLOAD_COLUMNS, _overdue_rows(filled, counts, overdue))
    if opens:
        for number, count in enumerate(counts):
            async for rows in _readable(filled, number, count):
                await _add_recordings(filled, rows)
    else:
        await _add_recordings(
            filled,
            (
                (number, index, os.urandom(16), None)
                for number, count in enumerate(counts)
                for index in range(count)
            ),
        )
    return filled


_UPLOAD_COLUMNS: Final = (
    "id",
    "user_id",
    "key_slot",
    "leaf_index",
    "state",
    "length",
    "received",
    "details",
    "created_at",
    "expires_at",
    "fence",
    "unsettled_is_atomic",
)


def _overdue_rows(filled: Filled, recordings_of: Sequence[int], overdue: Sequence[int]) -> Iterator[Row]:
    """
    Yield unfinished uploads, each under a leaf after those of its user's recordings.
    """
    for number, count in enumerate(overdue):
        user_id, slot = filled.user_ids[number], filled.slot_of(number)
        for index in range(recordings_of[number], recordings_of[number] + count):
            upload_id = str(uuid.UUID(bytes=os.urandom(16)))
            begun = (upload_id, user_id, slot, index, "open", SIZE, 0, os.urandom(DETAILS_SIZE))
            yield (*begun, _NOW_MS, _NOW_MS + _SECOND_MS, 0, False)


async def _readable(filled: Filled, number: int, count: int) -> AsyncIterator[list[_Recording]]:
    """
    Yield recordings of one user whose details open, in batches.
    """
    slot, settings = filled.slot_of(number), filled.settings
    # The catalog stays closed meanwhile: who fills it wants it for himself.
    keys = await Database.connect(settings.keys_url, schema=settings.data.keys_schema)
    try:
        keyring = await Keyring.attach(
            keys, FileRootStore(DataDirectory(settings.data_dir).root), SystemClock()
        )
        for first in range(0, count, _BATCH):
            indexes = [LeafIndex(index) for index in range(first, min(first + _BATCH, count))]
            rows: list[_Recording] = []
            for index, leaf in (await keyring.leaves(slot, indexes)).items():
                recording_id = RecordingId(uuid.UUID(bytes=os.urandom(16)))
                details = seal_details(_DETAILS, leaf, recording_id=recording_id, slot=slot, index=index)
                rows.append((number, index, recording_id.bytes, details))
            yield rows
        await keyring.close()
    finally:
        await keys.close()


async def _add_recordings(filled: Filled, wanted: Iterable[_Recording]) -> None:
    """
    Add live recordings, each with its copy at home.
    """

    def rows() -> Iterator[tuple[str, Row]]:
        for serial, (number, index, id_, details) in enumerate(wanted):
            recording_id = str(uuid.UUID(bytes=id_))
            stored_at = filled.stored_at(index if details else serial)
            yield (
                recording_id,
                (
                    recording_id,
                    filled.user_ids[number],
                    filled.slot_of(number),
                    index,
                    "live",
                    SIZE,
                    stored_at,
                    details or os.urandom(DETAILS_SIZE),
                    0,
                    os.urandom(32),
                ),
            )

    async with _Inserts(filled.settings.catalog_url, filled.settings.data.catalog_schema) as inserts:
        stream = rows()
        while batch := list(itertools.islice(stream, _BATCH)):
            await inserts.add(
                recordings,
                (
                    "id",
                    "user_id",
                    "key_slot",
                    "leaf_index",
                    "state",
                    "size",
                    "stored_at",
                    "details",
                    "details_revision",
                    "commitment",
                ),
                [row for _, row in batch],
            )
            placed = []
            for recording_id, row in batch:
                stored_at = row[6]
                copy = (os.urandom(32).hex(), recording_id, "home", "placed", SIZE + 1000)
                placed.append((*copy, stored_at, stored_at, stored_at))
            await inserts.add(
                placements,
                (
                    "blob_key",
                    "recording_id",
                    "backend",
                    "state",
                    "sealed_size",
                    "created_at",
                    "placed_at",
                    "checked_at",
                ),
                placed,
            )


def _mark(count: int) -> int:
    return -(-count // _INDEX_BLOCK) * _INDEX_BLOCK


class _Tree:
    """
    The nodes of a key tree in which every slot below *end* is taken, around those that lead to the service's own.
    """

    def __init__(self, head: Head, rows: Rows, end: KeySlot) -> None:
        self._head = head
        self._rows = rows
        self._end = end
        self.pages: list[SealedNode] = []
        """Complete once `states` has come to its end."""

    def states(self, root: Secret) -> Iterator[SealedNode]:
        """
        Yield the state of each new slot.
        """
        yield from self._below(TOP, root)

    def _below(self, place: Place, key: Secret) -> Iterator[SealedNode]:
        entries: dict[int, Secret] = {}
        if place in self._rows:
            page = open_page(self._rows[place], key, tree_id=self._head.tree_id, place=place)
            entries = dict(page.entries())
        width = 1 << 8 * (STATE_DEPTH - 1 - place.depth)
        for number in range(256):
            first = place.first_slot + number * width
            if first >= self._end:
                break
            if place.depth == STATE_DEPTH - 1 and first < self._head.next_slot:
                continue
            child = entries.setdefault(number, fresh_key())
            if place.depth == STATE_DEPTH - 1:
                yield self._sealed(GgmState.fresh(), child, state_place(first))
            else:
                yield from self._below(Place(place.depth + 1, first), child)
        self.pages.append(self._sealed(Page.of(entries.items()), key, place))

    def _sealed(self, node: Page | GgmState, key: Secret, place: Place) -> SealedNode:
        return seal_node(node, key, tree_id=self._head.tree_id, place=place, epoch=self._head.epoch)


def _node_row(node: SealedNode) -> Row:
    return (node.place.depth, node.place.first_slot, node.epoch, node.sealed)


class _Inserts:
    """
    Bulk inserts into one database: SQLite without its log and with much memory, PostgreSQL by COPY.
    """

    def __init__(self, url: str, schema: str) -> None:
        self._url = make_url(url)
        self._schema = schema
        self._sqlite: sqlite3.Connection | None = None
        self._postgres: Any = None

    async def __aenter__(self) -> Self:
        if self._url.drivername == "sqlite":
            assert self._url.database is not None
            self._sqlite = sqlite3.connect(self._url.database, isolation_level=None)
            for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}"):
                self._sqlite.execute(f"PRAGMA {pragma}")
            self._sqlite.execute("BEGIN")
        else:
            self._postgres = await asyncpg.connect(self._url.render_as_string(hide_password=False))
        return self

    async def add(self, table: Table, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """
        Insert *rows* into *table*.
        """
        unknown = set(columns) - set(table.c.keys())
        assert not unknown, unknown
        if self._sqlite is not None:
            marks = ", ".join("?" * len(columns))
            self._sqlite.executemany(
                f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})", rows
            )
        else:
            await self._postgres.copy_records_to_table(
                table.name, schema_name=self._schema, columns=columns, records=rows
            )

    async def __aexit__(self, *raised: object) -> None:
        if self._sqlite is not None:
            self._sqlite.execute("COMMIT")
            self._sqlite.execute("PRAGMA journal_mode = WAL")
            self._sqlite.close()
        else:
            await self._postgres.execute("ANALYZE")
            await self._postgres.close()
