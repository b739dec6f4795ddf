"""
The same gateways and clients as the tests of the wire have.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.http.conftest import logs
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving

__all__ = ["logs"]


@pytest.fixture
async def embedded(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Served]:
    """
    A gateway on SQLite alone, whose jobs are tried again so much later that no test gets there by being slow.
    """
    async with serving(
        tmp_path / "data", clock=clock, with_workers=False, jobs={"backoff_base_ms": 60_000}
    ) as gateway:
        yield gateway
