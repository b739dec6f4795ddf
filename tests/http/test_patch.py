"""
PATCH: appending bytes.
"""

from collections.abc import AsyncIterator
from itertools import pairwise
from uuid import uuid4

import pytest

from tests.http.phone import TUS, UPLOADS, Phone, speech, spool_files
from tests.http.wire import Wire
from tests.support.gateway import Served

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def chunked(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_many_appends_make_the_recording(phone: Phone) -> None:
    content = speech(100_000)
    upload = await phone.begin(len(content))
    edges = [0, 1, 2, 16384, 16385, 40_000, 99_999, 100_000]

    for start, end in pairwise(edges):
        answer = await phone.patch(upload, start, content[start:end])
        assert (204, end, b"") == (answer.status, answer.offset, answer.body)
        assert "Upload-Expires" in answer.headers

    assert content == (await phone.audio(upload)).body


@pytest.mark.parametrize("offset", [0, 4, 6, 10, 11, 2**63, 2**64, 10**50])
async def test_a_wrong_offset_is_a_conflict_and_the_right_one_is_told(phone: Phone, offset: int) -> None:
    upload = await phone.begin(10)
    await phone.patch(upload, 0, b"hello")

    answer = await phone.patch(upload, offset, b"world")

    assert (409, 5) == (answer.status, answer.offset)
    assert ("offset-mismatch", 5, True) == tuple(
        answer.problem[member] for member in ("code", "offset", "retry")
    )
    assert 5 == await phone.offset_of(upload)


@pytest.mark.parametrize("offset", ["-1", "", "five", "5.0", "0x5", "5 5", "\u0665"])
async def test_a_malformed_offset_names_the_header(phone: Phone, offset: str) -> None:
    upload = await phone.begin(10)

    assert "Upload-Offset" == (await phone.patch(upload, offset, b"x")).field


async def test_a_missing_offset_names_the_header(phone: Phone) -> None:
    upload = await phone.begin(10)
    headers = {**TUS, "Content-Type": "application/offset+octet-stream"}

    assert "Upload-Offset" == (await phone.ask("PATCH", f"{UPLOADS}/{upload}", headers, b"x")).field


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/octet-stream",
        "application/json",
        "text/plain",
        "application/offset",
        "",
        "audio/mp4",
    ],
)
async def test_another_content_type_is_not_supported(phone: Phone, content_type: str | None) -> None:
    upload = await phone.begin(10)
    headers = {**TUS, "Upload-Offset": "0"}
    if content_type is not None:
        headers["Content-Type"] = content_type

    answer = await phone.ask("PATCH", f"{UPLOADS}/{upload}", headers, b"hello")

    assert (415, "unsupported-media-type") == (answer.status, answer.problem["code"])
    assert 0 == await phone.offset_of(upload)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "x-none"])
async def test_a_compressed_body_is_not_supported(phone: Phone, encoding: str) -> None:
    upload = await phone.begin(10)

    answer = await phone.patch(upload, 0, b"hello", {"Content-Encoding": encoding})

    assert (415, "unsupported-media-type") == (answer.status, answer.problem["code"])
    assert 0 == await phone.offset_of(upload)


async def test_the_identity_encoding_is_none(phone: Phone) -> None:
    upload = await phone.begin(10)

    assert 5 == (await phone.patch(upload, 0, b"hello", {"Content-Encoding": "identity"})).offset


async def test_a_body_past_the_end_is_too_long_and_nothing_is_kept(phone: Phone) -> None:
    upload = await phone.begin(10)
    await phone.patch(upload, 0, b"hello")

    told = await phone.patch(upload, 5, b"world!")
    untold = await phone.patch(upload, 5, chunked(b"wor", b"ld", b"!"))

    for answer in (told, untold):
        assert (413, "too-long", 10) == (answer.status, answer.problem["code"], answer.problem["limit"])
    assert 5 == await phone.offset_of(upload)
    assert 204 == (await phone.patch(upload, 5, b"world")).status
    assert b"helloworld" == (await phone.audio(upload)).body


async def test_nothing_is_kept_of_a_long_body_past_the_end(phone: Phone) -> None:
    upload = await phone.begin(600_000)
    slabs = [speech(100_000, seed) for seed in range(7)]

    assert 413 == (await phone.patch(upload, 0, chunked(*slabs))).status

    assert 0 == await phone.offset_of(upload)
    assert [] == spool_files(phone.served, upload)


async def test_an_empty_patch_changes_nothing(phone: Phone) -> None:
    upload = await phone.begin(10)

    for body in (b"", chunked(), chunked(b"")):
        answer = await phone.patch(upload, 0, body)
        assert (204, 0) == (answer.status, answer.offset)
    assert 409 == (await phone.patch(upload, 1, b"")).status
    assert [] == spool_files(phone.served, upload)


async def test_bytes_may_come_in_chunks_without_their_number(phone: Phone) -> None:
    content = speech(70_000)
    upload = await phone.begin(len(content))

    answer = await phone.patch(upload, 0, chunked(content[:1], content[1:20_000], content[20_000:]))

    assert (204, len(content)) == (answer.status, answer.offset)
    assert content == (await phone.audio(upload)).body


async def test_after_the_end_an_empty_patch_is_answered_as_before(phone: Phone) -> None:
    upload = await phone.begin(5)
    await phone.patch(upload, 0, b"hello")

    again = await phone.patch(upload, 5, b"")

    assert (204, 5) == (again.status, again.offset)


async def test_after_the_end_the_last_bytes_again_are_a_conflict_that_tells_the_end(phone: Phone) -> None:
    upload = await phone.begin(5)
    await phone.patch(upload, 0, b"hello")

    again = await phone.patch(upload, 0, b"hello")

    assert (409, 5) == (again.status, again.offset)
    assert b"hello" == (await phone.audio(upload)).body


async def test_after_the_end_more_bytes_are_too_long(phone: Phone) -> None:
    upload = await phone.begin(5)
    await phone.patch(upload, 0, b"hello")

    for body in (b"x", chunked(b"x")):
        assert 413 == (await phone.patch(upload, 5, body)).status
    assert b"hello" == (await phone.audio(upload)).body


async def test_what_does_not_exist_is_not_found(phone: Phone) -> None:
    for name in (str(uuid4()), "x"):
        answer = await phone.patch(name, 0, b"hello")
        assert (404, "not-found") == (answer.status, answer.problem["code"])


async def test_requests_after_one_another_on_one_connection_are_answered_in_order(
    shared: Served, phone: Phone
) -> None:
    """
    A client may send the next PATCH before it has read the last one's answer.
    """
    upload = await phone.begin(30)
    async with Wire.to(shared) as wire:
        for offset in (0, 10, 20):
            await wire.begin_patch(phone, upload, offset, 10)
            await wire.send(speech(30)[offset : offset + 10])
        answers = [await wire.answer() for _ in range(3)]

    assert [(204, "10"), (204, "20"), (204, "30")] == [
        (answer.status, answer.headers["upload-offset"]) for answer in answers
    ]
    assert speech(30) == (await phone.audio(upload)).body


async def test_expect_100_continue_is_answered_before_the_body(shared: Served, phone: Phone) -> None:
    upload = await phone.begin(5)
    async with Wire.to(shared) as wire:
        await wire.begin_patch(phone, upload, 0, 5, {"Expect": "100-continue"})
        assert 100 == (await wire.answer()).status
        await wire.send(b"hello")
        assert 204 == (await wire.answer()).status


async def test_what_is_refused_is_not_asked_to_continue(shared: Served, phone: Phone) -> None:
    """
    The protocol wants early feedback: a phone should not pay for bytes that are refused anyway.
    """
    upload = await phone.begin(5)
    async with Wire.to(shared) as wire:
        await wire.begin_patch(phone, upload, 3, 2, {"Expect": "100-continue"})
        assert 409 == (await wire.answer()).status
    async with Wire.to(shared) as wire:
        await wire.begin_patch(phone, upload, 0, 5, {"Expect": "100-continue", "Authorization": "Bearer x"})
        assert 401 == (await wire.answer()).status
