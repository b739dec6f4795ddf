"""
The local backend: the whole contract, and what is its own about it.
"""

import ast
import asyncio
import errno
import shutil
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.api import (
    Backend,
    BackendContext,
    BackendError,
    BlobKey,
    BlobRef,
    BlobStat,
    Conflict,
    IntegrityMismatch,
    Misconfigured,
    Span,
    Transient,
    new_blob_key,
)
from gateway.backends import local
from gateway.backends.local import gateway_register_backends
from gateway.backends.local.backend import connect as connect_local
from gateway.backends.local.settings import LocalSettings
from gateway.testing.conformance import PIECE, BackendConformance, Connect, listed, read_all
from gateway.testing.sources import BytesSource, FileSource, StallingSource, pattern
from tests.backends.watched_os import WatchedOs

CONTEXT = BackendContext(account="home")
KEY = BlobKey("abcd" + 60 * "0")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
async def backend(root: Path) -> AsyncIterator[Backend]:
    async with connect_local(CONTEXT, LocalSettings(root=root)) as backend:
        yield backend


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> WatchedOs:
    return WatchedOs.installed(monkeypatch)


class TestLocal(BackendConformance):
    @pytest.fixture
    def connect(self, root: Path) -> Connect:
        (kind,) = gateway_register_backends()
        return lambda: kind.connect(CONTEXT, LocalSettings(root=root, max_concurrency=3))


def private_file(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path


def incoming(root: Path) -> list[Path]:
    return list((root / ".incoming").iterdir())


def test_the_plugin_knows_only_the_contract() -> None:
    """
    Like any other plugin: of the gateway it imports `gateway.api`, and itself.
    """
    folder = Path(local.__file__).parent
    imported = {
        node.module or ""
        for file in folder.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
    }
    ours = {module for module in imported if module.startswith("gateway")}
    assert {"gateway.api"} == {module for module in ours if not module.startswith(local.__name__)}


# Where things lie


async def test_a_blob_is_a_private_file_under_its_first_digits(backend: Backend, root: Path) -> None:
    await backend.put(KEY, BytesSource(b"sealed"))
    file = root / "ab" / "cd" / KEY
    assert b"sealed" == file.read_bytes()
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    for folder in (root, root / ".incoming", root / "ab", root / "ab" / "cd"):
        assert 0o700 == stat.S_IMODE(folder.stat().st_mode)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../../../etc/passwd",
        64 * "A",
        63 * "a",
        65 * "a",
        63 * "a" + "\n",
        63 * "a" + "/",
        64 * "\N{ARABIC-INDIC DIGIT ZERO}",
    ],
)
async def test_what_is_no_key_never_becomes_a_path(
    backend: Backend, watched: WatchedOs, name: str, tmp_path: Path
) -> None:
    key = BlobKey(name)
    file = private_file(tmp_path / "sealed", b"sealed")
    watched.calls.clear()
    for attempt in (
        backend.put(key, BytesSource(b"sealed")),
        backend.stat(BlobRef(key)),
        backend.find(key),
        backend.delete(BlobRef(key)),
        backend.read(BlobRef(key)).__aenter__(),
    ):
        with pytest.raises((BackendError, ValueError)):
            await attempt
    assert [] == watched.calls
    with pytest.raises((BackendError, ValueError)):
        await backend.put(key, FileSource(file))
    assert "link" not in watched.calls


async def test_a_scan_passes_over_what_is_not_a_blob(backend: Backend, root: Path) -> None:
    ref = await backend.put(KEY, BytesSource(b"sealed"))
    shelf = root / "ab" / "cd"
    (shelf / "notes.txt").write_text("foreign")
    (shelf / ("abce" + 60 * "0")).write_text("in the wrong folder")
    (shelf / ("abcd" + 60 * "1")).symlink_to(shelf / KEY)
    (shelf / ("abcd" + 60 * "2")).mkdir()
    (root / "ab" / "ce").write_text("a file where a folder is looked for")
    (root / "ac").write_text("another")
    (root / KEY).write_text("too high up")
    (root / "lost+found").mkdir()
    assert [BlobStat(ref, 6)] == await listed(backend)


# Taking a file over


async def test_a_taken_key_is_refused_before_anything_is_copied(backend: Backend) -> None:
    await backend.put(KEY, BytesSource(b"sealed"))
    source = BytesSource(pattern(PIECE))
    with pytest.raises(Conflict):
        await backend.put(KEY, source)
    assert 0 == source.opened


async def test_a_private_file_is_taken_over_without_copying(
    backend: Backend, tmp_path: Path, root: Path
) -> None:
    file = private_file(tmp_path / "sealed", pattern(PIECE))
    source = FileSource(file)
    await backend.put(KEY, source)
    assert 0 == source.opened
    assert file.samefile(root / "ab" / "cd" / KEY)


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
async def test_a_file_that_cannot_be_linked_is_copied(
    backend: Backend, tmp_path: Path, root: Path, watched: WatchedOs, code: int
) -> None:
    file = private_file(tmp_path / "sealed", pattern(PIECE))
    watched.fail("link", code, at=1)
    ref = await backend.put(KEY, FileSource(file))
    assert pattern(PIECE) == await read_all(backend, ref)
    assert not file.samefile(root / "ab" / "cd" / KEY)


async def test_a_file_that_others_may_read_is_copied(backend: Backend, tmp_path: Path, root: Path) -> None:
    file = private_file(tmp_path / "sealed", b"sealed")
    file.chmod(0o644)
    await backend.put(KEY, FileSource(file))
    assert 0o600 == stat.S_IMODE((root / "ab" / "cd" / KEY).stat().st_mode)
    assert 0o644 == stat.S_IMODE(file.stat().st_mode)


async def test_a_link_in_the_place_of_a_file_is_not_taken_over(
    backend: Backend, tmp_path: Path, root: Path
) -> None:
    file = private_file(tmp_path / "sealed", b"sealed")
    (tmp_path / "link").symlink_to(file)
    await backend.put(KEY, FileSource(tmp_path / "link"))
    blob = root / "ab" / "cd" / KEY
    assert not blob.is_symlink()
    assert not blob.samefile(file)
    assert b"sealed" == blob.read_bytes()


async def test_a_file_of_another_size_is_not_taken_over(backend: Backend, tmp_path: Path) -> None:
    source = FileSource(private_file(tmp_path / "sealed", b"sealed"))
    private_file(tmp_path / "sealed", b"sealed and more")
    with pytest.raises(IntegrityMismatch):
        await backend.put(KEY, source)
    assert await backend.find(KEY) is None


# Faults


@pytest.mark.parametrize("call", ["open", "write", "fsync", "link", "mkdir"])
async def test_a_failing_disk_is_transient_and_the_put_can_be_repeated(
    backend: Backend, root: Path, watched: WatchedOs, call: str
) -> None:
    for at in range(1, watched.count_in(await _counted(backend, watched), call) + 1):
        key = new_blob_key()
        watched.fail(call, errno.EIO, at=at)
        with pytest.raises(Transient) as caught:
            await backend.put(key, BytesSource(pattern(PIECE + 1)))
        assert "EIO" == caught.value.provider_code
        assert str(root) in str(caught.value)
        assert [] == incoming(root)
        # The last fsync is that of the folder; by then the blob is there, whole.
        if await backend.find(key) is None:
            await backend.put(key, BytesSource(pattern(PIECE + 1)))
        assert pattern(PIECE + 1) == await read_all(backend, BlobRef(key))


async def _counted(backend: Backend, watched: WatchedOs) -> list[str]:
    watched.calls.clear()
    await backend.put(new_blob_key(), BytesSource(pattern(PIECE + 1)))
    return list(watched.calls)


async def test_a_blob_that_is_cut_while_it_is_read_is_an_error_not_an_end(
    backend: Backend, root: Path
) -> None:
    ref = await backend.put(KEY, BytesSource(pattern(3 * PIECE)))
    async with backend.read(ref) as pieces:
        await anext(pieces)
        with (root / "ab" / "cd" / KEY).open("r+b") as file:
            file.truncate(PIECE + 10)
        assert pattern(3 * PIECE)[PIECE : PIECE + 10] == await anext(pieces)
        with pytest.raises(IntegrityMismatch):
            await anext(pieces)


async def test_a_blob_that_is_cut_before_refuses_the_span_on_entering(backend: Backend, root: Path) -> None:
    ref = await backend.put(KEY, BytesSource(pattern(1000)))
    with (root / "ab" / "cd" / KEY).open("r+b") as file:
        file.truncate(500)
    with pytest.raises(IntegrityMismatch, match="has 500 bytes"):
        await backend.read(ref, Span(400, 200)).__aenter__()


async def test_a_reader_finishes_although_the_blob_is_deleted(backend: Backend) -> None:
    ref = await backend.put(KEY, BytesSource(pattern(3 * PIECE)))
    async with backend.read(ref) as pieces:
        first = await anext(pieces)
        await backend.delete(ref)
        assert pattern(3 * PIECE) == first + b"".join([piece async for piece in pieces])


# The folder itself


async def test_a_removed_folder_is_not_taken_for_removed_blobs(backend: Backend, root: Path) -> None:
    ref = await backend.put(KEY, BytesSource(b"sealed"))
    shutil.rmtree(root)
    for attempt in (
        backend.stat(ref),
        backend.find(KEY),
        backend.delete(ref),
        backend.read(ref).__aenter__(),
        backend.put(new_blob_key(), BytesSource(b"sealed")),
        backend.probe(),
    ):
        with pytest.raises(Misconfigured):
            await attempt


async def test_a_bare_mount_point_is_refused_when_the_folder_must_be_there(root: Path) -> None:
    root.mkdir()
    settings = LocalSettings(root=root, create=False)
    with pytest.raises(Misconfigured, match="not mounted"):
        await connect_local(CONTEXT, settings).__aenter__()
    assert [] == list(root.iterdir())
    async with connect_local(CONTEXT, LocalSettings(root=root)):
        pass
    async with connect_local(CONTEXT, settings) as backend:
        await backend.probe()


async def test_a_folder_that_must_be_there_and_is_not_is_not_made(root: Path) -> None:
    with pytest.raises(Misconfigured, match=str(root)):
        await connect_local(CONTEXT, LocalSettings(root=root, create=False)).__aenter__()
    assert not root.exists()


async def test_a_folder_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "missing" / "blobs"
    with pytest.raises(Misconfigured, match=str(root)):
        await connect_local(CONTEXT, LocalSettings(root=root)).__aenter__()


async def test_a_file_in_the_place_of_the_folder_is_refused(root: Path) -> None:
    root.write_text("foreign")
    with pytest.raises(Misconfigured, match=str(root)):
        await connect_local(CONTEXT, LocalSettings(root=root)).__aenter__()


async def test_a_probe_names_a_file_system_without_hard_links(
    backend: Backend, root: Path, watched: WatchedOs
) -> None:
    watched.fail("link", errno.EPERM, at=1)
    with pytest.raises(Misconfigured, match="no hard links"):
        await backend.probe()
    assert [] == incoming(root)


async def test_the_quota_is_that_of_the_file_system(backend: Backend, root: Path) -> None:
    total, _, free = shutil.disk_usage(root)
    quota = await backend.quota()
    assert quota is not None
    assert quota.limit is not None
    assert quota.limit <= total
    # Others write to the same disk meanwhile.
    assert free == pytest.approx(quota.free, rel=0.05, abs=1 << 30)


# Sweeping


async def test_connecting_sweeps_what_a_crash_left_and_nothing_else(root: Path) -> None:
    async with connect_local(CONTEXT, LocalSettings(root=root)):
        pass
    folder = root / ".incoming"
    (folder / f"{KEY}.{16 * '0'}").write_text("half a blob")
    (folder / f"probe.{16 * '0'}.linked").write_text("half a probe")
    (folder / "notes.txt").write_text("foreign")
    (folder / "folder").mkdir()
    async with connect_local(CONTEXT, LocalSettings(root=root)):
        assert {"notes.txt", "folder"} == {path.name for path in incoming(root)}


async def test_a_scan_sweeps_too(backend: Backend, root: Path) -> None:
    (root / ".incoming" / f"{KEY}.{16 * '0'}").write_text("half a blob")
    await listed(backend)
    assert [] == incoming(root)


async def test_a_sweep_leaves_a_put_in_flight_alone(backend: Backend, root: Path) -> None:
    source = StallingSource(pattern(2 * PIECE), at=PIECE)
    task = asyncio.create_task(backend.put(KEY, source))
    await source.stalled.wait()
    async with connect_local(CONTEXT, LocalSettings(root=root)) as other:
        await listed(other)
        assert 1 == len(incoming(root))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [] == incoming(root)


async def test_a_put_whose_file_is_swept_before_it_is_locked_takes_another(
    backend: Backend, root: Path, watched: WatchedOs
) -> None:
    """
    The sweep of another connection can come between creating a file and locking it.
    """
    swept: list[Path] = []

    def sweep() -> None:
        if not swept:
            swept.extend(incoming(root))
            for path in swept:
                path.unlink()

    watched.before("fstat", sweep)
    ref = await backend.put(KEY, BytesSource(b"sealed"))
    assert 1 == len(swept)
    assert b"sealed" == await read_all(backend, ref)


# The event loop


async def test_a_disk_that_hangs_does_not_hang_the_loop(backend: Backend, watched: WatchedOs) -> None:
    with watched.hanging("fsync") as hang:
        task = asyncio.create_task(backend.put(KEY, BytesSource(b"sealed")))
        await hang.reached()
        assert not task.done()
    assert BlobRef(KEY) == await task


async def test_a_cancelled_put_ends_only_when_its_file_call_has_ended(
    backend: Backend, watched: WatchedOs
) -> None:
    """
    Otherwise the thread could still publish the blob after the caller had looked and found nothing.
    """
    with watched.hanging("link") as hang:
        task = asyncio.create_task(backend.put(KEY, BytesSource(b"sealed")))
        await hang.reached()
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert BlobRef(KEY) == await backend.find(KEY)


async def test_a_put_cancelled_twice_still_tidies_up(root: Path, watched: WatchedOs) -> None:
    """
    The second time while tidying up waits for its turn in the lane.
    """
    async with connect_local(CONTEXT, LocalSettings(root=root, max_concurrency=1)) as backend:
        source = StallingSource(pattern(2 * PIECE), at=PIECE)
        task = asyncio.create_task(backend.put(KEY, source))
        await source.stalled.wait()
        with watched.hanging("mkdir") as hang:
            other = asyncio.create_task(backend.put(new_blob_key(), BytesSource(b"sealed")))
            await hang.reached()
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0)
        await asyncio.gather(task, other, return_exceptions=True)
        assert [] == incoming(root)


async def test_disconnecting_closes_what_callers_left_open(root: Path, watched: WatchedOs) -> None:
    source = StallingSource(pattern(2 * PIECE), at=PIECE)
    async with connect_local(CONTEXT, LocalSettings(root=root)) as backend:
        ref = await backend.put(KEY, BytesSource(pattern(3 * PIECE)))
        reading = backend.read(ref)
        await reading.__aenter__()
        task = asyncio.create_task(backend.put(new_blob_key(), source))
        await source.stalled.wait()
    assert set() == watched.open_files
    assert [] == incoming(root)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await reading.__aexit__(None, None, None)


async def test_a_disconnected_backend_is_transient(root: Path) -> None:
    async with connect_local(CONTEXT, LocalSettings(root=root)) as backend:
        pass
    with pytest.raises(Transient):
        await backend.find(KEY)
