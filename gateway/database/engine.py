"""
Connections and transactions.

Two kinds of transaction, named for what one may do in them:
`read` sees one snapshot, `write` is serialised against every other writer of the same SQLite file.
No backend and no network is called inside either.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Literal, Self, cast

import sqlalchemy
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.base.errors import ConfigurationError, GatewayError
from gateway.database.clauses import db_now_ms
from gateway.database.sqlite import SqliteConnection, SqliteEngine

Dialect = Literal["sqlite", "postgresql"]

_DIALECTS: dict[str, Dialect] = {"sqlite": "sqlite", "postgresql": "postgresql"}


class DatabaseUnavailable(GatewayError):
    """
    The database cannot be reached or opened, or its disk fails; the same may succeed later.
    """

    code = "database-unavailable"


class Database:
    """
    One database: a SQLite file, or a schema of a PostgreSQL database.
    """

    def __init__(self, engine: AsyncEngine | SqliteEngine, dialect: Dialect, *, label: str) -> None:
        self.dialect: Dialect = dialect
        self._engine = engine
        self._label = label
        self._writer = asyncio.Lock()

    @classmethod
    async def connect(cls, url: str, *, schema: str | None = None, pool_size: int = 4) -> Self:
        """
        Open the database at *url* and check that it answers.

        Args:
            url: ``sqlite:////absolute/path.db`` or ``postgresql://user:password@host:port/name``.
            schema: on PostgreSQL, the schema that holds the tables; made if it is absent. Ignored on SQLite.
            pool_size: connections kept open.

        Raises:
            ConfigurationError: the URL is not of one of these forms.
            DatabaseUnavailable: nothing answers there, or the file cannot be opened.
        """
        try:
            parsed = make_url(url)
            dialect = _DIALECTS[parsed.drivername]
        except (ArgumentError, KeyError):
            raise ConfigurationError("a database URL starts with sqlite:/// or postgresql://") from None
        if dialect == "sqlite":
            engine: AsyncEngine | SqliteEngine = SqliteEngine(parsed, pool_size=pool_size)
        else:
            engine = create_async_engine(
                parsed.set(drivername="postgresql+asyncpg"),
                pool_size=pool_size,
                max_overflow=0,
                pool_timeout=60,
                connect_args={} if schema is None else {"server_settings": {"search_path": schema}},
                # An error quotes the statement, never what was bound to it.
                hide_parameters=True,
            )
        database = cls(engine, dialect, label=parsed.render_as_string(hide_password=True))
        try:
            if dialect == "postgresql" and schema is not None:
                await database._create_schema(schema)
            async with database.read() as connection:
                await connection.execute(sqlalchemy.text("SELECT 1"))
            if isinstance(engine, SqliteEngine):
                await engine.watch()
        except BaseException as error:
            # Also when cancelled: a connection left to the garbage collector would keep the lock it waits for or holds.
            await database.close()
            if not isinstance(error, OSError | sqlalchemy.exc.DBAPIError | DatabaseUnavailable):
                raise
            failure = error.__cause__ if isinstance(error, DatabaseUnavailable) else error
            cause = failure.orig if isinstance(failure, sqlalchemy.exc.DBAPIError) else failure
            raise DatabaseUnavailable(f"the database {database._label} does not open: {cause}") from error
        return database

    @property
    def sync_engine(self) -> Engine:
        """
        The engine below, for SQLAlchemy's event listeners.
        """
        return self._engine.sync_engine

    async def now_ms(self) -> int:
        """
        Return the database's own time, Unix ms; SQLite's is this machine's.
        """
        async with self.read() as connection:
            return (await connection.execute(sqlalchemy.select(db_now_ms()))).scalar_one()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """
        Enter a read-only transaction that sees one snapshot.

        Raises:
            DatabaseUnavailable: on entering, inside or on leaving: the database fails.
        """
        with _told_as_unavailable():
            if isinstance(self._engine, SqliteEngine):
                async with self._engine.begin("BEGIN") as own:
                    yield _as_sqlalchemys(own)
                return
            async with self._engine.connect() as connection:
                await connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
                yield connection
                await connection.rollback()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """
        Enter a transaction that commits on leaving and rolls back on an exception.

        On SQLite it holds the file's one write lock from the start, so what it read stays true until it commits.
        On PostgreSQL it is READ COMMITTED: lock the rows that a decision rests on, or update with a condition.
        On leaving without an exception the commit is durable.

        Raises:
            DatabaseUnavailable: on entering, inside or on leaving: the database fails.
                If the commit itself failed it may still have happened, or do so at the next recovery from a crash.
        """
        with _told_as_unavailable():
            if isinstance(self._engine, SqliteEngine):
                # SQLite has one writer at a time. Waiting for it here is fair and costs nothing; waiting in SQLite is a
                # sleep that doubles. Other processes are still kept apart by SQLite's own lock.
                async with self._writer, self._engine.begin("BEGIN IMMEDIATE") as own:
                    yield _as_sqlalchemys(own)
                    await own.commit()
                return
            async with self._engine.connect() as connection:
                yield connection
                await connection.commit()

    def version(self) -> int | None:
        """
        Return a number that is another one as soon as anybody has committed anything to this database.

        None where that cannot be told at once: on PostgreSQL, and where the file cannot be read just now.
        """
        return self._engine.version() if isinstance(self._engine, SqliteEngine) else None

    async def _create_schema(self, schema: str) -> None:
        async with self.write() as connection:
            # IF NOT EXISTS alone is not safe against another node doing the same.
            await connection.execute(
                sqlalchemy.text("SELECT pg_advisory_xact_lock(hashtext('recording-gateway schema'))")
            )
            await connection.execute(sqlalchemy.schema.CreateSchema(schema, if_not_exists=True))

    async def close(self) -> None:
        """
        Close every connection.
        """
        await self._engine.dispose()


def _as_sqlalchemys(connection: SqliteConnection) -> AsyncConnection:
    # It answers as one of those does, as far as it is asked.
    return cast("AsyncConnection", connection)


@contextmanager
def _told_as_unavailable() -> Iterator[None]:
    """
    Turn what a failing disk, server or connection makes the driver raise into `DatabaseUnavailable`.
    """
    try:
        yield
    except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError) as error:
        raise DatabaseUnavailable(f"the database failed: {error.orig}") from error
    except sqlalchemy.exc.DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise DatabaseUnavailable(f"the database failed: {error.orig}") from error
