from pathlib import Path

import pytest

from gateway.database import Database
from tests.keyring.world import World
from tests.support.clock import FakeClock


@pytest.fixture
def world(keys_database: Database, tmp_path: Path, clock: FakeClock) -> World:
    """
    An installation on each engine, not founded yet.
    """
    return World(keys_database, tmp_path, clock)
