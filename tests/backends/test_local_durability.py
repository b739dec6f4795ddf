"""
What a power cut would find: after each call, nothing that it promised is unsynced.
"""

import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.api import Backend, BackendContext, BlobKey, BlobRef, Conflict, Transient
from gateway.backends.local.backend import connect
from gateway.backends.local.settings import LocalSettings
from gateway.testing.conformance import PIECE
from gateway.testing.sources import BytesSource, FileSource, pattern
from tests.backends.watched_os import WatchedOs

CONTEXT = BackendContext(account="home")
KEY = BlobKey("abcd" + 60 * "0")
SAME_FOLDER = BlobKey("abcd" + 60 * "1")
SAME_OUTER_FOLDER = BlobKey("ab00" + 60 * "0")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> WatchedOs:
    return WatchedOs.installed(monkeypatch)


@pytest.fixture
async def backend(root: Path, watched: WatchedOs) -> AsyncIterator[Backend]:
    async with connect(CONTEXT, LocalSettings(root=root)) as backend:
        yield backend


async def test_a_connected_folder_is_durable(backend: Backend, root: Path, watched: WatchedOs) -> None:
    assert backend.traits.max_concurrency == 8
    assert [] == watched.unsynced_below(root)


@pytest.mark.parametrize("size", [0, 1, 2 * PIECE + 1])
async def test_a_put_is_durable(backend: Backend, root: Path, watched: WatchedOs, size: int) -> None:
    for key in (KEY, SAME_FOLDER, SAME_OUTER_FOLDER):
        await backend.put(key, BytesSource(pattern(size)))
        assert [] == watched.unsynced_below(root)
    assert [] == watched.linked_before_synced


async def test_a_put_that_takes_a_file_over_is_durable(
    backend: Backend, root: Path, watched: WatchedOs, tmp_path: Path
) -> None:
    file = tmp_path / "sealed"
    file.touch(mode=0o600)
    file.write_bytes(pattern(1000))
    facts = file.stat()
    watched.unsynced[facts.st_dev, facts.st_ino] = "the bytes of a file that its owner never synced"
    await backend.put(KEY, FileSource(file))
    assert file.samefile(root / "ab" / "cd" / KEY)
    assert [] == watched.unsynced_below(root)
    assert [] == watched.linked_before_synced


async def test_a_delete_is_durable(backend: Backend, root: Path, watched: WatchedOs) -> None:
    ref = await backend.put(KEY, BytesSource(b"sealed"))
    await backend.delete(ref)
    assert [] == watched.unsynced_below(root)


async def test_a_repeated_delete_makes_durable_what_the_first_did_not(
    backend: Backend, root: Path, watched: WatchedOs
) -> None:
    ref = await backend.put(KEY, BytesSource(b"sealed"))
    watched.fail("fsync", errno.EIO, at=1)
    with pytest.raises(Transient):
        await backend.delete(ref)
    assert [] != watched.unsynced_below(root)
    await backend.delete(ref)
    assert [] == watched.unsynced_below(root)


async def test_a_blob_that_is_not_found_after_a_delete_that_died_is_durably_gone(
    backend: Backend, root: Path, watched: WatchedOs
) -> None:
    ref = await backend.put(KEY, BytesSource(b"sealed"))
    watched.fail("fsync", errno.EIO, at=1)
    with pytest.raises(Transient):
        await backend.delete(ref)
    async with connect(CONTEXT, LocalSettings(root=root)) as later:
        assert await later.find(KEY) is None
        assert [] == watched.unsynced_below(root)


@pytest.mark.parametrize("failing", range(1, 5))
async def test_what_is_found_after_a_put_that_died_is_durable(
    backend: Backend, root: Path, watched: WatchedOs, failing: int
) -> None:
    """
    A put's fsyncs are those of the file, the root, the outer folder and the inner one.
    """
    watched.fail("fsync", errno.EIO, at=failing)
    with pytest.raises(Transient):
        await backend.put(KEY, BytesSource(b"sealed"))
    async with connect(CONTEXT, LocalSettings(root=root)) as later:
        found = await later.find(KEY)
        assert (BlobRef(KEY) if failing == 4 else None) == found
        if found is None:
            await later.put(KEY, BytesSource(b"sealed"))
        assert [] == watched.unsynced_below(root)


async def test_a_conflict_means_that_what_is_there_is_durable(
    backend: Backend, root: Path, watched: WatchedOs, tmp_path: Path
) -> None:
    file = tmp_path / "sealed"
    file.touch(mode=0o600)
    for source in (BytesSource(b""), FileSource(file)):
        watched.fail("fsync", errno.EIO, at=4)
        with pytest.raises(Transient):
            await backend.put(KEY, BytesSource(b"sealed"))
        async with connect(CONTEXT, LocalSettings(root=root)) as later:
            with pytest.raises(Conflict):
                await later.put(KEY, source)
            assert [] == watched.unsynced_below(root)
            await later.delete(BlobRef(KEY))
        # What the first connection knows to be durable must not help it in the second round.
        backend._folder._settled[:] = bytes(1 << 16)  # type: ignore[attr-defined]
