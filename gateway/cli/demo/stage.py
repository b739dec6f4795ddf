"""
Where the demo plays: its folder, its voice, and the commands and daemons that it runs.
"""

import asyncio
import re
import shutil
import sys
import textwrap
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, Self, TypeVar

import click

from gateway.settings import ENVIRONMENT_PREFIX, passed_environment

P = ParamSpec("P")
T = TypeVar("T")

_WIDEST: Final = 100
_START_S: Final = 60.0
_STOP_S: Final = 30.0


class StepFailed(Exception):
    """
    Something that the demo claims is not so.
    """


class Narrator:
    """
    Tells the story on stdout.
    """

    def __init__(self) -> None:
        self._steps = 0
        self._width = min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns)
        encoding = sys.stdout.encoding or "ascii"
        self._tick = "✓" if "✓".encode(encoding, "ignore") else "ok:"
        self._full, self._empty = ("█", "░") if "█░".encode(encoding, "ignore") else ("#", ".")

    def heading(self, title: str) -> None:
        """
        Begin a step.
        """
        self._steps += 1
        click.echo()
        click.echo(click.style(f"{self._steps}. {title}", bold=True))

    @property
    def steps(self) -> int:
        """
        How many steps were begun.
        """
        return self._steps

    def say(self, text: str) -> None:
        """
        Say something.
        """
        click.echo(textwrap.fill(text, self._width, initial_indent="   ", subsequent_indent="   "))

    def claim(self, text: str) -> None:
        """
        Say something that was checked.
        """
        lines = textwrap.wrap(text, self._width - 5)
        click.echo(f"   {click.style(self._tick, fg='green')} {lines[0]}")
        for line in lines[1:]:
            click.echo(f"     {line}")

    def command(self, arguments: tuple[str, ...]) -> None:
        """
        Show a command that is run.
        """
        click.echo(click.style(f"   $ gateway {' '.join(arguments)}", fg="cyan"))

    def quote(self, text: str) -> None:
        """
        Show what somebody else said.
        """
        for line in text.rstrip().splitlines():
            indent = "     " + " " * (len(line) - len(line.lstrip()))
            is_row = "  " in line.strip()
            width = len(indent + line) if is_row else self._width - len(indent)
            for part in textwrap.wrap(line.strip(), width, break_on_hyphens=False) or [""]:
                click.echo(click.style(f"{indent}{part}".rstrip(), dim=True))

    def close(self, text: str) -> None:
        """
        Say how it ended.
        """
        click.echo()
        click.echo(click.style(text, bold=True))

    def bar(self, done: int, total: int) -> None:
        """
        Show how far something has come.
        """
        filled = round(40 * done / total)
        click.echo(f"   {self._full * filled}{self._empty * (40 - filled)} {done:,} of {total:,} bytes")


@dataclass(frozen=True, slots=True)
class Finished:
    """
    A command that was run.
    """

    status: int
    stdout: str
    stderr: str


class Daemon:
    """
    A ``gateway serve`` that runs until the stage is left.
    """

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._pump = asyncio.create_task(self._write_log())

    async def wait_until_ready(self) -> str:
        """
        Return the address once it listens.

        Raises:
            StepFailed: it ended instead, or takes too long.
        """
        try:
            async with asyncio.timeout(_START_S):
                return await asyncio.shield(self._address)
        except TimeoutError:
            raise StepFailed(f"the daemon does not listen after {_START_S:g} seconds") from None

    async def stop(self) -> None:
        """
        Send SIGTERM, if it still runs, and wait for the end.
        """
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._pump
        if self._address.done() and not self._address.cancelled():
            self._address.exception()

    async def _write_log(self) -> None:
        """
        Keep what it says, and find its address in it.
        """
        assert self._process.stderr is not None
        with self._log.open("ab") as log:
            async for line in self._process.stderr:
                log.write(line)
                log.flush()
                found = re.search(rb"Listening on (http://\S+)", line)
                if found is not None and not self._address.done():
                    self._address.set_result(found.group(1).decode())
        if not self._address.done():
            last = self._log.read_text("utf-8", "replace").strip().rpartition("\n")[2]
            self._address.set_exception(StepFailed(f"the daemon ended before it listened: {last}"))


class Stage:
    """
    The demo's folder, and what happens in it; leaving it ends every daemon.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.narrator = Narrator()
        self.environment = {
            # What this person has set for a gateway of his own is not meant for this one.
            **{
                name: value
                for name, value in passed_environment().items()
                if not name.startswith(ENVIRONMENT_PREFIX)
            },
            "XDG_STATE_HOME": str(folder / "state"),
        }
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()

    def check(self, is_so: bool, claim: str, *, otherwise: str) -> None:
        """
        Claim something, if it is so.

        Raises:
            StepFailed: it is not; says *otherwise*.
        """
        if not is_so:
            raise StepFailed(otherwise)
        self.narrator.claim(claim)

    async def start_daemon(self, data_dir: str) -> Daemon:
        """
        Start a daemon on a free port, on the data directory of that name in the folder.
        """
        arguments = ("serve", "--data-dir", data_dir, "--port", "0")
        self.narrator.command(arguments)
        process = await self._spawn(arguments)
        daemon = Daemon(process, self.folder / f"{data_dir}.log")
        self._stack.push_async_callback(daemon.stop)
        return daemon

    async def try_command(self, *arguments: str) -> Finished:
        """
        Run a command, show what it says, and return how it ended.
        """
        self.narrator.command(arguments)
        process = await self._spawn(arguments)
        stdout, stderr = await process.communicate()
        finished = Finished(process.returncode or 0, stdout.decode(), stderr.decode())
        self.narrator.quote(finished.stdout)
        self.narrator.quote(finished.stderr)
        return finished

    async def command(self, *arguments: str) -> str:
        """
        Run a command and return what it printed, without the end of the line.

        Raises:
            StepFailed: its exit status is not 0.
        """
        finished = await self.try_command(*arguments)
        if finished.status != 0:
            raise StepFailed(f"gateway {arguments[0]} ended with exit status {finished.status}")
        return finished.stdout.rstrip("\n")

    async def _spawn(self, arguments: tuple[str, ...]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway",
            *arguments,
            cwd=self.folder,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )


def step(
    function: Callable[Concatenate[Stage, P], Awaitable[T]],
) -> Callable[Concatenate[Stage, P], Awaitable[T]]:
    """
    Tell the first sentence of the function's docstring as a heading before what it does.
    """

    @wraps(function)
    async def told(stage: Stage, /, *args: P.args, **kwargs: P.kwargs) -> T:
        assert function.__doc__ is not None
        stage.narrator.heading(function.__doc__.strip().partition("\n")[0].rstrip("."))
        return await function(stage, *args, **kwargs)

    return told
