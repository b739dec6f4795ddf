"""
A real daemon process that starts in a tenth of the time: forked from a process that has imported the gateway already.

Everything else is as with ``gateway serve`` from a shell, down to the exit status.
It serves tests that start a daemon many times over; the start-up from nothing is the business of `Daemon`.
"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

from gateway.base.ids import UserId
from gateway.console import Console, open_console
from gateway.settings import Settings
from tests.support.fork_server import fork_server
from tests.support.waiting import until


class DaemonEnded(Exception):
    """
    The daemon ended before it served; *status* is its exit status, the message its log.
    """

    def __init__(self, status: int, log: str) -> None:
        super().__init__(f"the daemon ended with {status}:\n{log}")
        self.status = status


class ForkedDaemon:
    """
    One installation's daemon, which may be killed and started again, on the same port.

    *settings* are the daemon's environment: ``{"GATEWAY_SPOOL__THREADS": "1"}``.
    """

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.url = ""
        self._port = 0
        self._settings = {
            # The allocator is chosen at exec, and there is none here.
            "GATEWAY_HARDENING__SCRUB_FREED_MEMORY": "false",
            **(settings or {}),
        }
        self._process: BaseProcess | None = None
        self._log = data_dir.parent / f"{data_dir.name}.log"
        self._log_start = 0

    @property
    def pid(self) -> int:
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.is_alive()

    @property
    def log_text(self) -> str:
        """
        Everything that the daemon, and those before it, wrote to stderr.
        """
        return self._log.read_text()

    @property
    def settings(self) -> Settings:
        """
        What it is started with.
        """
        return Settings.load(overrides={"data": {"dir": str(self.data_dir)}}, environment=self._settings)

    def spawn(self, *, stopped: bool = False) -> None:
        """
        Start the process and do not wait until it serves; *stopped*, it does nothing before `go_on`.
        """
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        arguments = ["serve", "--data-dir", str(self.data_dir), "--port", str(self._port)]
        self._process = fork_server().Process(
            target=_serve, args=(arguments, self._settings, self._log, stopped), daemon=True
        )
        self._process.start()

    async def ready(self) -> None:
        """
        Return once it serves.

        Raises:
            DaemonEnded: it ended instead.
        """

        def listens() -> bool:
            text = self._log.read_bytes()[self._log_start :].decode() if self._log.exists() else ""
            if found := re.search(r"Listening on (http://\S+:(\d+)) ", text):
                self.url, self._port = found.group(1), int(found.group(2))
            elif not self.is_running:
                raise DaemonEnded(self.wait(), self._log.read_bytes()[self._log_start :].decode())
            return found is not None

        await until(listens, within_s=60)

    async def stopped(self) -> None:
        """
        Return once a process that was spawned *stopped* is.
        """
        status = Path(f"/proc/{self.pid}/status")
        await until(lambda: "\nState:\tT" in status.read_text())

    def go_on(self) -> None:
        """
        Let a stopped process go on.
        """
        self.send(signal.SIGCONT)

    async def ended(self) -> int:
        """
        Return the exit status once the process has ended, whatever ended it.
        """
        assert self._process is not None
        loop = asyncio.get_running_loop()
        end = asyncio.Event()
        sentinel = self._process.sentinel
        loop.add_reader(sentinel, end.set)
        try:
            await end.wait()
        finally:
            loop.remove_reader(sentinel)
        return self.wait()

    async def start(self) -> None:
        """
        Start it, and return once it serves.
        """
        self.spawn()
        await self.ready()

    def kill(self) -> None:
        """
        SIGKILL, as a power cut for the process.
        """
        if self._process is not None:
            self._process.kill()
            self.wait()

    def stop(self) -> int:
        """
        SIGTERM; return the exit status.
        """
        self.send(signal.SIGTERM)
        return self.wait()

    def send(self, number: signal.Signals) -> None:
        """
        Send a signal and do not wait for what comes of it.
        """
        os.kill(self.pid, number)

    def wait(self) -> int:
        """
        Wait for its end, which something else has brought about; return the exit status.
        """
        assert self._process is not None
        self._process.join(60)
        status = self._process.exitcode
        assert status is not None, "the daemon does not end"
        self._process.close()
        self._process = None
        return status

    def cpu_seconds(self) -> float:
        """
        Return how long it has been running on a CPU, all threads together: a measure of how far its start has come.
        """
        spent = 0
        try:
            for thread in Path(f"/proc/{self.pid}/task").iterdir():
                spent += int((thread / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            pass
        return spent / 1e9

    async def new_user(self, name: str = "Ada") -> tuple[UserId, dict[str, str]]:
        """
        Make a user; return the id and the Authorization header of a token.
        """
        async with self._console() as console:
            user_id = await console.accounts.add_user(name=name)
        return user_id, await self.new_token(user_id)

    async def new_token(self, user_id: UserId, *, lifetime_s: int = 3600) -> dict[str, str]:
        """
        Make a token of the user; return its Authorization header.
        """
        async with self._console() as console:
            token = await console.accounts.new_token(user_id, lifetime_s=lifetime_s)
        return {"Authorization": f"Bearer {token.reveal().decode()}"}

    async def revoke_token(self, auth: Mapping[str, str]) -> None:
        """
        End the token of an Authorization header.
        """
        async with self._console() as console:
            await console.accounts.revoke_token(auth["Authorization"].removeprefix("Bearer "))

    @asynccontextmanager
    async def _console(self) -> AsyncIterator[Console]:
        """
        Open what the commands work with, beside the running daemon.
        """
        async with open_console(self.settings) as console:
            yield console


@asynccontextmanager
async def forked_daemon(
    data_dir: Path, *, settings: Mapping[str, str] | None = None
) -> AsyncIterator[ForkedDaemon]:
    """
    Start a daemon, and see to it that it ends.
    """
    daemon = ForkedDaemon(data_dir, settings=settings)
    try:
        await daemon.start()
        yield daemon
    finally:
        daemon.kill()


def _serve(arguments: Sequence[str], settings: Mapping[str, str], log: Path, stopped: bool) -> None:
    """
    Become the daemon: what the shell and the interpreter would have done, then the command itself.
    """
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
    os.environ.update(settings)  # noqa: TID251 - this is the daemon's environment, not the test's
    sys.argv = ["gateway", *arguments]
    if stopped:
        os.kill(os.getpid(), signal.SIGSTOP)
    from gateway.cli import main

    main()
