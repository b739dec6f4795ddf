"""
A gateway with pages for operators, their provider, and a browser in which nobody is signed in yet.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.emulators.emulator import EmulatedClock
from tests.emulators.oidc import GoogleSignIn
from tests.http.conftest import logs
from tests.operators.browsing import OperatorsBrowser, operated
from tests.support.clock import FakeClock
from tests.support.gateway import Served

__all__ = ["logs"]


@pytest.fixture
def provider(clock: FakeClock) -> Iterator[GoogleSignIn]:
    with GoogleSignIn(clock=EmulatedClock(clock)) as provider:
        yield provider


@pytest.fixture
async def served(tmp_path: Path, provider: GoogleSignIn, clock: FakeClock) -> AsyncIterator[Served]:
    async with operated(tmp_path / "data", provider, clock) as served:
        yield served


@pytest.fixture
async def browser(served: Served, provider: GoogleSignIn) -> AsyncIterator[OperatorsBrowser]:
    async with OperatorsBrowser(served, provider) as browser:
        yield browser
