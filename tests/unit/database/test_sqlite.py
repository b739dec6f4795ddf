"""
A statement gives the same whether SQLAlchemy carries it out, as it does the first time, or the driver, as it does then.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Executable,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    event,
    func,
    select,
    true,
)
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from gateway.base.threads import Lane
from gateway.catalog.tables import metadata as catalog_tables
from gateway.database import Connection, Database, DatabaseUnavailable, db_now_ms, insert_or_ignore
from gateway.database.prepared import SqliteResult
from gateway.keyring.tables import metadata as key_tables

_TABLES = MetaData()
WORDS = Table(
    "words",
    _TABLES,
    Column("id", Integer, primary_key=True),
    Column("word", Text, nullable=False, unique=True),
    Column("kind", Text),
)

AMONG = select(WORDS).where(WORDS.c.id.in_(bindparam("ids", expanding=True))).order_by(WORDS.c.id)
ALL = select(WORDS.c.id).order_by(WORDS.c.id)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.connect(f"sqlite:///{tmp_path}/some.db")
    async with database.write() as connection:
        await connection.run_sync(_TABLES.create_all)
        await connection.execute(
            WORDS.insert(),
            [{"id": at, "word": f"word {at}", "kind": "odd" if at % 2 else None} for at in range(1, 8)],
        )
    yield database
    await database.close()


@asynccontextmanager
async def undone(database: Database) -> AsyncIterator[Connection]:
    """
    Enter a transaction of which nothing stays.
    """
    with suppress(InterruptedError):
        async with database.write() as connection:
            yield connection
            raise InterruptedError


async def outcomes(
    database: Database, statement: Executable, parameters: Any = None, *, times: int = 3
) -> list[tuple[list[tuple[Any, ...]], int]]:
    """
    Return what *statement* gives, and how many rows it says that it changed, each time on the same rows.
    """
    found: list[tuple[list[tuple[Any, ...]], int]] = []
    for attempt in range(times):
        async with undone(database) as connection:
            result = await connection.execute(statement, parameters)
            assert isinstance(result, SqliteResult) == (attempt > 0)
            found.append(([tuple(row) for row in result] if result.returns_rows else [], result.rowcount))
    return found


def _sample(column: Column[Any]) -> Any:
    if column.type.python_type is bytes:
        return b"\x00\xff" + column.name.encode()
    if column.type.python_type is bool:
        return True
    if column.type.python_type is int:
        return 1 if column.primary_key else 2**53 + 1
    return "Zoë 🎙"


@pytest.mark.parametrize(
    "table", [*catalog_tables.sorted_tables, *key_tables.sorted_tables], ids=lambda table: str(table.name)
)
async def test_every_column_of_ours_is_written_and_read_alike(tmp_path: Path, table: Table) -> None:
    full = {column.name: _sample(column) for column in table.columns}
    empty = {
        column.name: None if column.nullable else False if value is True else value
        for column, value in zip(table.columns, full.values(), strict=True)
    }
    insert, query = table.insert(), select(table)
    database = await Database.connect(f"sqlite:///{tmp_path}/some.db")
    try:
        async with database.write() as connection:
            await connection.run_sync(table.metadata.create_all)
            await connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        for values in (full, empty):
            seen = []
            for rows in (values, [values]):
                for _ in range(2):
                    async with undone(database) as connection:
                        await connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
                        await connection.execute(insert, rows)
                        for _ in range(2):
                            row = (await connection.execute(query)).one()
                            assert list(values) == list(row._fields)
                            seen.append({name: getattr(row, name) for name in values})
            assert [values] * 8 == seen
            assert {name: type(value) for name, value in values.items()} == {
                name: type(value) for name, value in seen[-1].items()
            }
    finally:
        await database.close()


@pytest.mark.parametrize("ids", [[1], [2, 3], [3, 4, 5], [1, 2, 9, 9, 9], (7,), [9]])
async def test_a_list_of_any_length_finds_what_is_in_it(database: Database, ids: list[int]) -> None:
    expected = [(at, f"word {at}", "odd" if at % 2 else None) for at in range(1, 8) if at in ids]
    assert [(expected, -1)] * 3 == await outcomes(database, AMONG, {"ids": ids})


@pytest.mark.parametrize("ids", [[], list(range(1, 2000))])
async def test_an_empty_list_and_a_very_long_one_are_left_to_sqlalchemy(
    database: Database, ids: list[int]
) -> None:
    statement = select(WORDS.c.id).where(WORDS.c.id.in_(bindparam("ids", expanding=True)))
    async with database.read() as connection:
        for _ in range(3):
            result = await connection.execute(statement, {"ids": ids})
            assert not isinstance(result, SqliteResult)
            assert len(ids[:7]) == len(result.all())


async def test_one_statement_takes_lists_of_many_lengths_in_turn(database: Database) -> None:
    async with database.read() as connection:
        for length in (3, 1, 0, 7, 2, 7, 4, 0, 1):
            found = (await connection.execute(AMONG, {"ids": list(range(1, length + 1))})).scalars().all()
            assert list(range(1, length + 1)) == found


CHANGES: dict[str, tuple[Executable, Any, tuple[list[tuple[Any, ...]], int]]] = {
    "update": (
        WORDS.update().where(WORDS.c.id > bindparam("least")).values(kind=None, word=WORDS.c.word + "!"),
        {"least": 4},
        ([], 3),
    ),
    "update of nothing": (
        WORDS.update().where(WORDS.c.id == bindparam("at")).values(kind="x"),
        {"at": 9},
        ([], 0),
    ),
    "update of many": (
        WORDS.update().where(WORDS.c.id == bindparam("at")).values(kind=bindparam("new")),
        [{"at": 1, "new": "x"}, {"new": None, "at": 2}, {"at": 9, "new": "y"}],
        ([], 2),
    ),
    "update returning": (
        WORDS.update()
        .where(WORDS.c.id.in_(bindparam("ids", expanding=True)))
        .values(kind="new", word=WORDS.c.word + bindparam("end"))
        .returning(WORDS.c.word, WORDS.c.kind),
        {"ids": [5, 6, 9], "end": "?"},
        ([("word 5?", "new"), ("word 6?", "new")], 2),
    ),
    "insert": (WORDS.insert(), {"word": "one more"}, ([], 1)),
    "insert of many": (WORDS.insert(), [{"word": "a"}, {"word": "b"}], ([], 2)),
    "insert or ignore": (
        insert_or_ignore(WORDS, "sqlite").values(word=bindparam("word"), kind="kept"),
        [{"word": "a"}, {"word": "word 1"}],
        ([], 1),
    ),
    "delete": (WORDS.delete().where(WORDS.c.kind == "odd"), None, ([], 4)),
    "delete of many": (WORDS.delete().where(WORDS.c.id == bindparam("at")), [{"at": 1}, {"at": 2}], ([], 2)),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_changes_say_what_they_changed(database: Database, name: str) -> None:
    statement, parameters, expected = CHANGES[name]
    assert [expected] * 3 == await outcomes(database, statement, parameters)


async def test_parameters_of_other_names_are_another_statement(database: Database) -> None:
    insert = WORDS.insert()
    query = select(WORDS.c.word, WORDS.c.kind).where(WORDS.c.id > 7).order_by(WORDS.c.id)
    async with database.write() as connection:
        for at, kind in ((8, None), (9, "nine"), (10, None), (11, "eleven")):
            given = {"id": at, "word": str(at)} if kind is None else {"kind": kind, "word": str(at), "id": at}
            await connection.execute(insert, given)
        found = [tuple(row) for row in await connection.execute(query)]
    assert [("8", None), ("9", "nine"), ("10", None), ("11", "eleven")] == found


async def test_results_are_read_in_all_the_ways_that_sqlalchemy_has(database: Database) -> None:
    counted = select(func.count()).select_from(WORDS)
    one = select(WORDS.c.word, WORDS.c.id.label("number")).where(WORDS.c.id == bindparam("at"))
    async with database.read() as connection:
        for _ in range(3):
            assert 7 == (await connection.execute(counted)).scalar_one()
            assert 7 == await connection.scalar(counted)
            assert 0 < (await connection.execute(select(db_now_ms()))).scalar_one()
            row = (await connection.execute(one, {"at": 3})).one()
            assert ("word 3", 3) == (row.word, row.number) == tuple(row)
            assert (await connection.execute(one, {"at": 9})).one_or_none() is None
            assert (await connection.execute(one, {"at": 9})).first() is None
            assert (await connection.execute(one, {"at": 9})).scalar_one_or_none() is None
            assert [1, 2, 3, 4, 5, 6, 7] == (await connection.execute(ALL)).scalars().all()
            assert [{"word": "word 3", "number": 3}] == [
                dict(row) for row in (await connection.execute(one, {"at": 3})).mappings()
            ]


async def test_what_the_driver_refuses_is_the_error_that_sqlalchemy_makes_of_it(database: Database) -> None:
    secret = "what only its user may read"
    insert = WORDS.insert()
    async with database.write() as connection:
        await connection.execute(insert, {"word": secret})
    for rows in ({"word": secret}, [{"word": "fine"}, {"word": secret}]):
        told: list[SQLAlchemyError] = []
        for _ in range(2):
            with pytest.raises(IntegrityError) as refused:
                async with database.write() as connection:
                    await connection.execute(insert, rows)
            told.append(refused.value)
        for error in told:
            assert isinstance(error, IntegrityError)
            assert isinstance(error.orig, sqlite3.IntegrityError)
            assert sqlite3.SQLITE_CONSTRAINT_UNIQUE == error.orig.sqlite_errorcode
            assert secret not in f"{error} {error!r} {error.params} {error.__cause__}"
    async with database.read() as connection:
        assert 8 == len((await connection.execute(ALL)).all())


async def test_a_table_that_is_gone_is_a_failing_database(database: Database) -> None:
    async with database.read() as connection:
        for _ in range(2):
            await connection.execute(ALL)
    async with database.write() as connection:
        await connection.exec_driver_sql("DROP TABLE words")
    with pytest.raises(DatabaseUnavailable, match="no such table: words") as failed:
        async with database.read() as connection:
            await connection.execute(ALL)
    assert isinstance(failed.value.__cause__, OperationalError)


async def test_whoever_listens_hears_every_statement_and_commit(database: Database) -> None:
    heard: list[Any] = []

    @event.listens_for(database.sync_engine, "before_cursor_execute")
    def hear(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        heard.append((statement.split(maxsplit=1)[0], parameters, many))

    @event.listens_for(database.sync_engine, "commit")
    def hear_commit(connection: Any) -> None:
        heard.append("commit")

    insert, query = (
        WORDS.insert(),
        select(WORDS.c.word).where(WORDS.c.id.in_(bindparam("ids", expanding=True))),
    )
    for round_ in range(2):
        heard.clear()
        async with database.write() as connection:
            await connection.execute(insert, [{"word": f"a{round_}"}, {"word": f"b{round_}"}])
            await connection.execute(query, {"ids": [1, 2]})
        assert [
            ("BEGIN", [], False),
            ("INSERT", [[f"a{round_}"], [f"b{round_}"]], True),
            ("SELECT", [1, 2], False),
            "commit",
        ] == [one if one == "commit" else (one[0], _as_lists(one[1]), one[2]) for one in heard]


def _as_lists(parameters: Any) -> Any:
    return [list(one) if isinstance(one, tuple | list) else one for one in parameters]


async def test_what_a_listener_raises_keeps_the_statement_from_being_done(database: Database) -> None:
    insert = WORDS.insert()
    async with database.write() as connection:
        for word in ("first", "second"):
            await connection.execute(insert, {"word": word})

    @event.listens_for(database.sync_engine, "before_cursor_execute")
    def refuse(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT"):
            raise InterruptedError

    async with database.write() as connection:
        with pytest.raises(InterruptedError):
            await connection.execute(insert, {"word": "third"})
    async with database.read() as connection:
        assert 9 == len((await connection.execute(ALL)).all())


async def test_a_transaction_is_wholly_there_or_not_at_all(database: Database) -> None:
    insert = WORDS.insert()
    for word, ends_well in (("a", True), ("b", False), ("c", True), ("d", False)):
        try:
            async with database.write() as connection:
                await connection.execute(insert, {"word": word})
                if not ends_well:
                    raise InterruptedError
        except InterruptedError:
            pass
    async with database.read() as connection:
        words = (await connection.execute(select(WORDS.c.word).where(WORDS.c.id > 7))).scalars().all()
    assert ["a", "c"] == words


async def test_a_reader_sees_one_snapshot(database: Database) -> None:
    insert = WORDS.insert()
    async with database.read() as reading:
        assert 7 == len((await reading.execute(ALL)).all())
        for word in ("a", "b"):
            async with database.write() as connection:
                await connection.execute(insert, {"word": word})
        assert 7 == len((await reading.execute(ALL)).all())
    async with database.read() as reading:
        assert 9 == len((await reading.execute(ALL)).all())


async def test_whoever_finds_the_file_locked_waits_and_holds_nobody_up(
    database: Database, tmp_path: Path
) -> None:
    insert = WORDS.insert()
    other = sqlite3.connect(tmp_path / "some.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def write() -> None:
        async with database.write() as connection:
            await connection.execute(insert, {"word": "at last"})

    writing = asyncio.create_task(write())
    async with database.read() as connection:
        for _ in range(100):
            assert 7 == len((await connection.execute(ALL)).all())
    assert not writing.done()
    other.execute("COMMIT")
    other.close()
    await writing
    async with database.read() as connection:
        assert 8 == len((await connection.execute(ALL)).all())


async def test_a_long_query_is_carried_out_in_a_thread(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    product: Any = WORDS
    for _ in range(6):
        product = product.join(WORDS.alias(), true())
    products = select(func.count()).select_from(product)
    handed_over = 0
    run = Lane.run

    def counting(lane: Lane, *arguments: Any) -> Any:
        nonlocal handed_over
        handed_over += 1
        return run(lane, *arguments)

    monkeypatch.setattr(Lane, "run", counting)
    async with database.read() as connection:
        for times in range(1, 4):
            assert 7**7 == (await connection.execute(products)).scalar_one()
            assert times == handed_over
        for _ in range(3):
            assert 7 == len((await connection.execute(ALL)).all())
        assert 3 == handed_over
