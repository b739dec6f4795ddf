"""
Blobs that are files of this machine: read at once where they are in memory, never after they were deleted.
"""

import errno
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.api import Backend, BackendContext, BlobRef, Span, new_blob_key
from gateway.backends.local.backend import connect, open_file
from gateway.backends.local.settings import LocalSettings
from gateway.backends.measured import Meters
from gateway.backends.near import MOST_AT_ONCE, NearBlobs
from gateway.testing.sources import BytesSource, pattern
from tests.support.clock import FakeClock
from tests.support.waiting import until

CONTENT = pattern(400_000)
IDLE_S = 0.01


class Disk:
    """
    A local backend, its blobs as files, and the descriptors that were opened of them.
    """

    def __init__(self, backend: Backend, clock: FakeClock) -> None:
        self.backend = backend
        self.clock = clock
        self.registry = CollectorRegistry()
        self.descriptors: list[int] = []
        self._made: list[NearBlobs] = []

    def near(self, *, most_open: int = 10) -> NearBlobs:
        meters = Meters(
            calls=Counter("calls", "Calls", ("kind", "operation", "outcome"), registry=self.registry),
            duration=Histogram("duration", "Duration", ("kind", "operation"), registry=self.registry),
        )
        near = NearBlobs(
            self._open,
            kind="local",
            meters=meters,
            clock=self.clock,
            most_open=most_open,
            idle_s=IDLE_S,
            threads=2,
        )
        self._made.append(near)
        return near

    def _open(self, ref: BlobRef) -> int:
        descriptor = open_file(self.backend, ref)
        self.descriptors.append(descriptor)
        return descriptor

    async def put(self, content: bytes = CONTENT) -> BlobRef:
        return await self.backend.put(new_blob_key(), BytesSource(content))

    def still_open(self) -> list[int]:
        return [at for at, descriptor in enumerate(self.descriptors) if _is_open(descriptor)]

    def close(self) -> None:
        for near in self._made:
            near.close()


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@pytest.fixture
async def disk(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Disk]:
    async with connect(BackendContext(account="home"), LocalSettings(root=tmp_path / "blobs")) as backend:
        disk = Disk(backend, clock)
        yield disk
        disk.close()
    # Nothing is left open, whatever the test did.
    assert [] == disk.still_open()


Preadv = Callable[..., int]


def patch_preadv(monkeypatch: pytest.MonkeyPatch, change: Callable[[Preadv], Preadv]) -> None:
    monkeypatch.setattr(os, "preadv", change(os.preadv))


def failing(code: int, *, only_at_once: bool) -> Callable[[Preadv], Preadv]:
    def change(original: Preadv) -> Preadv:
        def preadv(fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
            if flags or not only_at_once:
                raise OSError(code, os.strerror(code))
            return original(fd, buffers, offset, flags)

        return preadv

    return change


def little_by_little(original: Preadv) -> Preadv:
    def preadv(fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
        return original(fd, [buffers[0][:1000]], offset, flags)

    return preadv


@pytest.mark.parametrize(
    "span", [Span(0, 1), Span(0, 1000), Span(399_999, 1), Span(150_000, MOST_AT_ONCE - 50_000)]
)
async def test_any_span_is_read_and_then_at_once(disk: Disk, span: Span) -> None:
    near, ref = disk.near(), await disk.put()
    wanted = CONTENT[span.start : span.end]
    assert None is near.read_now(ref, span)
    assert wanted == await near.read(ref, span)
    # Not every file system says what is in memory.
    assert near.read_now(ref, span) in (wanted, None)
    assert [0] == disk.still_open()


async def test_what_is_long_is_not_read_at_once(disk: Disk) -> None:
    near, ref = disk.near(), await disk.put()
    assert CONTENT == await near.read(ref, Span(0, len(CONTENT)))
    assert None is near.read_now(ref, Span(0, MOST_AT_ONCE + 1))


async def test_what_is_beyond_the_end_is_left_to_the_backend(disk: Disk) -> None:
    near, ref = disk.near(), await disk.put()
    for span in (Span(399_999, 2), Span(400_000, 1), Span(1_000_000, 1)):
        assert None is await near.read(ref, span)
        assert None is near.read_now(ref, span)


async def test_what_is_not_there_is_left_to_the_backend(disk: Disk) -> None:
    near = disk.near()
    ref = BlobRef(new_blob_key())
    assert None is await near.read(ref, Span(0, 1))
    assert None is near.read_now(ref, Span(0, 1))
    async with near.opened(ref) as file:
        assert None is file


async def test_a_deleted_blob_is_not_heard_any_more(disk: Disk) -> None:
    near, ref = disk.near(), await disk.put()
    await near.read(ref, Span(0, 10))
    await disk.backend.delete(ref)
    assert None is near.read_now(ref, Span(0, 10))
    assert [] == disk.still_open()
    assert None is await near.read(ref, Span(0, 10))


async def test_a_blob_that_was_put_in_its_place_is_the_one_that_is_read(disk: Disk) -> None:
    near, ref = disk.near(), await disk.put()
    await near.read(ref, Span(0, 10))
    await disk.backend.delete(ref)
    await disk.backend.put(ref.key, BytesSource(b"another one"))
    assert None is near.read_now(ref, Span(0, 11))
    assert b"another one" == await near.read(ref, Span(0, 11))


async def test_so_many_files_stay_open(disk: Disk) -> None:
    near = disk.near(most_open=2)
    refs = [await disk.put(b"abc") for _ in range(3)]
    for ref in refs[:2]:
        await near.read(ref, Span(0, 3))
    # The first is used again, so it is not the one that goes.
    await near.read(refs[0], Span(0, 3))
    await near.read(refs[2], Span(0, 3))
    assert [0, 2] == disk.still_open()


async def test_none_stays_open_where_none_may(disk: Disk) -> None:
    near, ref = disk.near(most_open=0), await disk.put(b"abc")
    assert b"abc" == await near.read(ref, Span(0, 3))
    assert [] == disk.still_open()


async def test_one_that_nobody_reads_is_closed(disk: Disk) -> None:
    near = disk.near()
    early, late = await disk.put(b"abc"), await disk.put(b"def")
    await near.read(early, Span(0, 3))
    disk.clock.advance(IDLE_S)
    await near.read(late, Span(0, 3))
    await until(lambda: [1] == disk.still_open())
    disk.clock.advance(IDLE_S)
    await until(lambda: [] == disk.still_open())


async def test_one_that_was_deleted_makes_room_without_being_asked_for(disk: Disk) -> None:
    near, ref = disk.near(), await disk.put(b"abc")
    await near.read(ref, Span(0, 3))
    await disk.backend.delete(ref)
    await until(lambda: [] == disk.still_open())


async def test_one_that_is_read_is_closed_only_after(disk: Disk) -> None:
    near = disk.near(most_open=1)
    first, second = await disk.put(b"abc"), await disk.put(b"def")
    async with near.opened(first) as file, near.opened(first) as again:
        assert file is not None
        assert file is again
        await near.read(second, Span(0, 3))
        await disk.backend.delete(first)
        buffer = memoryview(bytearray(3))
        assert file.read_into(0, buffer)
        assert b"abc" == buffer
        assert [0, 1] == disk.still_open()
    assert [1] == disk.still_open()


async def test_many_who_open_it_at_once_share_one_file(disk: Disk) -> None:
    near, ref = disk.near(), await disk.put(b"abc")
    async with near.opened(ref) as one:
        pass
    async with near.opened(ref) as other:
        assert one is other
    assert 1 == len(disk.descriptors)


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL])
async def test_a_file_system_that_cannot_tell_is_asked_once(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    near, ref = disk.near(), await disk.put(b"abc")
    await near.read(ref, Span(0, 3))
    patch_preadv(monkeypatch, failing(code, only_at_once=True))
    assert None is near.read_now(ref, Span(0, 3))
    monkeypatch.undo()
    assert None is near.read_now(ref, Span(0, 3))
    assert b"abc" == await near.read(ref, Span(0, 3))


async def test_what_is_not_in_memory_is_read_in_a_thread(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    near, ref = disk.near(), await disk.put()
    await near.read(ref, Span(0, 3))
    for change in (failing(errno.EAGAIN, only_at_once=True), little_by_little):
        patch_preadv(monkeypatch, change)
        assert None is near.read_now(ref, Span(0, 2500))
        assert CONTENT[:2500] == await near.read(ref, Span(0, 2500))
        monkeypatch.undo()


async def test_a_failing_disk_is_left_to_the_backend(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    near, ref = disk.near(), await disk.put(b"abc")
    await near.read(ref, Span(0, 3))
    patch_preadv(monkeypatch, failing(errno.EIO, only_at_once=False))
    assert None is near.read_now(ref, Span(0, 3))
    assert None is await near.read(ref, Span(0, 3))
    monkeypatch.undo()
    assert b"abc" == await near.read(ref, Span(0, 3))


async def test_reads_are_measured_like_others(disk: Disk) -> None:
    near, ref = disk.near(), await disk.put(b"abc")
    for _ in range(3):
        if near.read_now(ref, Span(0, 3)) is None:
            await near.read(ref, Span(0, 3))
    await near.read(ref, Span(0, 4))
    labels = {"kind": "local", "operation": "read"}
    assert 3 == disk.registry.get_sample_value("calls_total", {**labels, "outcome": "ok"})
    assert 3 == disk.registry.get_sample_value("duration_count", labels)


async def test_after_the_end_nothing_is_open(disk: Disk) -> None:
    near, ref = disk.near(), await disk.put(b"abc")
    async with near.opened(ref) as file:
        assert file is not None
        near.close()
        # Whoever reads just then may finish.
        assert file.read_into(0, memoryview(bytearray(3)))
    assert [] == disk.still_open()
    assert None is near.read_now(ref, Span(0, 3))
