"""
A program that dies by SIGKILL at each file call of a put in turn, and says where it died.

    python -m tests.backends.crashing_puts copied|linked FOLDER KEY SOURCE
"""

import asyncio
import os
import sys
from itertools import count
from pathlib import Path

from gateway.api import BackendContext, BlobKey
from gateway.backends.local import client, files
from gateway.backends.local.backend import connect
from gateway.backends.local.settings import LocalSettings
from gateway.testing.sources import BytesSource, FileSource
from tests.backends.watched_os import WatchedOs


async def put_and_die(root: Path, key: BlobKey, source: BytesSource, die_at: int) -> None:
    watched = WatchedOs()
    watched.die_at = die_at
    for module in (client, files):
        vars(module)["os"] = watched
    async with connect(BackendContext(account="home"), LocalSettings(root=root)) as backend:
        await backend.put(key, source)
        os._exit(0)


def main(how: str, folder: str, key: str, file: str) -> None:
    path = Path(file)
    source = FileSource(path) if how == "linked" else BytesSource(path.read_bytes())
    for die_at in count(1):
        root = Path(folder) / str(die_at)
        child = os.fork()
        if child == 0:
            asyncio.run(put_and_die(root, BlobKey(key), source, die_at))
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            if os.WEXITSTATUS(status) != 0:
                sys.exit(f"the put failed instead of being killed at call {die_at}")
            return
        sys.stdout.write(f"{root}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
