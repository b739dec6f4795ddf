"""
POST with a body: the first bytes come with the creation.
"""

from collections.abc import AsyncIterator

import pytest

from tests.http.phone import TUS, Phone, checksum_of, speech

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def chunked(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.mark.parametrize("size", [1, 16383, 16384, 16385, 300_000])
async def test_the_whole_of_it_is_a_recording(phone: Phone, size: int) -> None:
    content = speech(size)

    answer = await phone.create(size, data=content)

    assert (201, size) == (answer.status, answer.offset)
    assert content == (await phone.audio(answer.upload_id)).body


async def test_a_part_of_it_is_gone_on_with(phone: Phone) -> None:
    content = speech(50_000)

    answer = await phone.create(50_000, data=content[:20_000])
    assert (201, 20_000) == (answer.status, answer.offset)
    assert 20_000 == await phone.offset_of(answer.upload_id)
    assert 204 == (await phone.patch(answer.upload_id, 20_000, content[20_000:])).status

    assert content == (await phone.audio(answer.upload_id)).body


async def test_bytes_may_come_in_chunks_without_their_number(phone: Phone) -> None:
    answer = await phone.create(10, data=chunked(b"hello", b"wo"))

    assert (201, 7) == (answer.status, answer.offset)


async def test_an_empty_body_leaves_the_upload_at_its_beginning(phone: Phone) -> None:
    answer = await phone.create(10, data=b"")

    assert (201, 0) == (answer.status, answer.offset)


async def test_an_empty_body_of_an_empty_upload_is_its_end(phone: Phone) -> None:
    answer = await phone.create(0, data=b"")

    assert (201, 0) == (answer.status, answer.offset)
    assert b"" == (await phone.audio(answer.upload_id)).body


async def test_a_deferred_length_takes_first_bytes_too(phone: Phone) -> None:
    answer = await phone.create(None, {"Upload-Defer-Length": "1"}, data=b"hello")

    assert (201, 5) == (answer.status, answer.offset)
    assert "1" == (await phone.head(answer.upload_id)).headers["Upload-Defer-Length"]


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_a_right_checksum_is_taken(phone: Phone, algorithm: str) -> None:
    answer = await phone.create(5, checksum_of(b"hello", algorithm), data=b"hello")

    assert (201, 5) == (answer.status, answer.offset)


async def test_with_a_wrong_checksum_the_upload_exists_and_is_empty(phone: Phone) -> None:
    answer = await phone.create(5, checksum_of(b"other"), data=b"hello")

    assert (460, "checksum-mismatch") == (answer.status, answer.problem["code"])
    assert 0 == await phone.offset_of(answer.upload_id)
    assert 204 == (await phone.patch(answer.upload_id, 0, b"hello")).status


async def test_with_a_malformed_checksum_nothing_is_created(phone: Phone) -> None:
    answer = await phone.create(5, {"Upload-Checksum": "sha1 !"}, data=b"hello")

    assert "Upload-Checksum" == answer.field
    assert "Location" not in answer.headers


async def test_more_bytes_than_the_length_are_refused_before_anything_is_created(phone: Phone) -> None:
    answer = await phone.create(4, data=b"hello")

    assert (413, 4) == (answer.status, answer.problem["limit"])
    assert "Location" not in answer.headers


async def test_of_more_chunks_than_the_length_nothing_is_kept(phone: Phone) -> None:
    answer = await phone.create(4, data=chunked(b"he", b"llo"))

    assert (413, 4) == (answer.status, answer.problem["limit"])
    assert 0 == await phone.offset_of(answer.upload_id)


async def test_upload_expires_is_told(phone: Phone) -> None:
    answer = await phone.create(10, data=b"hello")

    assert answer.headers["Upload-Expires"] == (await phone.head(answer.upload_id)).headers["Upload-Expires"]


async def test_a_parameter_of_the_content_type_is_no_matter(phone: Phone) -> None:
    headers = {**TUS, "Content-Type": "Application/Offset+Octet-Stream; charset=binary"}

    assert 5 == (await phone.create(5, headers, data=b"hello")).offset


async def test_a_compressed_body_is_refused(phone: Phone) -> None:
    """
    An offset counts the bytes that were sent; what a server made of them on the way would be another file.
    """
    answer = await phone.create(5, {"Content-Encoding": "gzip"}, data=b"hello")

    assert (415, "unsupported-media-type") == (answer.status, answer.problem["code"])
