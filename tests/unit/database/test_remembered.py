"""
What was read of a database is remembered until anybody commits, and not a moment longer.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.database import Database, Remembered

ADD = text("INSERT INTO words VALUES (:word)")


class Counted:
    """
    How many words there are, and how often that was read.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.reads = 0
        self.meanwhile: list[Callable[[], Awaitable[None]]] = []

    async def count(self, at_least: int) -> int:
        self.reads += 1
        async with self.database.read() as connection:
            found: int = await connection.scalar(text("SELECT count(*) FROM words"))
        while self.meanwhile:
            await self.meanwhile.pop()()
        return max(found, at_least)

    async def add(self, word: str = "one") -> None:
        async with self.database.write() as connection:
            await connection.execute(ADD, {"word": word})


@pytest.fixture
async def counted(empty_database_url: str) -> AsyncIterator[Counted]:
    database = await Database.connect(empty_database_url, schema="words")
    async with database.write() as connection:
        await connection.execute(text("CREATE TABLE words (word TEXT)"))
    yield Counted(database)
    await database.close()


def remembered(counted: Counted, most: int = 10) -> Remembered[int, int]:
    return Remembered(counted.database, counted.count, most=most)


def is_sqlite(counted: Counted) -> bool:
    return counted.database.dialect == "sqlite"


async def test_what_nobody_changed_is_read_once_where_that_can_be_told(counted: Counted) -> None:
    words = remembered(counted)
    assert [0, 0, 0, 7, 7] == [await words.get(least) for least in (0, 0, 0, 7, 7)]
    assert (2 if is_sqlite(counted) else 5) == counted.reads
    assert (counted.database.version() is not None) == is_sqlite(counted)


async def test_a_commit_is_seen_by_the_next_question(counted: Counted) -> None:
    words = remembered(counted)
    for number in range(5):
        assert number == await words.get(0)
        await counted.add()


async def test_what_is_rolled_back_changes_nothing(counted: Counted) -> None:
    words = remembered(counted)
    await words.get(0)
    with suppress(InterruptedError):
        async with counted.database.write() as connection:
            await connection.execute(ADD, {"word": "one"})
            assert 0 == await words.get(0)
            raise InterruptedError
    assert 0 == await words.get(0)


async def test_another_process_commit_is_seen(counted: Counted) -> None:
    """
    To SQLite a connection that it does not know of is what another process' is.
    """
    if not is_sqlite(counted):
        return
    words = remembered(counted)
    file = Path(str(counted.database.sync_engine.url.database))
    other = sqlite3.connect(file)
    for number in range(3):
        assert [number] * 2 == [await words.get(0), await words.get(0)]
        other.execute("INSERT INTO words VALUES ('two')")
        other.commit()
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert 3 == await words.get(0)
    other.close()


async def test_what_was_committed_while_it_was_read_is_not_missed_later(counted: Counted) -> None:
    words = remembered(counted)
    counted.meanwhile = [counted.add]
    assert 0 == await words.get(0)
    assert 1 == await words.get(0)


async def test_an_answer_of_before_is_not_kept_as_one_of_after(counted: Counted) -> None:
    words = remembered(counted)
    read, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        read.set()
        await go_on.wait()

    counted.meanwhile = [hold]
    early = asyncio.create_task(words.get(0))
    await read.wait()
    await counted.add()
    assert 1 == await words.get(0)
    go_on.set()
    assert 0 == await early
    assert 1 == await words.get(0)


async def test_so_many_are_remembered_and_no_more(counted: Counted) -> None:
    if not is_sqlite(counted):
        return
    words = remembered(counted, most=2)
    for least in (1, 2, 3):
        await words.get(least)
    assert 3 == counted.reads
    await words.get(2)
    await words.get(3)
    assert 3 == counted.reads
    await words.get(1)
    assert 4 == counted.reads


async def test_a_failed_read_is_not_remembered(counted: Counted) -> None:
    words = remembered(counted)

    async def fail() -> None:
        raise InterruptedError

    counted.meanwhile = [fail]
    with pytest.raises(InterruptedError):
        await words.get(0)
    assert 0 == await words.get(0)


async def test_a_closed_database_has_no_version(tmp_path: Path) -> None:
    database = await Database.connect(f"sqlite:///{tmp_path}/some.db")
    assert database.version() is not None
    await database.close()
    assert database.version() is None
