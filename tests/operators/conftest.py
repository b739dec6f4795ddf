"""
A gateway with pages for operators, their provider, and a browser in which nobody is signed in yet.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.emulator import EmulatedClock
from tests.emulators.oidc import GoogleSignIn
from tests.http.conftest import logs
from tests.operators.browsing import OperatorsBrowser, in_role, operated
from tests.support.clock import FakeClock
from tests.support.gateway import Served

__all__ = ["logs"]


@pytest.fixture
def provider(clock: FakeClock) -> Iterator[GoogleSignIn]:
    with GoogleSignIn(clock=EmulatedClock(clock)) as provider:
        yield provider


@pytest.fixture
def sections() -> dict[str, Any]:
    """
    How the gateway is served; for a file of tests to replace.
    """
    return {}


@pytest.fixture
async def served(
    tmp_path: Path, provider: GoogleSignIn, clock: FakeClock, sections: dict[str, Any]
) -> AsyncIterator[Served]:
    async with operated(tmp_path / "data", provider, clock, **sections) as served:
        yield served


@pytest.fixture
async def browser(served: Served, provider: GoogleSignIn) -> AsyncIterator[OperatorsBrowser]:
    async with OperatorsBrowser(served, provider) as browser:
        yield browser


@pytest.fixture
async def operator(served: Served, provider: GoogleSignIn) -> AsyncIterator[OperatorsBrowser]:
    async with in_role(served, provider, "operator") as browser:
        yield browser
