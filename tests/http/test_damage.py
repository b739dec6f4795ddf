"""
Bytes at rest that are not what was written: the connection is aborted, never a clean answer.
"""

import os
import shutil
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from gateway.catalog.jobs import list_jobs
from tests.http.phone import RECORDINGS, Phone, blob_files, speech, spool_files
from tests.http.wire import Wire, settled, was_aborted
from tests.support.gateway import Served

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEAD = 36 + 56
SEALED = 16400
SIZE = 600_000
CONTENT = speech(SIZE)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Nothing here is about durability.
    """
    monkeypatch.setattr(os, "fsync", lambda fd: None)


async def placed_recording(phone: Phone, content: bytes = CONTENT) -> tuple[str, Path]:
    """
    Return a recording at home and the file that holds it.
    """
    before = set(blob_files(phone.served))
    recording = await phone.record(content)
    await phone.served.placed()
    [blob] = set(blob_files(phone.served)) - before
    return recording, blob


def flip(path: Path, position: int) -> None:
    with path.open("r+b") as file:
        file.seek(position, os.SEEK_END if position < 0 else os.SEEK_SET)
        [old] = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([old ^ 1]))


def counted(served: Served) -> float:
    return served.gateway.context.metrics.damaged_reads._value.get()


PLACES = {
    "magic": 0,
    "version": 4,
    "flags": 7,
    "id": 8,
    "slot": 31,
    "index": 35,
    "salt": 36,
    "salt's end": 59,
    "commitment": 60,
    "commitment's end": 91,
    "first chunk": HEAD,
    "first tag": HEAD + SEALED - 1,
    "second chunk": HEAD + SEALED,
    "17th chunk": HEAD + 16 * SEALED + 5,
    "last chunk": -17,
    "last tag": -1,
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_flipped_bit_aborts_logs_and_counts(
    phone: Phone, place: str, logs: list[MutableMapping[str, Any]]
) -> None:
    recording, blob = await placed_recording(phone)
    flip(blob, PLACES[place])
    before = counted(phone.served)

    assert await was_aborted(phone, f"{RECORDINGS}/{recording}/audio")
    assert await was_aborted(phone, f"/v1/uploads/{recording}")

    assert 2 == counted(phone.served) - before
    [line, _] = [line for line in logs if line["event"] == "audio.unreadable"]
    assert ("error", recording) == (line["log_level"], line["recording"])
    async with phone.served.http.get("/metrics") as response:
        assert "gateway_damaged_reads_total" in await response.text()


async def test_what_is_not_damaged_can_still_be_heard(phone: Phone) -> None:
    recording, blob = await placed_recording(phone)
    flip(blob, HEAD + 20 * SEALED)

    for start, end, is_whole in (
        (0, 100, True),
        (20 * 16384 - 1, 20 * 16384, True),
        (21 * 16384, SIZE, True),
        (20 * 16384, 20 * 16384 + 1, False),
        (19 * 16384, 22 * 16384, False),
    ):
        headers = {"Range": f"bytes={start}-{end - 1}"}
        if is_whole:
            assert CONTENT[start:end] == (await phone.audio(recording, headers)).body
        else:
            assert await was_aborted(phone, f"{RECORDINGS}/{recording}/audio", headers)


async def test_bytes_before_the_damage_are_right_and_fewer_than_promised(phone: Phone) -> None:
    recording, blob = await placed_recording(phone)
    flip(blob, HEAD + 30 * SEALED)

    async with Wire.to(phone.served) as wire:
        await wire.send_head("GET", f"{RECORDINGS}/{recording}/audio", phone.auth)
        head, _, body = (await wire.rest()).partition(b"\r\n\r\n")

    assert not head or f"content-length: {SIZE}" in head.decode().lower()
    assert len(body) < SIZE
    assert CONTENT.startswith(body)


CUTS: dict[str, int] = {
    "nothing left": 0,
    "within the preamble": 20,
    "behind the preamble": 36,
    "behind the header": HEAD,
    "at a chunk's edge": HEAD + 3 * SEALED,
    "within a chunk": HEAD + 3 * SEALED + 7,
    "within the last chunk": -20,
    "one byte": -1,
}


@pytest.mark.parametrize("place", CUTS)
async def test_a_cut_blob_aborts(phone: Phone, place: str) -> None:
    recording, blob = await placed_recording(phone)
    size = CUTS[place]
    os.truncate(blob, size if size >= 0 else blob.stat().st_size + size)
    before = counted(phone.served)

    assert await was_aborted(phone, f"{RECORDINGS}/{recording}/audio")

    assert 1 == counted(phone.served) - before


@pytest.mark.parametrize("size", [16384, 2 * 16384])
async def test_a_blob_without_its_empty_last_chunk_aborts(phone: Phone, size: int) -> None:
    recording, blob = await placed_recording(phone, speech(size))
    os.truncate(blob, blob.stat().st_size - 16)

    assert await was_aborted(phone, f"{RECORDINGS}/{recording}/audio")


def swapped(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def spliced(one: Path, other: Path) -> None:
    """
    Chunk 2 of one blob comes from the other, at the same place.
    """
    with one.open("r+b") as target, other.open("rb") as source:
        source.seek(HEAD + 2 * SEALED)
        target.seek(HEAD + 2 * SEALED)
        target.write(source.read(SEALED))


def reordered(one: Path, other: Path) -> None:
    with one.open("r+b") as file:
        file.seek(HEAD + SEALED)
        two = file.read(2 * SEALED)
        file.seek(HEAD + SEALED)
        file.write(two[SEALED:] + two[:SEALED])


def renamed(one: Path, other: Path) -> None:
    """
    The other recording's message under this one's preamble.
    """
    preamble = one.read_bytes()[:36]
    one.write_bytes(preamble + other.read_bytes()[36:])


def removed(one: Path, other: Path) -> None:
    one.unlink()


def made_a_folder(one: Path, other: Path) -> None:
    one.unlink()
    one.mkdir()


@pytest.mark.parametrize("change", [swapped, spliced, reordered, renamed, removed, made_a_folder])
async def test_another_s_bytes_or_none_abort(phone: Phone, change: Callable[[Path, Path], None]) -> None:
    recording, blob = await placed_recording(phone)
    _, other = await placed_recording(phone, speech(SIZE, seed=1))
    change(blob, other)
    before = counted(phone.served)

    assert await was_aborted(phone, f"{RECORDINGS}/{recording}/audio")
    assert await was_aborted(phone, f"{RECORDINGS}/{recording}/audio", {"Range": "bytes=40000-40001"})

    assert 2 == counted(phone.served) - before


async def test_an_older_blob_of_the_same_recording_does_not_exist_elsewhere(
    phone: Phone, tmp_path: Path
) -> None:
    """
    A blob is written once: what is brought back later is the same, or it does not open.
    """
    recording, blob = await placed_recording(phone)
    shutil.copy(blob, tmp_path / "copy")
    blob.unlink()
    shutil.copy(tmp_path / "copy", blob)

    assert CONTENT == (await phone.audio(recording)).body


@pytest.mark.parametrize("place", ["salt", "commitment", "first chunk", "17th chunk", "last tag", "id"])
async def test_a_damaged_piece_in_the_spool_aborts_before_and_after_it_came_home(
    phone: Phone, place: str
) -> None:
    """
    The home takes over the file itself: there is no other copy that could be the better one.
    """
    recording = await phone.record(CONTENT)
    [piece] = spool_files(phone.served, recording)
    flip(piece, PLACES[place])

    assert await was_aborted(phone, f"{RECORDINGS}/{recording}/audio")
    await phone.served.placed()

    assert [] == spool_files(phone.served, recording)
    assert await was_aborted(phone, f"{RECORDINGS}/{recording}/audio")


@pytest.mark.parametrize("number", [0, 1, 2])
async def test_one_damaged_piece_of_several_parks_the_placement(either: Phone, number: int) -> None:
    upload = await either.begin(SIZE)
    for append, (start, size) in enumerate([(0, 100_000), (100_000, 50_000)], start=1):
        async with Wire.to(either.served) as wire:
            await wire.begin_patch(either, upload, start, SIZE - start)
            await wire.send(CONTENT[start : start + size])
        await settled(either.served, upload, appends=append)
    await either.patch(upload, 150_000, CONTENT[150_000:])
    pieces = spool_files(either.served, upload)
    flip(pieces[number], HEAD + 5)
    before = set(blob_files(either.served))

    await either.served.placed()

    assert before == set(blob_files(either.served))
    assert pieces == spool_files(either.served, upload)
    assert ("parked", True) == await place_job(either, upload)
    assert await was_aborted(either, f"{RECORDINGS}/{upload}/audio")


async def place_job(phone: Phone, recording: str) -> tuple[str, bool]:
    """
    Return the state of the placement job, and whether it says what is wrong.
    """
    async with phone.served.gateway.context.catalog.read() as connection:
        [job] = [
            job for job in await list_jobs(connection) if (job.kind, job.subject_id) == ("place", recording)
        ]
    return job.state, bool(job.last_error)


async def test_a_damaged_recording_can_be_erased(either: Phone) -> None:
    recording, blob = await placed_recording(either)
    os.truncate(blob, 10)

    assert 200 == (await either.erase(recording)).status
    await either.served.placed()

    assert not blob.exists()


async def test_the_damage_of_one_leaves_the_others(phone: Phone) -> None:
    damaged, blob = await placed_recording(phone)
    whole, _ = await placed_recording(phone, speech(1000))
    blob.unlink()

    assert await was_aborted(phone, f"{RECORDINGS}/{damaged}/audio")

    assert speech(1000) == (await phone.audio(whole)).body
    assert {damaged, whole} == set(await phone.listed())
