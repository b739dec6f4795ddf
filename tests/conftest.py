"""
Fixtures that every test may ask for: databases of both kinds, a clock, spoken recordings.

A test that takes `database_url`, `keys_database` or `catalog_database` runs twice, on SQLite and on PostgreSQL.
"""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import hypothesis
import pytest

from tests.support.audio import SpokenRecordings
from tests.support.clock import FakeClock
from tests.support.postgres import PostgresServer, running_postgres

if TYPE_CHECKING:
    # SQLAlchemy costs most of a second, and the tests of the lower layers need none of it.
    from gateway.database import Database
    from tests.support.gateway import Served
    from tests.support.mailbox import Mailbox

TORTURE_FACTOR = 25

# This machine's speed is not what a property is about.
hypothesis.settings.register_profile("usual", deadline=None, print_blob=True)
hypothesis.settings.register_profile(
    "torture",
    parent=hypothesis.settings.get_profile("usual"),
    max_examples=100 * TORTURE_FACTOR,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--torture",
        action="store_true",
        help="Run the tests marked torture as well, and every property with far more examples.",
    )
    parser.addoption(
        "--write-faults",
        action="store_true",
        help="Write what the tests of faults see into docs/plugins/faults.md.",
    )


def pytest_configure(config: pytest.Config) -> None:
    # Whoever starts the tests in the background of a shell has them, and all that they start, ignore Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    hypothesis.settings.load_profile("torture" if config.getoption("--torture") else "usual")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--torture"):
        long = [item for item in items if item.get_closest_marker("torture")]
        if long:
            config.hook.pytest_deselected(items=long)
            items[:] = [item for item in items if item not in long]


@pytest.fixture(scope="session")
def thoroughness(pytestconfig: pytest.Config) -> int:
    """
    How many times its usual number of rounds a test with rounds of its own should do.
    """
    return TORTURE_FACTOR if pytestconfig.getoption("--torture") else 1


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def spoken_recordings(tmp_path_factory: pytest.TempPathFactory) -> SpokenRecordings:
    """
    Real speech in every format that phones record; each is made when first asked for.
    """
    return SpokenRecordings(tmp_path_factory.mktemp("spoken"))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresServer]:
    """
    One server for each test process, started when first asked for.
    """
    with running_postgres() as server:
        yield server


@dataclass(frozen=True)
class DatabaseUrls:
    """
    Where a gateway of its own keeps its two databases: two files, or two schemas of one database.
    """

    dialect: Literal["sqlite", "postgresql"]
    catalog: str
    keys: str


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A folder with both databases, their tables made and nothing in them: a copy is faster than migrating.
    """
    folder = tmp_path_factory.mktemp("template")
    asyncio.run(_migrated(f"sqlite:///{folder}/catalog.db", f"sqlite:///{folder}/keys.db"))
    return folder


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: PostgresServer) -> str:
    """
    The name of a database with both schemas, their tables made and nothing in them.
    """
    url = postgresql_server.create_database()
    asyncio.run(_migrated(url, url))
    return url.rpartition("/")[2]


async def _migrated(catalog_url: str, keys_url: str) -> None:
    from gateway.database import Database, migrate

    for url, schema, package in ((catalog_url, "catalog", "catalog"), (keys_url, "keys", "keyring")):
        database = await Database.connect(url, schema=schema)
        await migrate(database, f"gateway.{package}.migrations")
        await database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseUrls]:
    """
    Fresh databases for this test alone, with their tables and nothing in them.
    """
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        for name in ("catalog.db", "keys.db"):
            shutil.copy(template / name, tmp_path / name)
        yield DatabaseUrls("sqlite", f"sqlite:///{tmp_path}/catalog.db", f"sqlite:///{tmp_path}/keys.db")
        return
    server: PostgresServer = request.getfixturevalue("postgresql_server")
    url = server.create_database(template=request.getfixturevalue("postgresql_template"))
    yield DatabaseUrls("postgresql", url, url)
    server.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """
    A fresh database without any table.
    """
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    server: PostgresServer = request.getfixturevalue("postgresql_server")
    url = server.create_database()
    yield url
    server.drop_database(url)


@pytest.fixture
def database_url(database_urls: DatabaseUrls) -> str:
    """
    A fresh database, for a test that needs only one.
    """
    return database_urls.catalog


@pytest.fixture
async def catalog_database(database_urls: DatabaseUrls) -> AsyncIterator["Database"]:
    """
    The catalog's database, with its tables and nothing in them.
    """
    from gateway.database import Database, migrate

    database = await Database.connect(database_urls.catalog, schema="catalog")
    await migrate(database, "gateway.catalog.migrations")
    yield database
    await database.close()


@pytest.fixture
async def keys_database(database_urls: DatabaseUrls) -> AsyncIterator["Database"]:
    """
    The key database, with its tables and nothing in them.
    """
    from gateway.database import Database, migrate

    database = await Database.connect(database_urls.keys, schema="keys")
    await migrate(database, "gateway.keyring.migrations")
    yield database
    await database.close()


@pytest.fixture
def mailbox() -> Iterator["Mailbox"]:
    """
    A mail server, and what it took.
    """
    from tests.support.mailbox import Mailbox

    with Mailbox() as mailbox:
        yield mailbox


@pytest.fixture
def sections() -> dict[str, dict[str, Any]]:
    """
    The settings of `served`, for a file of tests to say otherwise, such as ``{"uploads": {"max_length": 10}}``.
    """
    return {}


@pytest.fixture
async def served(
    database_urls: DatabaseUrls, tmp_path: Path, clock: FakeClock, sections: dict[str, dict[str, Any]]
) -> AsyncIterator["Served"]:
    """
    A whole gateway on a real socket, with a clock that stands still and no workers: `Served.placed` does the jobs.
    """
    from tests.support.gateway import serving

    async with serving(
        tmp_path / "data",
        catalog_url=database_urls.catalog,
        keys_url=database_urls.keys,
        clock=clock,
        with_workers=False,
        **sections,
    ) as gateway:
        yield gateway
