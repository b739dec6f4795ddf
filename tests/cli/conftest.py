"""
A running daemon for the commands of this folder, and a shell of a user of it.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.base.ids import UserId
from gateway.console import open_console
from gateway.settings import Settings, passed_environment
from tests.support.forked_command import run_forked
from tests.support.gateway import Daemon

PAGE_SIZE = 3


@dataclass(frozen=True)
class Shell:
    """
    A terminal of a person who has set GATEWAY_URL and GATEWAY_TOKEN.
    """

    folder: Path
    environment: dict[str, str]
    data_dir: Path
    """Of the daemon, for what an operator does there."""

    @property
    def url(self) -> str:
        return self.environment["GATEWAY_URL"]

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.environment['GATEWAY_TOKEN']}"}

    def popen(self, *arguments: str | Path, **changes: str) -> subprocess.Popen[bytes]:
        """
        Start a command from nothing; *changes* are to the environment.
        """
        return subprocess.Popen(
            [sys.executable, "-m", "gateway", *map(str, arguments)],
            cwd=self.folder,
            env={**self.environment, **changes},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def raw(self, *arguments: str | Path, **changes: str) -> subprocess.CompletedProcess[bytes]:
        """
        Run a command to its end.
        """
        return run_forked(
            [str(argument) for argument in arguments],
            folder=self.folder,
            environment={**self.environment, **changes},
        )

    def run(self, *arguments: str | Path, **changes: str) -> subprocess.CompletedProcess[str]:
        """
        Run a command whose output is text.
        """
        done = self.raw(*arguments, **changes)
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def out(self, *arguments: str | Path, **changes: str) -> str:
        """
        Run a command that succeeds; return what it printed, without the end of the line.
        """
        done = self.run(*arguments, **changes)
        assert 0 == done.returncode, done.stderr
        return done.stdout.rstrip("\n")


def without_gateway_settings() -> dict[str, str]:
    """
    Return the environment of the tests, without what somebody has set for a gateway of his own.
    """
    return {name: value for name, value in passed_environment().items() if not name.startswith("GATEWAY_")}


@pytest.fixture
def operator(tmp_path: Path) -> Shell:
    """
    A shell beside no daemon.
    """
    return Shell(tmp_path, without_gateway_settings(), tmp_path / "data")


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """
    One daemon for all tests of this folder; each takes a user of its own.
    """
    daemon = Daemon(
        tmp_path_factory.mktemp("daemon") / "data",
        environment={"GATEWAY_RECORDINGS__PAGE_SIZE": str(PAGE_SIZE)},
    )
    asyncio.run(daemon.start())
    try:
        yield daemon
    finally:
        daemon.kill()


async def new_user(data_dir: Path) -> tuple[UserId, str]:
    """
    Make a user beside the daemon, as the commands do, in this process; return the id and a token.
    """
    settings = Settings.load(overrides={"data": {"dir": str(data_dir)}}, environment={})
    async with open_console(settings) as console:
        user_id = await console.accounts.add_user(name="Ada")
        token = await console.accounts.new_token(user_id, lifetime_s=3600)
        return user_id, token.reveal().decode()


@pytest.fixture
def shell(daemon: Daemon, tmp_path: Path) -> Shell:
    """
    The shell of a new user, in an empty folder.
    """
    _, token = asyncio.run(new_user(daemon.data_dir))
    folder = tmp_path / "home"
    folder.mkdir()
    return Shell(
        folder,
        {
            **without_gateway_settings(),
            "GATEWAY_URL": daemon.url,
            "GATEWAY_TOKEN": token,
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "TZ": "UTC",
        },
        daemon.data_dir,
    )
