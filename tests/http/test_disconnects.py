"""
Connections that break: what came is kept, and the upload goes on from there.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from tests.http.phone import Phone, blob_files, speech, spool_files
from tests.http.wire import Intake, Wire, chunk, eventually, settled, upload_row
from tests.support.gateway import Served

pytestmark = pytest.mark.asyncio(loop_scope="module")

KIB = 1024
EDGES = [
    0,
    1,
    16 * KIB - 1,
    16 * KIB,
    16 * KIB + 1,
    128 * KIB,
    256 * KIB - 1,
    256 * KIB,
    256 * KIB + 1,
    272 * KIB,
    600_000,
]
CONTENT = speech(700_000)


async def cut_after(phone: Phone, upload: str, start: int, size: int) -> None:
    async with Wire.to(phone.served) as wire:
        await wire.begin_patch(phone, upload, start, len(CONTENT) - start)
        await wire.send(CONTENT[start : start + size])


@pytest.mark.parametrize("size", EDGES)
async def test_everything_that_came_before_the_cut_counts(shared: Served, phone: Phone, size: int) -> None:
    upload = await phone.begin(len(CONTENT))

    await cut_after(phone, upload, 0, size)

    assert size == (await settled(shared, upload)).received
    assert size == await phone.offset_of(upload)
    assert 204 == (await phone.patch(upload, size, CONTENT[size:])).status
    assert CONTENT == (await phone.audio(upload)).body


@pytest.mark.parametrize("size", [0, 1, 16 * KIB, 256 * KIB, 256 * KIB + 1])
async def test_a_cut_within_a_chunk_of_a_chunked_body_loses_nothing(
    shared: Served, phone: Phone, size: int
) -> None:
    upload = await phone.begin(len(CONTENT))

    async with Wire.to(shared) as wire:
        await wire.begin_patch(phone, upload, 0, None)
        await wire.send(b"%x\r\n" % 600_000 + CONTENT[:size])

    assert size == (await settled(shared, upload)).received
    assert 204 == (await phone.patch(upload, size, CONTENT[size:])).status
    assert CONTENT == (await phone.audio(upload)).body


@pytest.mark.parametrize(
    "tail",
    [b"\r", b"\r\n", b"\r\n5", b"\r\n5\r\n", b"\r\n0\r\n"],
    ids=["cr", "crlf", "size", "size-line", "last"],
)
async def test_a_cut_between_chunks_loses_nothing(shared: Served, phone: Phone, tail: bytes) -> None:
    upload = await phone.begin(len(CONTENT))

    async with Wire.to(shared) as wire:
        await wire.begin_patch(phone, upload, 0, None)
        await wire.send(b"%x\r\n" % 20_000 + CONTENT[:20_000] + tail)

    assert 20_000 == (await settled(shared, upload)).received


@pytest.mark.parametrize(
    "nonsense", [b"zz\r\n", b"-5\r\nhello", b"5;" + b"x" * 100_000], ids=["word", "negative", "long"]
)
async def test_what_came_before_a_malformed_chunk_counts(
    shared: Served, phone: Phone, intake: Intake, nonsense: bytes
) -> None:
    upload = await phone.begin(len(CONTENT))

    async with Wire.to(shared) as wire:
        await wire.begin_patch(phone, upload, 0, None)
        await wire.send(chunk(CONTENT[:20_000]))
        await intake.reaches(20_000)
        await wire.send(nonsense)

    assert 20_000 == (await settled(shared, upload)).received
    assert 204 == (await phone.patch(upload, 20_000, CONTENT[20_000:])).status
    assert CONTENT == (await phone.audio(upload)).body


async def test_a_reset_keeps_what_was_taken(shared: Served, phone: Phone, intake: Intake) -> None:
    upload = await phone.begin(len(CONTENT))

    async with Wire.to(shared) as wire:
        await wire.begin_patch(phone, upload, 0, len(CONTENT))
        await wire.send(CONTENT[:300_000])
        await intake.reaches(300_000)
        await wire.reset()

    assert 300_000 == (await settled(shared, upload)).received
    assert 204 == (await phone.patch(upload, 300_000, CONTENT[300_000:])).status
    assert CONTENT == (await phone.audio(upload)).body


async def test_a_cut_creation_with_upload_leaves_a_recording_to_be(shared: Served, phone: Phone) -> None:
    """
    The answer with the address is lost, so only a client with an idempotency key finds it again.
    """
    key = {"Idempotency-Key": "k"}
    async with Wire.to(shared) as wire:
        headers = {"Upload-Length": str(len(CONTENT)), "Content-Length": str(len(CONTENT))}
        sent = {**phone.auth, **key, **headers, "Tus-Resumable": "1.0.0"}
        await wire.send_head(
            "POST", "/v1/uploads", {**sent, "Content-Type": "application/offset+octet-stream"}
        )
        await wire.send(CONTENT[:30_000])
        await wire.cut()
    await eventually(lambda: len(spool_files(shared)) > 0)

    answer = await phone.create(len(CONTENT), key)
    assert 30_000 == (await settled(shared, answer.upload_id)).received
    assert 204 == (await phone.patch(answer.upload_id, 30_000, CONTENT[30_000:])).status
    assert CONTENT == (await phone.audio(answer.upload_id)).body


async def test_a_cut_after_the_last_byte_costs_only_the_answer(shared: Served, phone: Phone) -> None:
    upload = await phone.begin(len(CONTENT))

    await cut_after(phone, upload, 0, len(CONTENT))
    await settled(shared, upload)

    assert len(CONTENT) == await phone.offset_of(upload)
    assert CONTENT == (await phone.audio(upload)).body


async def test_many_cuts_make_one_blob(either: Phone) -> None:
    """
    Each append is a piece of its own; bytes that never came may come otherwise the next time.
    """
    upload, start = await either.begin(len(CONTENT)), 0
    for number, size in enumerate([1, 16_383, 16_384, 100_000, 0, 70_000, 300_000], start=1):
        await cut_after(either, upload, start, size)
        start += size
        assert start == (await settled(either.served, upload, appends=number)).received
    async with Wire.to(either.served) as wire:
        await wire.begin_patch(either, upload, start, 1000)
        await wire.send(b"\xff" * 999)
        await wire.cut()
    received = (await settled(either.served, upload, appends=8)).received
    assert start + 999 == received
    expected = CONTENT[:start] + b"\xff" * 999 + CONTENT[received:]
    assert 204 == (await either.patch(upload, received, CONTENT[received:])).status
    assert 8 == len(spool_files(either.served, upload))

    before = await either.audio(upload)
    ranges = [(0, 1), (16_380, 16_400), (start - 5, start + 1005), (0, len(CONTENT) - 1)]
    parts_before = [await part(either, upload, *ends) for ends in ranges]
    await either.served.placed()
    after = await either.audio(upload)
    parts_after = [await part(either, upload, *ends) for ends in ranges]

    assert expected == before.body == after.body
    assert [expected[first : last + 1] for first, last in ranges] == parts_before == parts_after
    assert [] == spool_files(either.served, upload)


async def part(phone: Phone, recording: str, first: int, last: int) -> bytes:
    answer = await phone.audio(recording, {"Range": f"bytes={first}-{last}"})
    assert 206 == answer.status
    return answer.body


async def test_a_blob_of_one_piece_is_the_spool_s_file(phone: Phone) -> None:
    recording = await phone.record(CONTENT)
    [piece] = spool_files(phone.served, recording)
    inode = piece.stat().st_ino

    await phone.served.placed()

    assert inode in [path.stat().st_ino for path in blob_files(phone.served)]


async def test_a_cut_connection_is_no_error_of_ours(
    shared: Served, phone: Phone, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Phones lose connections all day; a traceback for each would bury what matters, and carries addresses.
    """
    upload = await phone.begin(len(CONTENT))

    with caplog.at_level(logging.DEBUG):
        await cut_after(phone, upload, 0, 1000)
        await settled(shared, upload)
        await phone.head(upload)

    assert [] == [record.message for record in caplog.records if record.levelno >= logging.WARNING]


async def test_received_bytes_are_counted_whether_the_body_was_cut_or_not(
    shared: Served, phone: Phone
) -> None:
    counter = shared.gateway.context.metrics.received_bytes
    before = counter._value.get()
    upload = await phone.begin(len(CONTENT))

    await cut_after(phone, upload, 0, 20_000)
    await settled(shared, upload)
    await phone.patch(upload, 20_000, CONTENT[20_000:30_000])

    assert 30_000 == counter._value.get() - before


async def slow(*parts: bytes) -> AsyncIterator[bytes]:
    for bytes_of_it in parts:
        yield bytes_of_it
        await asyncio.sleep(0)


async def test_uploads_of_one_user_go_on_beside_each_other(either: Phone) -> None:
    contents = [speech(100_000, seed) for seed in range(8)]
    uploads = [await either.begin(len(content)) for content in contents]

    answers = await asyncio.gather(
        *(
            either.patch(upload, 0, slow(*(content[at : at + 7000] for at in range(0, len(content), 7000))))
            for upload, content in zip(uploads, contents, strict=True)
        )
    )

    assert [204] * 8 == [answer.status for answer in answers]
    assert contents == [(await either.audio(upload)).body for upload in uploads]
    assert {"complete"} == {(await upload_row(either.served, upload)).state for upload in uploads}
