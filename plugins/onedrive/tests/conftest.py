"""
A pretend OneDrive, for all tests of this plugin.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from gateway_onedrive.backend import connect as connect_onedrive
from gateway_onedrive.settings import GRID, OneDriveSettings

from gateway.api import Backend, BackendContext
from tests.emulators.cloud import Account
from tests.emulators.onedrive import GraphEmulator
from tests.support.lent import LentTokens, lent_context

Connect = Callable[[], AbstractAsyncContextManager[Backend]]


@pytest.fixture
def cloud() -> Iterator[GraphEmulator]:
    with GraphEmulator() as cloud:
        yield cloud


@pytest.fixture
def account(cloud: GraphEmulator) -> Account:
    return cloud.new_account()


@pytest.fixture
def settings(cloud: GraphEmulator) -> OneDriveSettings:
    """
    Small parts, so that a blob of a megabyte has several.
    """
    said: dict[str, Any] = cloud.settings()
    return OneDriveSettings(**said, part_size=2 * GRID, list_page_size=10)


@pytest.fixture
def tokens(cloud: GraphEmulator, account: Account) -> LentTokens:
    """
    What every connection of one test uses.
    """
    return LentTokens(cloud, account, cloud.scopes())


@pytest.fixture
async def context(
    cloud: GraphEmulator, account: Account, tokens: LentTokens
) -> AsyncIterator[BackendContext]:
    async with lent_context(cloud, account, cloud.scopes(), tokens=tokens) as context:
        yield context


@pytest.fixture
def connect(
    cloud: GraphEmulator, account: Account, settings: OneDriveSettings, tokens: LentTokens
) -> Connect:
    @asynccontextmanager
    async def connecting() -> AsyncIterator[Backend]:
        async with (
            lent_context(cloud, account, cloud.scopes(), tokens=tokens) as context,
            connect_onedrive(context, settings) as backend,
        ):
            yield backend

    return connecting


@pytest.fixture
async def backend(connect: Connect) -> AsyncIterator[Backend]:
    async with connect() as backend:
        yield backend
