"""
SQLite without a change of thread for each statement.

What the gateway asks of its databases is mostly a row by its key, out of memory: some microseconds, where handing the
statement to a thread and the answer back costs a hundred. So a statement runs where it is awaited, and goes to a thread
only where it may take long: a commit, which waits for the disk; a lock that another process has; a query that has used up
its share of instructions, which is interrupted and asked again there.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final, Self, TypeVar

import sqlalchemy
from sqlalchemy.engine import Connection, CursorResult, Dialect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from gateway.base.threads import run_to_end

T = TypeVar("T")

_PATIENCE_MS: Final = 30_000
"""How long a thread waits for another process' lock."""
_INSTRUCTIONS: Final = 5_000
_SHARES: Final = 8
"""A query may take so many times so many instructions of SQLite's machine on the event loop: about a millisecond."""

_PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {_PATIENCE_MS}",
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
    One connection within a transaction, in the words of SQLAlchemy's asynchronous ones as far as we use them.
    """

    def __init__(self, connection: Connection, lane: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._lane = lane

    @property
    def dialect(self) -> Dialect:
        return self._connection.dialect

    async def execute(self, statement: Any, parameters: Any = None) -> CursorResult[Any]:
        """
        Run a statement.
        """
        return await self._run(
            lambda: self._connection.execute(statement, parameters), is_query=statement.is_select
        )

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

    async def commit(self) -> None:
        """
        Commit, in a thread: it waits for the disk.
        """
        await self._in_thread(lambda: self._patiently(self._connection.commit))

    async def rollback(self) -> None:
        """
        Roll back.
        """
        self._connection.rollback()

    async def _run(self, call: Callable[[], T], *, is_query: bool) -> T:
        """
        Run *call*, which is one statement: here, or again in a thread where it would take long here.
        """
        native = self._native
        native.shares_left = _SHARES if is_query else None
        try:
            return call()
        except sqlalchemy.exc.OperationalError as error:
            code = getattr(error.orig, "sqlite_errorcode", 0)
            is_locked = code & 0xFF == sqlite3.SQLITE_BUSY
            if not is_locked and not (is_query and code == sqlite3.SQLITE_INTERRUPT):
                raise
        finally:
            native.shares_left = None
        return await self._in_thread(lambda: self._patiently(call))

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await run_to_end(self._lane, call)

    def _patiently(self, call: Callable[[], T]) -> T:
        native = self._native
        native.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
        try:
            return call()
        finally:
            native.execute("PRAGMA busy_timeout = 0")

    @property
    def _native(self) -> _Native:
        native = self._connection.connection.driver_connection
        assert isinstance(native, _Native)
        return native


class SqliteEngine:
    """
    A file, and the few connections to it; it answers as SQLAlchemy's `AsyncEngine` does, as far as it is asked.
    """

    def __init__(self, url: sqlalchemy.URL, *, pool_size: int) -> None:
        self.sync_engine = sqlalchemy.create_engine(
            url.set(drivername="sqlite+pysqlite"),
            pool_size=pool_size,
            max_overflow=0,
            # Transactions are ours to begin: the driver's own begin too late, and only for writes.
            connect_args={"factory": _Native, "isolation_level": None, "check_same_thread": False},
            poolclass=sqlalchemy.pool.QueuePool,
            # An error quotes the statement, never what was bound to it.
            hide_parameters=True,
        )
        sqlalchemy.event.listen(self.sync_engine, "connect", _prepare)
        self._lane = ThreadPoolExecutor(pool_size, thread_name_prefix="sqlite")
        # The pool's own way of waiting for a connection would hold up the event loop.
        self._turns = asyncio.Semaphore(pool_size)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[SqliteConnection]:
        """
        Hold a connection; what was not committed on leaving is rolled back.
        """
        async with self._turns:
            has_one = self.sync_engine.pool.checkedin()  # type: ignore[attr-defined]
            connection = (
                self.sync_engine.connect()
                if has_one
                else await run_to_end(self._lane, self.sync_engine.connect)
            )
            with connection:
                yield SqliteConnection(connection, self._lane)

    async def dispose(self) -> None:
        """
        Close every connection, in a thread: the last one to a file brings its log in.
        """
        await run_to_end(self._lane, self.sync_engine.dispose)
        self._lane.shutdown()


def _prepare(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()
