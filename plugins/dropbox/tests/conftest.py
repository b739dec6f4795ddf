"""
A pretend Dropbox, and an account there, for all tests of this plugin.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from gateway.api import Backend
from plugins.dropbox.tests.linked import Linked
from tests.emulators.cloud import Account
from tests.emulators.dropbox import DropboxEmulator

pytest.register_assert_rewrite("gateway.testing.conformance")


@pytest.fixture
def cloud() -> Iterator[DropboxEmulator]:
    with DropboxEmulator() as cloud:
        yield cloud


@pytest.fixture
def account(cloud: DropboxEmulator) -> Account:
    return cloud.new_account()


@pytest.fixture
async def linked(cloud: DropboxEmulator, account: Account) -> AsyncIterator[Linked]:
    async with AsyncExitStack() as stack:
        yield Linked(cloud, account, stack)


@pytest.fixture
async def backend(linked: Linked) -> Backend:
    return await linked.connect()
