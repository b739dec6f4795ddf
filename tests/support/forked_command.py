"""
A ``gateway`` command in a process of its own, forked from one that has imported the gateway already.

Everything else, down to the exit status, is as from a shell.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.support.fork_server import fork_server

_PATIENCE_S: Final = 120


def run_forked(
    arguments: list[str], *, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    """
    Run ``gateway`` with *arguments* in *folder*, without a terminal.
    """
    with tempfile.TemporaryDirectory() as outputs:
        stdout, stderr = Path(outputs, "stdout"), Path(outputs, "stderr")
        process = fork_server().Process(
            target=_run, args=(arguments, folder, dict(environment), stdout, stderr)
        )
        process.start()
        process.join(_PATIENCE_S)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"gateway {' '.join(arguments)} did not end")
        return subprocess.CompletedProcess(
            arguments, process.exitcode, stdout.read_bytes(), stderr.read_bytes()
        )


def _run(arguments: list[str], folder: Path, environment: dict[str, str], stdout: Path, stderr: Path) -> None:
    from gateway.cli import main

    for number, (path, flags) in enumerate(
        [
            (Path(os.devnull), os.O_RDONLY),
            (stdout, os.O_WRONLY | os.O_CREAT),
            (stderr, os.O_WRONLY | os.O_CREAT),
        ]
    ):
        os.dup2(os.open(path, flags, 0o600), number)
    # The fork server's own stdin is one that multiprocessing put there.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    os.environ.clear()  # noqa: TID251 - this is the environment of a new process
    os.environ.update(environment)  # noqa: TID251
    time.tzset()
    os.chdir(folder)
    sys.path[:0] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.argv = ["gateway", *arguments]
    main()
