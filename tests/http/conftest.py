"""
Gateways to send requests to.

`served` is a fresh one on each database, for facts about all that it holds, or about time.
`phone` talks to one that the tests of a file share, each with a user of its own: for facts about the wire.
`either` does the same on each database, for facts in which that has a part.
"""

from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from tests.http.phone import Phone
from tests.http.wire import Intake
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving
from tests.support.postgres import PostgresServer


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """
    What is logged, in place of printing it: a printed traceback costs more than most of what is tested here.
    """
    with capture_logs() as captured:
        yield captured


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """
    A gateway on SQLite for all tests of one file, which run in one event loop.
    """
    async with serving(
        tmp_path_factory.mktemp("shared") / "data", clock=FakeClock(), with_workers=False
    ) as gateway:
        yield gateway


@pytest_asyncio.fixture(loop_scope="module")
async def phone(shared: Served) -> Phone:
    return await Phone.of_new_user(shared)


@pytest_asyncio.fixture(loop_scope="module")
async def stranger(shared: Served) -> Phone:
    return await Phone.of_new_user(shared, "Grace")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """
    A database for all tests of one file; empty for SQLite, which has a file in the data directory.
    """
    if request.param == "sqlite":
        yield ""
        return
    server: PostgresServer = request.getfixturevalue("postgresql_server")
    url = server.create_database(template=request.getfixturevalue("postgresql_template"))
    yield url
    server.drop_database(url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_on_each(tmp_path_factory: pytest.TempPathFactory, shared_url: str) -> AsyncIterator[Served]:
    """
    A gateway on each database for all tests of one file.
    """
    async with serving(
        tmp_path_factory.mktemp("shared") / "data",
        catalog_url=shared_url,
        keys_url=shared_url,
        clock=FakeClock(),
        with_workers=False,
    ) as gateway:
        yield gateway


@pytest_asyncio.fixture(loop_scope="module")
async def either(shared_on_each: Served) -> Phone:
    return await Phone.of_new_user(shared_on_each)


@pytest.fixture
def intake(monkeypatch: pytest.MonkeyPatch) -> Intake:
    """
    Counts the bytes that uploads have taken so far.
    """
    return Intake(monkeypatch)
