"""
Bringing a database to the current tables.

A package with tables has a folder ``migrations/versions`` of Alembic scripts.
Starting is fast where nothing is to be done: the version row is read first, and Alembic is imported only if it differs.
"""

import importlib.resources
import re
from collections.abc import Iterable
from pathlib import Path

import sqlalchemy
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.base.errors import RefusesToServe
from gateway.database.engine import Database

_REVISION_FILE = re.compile(r"(\d{4})_\w+\.py$")


async def migrate(database: Database, package: str) -> None:
    """
    Bring *database* to the newest revision of *package*, such as ``gateway.catalog.migrations``.

    Each call either leaves the database at the newest revision or unchanged.
    Two processes may call it at once: one does the work, the other waits and finds it done.

    Raises:
        RefusesToServe: the database is newer than this program.
    """
    folder = Path(str(importlib.resources.files(package)))
    revisions = sorted(_revisions((folder / "versions").iterdir()))
    async with database.read() as connection:
        if await _current_revision(connection) == revisions[-1]:
            return
    async with database.write() as connection:
        if database.dialect == "postgresql":
            await connection.execute(
                sqlalchemy.text("SELECT pg_advisory_xact_lock(hashtext('recording-gateway migration'))")
            )
        current = await _current_revision(connection)
        if current is not None and current not in revisions:
            raise RefusesToServe(
                f"The database is at revision {current}, this program knows up to {revisions[-1]}.",
                advice="Install the newer release of the gateway that wrote it.",
            )
        await connection.run_sync(_upgrade, folder)


def _revisions(files: Iterable[Path]) -> Iterable[str]:
    for file in files:
        if match := _REVISION_FILE.match(file.name):
            yield match.group(1)


async def _current_revision(connection: AsyncConnection) -> str | None:
    def read(sync: Connection) -> str | None:
        if not sqlalchemy.inspect(sync).has_table("alembic_version"):
            return None
        revision = sync.execute(sqlalchemy.text("SELECT version_num FROM alembic_version")).scalar()
        return None if revision is None else str(revision)

    return await connection.run_sync(read)


def _upgrade(connection: Connection, folder: Path) -> None:
    # Half a second of importing, which most starts do not need.
    from alembic.config import Config  # noqa: PLC0415
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)

    def upgrade(revision: object, context: object) -> object:
        # What Alembic's own command does, without its command line's configuration file.
        return script._upgrade_revs("head", revision)  # type: ignore[arg-type]  # noqa: SLF001

    with EnvironmentContext(config, script, fn=upgrade) as environment:
        # The transaction is the caller's: a step that fails leaves nothing behind, on SQLite as well.
        environment.configure(connection=connection, transactional_ddl=False, transaction_per_migration=False)
        environment.run_migrations()
