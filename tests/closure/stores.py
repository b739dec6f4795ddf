"""
The two databases of one installation, as an operator copies them and puts copies back; nobody may have them open then.
"""

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, Protocol

import asyncpg

from gateway.database import Database, migrate
from tests.closure.attacker import Attacker

Which = Literal["catalog", "keys"]


class Store(Protocol):
    """
    Where the databases of one installation lie.
    """

    def settings(self) -> Mapping[str, str]:
        """
        Return what goes into the settings' table ``data``.
        """
        ...

    async def copy(self, which: Which, name: str) -> None:
        """
        Keep a copy under *name*; one of that name is replaced.
        """
        ...

    async def put_back(self, which: Which, name: str) -> None:
        """
        Replace the database by the copy.
        """
        ...

    async def tell_all(self, attacker: Attacker) -> None:
        """
        Tell the attacker of every row that is live.
        """
        ...


class SqliteStore:
    """
    Two files in the data directory.
    """

    def __init__(self, data_dir: Path, copies: Path) -> None:
        self._data_dir = data_dir
        self._copies = copies

    def settings(self) -> Mapping[str, str]:
        return {}

    async def copy(self, which: Which, name: str) -> None:
        self._copies.mkdir(exist_ok=True)
        target = self._copies / f"{which}-{name}.db"
        target.unlink(missing_ok=True)
        with (
            closing(sqlite3.connect(self._data_dir / f"{which}.db")) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)

    async def put_back(self, which: Which, name: str) -> None:
        for ending in ("", "-wal", "-shm"):
            (self._data_dir / f"{which}.db{ending}").unlink(missing_ok=True)
        shutil.copy(self._copies / f"{which}-{name}.db", self._data_dir / f"{which}.db")

    async def tell_all(self, attacker: Attacker) -> None:
        for which in ("catalog", "keys"):
            attacker.write_down_database(self._data_dir / f"{which}.db")


class PostgresStore:
    """
    Two schemas of one database; copies are schemas beside them.
    """

    def __init__(self, url: str, number: int) -> None:
        self._url = url
        self._schemas: dict[Which, str] = {"catalog": f"catalog_{number}", "keys": f"keys_{number}"}

    def settings(self) -> Mapping[str, str]:
        return {
            "catalog_url": self._url,
            "keys_url": self._url,
            "catalog_schema": self._schemas["catalog"],
            "keys_schema": self._schemas["keys"],
        }

    async def copy(self, which: Which, name: str) -> None:
        schema = self._schemas[which]
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(
                f"DROP SCHEMA IF EXISTS {schema}_{name} CASCADE; CREATE SCHEMA {schema}_{name}"
            )
            for table in await self._tables(connection, schema):
                await connection.execute(f"CREATE TABLE {schema}_{name}.{table} AS TABLE {schema}.{table}")
        finally:
            await connection.close()

    async def put_back(self, which: Which, name: str) -> None:
        schema = self._schemas[which]
        connection = await asyncpg.connect(self._url)
        try:
            async with connection.transaction():
                # Rows come in any order; what they refer to is there in the end.
                await connection.execute("SET LOCAL session_replication_role = replica")
                for table in await self._tables(connection, schema):
                    await connection.execute(f"DELETE FROM {schema}.{table}")
                    await connection.execute(
                        f"INSERT INTO {schema}.{table} SELECT * FROM {schema}_{name}.{table}"
                    )
        finally:
            await connection.close()

    async def tell_all(self, attacker: Attacker) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            for schema in self._schemas.values():
                for table in await self._tables(connection, schema):
                    for row in await connection.fetch(f"SELECT * FROM {schema}.{table}"):
                        attacker.write_down_row(table, list(row.items()))
        finally:
            await connection.close()

    @staticmethod
    async def _tables(connection: Any, schema: str) -> list[str]:
        found = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
        return [name for (name,) in found]


async def make_empty_databases(folder: Path) -> None:
    """
    Make the two SQLite files with their tables and nothing in them, for installations to begin with.
    """
    for which in ("catalog", "keys"):
        database = await Database.connect(f"sqlite:///{folder}/{which}.db")
        await migrate(database, f"gateway.{which.replace('keys', 'keyring')}.migrations")
        await database.close()
