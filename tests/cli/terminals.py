"""
Commands whose stdin and stderr are a terminal.
"""

import os
import pty
import subprocess
import sys
import threading
from contextlib import suppress

from tests.cli.conftest import Shell


def run_at_a_terminal(shell: Shell, *arguments: str, types: str = "") -> tuple[int, str, str]:
    """
    Run a command at a terminal; return its exit status, what it wrote to stdout, and what the screen showed.
    """
    ours, theirs = pty.openpty()
    shown: list[bytes] = []

    def watch() -> None:
        # Reading a terminal whose other end is closed is an error on Linux, the end elsewhere.
        with suppress(OSError):
            while seen := os.read(ours, 4096):
                shown.append(seen)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=shell.folder,
        env={**shell.environment, "TERM": "xterm", "COLUMNS": "120"},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        os.write(ours, types.encode())
        stdout, _ = process.communicate(timeout=60)
    watcher.join()
    os.close(ours)
    return process.returncode, stdout.decode(), b"".join(shown).decode()
