"""
The data directory of one installation, and the lock that keeps a second daemon out of it.
"""

import fcntl
import os
import uuid
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from gateway.base.errors import ConfigurationError, RefusesToServe

_LOCK_NAME: Final = "lock"


class DataDirectoryLock:
    """
    Holds the data directory for this process; the kernel lets go when the process ends, however it ends.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        """
        Let go.
        """
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class DataDirectory:
    """
    Where things lie in it: ``catalog.db``, ``keys.db``, ``root/``, ``spool/``, ``blobs/``.

    ``catalog.db`` and ``blobs/`` may be backed up freely; ``keys.db`` and ``root/`` have live copies, not old ones.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path / "root"
        self.spool = path / "spool"
        self.blobs = path / "blobs"

    def prepare(self) -> None:
        """
        Make the directory, readable for nobody else, if it is absent.

        Raises:
            ConfigurationError: it cannot be made or written to.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"the data directory {self.path}: {error.strerror}") from error
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise ConfigurationError(f"the data directory {self.path} cannot be written to by this user")

    def try_lock(self) -> DataDirectoryLock | None:
        """
        Return the lock, or None while another process holds it.
        """
        fd = os.open(self.path / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        return DataDirectoryLock(fd)

    def refusal(self) -> RefusesToServe:
        """
        Return the refusal of a second daemon.
        """
        return RefusesToServe(
            f"Another gateway process is serving the data directory {self.path}.",
            advice="Stop it first, or give this one a directory of its own with --data-dir.",
        )

    def node_name(self) -> str:
        """
        Return the name of this installation's node, made once.
        """
        file = self.path / "node"
        # Empty where a crash came between its making and its filling.
        name = file.read_text("ascii").strip() if file.exists() else ""
        if not name:
            name = f"node-{uuid.uuid4().hex[:12]}"
            file.write_text(name + "\n", "ascii")
        return name
