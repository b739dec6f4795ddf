"""
strace as a saboteur: system calls of a running daemon that fail, or that it does not survive.
"""

import re
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.forked_daemon import DaemonEnded, ForkedDaemon
from tests.support.waiting import until


@dataclass(frozen=True)
class Calls:
    """
    System calls of one kind, on some paths in the data directory or on any.

    *about* is how often the story makes them: for choosing some of them, not for knowing when to end.
    """

    name: str
    about: int
    paths: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.name, *self.paths[:1]))


@asynccontextmanager
async def started_to_die(daemon: ForkedDaemon, calls: Calls, number: int) -> AsyncIterator[int | None]:
    """
    Start *daemon* so that it dies at the *number*-th of these calls, as long as the context is entered.

    Gives the status with which it ended if it did not become ready; None if it did.
    """
    daemon.spawn(stopped=True)
    await daemon.stopped()
    paths = [daemon.data_dir / path for path in calls.paths]
    async with sabotaging(daemon.pid, f"{calls.name}:signal=KILL:when={number}", paths=paths):
        daemon.go_on()
        status: int | None = None
        try:
            await daemon.ready()
        except DaemonEnded as end:
            status = end.status
        yield status


@asynccontextmanager
async def sabotaging(pid: int, injection: str, *, paths: Sequence[Path] = ()) -> AsyncIterator[None]:
    """
    Inject into the system calls of process *pid*, all its threads, those that touch *paths* if any are given.

    *injection* is strace's: ``fsync:error=EIO:when=1+`` or ``pwrite64:signal=KILL:when=3``; counted for each thread.
    The process may die meanwhile.
    """
    calls = injection.partition(":")[0]
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={injection}"]
    for path in paths:
        command += ["-P", str(path)]
    strace = subprocess.Popen([*command, "-p", str(pid)], stderr=subprocess.PIPE, text=True)

    def is_attached() -> bool:
        if _is_traced(pid, by=strace.pid):
            return True
        if strace.poll() is not None:
            assert strace.stderr is not None
            raise RuntimeError(f"strace ended: {strace.stderr.read()}")
        return False

    try:
        await until(is_attached)
        yield
    finally:
        # Ended by itself if the process died; otherwise this lets the process go on undisturbed.
        strace.terminate()
        strace.communicate(timeout=30)


def _is_traced(pid: int, *, by: int) -> bool:
    """
    Tell whether every thread of *pid* has that tracer.
    """
    try:
        return all(
            re.search(rf"^TracerPid:\s+{by}$", (thread / "status").read_text(), re.MULTILINE)
            for thread in Path(f"/proc/{pid}/task").iterdir()
        )
    except FileNotFoundError:
        return False
