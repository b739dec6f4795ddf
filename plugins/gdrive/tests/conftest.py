"""
A pretend Google Drive and connections to it, for all tests of this plugin.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from gateway_gdrive.backend import DriveBackend
from gateway_gdrive.backend import connect as connect_drive
from gateway_gdrive.settings import GDriveSettings

from gateway.api import ResumablePuts
from plugins.gdrive.tests.drives import Connected
from tests.emulators.cloud import Account
from tests.emulators.gdrive import DriveEmulator
from tests.support.lent import LentTokens, lent_context


@pytest.fixture
def cloud() -> Iterator[DriveEmulator]:
    """
    One cloud for each test, with no accounts yet.
    """
    with DriveEmulator() as cloud:
        yield cloud


@pytest.fixture
def account(cloud: DriveEmulator) -> Account:
    return cloud.new_account()


@pytest.fixture
def lent_tokens(cloud: DriveEmulator, account: Account) -> LentTokens:
    """
    The tokens that all connections of one test use.
    """
    return LentTokens(cloud, account, cloud.scopes())


@pytest.fixture
def connected(cloud: DriveEmulator, account: Account, lent_tokens: LentTokens) -> Connected:
    """
    Return what connects to the account, with other settings where a test wants them.
    """
    # Small, so that blobs of the kit go in parts and in one request, and are listed on more than one page.
    usual: dict[str, Any] = {**cloud.settings(), "part_size": 1 << 20, "list_page_size": 10}

    @asynccontextmanager
    async def connection(**changes: Any) -> AsyncIterator[DriveBackend]:
        async with (
            lent_context(cloud, account, cloud.scopes(), lane=4, tokens=lent_tokens) as context,
            connect_drive(context, GDriveSettings(**{**usual, **changes})) as backend,
        ):
            yield backend

    return connection


@pytest.fixture
async def backend(connected: Connected) -> AsyncIterator[DriveBackend]:
    async with connected() as backend:
        yield backend


@pytest.fixture
def puts(backend: DriveBackend) -> ResumablePuts:
    assert backend.resumable is not None
    return backend.resumable
