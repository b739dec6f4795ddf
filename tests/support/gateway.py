"""
A gateway to test against: in this process on a real socket, or a daemon of its own that can be killed.
"""

import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import aiohttp

from gateway.app import Gateway, open_gateway
from gateway.base.clock import Clock, SystemClock
from gateway.base.ids import UserId
from gateway.http.listening import start_serving
from gateway.settings import Settings, passed_environment
from tests.support.waiting import until

TUS = {"Tus-Resumable": "1.0.0"}
APPEND = {**TUS, "Content-Type": "application/offset+octet-stream"}


@dataclass(frozen=True)
class Served:
    """
    A gateway in this process, listening on loopback.
    """

    url: str
    gateway: Gateway
    http: aiohttp.ClientSession
    """Joins paths to `url` by itself: ``await served.http.get("/readyz")``."""

    async def new_user(self, name: str = "Ada") -> tuple[UserId, dict[str, str]]:
        """
        Make a user; return the id and the Authorization header of a token.
        """
        accounts = self.gateway.context.accounts
        user_id = await accounts.add_user(name=name)
        token = await accounts.new_token(user_id, lifetime_s=3600)
        return user_id, {"Authorization": f"Bearer {token.reveal().decode()}"}

    async def upload(self, auth: Mapping[str, str], content: bytes, *, metadata: str | None = None) -> str:
        """
        Upload *content* in one request; return the recording's id.
        """
        headers = {**auth, **APPEND, "Upload-Length": str(len(content))}
        if metadata is not None:
            headers["Upload-Metadata"] = metadata
        async with self.http.post("/v1/uploads", data=content, headers=headers) as response:
            assert response.status == 201, await response.text()
            return response.headers["Location"].rpartition("/")[2]

    async def placed(self) -> None:
        """
        Do every job that is due, as the workers would.
        """
        await self.gateway.do_due_jobs()


@asynccontextmanager
async def serving(
    data_dir: Path,
    *,
    catalog_url: str = "",
    keys_url: str = "",
    clock: Clock | None = None,
    with_workers: bool = True,
    **sections: Mapping[str, Any],
) -> AsyncIterator[Served]:
    """
    Serve from *data_dir*; *sections* are settings, such as ``uploads={"max_length": 10}``.

    Without workers nothing happens in the background: `Served.placed` does the jobs when the test wants them done.
    """
    overrides: dict[str, Mapping[str, Any]] = {
        "data": {"dir": str(data_dir), "catalog_url": catalog_url, "keys_url": keys_url},
        "server": {"port": 0, "shutdown_timeout_s": 1},
        **sections,
    }
    settings = Settings.load(overrides=overrides, environment={})
    async with open_gateway(settings, clock=clock, with_workers=with_workers) as gateway:
        runner, url = await start_serving(gateway.web_app(clock or SystemClock()), settings)
        try:
            async with aiohttp.ClientSession(url) as session:
                yield Served(url, gateway, session)
        finally:
            await runner.cleanup()


class Daemon:
    """
    ``gateway serve`` in a process of its own, on a free port.
    """

    def __init__(self, data_dir: Path, *, environment: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.url = ""
        self._environment = {
            **passed_environment(),
            # Starting again under another allocator doubles the start, and is tested where it is the subject.
            "GATEWAY_HARDENING__SCRUB_FREED_MEMORY": "false",
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log_text(self) -> str:
        """
        Everything that the daemon, and those before it on this directory, wrote to stderr.
        """
        return (self.data_dir.parent / f"{self.data_dir.name}.log").read_text()

    async def start(self, *, port: int = 0) -> None:
        """
        Start it and wait until it is ready.
        """
        log = self.data_dir.parent / f"{self.data_dir.name}.log"
        before = log.stat().st_size if log.exists() else 0
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--data-dir", self.data_dir, "--port", str(port)],
            stderr=self._log,
            stdout=self._log,
            env=self._environment,
        )
        process = self._process

        def listens() -> bool:
            text = log.read_bytes()[before:].decode()
            if found := re.search(r"Listening on (http://\S+)", text):
                self.url = found.group(1)
            elif process.poll() is not None:
                raise RuntimeError(f"the daemon ended with {process.returncode}:\n{text}")
            return found is not None

        await until(listens, within_s=60)

    def kill(self) -> None:
        """
        SIGKILL, as a power cut for the process.
        """
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """
        SIGTERM, and wait for the end.
        """
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """
        Run a ``gateway`` command; those that take it get ``--data-dir``.
        """
        return subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            capture_output=True,
            text=True,
            check=check,
            env=self._environment,
        )

    def new_user(self, name: str = "Ada") -> tuple[str, dict[str, str]]:
        """
        Make a user by command; return the id and the Authorization header of a token.
        """
        user_id = self.command("user", "add", "--data-dir", str(self.data_dir), "--name", name).stdout.strip()
        token = self.command("token", "new", "--data-dir", str(self.data_dir), user_id).stdout.strip()
        return user_id, {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def running_daemon(
    data_dir: Path, *, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Daemon]:
    """
    Start a daemon, and see to it that it ends.
    """
    daemon = Daemon(data_dir, environment=environment)
    try:
        await daemon.start()
        yield daemon
    finally:
        daemon.kill()
