"""
Sees everything that a gateway in this process stores, and can end that process, as it were, at any point.

A point is whatever changes something that outlives the process: a statement that writes, a commit, a file that is
opened for writing, written to, linked or removed, and each step of a round.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.closure.attacker import HEAD_OF_A_BLOB, Attacker

_READING = ("SELECT", "BEGIN", "PRAGMA", "SET", "SHOW")


class Died(BaseException):
    """
    The process is dead; raised by whatever it still tries to do.
    """


@dataclass(eq=False)
class _WrittenFile:
    path: str
    head: bytearray = field(default_factory=bytearray)


class Witness:
    """
    Tells the attacker what is stored, and dies where it is told to.
    """

    def __init__(self, data_dir: Path, attacker: Attacker) -> None:
        self.attacker = attacker
        self.is_dead = False
        self.steps: list[str] = []
        self.deaths = 0
        self.before_receipts: Callable[[list[str]], None] = lambda subjects: None
        """Called with the subjects of receipts that are about to be stored."""
        self.at_step: dict[str, Callable[[], None]] = {}
        self._data_dir = f"{data_dir}/"
        self.death = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._looks_away = False
        self._points_left: int | None = None
        self._awaited: tuple[int, asyncio.Event] | None = None
        self._files: dict[int, _WrittenFile] = {}
        self._written: list[_WrittenFile] = []
        self._originals: dict[str, Callable[..., Any]] = {}
        self._connections: list[Any] = []

    def die_after(self, points: int) -> None:
        """
        Let the process die at the point that comes after so many.
        """
        self._points_left = points

    def die_at(self, step: str) -> None:
        """
        Let the process die when a round next reaches *step*.
        """
        self.at_step[step] = self._die

    def passed(self, points: int) -> asyncio.Event:
        """
        Return what is set when so many points have been passed from now on.
        """
        passed = asyncio.Event()
        self._awaited = (points, passed)
        if points == 0:
            passed.set()
        return passed

    def plan_no_death(self) -> None:
        self.at_step.clear()
        self._points_left = None

    def revive(self) -> None:
        """
        Begin a new process: what the old one had open is closed, and no death is planned.
        """
        for fd, file in list(self._files.items()):
            # As the kernel does; it also ends the locks on them.
            if _path_of(fd) == file.path:
                self._originals["close"](fd)
        self._files.clear()
        for connection in self._connections:
            connection.terminate()
        self._connections.clear()
        self.plan_no_death()
        self.is_dead = False
        self.death.clear()

    def tell_files(self) -> None:
        """
        Tell the attacker of all files that were written up to now.
        """
        for file in self._written:
            self.attacker.write_down_file(bytes(file.head))
        self._written = list(self._files.values())

    @contextmanager
    def looking_away(self) -> Iterator[None]:
        """
        Pass over what an operator does with the files while no process runs.
        """
        self._looks_away = True
        try:
            yield
        finally:
            self._looks_away = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """
        Watch every database connection and file call of this process.
        """
        self._loop = asyncio.get_running_loop()
        # A process that died tells nobody what it died of.
        self._loop.set_exception_handler(_pass_over_deaths)
        listeners: dict[str, Callable[..., None]] = {
            "before_cursor_execute": self._on_statement,
            "commit": self._on_commit,
            "connect": self._on_connect,
        }
        with pytest.MonkeyPatch.context() as patch:
            for name in ("open", "write", "pwrite", "close", "link", "unlink"):
                self._originals[name] = getattr(os, name)
                patch.setattr(os, name, getattr(self, f"_{name}"))
            patch.setattr("gateway.keyring.keyring._no_step", self._on_step)
            for name, listener in listeners.items():
                event.listen(Engine, name, listener)
            try:
                yield
            finally:
                for name, listener in listeners.items():
                    event.remove(Engine, name, listener)

    def _die(self) -> None:
        self.is_dead = True
        self.deaths += 1
        self._tell_loop(self.death)
        raise Died

    def _tell_loop(self, news: asyncio.Event) -> None:
        # Also from a thread.
        assert self._loop is not None
        self._loop.call_soon_threadsafe(news.set)

    def _point(self) -> None:
        if self._looks_away:
            return
        if self.is_dead:
            raise Died
        if self._awaited is not None:
            left, passed = self._awaited
            self._awaited = (left - 1, passed)
            if left == 1:
                self._tell_loop(passed)
        if self._points_left is not None:
            self._points_left -= 1
            if self._points_left < 0:
                self._die()

    async def _on_step(self, step: str) -> None:
        self._point()
        self.steps.append(step)
        if happening := self.at_step.pop(step, None):
            happening()

    def _on_statement(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        if self.is_dead:
            raise Died
        if statement.lstrip().upper().startswith(_READING):
            return
        self._point()
        rows = parameters if executemany else [parameters]
        self.attacker.write_down_statement(statement, rows)
        if statement.startswith("INSERT INTO receipts "):
            subjects = [self._subject_of(row) for row in rows]
            self.before_receipts(subjects)

    def _on_commit(self, connection: Any) -> None:
        self._point()

    def _on_connect(self, connection: Any, record: Any) -> None:
        # SQLite's connections are files, of which the witness knows already.
        driver = getattr(connection, "driver_connection", None)
        if hasattr(driver, "terminate"):
            self._connections.append(driver)

    @staticmethod
    def _subject_of(row: tuple[Any, ...]) -> str:
        _, subject_id, *_ = row
        assert isinstance(subject_id, str)
        return subject_id

    def _open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        place = self._place(path, dir_fd)
        is_written = place is not None and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if is_written:
            self._point()
        fd: int = self._originals["open"](path, flags, mode, dir_fd=dir_fd)
        if is_written:
            assert place is not None
            self._files[fd] = _WrittenFile(place)
            self._written.append(self._files[fd])
        return fd

    def _write(self, fd: int, content: Any) -> int:
        file = self._files.get(fd)
        if file is None:
            return int(self._originals["write"](fd, content))
        if self._dies_now():
            content = memoryview(content)[: len(content) // 2]
        written: int = self._originals["write"](fd, content)
        file.head += bytes(content[: min(written, HEAD_OF_A_BLOB - len(file.head))])
        if self.is_dead:
            raise Died
        return written

    def _pwrite(self, fd: int, content: bytes, offset: int) -> int:
        if fd not in self._files:
            return int(self._originals["pwrite"](fd, content, offset))
        if self._dies_now():
            # Of what is written to the root store: within the key.
            content = content[:40]
        written: int = self._originals["pwrite"](fd, content, offset)
        if self.is_dead:
            raise Died
        return written

    def _close(self, fd: int) -> None:
        self._files.pop(fd, None)
        self._originals["close"](fd)

    def _link(self, source: Any, target: Any, **options: Any) -> None:
        if self._place(target, options.get("dst_dir_fd")) is not None:
            self._point()
        self._originals["link"](source, target, **options)

    def _unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        if self._place(path, dir_fd) is not None:
            self._point()
        self._originals["unlink"](path, dir_fd=dir_fd)

    def _dies_now(self) -> bool:
        """
        Tell whether the write that comes is cut in its middle by the process's death.
        """
        if self.is_dead:
            raise Died
        try:
            self._point()
        except Died:
            return True
        return False

    def _place(self, path: Any, dir_fd: int | None) -> str | None:
        """
        Return the whole path, if it lies in the data directory.
        """
        place = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if dir_fd is not None:
            place = f"{_path_of(dir_fd)}/{place}"
        return place if place.startswith(self._data_dir) else None


def _path_of(fd: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    except OSError:
        return ""


def _pass_over_deaths(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if not isinstance(context.get("exception"), Died):
        loop.default_exception_handler(context)
