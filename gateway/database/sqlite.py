"""
SQLite without a change of thread for each statement.

What the gateway asks of its databases is mostly a row by its key, out of memory: a few microseconds, where handing the
statement to a thread and the answer back costs a hundred. So a statement runs where it is awaited, and goes to a thread
only where it may take long: a commit, which waits for the disk; a lock that another process has; a query that has used up
its share of instructions, which is interrupted and asked again there.

It speaks `aiosqlite`'s words, as far as SQLAlchemy's dialect of that name uses them.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")

_PATIENCE_MS: Final = 30_000
"""How long a thread waits for another process' lock."""
_INSTRUCTIONS: Final = 5_000
_SHARES: Final = 8
"""
A query may take so many times so many instructions of SQLite's machine on the event loop: about a millisecond.
"""


class InlineConnection:
    """
    One connection; await it to open it.
    """

    def __init__(self, path: str, lane: ThreadPoolExecutor) -> None:
        self._path = path
        self._lane = lane
        self._opened: sqlite3.Connection | None = None
        self._shares_left: int | None = None

    def __await__(self) -> Generator[Any, None, Self]:
        return self._open().__await__()

    @property
    def _connection(self) -> sqlite3.Connection | None:
        """
        What is opened; the dialect looks whether there is one.
        """
        return self._opened

    @property
    def isolation_level(self) -> None:
        """
        Transactions are ours to begin: the driver's own begin too late, and only for writes.
        """
        return

    def cursor(self) -> "InlineCursor":
        """
        Return a new cursor.
        """
        return InlineCursor(self, self.native.cursor())

    async def commit(self) -> None:
        """
        Commit, in a thread: it waits for the disk.
        """
        if self.native.in_transaction:
            await self.in_thread(lambda: self._patiently(self.native.commit))

    async def rollback(self) -> None:
        """
        Roll back.
        """
        if self.native.in_transaction:
            self.native.rollback()

    async def close(self) -> None:
        """
        Close, in a thread: the last connection to a file brings its log in.
        """
        opened, self._opened = self._opened, None
        if opened is not None:
            await self.in_thread(opened.close)

    def stop(self) -> None:
        """
        Close at once.
        """
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    async def create_function(self, *arguments: Any, **options: Any) -> None:
        """
        Make a Python function one of SQL's.
        """
        self.native.create_function(*arguments, **options)

    @property
    def native(self) -> sqlite3.Connection:
        """
        The standard library's connection.

        Raises:
            sqlite3.ProgrammingError: it is closed.
        """
        if self._opened is None:
            raise sqlite3.ProgrammingError("the connection is closed")
        return self._opened

    async def run(self, call: Callable[[], T], *, is_query: bool) -> T:
        """
        Run *call*, which executes one statement: here, or again in a thread where it would take long here.
        """
        self._shares_left = _SHARES if is_query else None
        try:
            return call()
        except sqlite3.OperationalError as error:
            is_locked = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            is_long = is_query and error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT
            if not is_locked and not is_long:
                raise
        finally:
            self._shares_left = None
        return await self.in_thread(lambda: self._patiently(call))

    async def in_thread(self, call: Callable[[], T]) -> T:
        """
        Run *call* in a thread, and wait for its end even when cancelled: nobody else may use the connection before.
        """
        future = asyncio.get_running_loop().run_in_executor(self._lane, call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    async def _open(self) -> Self:
        self._opened = await self.in_thread(self._connect)
        return self

    def _connect(self) -> sqlite3.Connection:
        # Whoever finds a lock here goes to a thread and waits there.
        opened = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        opened.set_progress_handler(self._takes_too_long, _INSTRUCTIONS)
        return opened

    def _takes_too_long(self) -> bool:
        if self._shares_left is None:
            return False
        self._shares_left -= 1
        return self._shares_left < 0

    def _patiently(self, call: Callable[[], T]) -> T:
        connection = self.native
        connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
        try:
            return call()
        finally:
            connection.execute("PRAGMA busy_timeout = 0")


class InlineCursor:
    """
    Runs statements, and holds all rows of the last one.
    """

    def __init__(self, connection: InlineConnection, cursor: sqlite3.Cursor) -> None:
        self._connection = connection
        self._cursor = cursor
        self._rows: list[Any] = []
        self.arraysize = 1

    async def __aenter__(self) -> Self:
        return self

    @property
    def description(self) -> Any:
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._cursor.lastrowid

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Self:
        """
        Run one statement, and take all its rows.
        """

        def call() -> list[Any]:
            return self._cursor.execute(statement, parameters).fetchall()

        is_query = statement.startswith(("SELECT", "WITH"))
        self._rows = await self._connection.run(call, is_query=is_query)
        return self

    async def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> Self:
        """
        Run one statement that changes something, once for each of *rows*.
        """
        values = list(rows)
        await self._connection.run(lambda: self._cursor.executemany(statement, values), is_query=False)
        return self

    async def fetchall(self) -> list[Any]:
        """
        Return the rows.
        """
        return self._rows

    async def close(self) -> None:
        """
        Let the rows go.
        """
        self._cursor.close()
