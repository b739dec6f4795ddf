"""
The suites as `gateway.testing.live` runs them; pytest imports this file, and nobody else.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import ClassVar

import pytest

from gateway.api import Backend
from gateway.testing.allowances import Allowances
from gateway.testing.among import AmongOthers
from gateway.testing.conformance import BackendConformance, Connect, Suite
from gateway.testing.live import CHECK
from gateway.testing.resumable import ResumablePutsConformance


@pytest.fixture(scope="session")
async def place(pytestconfig: pytest.Config) -> AsyncIterator[Connect]:
    """
    Give the connections to the place, all in one event loop.
    """
    async with pytestconfig.stash[CHECK].opening() as connect:
        yield connect


class Live(Suite):
    """
    Connections that show the tests no blobs but their own, and what they put is removed after each.
    """

    allowances: ClassVar[Allowances] = Allowances(listing_lag="the check waits as long as the traits say")

    async def settle(self, backend: Backend) -> None:
        """
        Wait: a live provider has no clock that could be set on.
        """
        await asyncio.sleep(backend.traits.listing_lag.total_seconds())

    @pytest.fixture
    async def connect(self, place: Connect, pytestconfig: pytest.Config) -> AsyncIterator[Connect]:
        traces = pytestconfig.stash[CHECK].traces

        @asynccontextmanager
        async def connected() -> AsyncIterator[Backend]:
            async with place() as backend:
                yield AmongOthers(backend, traces)

        yield connected
        traces.left.clear()
        async with place() as backend:
            await traces.remove(backend)


class TestPlace(Live, BackendConformance):
    """
    What every backend must do.
    """


class TestParts(Live, ResumablePutsConformance):
    """
    What every backend that takes puts in parts must do.
    """


class TestPlaceWithSmallData(TestPlace):
    """
    The same, with less data.
    """

    allowances = replace(Live.allowances, small_data="the operator asked for it")


class TestPartsWithSmallData(TestParts):
    """
    The same, with less data.
    """

    allowances = replace(Live.allowances, small_data="the operator asked for it")
