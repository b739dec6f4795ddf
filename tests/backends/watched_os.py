"""
An `os` for the local backend that counts its calls, and can fail, hang or die in a chosen one.

It also keeps a ledger of what a power cut would lose: whatever was changed and not synced since.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Inode = tuple[int, int]

_WATCHED = {"close", "fstat", "fsync", "link", "mkdir", "open", "pread", "unlink", "write"}
_MODULES = ("gateway.backends.local.client", "gateway.backends.local.files")


class WatchedOs:
    """
    Stands in for the module `os`.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.unsynced: dict[Inode, str] = {}
        self.linked_before_synced: list[str] = []
        self.die_at: int | None = None
        self.open_files: set[int] = set()
        self._faults: dict[str, tuple[int, int]] = {}
        self._before: dict[str, Callable[[], object]] = {}
        self._hangs: dict[str, Hang] = {}
        self._lock = threading.Lock()

    @classmethod
    def installed(cls, monkeypatch: pytest.MonkeyPatch) -> "WatchedOs":
        watched = cls()
        for module in _MODULES:
            monkeypatch.setattr(f"{module}.os", watched)
        return watched

    def fail(self, call: str, code: int, *, at: int) -> None:
        """
        Let the call number *at* of *call* from now on fail with *code*.
        """
        self._faults[call] = (at, code)

    def before(self, call: str, then: Callable[[], object]) -> None:
        """
        Do *then* just before each *call*.
        """
        self._before[call] = then

    @contextmanager
    def hanging(self, call: str) -> Iterator["Hang"]:
        """
        Let each *call* hang until the context is left.
        """
        hang = self._hangs[call] = Hang()
        try:
            yield hang
        finally:
            del self._hangs[call]
            hang.release.set()

    @staticmethod
    def count_in(calls: list[str], call: str) -> int:
        return calls.count(call)

    def unsynced_below(self, root: Path) -> list[str]:
        """
        What lies below *root* (but for files on their way in), and would not outlive a power cut.
        """
        below = {_inode(path) for path in [root, *root.rglob("*")] if ".incoming" not in path.parts}
        return [what for inode, what in self.unsynced.items() if inode in below]

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in _WATCHED:
            return real

        def watched(*args: Any, **kwargs: Any) -> Any:
            self._enter(name)
            if name == "link" and _inode(args[0], kwargs["src_dir_fd"]) in self.unsynced:
                self.linked_before_synced.append(str(args[1]))
            result = real(*args, **kwargs)
            self._note(name, args, kwargs, result)
            return result

        return watched

    def _enter(self, name: str) -> None:
        with self._lock:
            self.calls.append(name)
            if len(self.calls) == self.die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            then = self._before.get(name)
            at, code = self._faults.pop(name, (0, 0))
            if at > 1:
                self._faults[name] = (at - 1, code)
        if then is not None:
            then()
        if name in self._hangs:
            self._hangs[name].hang()
        if at == 1:
            raise OSError(code, os.strerror(code))

    def _note(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        with self._lock:
            if name == "close":
                self.open_files.discard(args[0])
            elif name == "open":
                self.open_files.add(result)
            if name == "write":
                self.unsynced[_inode(args[0])] = "the bytes of a file"
            elif name == "fsync":
                self.unsynced.pop(_inode(args[0]), None)
            elif name == "link":
                self._changed_folder_of(args[1], kwargs["dst_dir_fd"])
            elif name in {"mkdir", "unlink"} or (name == "open" and args[1] & os.O_CREAT):
                self._changed_folder_of(args[0], kwargs.get("dir_fd"))

    def _changed_folder_of(self, path: str, dir_fd: int | None) -> None:
        folder = Path(path).parent
        self.unsynced[_inode(folder, dir_fd)] = f"an entry of the folder {folder}"


class Hang:
    """
    A call that hangs.
    """

    def __init__(self) -> None:
        self.release = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._reached = asyncio.Event()

    async def reached(self) -> None:
        await self._reached.wait()

    def hang(self) -> None:
        self._loop.call_soon_threadsafe(self._reached.set)
        self.release.wait()


def _inode(which: int | str | Path, dir_fd: int | None = None) -> Inode:
    facts = os.stat(which) if isinstance(which, int) else os.stat(which, dir_fd=dir_fd, follow_symlinks=False)
    return facts.st_dev, facts.st_ino
