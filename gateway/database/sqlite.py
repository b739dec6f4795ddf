"""
SQLite without a change of thread for each statement.

What the gateway asks of its databases is mostly a row by its key, out of memory: some microseconds, where handing the
statement to a thread and the answer back costs a hundred. So a statement runs where it is awaited, and goes to a thread
only where it may take long: a commit, which waits for the disk; a lock that another process has; a query that has used up
its share of instructions, which is interrupted and asked again there.

And it runs on the driver itself: a statement that comes a second time is prepared (`prepared`), and only what comes once,
or is more than that knows, goes the whole way through SQLAlchemy.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, Self, TypeVar

import sqlalchemy
from sqlalchemy.engine import Connection, CursorResult, Dialect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from gateway.base.threads import Lane
from gateway.database.prepared import Parameters, SqliteResult, StatementCache

T = TypeVar("T")

Begin = Literal["BEGIN", "BEGIN IMMEDIATE"]

_PATIENCE_MS: Final = 30_000
"""How long a thread waits for another process' lock."""
_INSTRUCTIONS: Final = 5_000
_SHARES: Final = 8
"""A query may take so many times so many instructions of SQLite's machine on the event loop: about a millisecond."""

_KEPT_STATEMENTS: Final = 512
"""How many statements SQLite itself keeps ready for each connection."""

_PAGE_SIZE: Final = 1024
"""Of new files; see docs/decisions/0025. Every commit writes whole pages, and most of ours change little in many places."""
_LOG_SIZE: Final = 4 * 1024 * 1024
"""How long the write-ahead log becomes before it is brought into the file."""
_MOST_UNWRITTEN: Final = 16 * 1024 * 1024
"""How much a transaction may change before what it changed is written to the log, some of it more than once."""

_PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {_PATIENCE_MS}",
    # A file that has its pages already keeps them.
    f"PRAGMA page_size = {_PAGE_SIZE}",
    "PRAGMA journal_mode = WAL",
    # FULL: a commit that was answered survives a power cut, which an acknowledged upload offset promises.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    # From here on whoever finds a lock goes to a thread, and waits there.
    "PRAGMA busy_timeout = 0",
)


class _Cursor(sqlite3.Cursor):
    """
    Takes all rows at once: what takes long is the statement then, not whoever looks at its rows.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._rows: list[Any] = []
        self._next = 0

    def execute(self, statement: str, parameters: Any = (), /) -> Self:
        super().execute(statement, parameters)
        self._rows, self._next = super().fetchall(), 0
        return self

    def fetchone(self) -> Any:
        rows = self.fetchmany(1)
        return rows[0] if rows else None

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        rows = self._rows[self._next : self._next + (size or 1)]
        self._next += len(rows)
        return rows

    def fetchall(self) -> list[Any]:
        rows, self._rows, self._next = self._rows[self._next :], [], 0
        return rows


class _Native(sqlite3.Connection):
    """
    Interrupts a statement that has used up the shares of the machine's instructions that it was given.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.shares_left: int | None = None
        self.set_progress_handler(self._takes_too_long, _INSTRUCTIONS)

    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)

    def _takes_too_long(self) -> bool:
        if self.shares_left is None:
            return False
        self.shares_left -= 1
        return self.shares_left < 0


class SqliteConnection:
    """
    One connection, in the words of SQLAlchemy's asynchronous ones as far as we use them.
    """

    def __init__(self, connection: Connection, statements: StatementCache, lane: Lane) -> None:
        self._connection = connection
        self._engine = connection.engine
        self._statements = statements
        self._lane = lane
        native = connection.connection.driver_connection
        assert isinstance(native, _Native)
        self._native = native
        # The plain one: what it is asked for is fetched at once.
        self._cursor = sqlite3.Cursor(native)

    @property
    def dialect(self) -> Dialect:
        return self._connection.dialect

    async def execute(
        self, statement: Any, parameters: Parameters | Sequence[Parameters] | None = None
    ) -> CursorResult[Any] | SqliteResult:
        """
        Run a statement, on each of *parameters* if they are many.
        """
        prepared = self._statements.prepared(statement, parameters)
        if prepared is None:
            return await self._run(
                lambda: self._connection.execute(statement, parameters), is_query=statement.is_select
            )
        if isinstance(parameters, Sequence):
            wording = prepared.wording(parameters[0])
            sql, rows = wording.sql, [wording.values(row) for row in parameters]
            self._tell(sql, rows, is_many=True)
            await self._run(lambda: self._driven(self._cursor.executemany, sql, rows), is_query=False)
            return prepared.result([], self._cursor.rowcount)
        wording = prepared.wording(parameters or {})
        sql, values = wording.sql, wording.values(parameters or {})
        self._tell(sql, values)
        found = await self._run(
            lambda: self._driven(self._cursor.execute, sql, values), is_query=prepared.is_query
        )
        return prepared.result(found, self._cursor.rowcount)

    async def scalar(self, statement: Any, parameters: Any = None) -> Any:
        """
        Run a statement, and return the first column of its first row.
        """
        return (await self.execute(statement, parameters)).scalar()

    async def exec_driver_sql(self, statement: str, parameters: Any = None) -> CursorResult[Any]:
        """
        Run a statement in SQLite's own words.
        """
        return await self._run(
            lambda: self._connection.exec_driver_sql(statement, parameters), is_query=False
        )

    async def run_sync(self, call: Callable[..., T], *arguments: Any) -> T:
        """
        Run a function of the connection below in a thread.
        """
        return await self._in_thread(lambda: self._patiently(lambda: call(self._connection, *arguments)))

    async def begin(self, kind: Begin) -> None:
        """
        Begin a transaction; ``BEGIN IMMEDIATE`` waits for another process that writes.
        """
        self._tell(kind, ())
        await self._run(lambda: self._driven(self._cursor.execute, kind, ()), is_query=False)

    async def commit(self) -> None:
        """
        Commit, in a thread: it waits for the disk.
        """
        await self._in_thread(self._commit)

    def _commit(self) -> None:
        self._engine.dispatch.commit(self._connection)
        try:
            self._driven(self._cursor.execute, "COMMIT", ())
        except sqlalchemy.exc.OperationalError as error:
            # Whoever writes has had the lock since he began; only without a write-ahead log others can be in his way.
            if not _is_locked(error):
                raise
            self._patiently(lambda: self._driven(self._cursor.execute, "COMMIT", ()))

    def leave(self) -> None:
        """
        Roll back what was not committed.
        """
        if self._native.in_transaction:
            self._driven(self._cursor.execute, "ROLLBACK", ())
        if self._connection.in_transaction():
            # SQLAlchemy took part, and believes that its transaction goes on.
            self._connection.rollback()

    def close(self) -> None:
        """
        Close the connection.
        """
        self._cursor.close()
        self._connection.close()

    def _driven(self, execute: Callable[[str, Any], sqlite3.Cursor], sql: str, values: Any) -> list[Any]:
        """
        Let the driver execute something, and return all rows; what it raises comes out as SQLAlchemy says it.
        """
        try:
            return execute(sql, values).fetchall()
        except sqlite3.Error as error:
            # Without what was bound: nothing of it may come into an error.
            raise sqlalchemy.exc.DBAPIError.instance(sql, None, error, sqlite3.Error) from error

    def _tell(self, sql: str, values: Sequence[Any], *, is_many: bool = False) -> None:
        """
        Tell whoever listens to the engine, as SQLAlchemy does, that this is about to be executed.
        """
        for listener in self._engine.dispatch.before_cursor_execute:
            listener(self._connection, self._cursor, sql, values, None, is_many)

    async def _run(self, call: Callable[[], T], *, is_query: bool) -> T:
        """
        Run *call*, which is one statement: here, or again in a thread where it would take long here.
        """
        native = self._native
        native.shares_left = _SHARES if is_query else None
        try:
            return call()
        except sqlalchemy.exc.OperationalError as error:
            if not _is_locked(error) and not (is_query and _code(error) == sqlite3.SQLITE_INTERRUPT):
                raise
        finally:
            native.shares_left = None
        return await self._in_thread(lambda: self._patiently(call))

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await self._lane.run(call)

    def _patiently(self, call: Callable[[], T]) -> T:
        native = self._native
        native.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
        try:
            return call()
        finally:
            native.execute("PRAGMA busy_timeout = 0")


class SqliteEngine:
    """
    A file, and the few connections to it.
    """

    def __init__(self, url: sqlalchemy.URL, *, pool_size: int) -> None:
        self.sync_engine = sqlalchemy.create_engine(
            url.set(drivername="sqlite+pysqlite"),
            # Transactions are ours to begin: the driver's own begin too late, and only for writes.
            connect_args={
                "factory": _Native,
                "isolation_level": None,
                "check_same_thread": False,
                "cached_statements": _KEPT_STATEMENTS,
            },
            # The connections are kept here, each with what it needs to be used again at once.
            poolclass=sqlalchemy.pool.NullPool,
            # An error quotes the statement, never what was bound to it.
            hide_parameters=True,
        )
        sqlalchemy.event.listen(self.sync_engine, "connect", _prepare)
        self._statements = StatementCache(self.sync_engine.dialect)
        self._lane = Lane(pool_size, name="sqlite")
        self._turns = asyncio.Semaphore(pool_size)
        self._idle: list[SqliteConnection] = []
        self._watcher: Connection | None = None
        self._watching: sqlite3.Cursor | None = None
        self._is_disposed = False

    async def watch(self) -> None:
        """
        Open the connection that `version` asks; to be called once.
        """
        self._watcher = await self._lane.run(self.sync_engine.connect)
        native = self._watcher.connection.driver_connection
        assert isinstance(native, sqlite3.Connection)
        self._watching = sqlite3.Cursor(native)

    def version(self) -> int | None:
        """
        Return a number that is another one once any connection, of any process, has committed; None if it can't be told.

        It costs a few microseconds, less than beginning a transaction.
        """
        if self._watching is None:
            return None
        try:
            # This connection never writes, so that every commit is another's, which is what SQLite counts.
            [[version]] = self._watching.execute("PRAGMA data_version").fetchall()
        except (sqlite3.Error, ValueError):
            # Whoever asks the database itself then, patiently, is told what is wrong.
            return None
        assert isinstance(version, int)
        return version

    @asynccontextmanager
    async def begin(self, kind: Begin) -> AsyncIterator[SqliteConnection]:
        """
        Hold a connection and begin a transaction; what was not committed on leaving is rolled back.
        """
        async with self._turns:
            connection = self._idle.pop() if self._idle else await self._lane.run(self._connect)
            try:
                await connection.begin(kind)
                yield connection
            finally:
                self._take_back(connection)

    def _connect(self) -> SqliteConnection:
        return SqliteConnection(self.sync_engine.connect(), self._statements, self._lane)

    def _take_back(self, connection: SqliteConnection) -> None:
        try:
            connection.leave()
        except sqlalchemy.exc.SQLAlchemyError:
            # Whoever failed before tells why; nobody is to have this connection again.
            connection.close()
            return
        if self._is_disposed:
            connection.close()
        else:
            self._idle.append(connection)

    async def dispose(self) -> None:
        """
        Close every connection, in a thread: the last one to a file brings its log in.
        """
        self._is_disposed = True
        self._watching = None
        await self._lane.run(self._close_idle)
        self._lane.shutdown()

    def _close_idle(self) -> None:
        if self._watcher is not None:
            self._watcher.close()
        while self._idle:
            self._idle.pop().close()


def _code(error: sqlalchemy.exc.OperationalError) -> int:
    return getattr(error.orig, "sqlite_errorcode", 0)


def _is_locked(error: sqlalchemy.exc.OperationalError) -> bool:
    return _code(error) & 0xFF == sqlite3.SQLITE_BUSY


def _prepare(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.execute("PRAGMA page_size")
    row = cursor.fetchone()
    assert row is not None
    page_size = row[0]
    cursor.execute(f"PRAGMA wal_autocheckpoint = {_LOG_SIZE // page_size}")
    cursor.execute(f"PRAGMA cache_spill = {_MOST_UNWRITTEN // page_size}")
    cursor.close()
