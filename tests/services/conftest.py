"""
The same gateways and clients as the tests of the wire have.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.cloud import Account
from tests.http.conftest import logs
from tests.http.link_client import Linker, gateway_for
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving
from tests.support.pretend_drive import PretendDrive

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


@pytest.fixture
def drive() -> Iterator[PretendDrive]:
    with PretendDrive() as drive:
        yield drive


@pytest.fixture
def account(drive: PretendDrive) -> Account:
    return drive.new_account()


@pytest.fixture
def linking() -> dict[str, Any]:
    """
    How the gateway is served whose users link accounts of *drive*; for a file of tests to replace.
    """
    return {}


@pytest.fixture
async def gateway(
    drive: PretendDrive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: FakeClock,
    linking: dict[str, Any],
) -> AsyncIterator[Served]:
    async with gateway_for(drive, tmp_path / "data", monkeypatch, clock, **linking) as served:
        yield served


@pytest.fixture
async def ada(gateway: Served, drive: PretendDrive) -> Linker:
    return await Linker.of_new_user(gateway, drive)
