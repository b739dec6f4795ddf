"""
Syncs of one directory that are asked for at the same time are one.
"""

import errno
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.spool import files
from gateway.spool.files import SharedSync

PATIENCE_S = 30


class Disk:
    """
    Holds each sync up until it is let go.
    """

    def __init__(self) -> None:
        self.begun = 0
        self.has_begun = threading.Event()
        self.may_end = threading.Event()
        self.failure: OSError | None = None

    def sync(self, directory: Path) -> None:
        self.begun += 1
        self.has_begun.set()
        assert self.may_end.wait(PATIENCE_S)
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(files, "sync_directory", disk.sync)
    return disk


def asked_meanwhile(shared: SharedSync, disk: Disk, threads: ThreadPoolExecutor) -> list["Future[None]"]:
    """
    Ask once, and four times more while that sync runs; let them end.
    """
    first = threads.submit(shared.sync)
    assert disk.has_begun.wait(PATIENCE_S)
    later = [threads.submit(shared.sync) for _ in range(4)]
    while shared._next is None or threads._work_queue.qsize():
        pass
    disk.may_end.set()
    first.exception(PATIENCE_S)
    return later


def test_those_who_come_meanwhile_share_the_next_one(tmp_path: Path, disk: Disk) -> None:
    shared = SharedSync(tmp_path)
    with ThreadPoolExecutor(5) as threads:
        for one in asked_meanwhile(shared, disk, threads):
            one.result(PATIENCE_S)
    # The one that ran already may have missed their names; four shared one or two after it.
    assert 2 <= disk.begun <= 3


def test_a_failure_is_told_to_all_who_shared_it(tmp_path: Path, disk: Disk) -> None:
    disk.failure = OSError(errno.EIO, "broken")
    shared = SharedSync(tmp_path)
    with ThreadPoolExecutor(5) as threads:
        for one in asked_meanwhile(shared, disk, threads):
            assert isinstance(one.exception(PATIENCE_S), OSError)
    disk.failure = None
    shared.sync()
