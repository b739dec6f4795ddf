"""
Migrations: from nothing to the tables that the queries know, on both databases.
"""

import asyncio
import importlib

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from gateway.base.errors import RefusesToServe
from gateway.database import Database, migrate

PACKAGES = ["gateway.catalog", "gateway.keyring"]


@pytest.mark.parametrize("package", PACKAGES)
async def test_lead_to_the_tables_that_the_queries_know(empty_database_url: str, package: str) -> None:
    metadata = importlib.import_module(f"{package}.tables").metadata
    database = await Database.connect(empty_database_url, schema="migrated")
    await migrate(database, f"{package}.migrations")

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, metadata))

    async with database.read() as connection:
        found = await connection.run_sync(differences)
        indexes = await connection.run_sync(lambda sync: index_columns(sync, list(metadata.tables)))
    await database.close()

    assert [] == found
    assert {
        (name, tuple(column.name for column in index.columns))
        for name, table in metadata.tables.items()
        for index in table.indexes
    } <= indexes


def index_columns(connection: Connection, tables: list[str]) -> set[tuple[str, tuple[str, ...]]]:
    return {
        (name, tuple(column for column in index["column_names"] if column))
        for name in tables
        for index in inspect(connection).get_indexes(name)
    }


@pytest.mark.parametrize("package", PACKAGES)
async def test_from_empty_by_several_processes_at_once_are_done_once(
    empty_database_url: str, package: str
) -> None:
    databases = [await Database.connect(empty_database_url, schema="migrated") for _ in range(4)]

    await asyncio.gather(*(migrate(database, f"{package}.migrations") for database in databases))

    async with databases[0].read() as connection:
        versions = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalars().all()
    assert 1 == len(versions)
    for database in databases:
        await migrate(database, f"{package}.migrations")
        await database.close()


async def test_of_a_newer_program_are_refused(empty_database_url: str) -> None:
    database = await Database.connect(empty_database_url, schema="migrated")
    await migrate(database, "gateway.catalog.migrations")
    async with database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(RefusesToServe, match="9999") as refused:
        await migrate(database, "gateway.catalog.migrations")

    assert refused.value.advice
    await database.close()


async def test_that_fail_leave_nothing_behind(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.database import migrations

    upgrade = migrations._upgrade

    def failing(connection: Connection, folder: object) -> None:
        upgrade(connection, folder)  # type: ignore[arg-type]
        raise RuntimeError("the power went")

    database = await Database.connect(empty_database_url, schema="migrated")
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "_upgrade", failing)
        with pytest.raises(RuntimeError):
            await migrate(database, "gateway.catalog.migrations")

    async with database.read() as connection:
        assert [] == await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    await migrate(database, "gateway.catalog.migrations")
    await database.close()
