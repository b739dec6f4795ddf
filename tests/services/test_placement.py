"""
Bringing a blob home: done again after any fault, never lost, never brought back.
"""

import asyncio
import errno
import os
import uuid
from typing import Any

import pytest
from sqlalchemy import select, update

from gateway.api.errors import Conflict, IntegrityMismatch, QuotaExceeded, Transient
from gateway.base.ids import RecordingId
from gateway.catalog import tables
from gateway.catalog.jobs import JobRow, list_jobs
from gateway.database import db_now_ms
from gateway.keyring.errors import LeafShredded
from gateway.spool import SpoolBlob
from tests.http.phone import Phone, blob_files, speech, spool_files
from tests.http.wire import Wire, settled, upload_row
from tests.services.obstacles import ObstructedHome
from tests.support.gateway import Served

CONTENT = speech(100_000)


async def recorded(served: Served, *, pieces: int = 1) -> tuple[Phone, str]:
    """
    Make a recording of so many pieces that is not placed yet.
    """
    phone = await Phone.of_new_user(served)
    upload = await phone.begin(len(CONTENT))
    for number in range(pieces - 1):
        async with Wire.to(served) as wire:
            await wire.begin_patch(phone, upload, number * 20_000, len(CONTENT) - number * 20_000)
            await wire.send(CONTENT[number * 20_000 : (number + 1) * 20_000])
        await settled(served, upload, appends=number + 1)
    start = (pieces - 1) * 20_000
    assert 204 == (await phone.patch(upload, start, CONTENT[start:])).status
    return phone, upload


async def place(served: Served, recording: str) -> None:
    await served.gateway.placement.place(RecordingId(uuid.UUID(recording)))


async def jobs_of(served: Served, recording: str) -> dict[str, JobRow]:
    async with served.gateway.context.catalog.read() as connection:
        return {job.kind: job for job in await list_jobs(connection) if job.subject_id == recording}


async def make_due(served: Served) -> None:
    async with served.gateway.context.catalog.write() as connection:
        await connection.execute(update(tables.jobs).values(run_at=db_now_ms()))


async def is_at_home(served: Served, phone: Phone, recording: str) -> bool:
    """
    Tell whether the recording lies at home alone, and check that it can be heard from there.
    """
    assert CONTENT == (await phone.audio(recording)).body
    return len(blob_files(served)) == 1 and spool_files(served) == []


@pytest.mark.parametrize("pieces", [1, 3])
async def test_done_twice_at_once_loses_nothing(served: Served, pieces: int) -> None:
    """
    A worker that slept through its lease goes on beside the one that took the job over.
    """
    phone, recording = await recorded(served, pieces=pieces)

    results = await asyncio.gather(*(place(served, recording) for _ in range(3)), return_exceptions=True)

    assert None in results
    await make_due(served)
    await served.placed()
    assert await is_at_home(served, phone, recording)


@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_worker_that_comes_too_late_takes_nothing_away(served: Served, pieces: int) -> None:
    """
    While the first waited between its put and its note, another has placed the blob and cleared the spool.
    """
    home = ObstructedHome(served)
    phone, recording = await recorded(served, pieces=pieces)

    async def overtaken() -> None:
        await place(served, recording)
        assert await is_at_home(served, phone, recording)

    home.after_put = overtaken
    await place(served, recording)

    assert await is_at_home(served, phone, recording)


@pytest.mark.parametrize("moment", ["before_put", "after_put"])
@pytest.mark.parametrize("pieces", [1, 3])
async def test_an_erasure_in_the_middle_leaves_no_blob(served: Served, moment: str, pieces: int) -> None:
    home = ObstructedHome(served)
    phone, recording = await recorded(served, pieces=pieces)
    row = await upload_row(served, recording)

    async def erased() -> None:
        assert 200 == (await phone.erase(recording)).status
        await served.gateway.context.erasure.finish_recording(RecordingId(uuid.UUID(recording)))

    setattr(home, moment, erased)
    results = await asyncio.gather(place(served, recording), return_exceptions=True)
    await make_due(served)
    await served.placed()

    assert ([], []) == (blob_files(served), spool_files(served)), results
    assert {} == await jobs_of(served, recording)
    with pytest.raises(LeafShredded):
        await served.gateway.context.keyring.leaf(row.key_slot, row.leaf_index)
    assert "purged" == (await phone.erase(recording)).document["state"]


async def test_an_erasure_while_pieces_are_merged_leaves_no_file(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, recording = await recorded(served, pieces=3)
    spool = served.gateway.context.uploads._spool
    merge = spool.merge_pieces

    async def overtaken(*arguments: object, **options: object) -> object:
        merged = await merge(*arguments, **options)  # type: ignore[arg-type]
        assert 200 == (await phone.erase(recording)).status
        await served.gateway.context.erasure.finish_recording(RecordingId(uuid.UUID(recording)))
        return merged

    monkeypatch.setattr(spool, "merge_pieces", overtaken)
    await asyncio.gather(place(served, recording), return_exceptions=True)
    await make_due(served)
    await served.placed()

    assert ([], []) == (blob_files(served), spool_files(served))


async def test_erasing_and_placing_at_once_ends_without_a_blob(served: Served) -> None:
    phone, recording = await recorded(served, pieces=2)

    await asyncio.gather(
        place(served, recording), phone.erase(recording), served.placed(), return_exceptions=True
    )
    await make_due(served)
    await served.placed()

    assert ([], []) == (blob_files(served), spool_files(served))
    assert 404 == (await phone.audio(recording)).status


async def test_a_lost_answer_of_a_put_is_found_out(embedded: Served) -> None:
    home = ObstructedHome(embedded)
    phone, recording = await recorded(embedded)

    async def lost() -> None:
        raise Transient("the answer was lost")

    home.after_put = lost
    await embedded.placed()
    job = (await jobs_of(embedded, recording))["place"]
    assert ("ready", 1) == (job.state, job.attempts)
    assert "Transient: the answer was lost" == job.last_error
    assert CONTENT == (await phone.audio(recording)).body
    await make_due(embedded)
    await embedded.placed()

    # The second is answered that the key is taken, and finds what the first brought.
    assert 2 == home.puts
    assert {} == await jobs_of(embedded, recording)
    assert await is_at_home(embedded, phone, recording)


async def test_a_home_that_fails_for_a_while_is_tried_again_later_each_time(embedded: Served) -> None:
    home = ObstructedHome(embedded)
    home.faults = [Transient("down") for _ in range(4)]
    phone, recording = await recorded(embedded)

    delays = []
    for attempt in range(1, 5):
        await embedded.placed()
        job = (await jobs_of(embedded, recording))["place"]
        async with embedded.gateway.context.catalog.read() as connection:
            now = (await connection.execute(select(db_now_ms()))).scalar_one()
        assert ("ready", attempt) == (job.state, job.attempts)
        delays.append(job.run_at - now)
        await embedded.placed()
        assert attempt == home.puts
        await make_due(embedded)
    await embedded.placed()

    assert [60, 120, 240, 480] == [round(delay / 60_000) * 60 for delay in delays]
    assert {} == await jobs_of(embedded, recording)
    assert await is_at_home(embedded, phone, recording)


@pytest.mark.parametrize(
    "fault", [QuotaExceeded("full"), IntegrityMismatch("other bytes"), Conflict("taken by another")]
)
async def test_a_home_that_refuses_for_good_parks_the_job_and_the_spool_keeps_the_bytes(
    embedded: Served, fault: Exception
) -> None:
    home = ObstructedHome(embedded)
    home.faults = [fault]
    phone, recording = await recorded(embedded)

    await embedded.placed()

    job = (await jobs_of(embedded, recording))["place"]
    assert ("parked", f"{type(fault).__name__}: {fault}") == (job.state, job.last_error)
    assert CONTENT == (await phone.audio(recording)).body
    assert 1 == len(spool_files(embedded))
    async with embedded.gateway.context.catalog.write() as connection:
        from gateway.catalog.jobs import retry_parked_jobs

        assert 1 == await retry_parked_jobs(connection, job.id)
    await embedded.placed()
    assert await is_at_home(embedded, phone, recording)


async def test_an_error_that_nobody_foresaw_is_tried_again(embedded: Served) -> None:
    home = ObstructedHome(embedded)
    home.faults = [RuntimeError("what is this?")]
    phone, recording = await recorded(embedded)

    await embedded.placed()

    assert "ready" == (await jobs_of(embedded, recording))["place"].state
    await make_due(embedded)
    await embedded.placed()
    assert await is_at_home(embedded, phone, recording)


async def test_a_home_that_never_recovers_parks_the_job_in_the_end(embedded: Served) -> None:
    home = ObstructedHome(embedded)
    limit = embedded.gateway.settings.jobs.max_attempts
    home.faults = [Transient("down") for _ in range(limit + 1)]
    phone, recording = await recorded(embedded)

    for _ in range(limit):
        await make_due(embedded)
        await embedded.placed()

    job = (await jobs_of(embedded, recording))["place"]
    assert ("parked", limit, limit) == (job.state, job.attempts, home.puts)
    assert CONTENT == (await phone.audio(recording)).body


async def test_a_parked_recording_can_be_erased(embedded: Served) -> None:
    home = ObstructedHome(embedded)
    home.faults = [QuotaExceeded("full")]
    phone, recording = await recorded(embedded)
    await embedded.placed()

    assert 200 == (await phone.erase(recording)).status
    await embedded.placed()

    assert [] == spool_files(embedded)
    assert "purged" == (await phone.erase(recording)).document["state"]


async def test_a_home_that_takes_over_the_file_reads_nothing(
    embedded: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, recording = await recorded(embedded)
    reads: list[object] = []

    def read(*arguments: object, **options: object) -> object:
        reads.append(arguments)
        raise AssertionError("the spool's file was read")

    with monkeypatch.context() as patched:
        patched.setattr(embedded.gateway.context.uploads._spool, "verify_piece", read)
        patched.setattr(SpoolBlob, "open", read)
        patched.setattr(SpoolBlob, "sha256", read)
        await embedded.placed()

    assert [] == reads
    assert await is_at_home(embedded, phone, recording)


def keep_spool_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Have the home copy what is in the spool, as where they are on two file systems.
    """
    link = os.link

    def other_disk(*arguments: Any, src_dir_fd: int | None = None, **options: Any) -> None:
        if src_dir_fd is None:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        link(*arguments, src_dir_fd=src_dir_fd, **options)

    monkeypatch.setattr(os, "link", other_disk)


@pytest.mark.parametrize("pieces", [1, 3])
async def test_no_byte_of_a_damaged_piece_is_copied_to_a_home(
    embedded: Served, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    """
    The spool's file goes once it was copied: whatever is wrong with it has to be found before.
    """
    _, recording = await recorded(embedded, pieces=pieces)
    path = spool_files(embedded)[-1]
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)

    keep_spool_apart(monkeypatch)
    await embedded.placed()

    job = (await jobs_of(embedded, recording))["place"]
    assert job.last_error is not None
    assert job.last_error.startswith("DamagedChunk")
    assert [] == blob_files(embedded)
    assert path in spool_files(embedded)


async def test_a_home_that_copies_gets_every_byte_checked_once(
    embedded: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, recording = await recorded(embedded)
    spool = embedded.gateway.context.uploads._spool
    verify = spool.verify_piece
    checks: list[object] = []

    async def counted(*arguments: object) -> bytes:
        checks.append(arguments)
        return await verify(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(spool, "verify_piece", counted)
    keep_spool_apart(monkeypatch)
    await embedded.placed()

    assert 1 == len(checks)
    assert await is_at_home(embedded, phone, recording)


async def test_pieces_that_are_gone_make_no_empty_blob(embedded: Served) -> None:
    """
    A blob of other bytes than the recording has would look like one that is safe.
    """
    _, recording = await recorded(embedded, pieces=2)
    for path in spool_files(embedded):
        path.unlink()
    async with embedded.gateway.context.catalog.write() as connection:
        await connection.execute(tables.pieces.delete())

    await embedded.placed()

    assert [] == blob_files(embedded)
    job = (await jobs_of(embedded, recording))["place"]
    assert job.last_error is not None
    assert "PieceMissing" in job.last_error
