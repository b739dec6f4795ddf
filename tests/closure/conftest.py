import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.closure.stores import PostgresStore, make_empty_databases
from tests.closure.world import World
from tests.support.postgres import PostgresServer


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """
    Thousands of lines are logged, most of them about deaths that were planned.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A data directory with both databases' tables in it, since making them takes longer than a whole program.
    """
    folder = tmp_path_factory.mktemp("empty")
    asyncio.run(make_empty_databases(folder))
    return folder


@pytest.fixture
async def world(empty: Path, tmp_path: Path) -> AsyncIterator[World]:
    """
    An installation on SQLite that is running and watched.
    """
    world = World(tmp_path / "data", empty=empty)
    with world.watched():
        await world.open()
        yield world
        await world.end()


@pytest.fixture(params=["sqlite", "postgresql"])
async def either(
    request: pytest.FixtureRequest, empty: Path, tmp_path: Path, sections: dict[str, dict[str, Any]]
) -> AsyncIterator[World]:
    """
    An installation on each engine that is running and watched.
    """
    with ExitStack() as stack:
        if request.param == "sqlite":
            world = World(tmp_path / "data", empty=empty, sections=sections)
        else:
            server: PostgresServer = request.getfixturevalue("postgresql_server")
            url = server.create_database()
            stack.callback(server.drop_database, url)
            world = World(tmp_path / "data", PostgresStore(url, 0), sections=sections)
        stack.enter_context(world.watched())
        await world.open()
        yield world
        await world.end()
