"""
An installation for tests to begin with: making its tables takes longer than most of what is done to it.
"""

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.crash.phones import Account
from tests.support.forked_daemon import ForkedDaemon


@dataclass(frozen=True)
class Installation:
    """
    A data directory whose daemon was stopped in good order, with a user and nothing of his.
    """

    data_dir: Path
    auth: Mapping[str, str]

    def copy_to(self, data_dir: Path) -> Account:
        """
        Make *data_dir* a copy; return the user's account there.
        """
        shutil.copytree(self.data_dir, data_dir)
        return Account(self.auth)


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """
    One for each test process.
    """
    daemon = ForkedDaemon(tmp_path_factory.mktemp("installation") / "data")

    async def first_user() -> Mapping[str, str]:
        await daemon.start()
        _, auth = await daemon.new_user()
        return auth

    try:
        auth = asyncio.run(first_user())
        assert 0 == daemon.stop()
    finally:
        daemon.kill()
    return Installation(daemon.data_dir, auth)
