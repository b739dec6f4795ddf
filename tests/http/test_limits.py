"""
Every limit has a clear answer, and nothing that was accepted is lost at it.
"""

import asyncio
import errno
import os
import stat
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.spool.files import SLAB
from tests.conftest import DatabaseUrls
from tests.http.phone import Answer, Phone, checksum_of, metadata_of, speech, spool_files
from tests.support.clock import FakeClock
from tests.support.gateway import serving
from tests.support.waiting import until

KIB = 1024
CONTENT = speech(700_000)
LONG = speech(5 * SLAB)


async def chunked(content: bytes, size: int = 50_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def test_unfinished_uploads_of_one_user_are_counted(
    tmp_path: Path, database_urls: DatabaseUrls
) -> None:
    async with serving(
        tmp_path / "data",
        catalog_url=database_urls.catalog,
        keys_url=database_urls.keys,
        clock=FakeClock(),
        with_workers=False,
        uploads={"max_open_per_user": 3},
    ) as gateway:
        phone, stranger = await Phone.of_new_user(gateway), await Phone.of_new_user(gateway)
        answers = await asyncio.gather(*(phone.create(10) for _ in range(8)))

        assert [201] * 3 + [429] * 5 == sorted(answer.status for answer in answers)
        refused = next(answer for answer in answers if answer.status == 429)
        assert ("too-many-uploads", True) == (refused.problem["code"], refused.problem["retry"])
        assert int(refused.headers["Retry-After"]) > 0
        assert 201 == (await stranger.create(10)).status
        opened = [answer.upload_id for answer in answers if answer.status == 201]
        await phone.patch(opened[0], 0, CONTENT[:10])
        assert 201 == (await phone.create(10)).status
        assert 429 == (await phone.create(10)).status
        await phone.terminate(opened[1])
        assert 201 == (await phone.create(10)).status
        assert 204 == (await phone.patch(opened[2], 0, b"hello")).status


async def test_the_longest_upload_is_a_setting(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", with_workers=False, uploads={"max_length": 1000}) as gateway:
        phone = await Phone.of_new_user(gateway)

        for answer in (
            await phone.create(1001),
            await phone.create(None, {"Upload-Defer-Length": "1"}, data=CONTENT[:1001]),
        ):
            assert (413, "too-long", 1000) == (answer.status, answer.problem["code"], answer.problem["limit"])
        assert 201 == (await phone.create(1000, data=CONTENT[:1000])).status
        deferred = await phone.begin(None)
        assert 204 == (await phone.patch(deferred, 0, CONTENT[:600])).status
        for body in (CONTENT[600:1001], chunked(CONTENT[600:1001], 100)):
            answer = await phone.patch(deferred, 600, body)
            assert (413, 1000) == (answer.status, answer.problem["limit"])
        assert 600 == await phone.offset_of(deferred)
        assert 204 == (await phone.patch(deferred, 600, CONTENT[600:1000], {"Upload-Length": "1000"})).status
        async with gateway.http.options("/v1/uploads") as response:
            assert "1000" == response.headers["Tus-Max-Size"]


async def test_metadata_past_its_setting_names_the_header(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", with_workers=False, uploads={"max_metadata_bytes": 20}) as gateway:
        phone = await Phone.of_new_user(gateway)

        fits = {"Upload-Metadata": metadata_of(note="eleven byte")}
        assert 21 == len(fits["Upload-Metadata"])
        assert "Upload-Metadata" == (await phone.create(1, fits)).field
        assert 201 == (await phone.create(1, {"Upload-Metadata": metadata_of(n="eleven")})).status


def assert_no_room(answer: Answer) -> None:
    assert (507, "out-of-room", True) == (answer.status, answer.problem["code"], answer.problem["retry"])
    assert int(answer.headers["Retry-After"]) > 0


async def test_with_too_little_free_space_uploads_wait_and_everything_else_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", with_workers=False, spool={"min_free_bytes": 0}) as gateway:
        phone = await Phone.of_new_user(gateway)
        recording = await phone.record(CONTENT)
        upload = await phone.begin(len(CONTENT))
        await phone.patch(upload, 0, CONTENT[:300_000])
        spool = gateway.gateway.context.uploads._spool
        spool._min_free_bytes = 2**60

        assert_no_room(await phone.create(10))
        assert_no_room(await phone.create(10, data=b"hello"))
        assert_no_room(await phone.patch(upload, 300_000, CONTENT[300_000:]))
        assert_no_room(await phone.patch(upload, 300_000, chunked(CONTENT[300_000:])))
        assert 409 == (await phone.patch(upload, 0, CONTENT)).status
        assert 300_000 == await phone.offset_of(upload)
        assert CONTENT == (await phone.audio(recording)).body
        assert 200 == (await phone.erase(recording)).status
        await gateway.placed()
        spool._min_free_bytes = 0

        assert 204 == (await phone.patch(upload, 300_000, CONTENT[300_000:])).status
        assert CONTENT == (await phone.audio(upload)).body


async def test_a_full_spool_keeps_whole_chunks_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    limit = 3 * SLAB
    async with serving(
        tmp_path / "data", with_workers=False, spool={"max_bytes": limit, "min_free_bytes": 0}
    ) as gateway:
        phone = await Phone.of_new_user(gateway)
        upload = await phone.begin(len(LONG))

        assert_no_room(await phone.patch(upload, 0, LONG))

        kept = await phone.offset_of(upload)
        assert 0 < kept < len(LONG)
        assert 0 == kept % (16 * KIB)
        assert sum(path.stat().st_size for path in spool_files(gateway)) <= limit
        assert_no_room(await phone.patch(upload, kept, LONG[kept:]))
        kept = await phone.offset_of(upload)
        gateway.gateway.context.uploads._spool._max_bytes = 0
        assert 204 == (await phone.patch(upload, kept, LONG[kept:])).status
        assert LONG == (await phone.audio(upload)).body
        await gateway.placed()
        assert LONG == (await phone.audio(upload)).body


async def test_a_full_spool_keeps_nothing_of_a_body_with_a_checksum(tmp_path: Path) -> None:
    """
    Wholly or not at all: a client with checksums sends the same body again, from the same offset.
    """
    async with serving(
        tmp_path / "data", with_workers=False, spool={"max_bytes": 600 * KIB, "min_free_bytes": 0}
    ) as gateway:
        phone = await Phone.of_new_user(gateway)
        upload = await phone.begin(len(CONTENT))

        assert_no_room(await phone.patch(upload, 0, CONTENT, checksum_of(CONTENT)))

        assert 0 == await phone.offset_of(upload)
        assert [] == spool_files(gateway)
        gateway.gateway.context.uploads._spool._max_bytes = 0
        assert 204 == (await phone.patch(upload, 0, CONTENT, checksum_of(CONTENT))).status
        assert CONTENT == (await phone.audio(upload)).body


async def test_first_bytes_that_find_no_room_leave_an_address(tmp_path: Path) -> None:
    async with serving(
        tmp_path / "data", with_workers=False, spool={"max_bytes": 2 * SLAB, "min_free_bytes": 0}
    ) as gateway:
        phone = await Phone.of_new_user(gateway)

        answer = await phone.create(len(LONG), data=LONG)

        assert_no_room(answer)
        assert SLAB <= await phone.offset_of(answer.upload_id) < 2 * SLAB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """
    A file system of one megabyte.
    """
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        # Without the right to mount one, a limit on file sizes comes closest.
        yield place
        return
    yield place
    subprocess.run(["umount", "-l", place], check=True)


async def test_a_disk_that_is_really_full_keeps_whole_chunks(tmp_path: Path, small_disk: Path) -> None:
    content = speech(2_000_000)
    data = tmp_path / "data"
    data.mkdir()
    (data / "spool").symlink_to(small_disk)
    async with serving(data, with_workers=False, spool={"min_free_bytes": 0}) as gateway:
        is_small = os.statvfs(small_disk).f_blocks * os.statvfs(small_disk).f_frsize < 2_000_000
        phone = await Phone.of_new_user(gateway)
        upload, other = await phone.begin(len(content)), await phone.begin(10)

        answer = await phone.patch(upload, 0, content)

        if not is_small:
            assert 204 == answer.status
            return
        assert_no_room(answer)
        kept = await phone.offset_of(upload)
        assert 0 < kept < len(content)
        assert 0 == kept % (16 * KIB)
        for path in spool_files(gateway, upload):
            assert path.stat().st_size <= 1024 * KIB
        assert 200 == (await phone.head(other)).status
        assert 204 == (await phone.terminate(other)).status
        subprocess.run(["mount", "-o", "remount,size=10m", small_disk], check=True)
        assert 204 == (await phone.patch(upload, kept, content[kept:])).status
        assert content == (await phone.audio(upload)).body
        await gateway.placed()
        assert content == (await phone.audio(upload)).body


async def test_a_disk_that_is_full_at_the_last_chunk_keeps_those_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = CONTENT[:300_000]
    async with serving(tmp_path / "data", with_workers=False) as gateway:
        phone = await Phone.of_new_user(gateway)
        upload = await phone.begin(len(content))

        write = os.write

        def full(fd: int, data: memoryview) -> int:
            if 100 < len(data) < 16400:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(fd, data)

        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            assert_no_room(await phone.patch(upload, 0, content))

        kept = await phone.offset_of(upload)
        assert 18 * 16 * KIB == kept
        assert 204 == (await phone.patch(upload, kept, content[kept:])).status
        assert content == (await phone.audio(upload)).body


async def test_what_a_disk_failed_to_make_durable_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    After an fsync that failed, the next one may report success for bytes that were dropped.
    """
    content = CONTENT[:300_000]
    async with serving(tmp_path / "data", with_workers=False) as gateway:
        phone = await Phone.of_new_user(gateway)
        upload = await phone.begin(len(content))
        faults = [OSError(errno.EIO, os.strerror(errno.EIO))]

        def failing_once(fd: int) -> None:
            if faults:
                raise faults.pop()

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", failing_once)
            answer = await phone.patch(upload, 0, content)
        assert (503, "spool-failed", True) == (
            answer.status,
            answer.problem["code"],
            answer.problem["retry"],
        )

        assert 0 == await phone.offset_of(upload)
        assert 204 == (await phone.patch(upload, 0, content)).status
        assert content == (await phone.audio(upload)).body


async def test_names_that_a_disk_failed_to_make_durable_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A file that is durable and whose name is not may be gone after a power cut; the next sync may report success all the same.
    """
    content = CONTENT[:300_000]
    async with serving(tmp_path / "data", with_workers=False) as gateway:
        phone = await Phone.of_new_user(gateway)
        first_may_end = threading.Event()
        faults = iter([None, OSError(errno.EIO, os.strerror(errno.EIO))])

        def failing_once(fd: int) -> None:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                assert first_may_end.wait(10)
                if fault := next(faults, None):
                    raise fault

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", failing_once)
            first = asyncio.create_task(phone.create(len(content), data=content))
            arrivals = gateway.gateway.context.whole_uploads._arrivals
            await until(lambda: arrivals._runner is not None and not arrivals._waiting)
            others = [asyncio.create_task(phone.create(len(content), data=content)) for _ in range(3)]
            await until(lambda: 3 == len(arrivals._waiting))
            first_may_end.set()
            assert 201 == (await first).status
            answers = await asyncio.gather(*others)
        assert 1 == len(spool_files(gateway))
        for answer in answers:
            problem = answer.problem
            assert (503, "spool-failed", True) == (answer.status, problem["code"], problem["retry"])
            assert 0 == await phone.offset_of(answer.upload_id)

        upload = answers[0].upload_id
        assert 204 == (await phone.patch(upload, 0, content)).status
        assert content == (await phone.audio(upload)).body
