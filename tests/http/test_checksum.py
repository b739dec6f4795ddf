"""
Upload-Checksum: a body that counts wholly or not at all.
"""

from collections.abc import AsyncIterator

import pytest

from tests.http.phone import Phone, checksum_of, speech
from tests.http.wire import Wire, chunk, settled
from tests.support.gateway import Served

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def chunked(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_the_example_of_the_protocol_is_taken(phone: Phone, algorithm: str) -> None:
    upload = await phone.begin(11)
    assert {"Upload-Checksum": "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="} == checksum_of(b"hello world")

    answer = await phone.patch(upload, 0, b"hello world", checksum_of(b"hello world", algorithm))

    assert (204, 11) == (answer.status, answer.offset)


async def test_each_body_has_a_checksum_of_its_own(phone: Phone) -> None:
    content = speech(300_000)
    upload = await phone.begin(len(content))

    for start in range(0, len(content), 100_000):
        part = content[start : start + 100_000]
        assert (
            204 == (await phone.patch(upload, start, chunked(part[:7], part[7:]), checksum_of(part))).status
        )

    assert content == (await phone.audio(upload)).body


@pytest.mark.parametrize("size", [1, 20_000, 600_000])
async def test_nothing_is_kept_of_a_body_that_does_not_match(phone: Phone, size: int) -> None:
    upload = await phone.begin(size + 5)
    await phone.patch(upload, 0, b"hello")

    answer = await phone.patch(upload, 5, speech(size), checksum_of(b"other"))

    assert (460, "checksum-mismatch", True) == (
        answer.status,
        answer.problem["code"],
        answer.problem["retry"],
    )
    assert "1.0.0" == answer.headers["Tus-Resumable"]
    assert 5 == await phone.offset_of(upload)
    assert 204 == (await phone.patch(upload, 5, speech(size), checksum_of(speech(size)))).status
    assert b"hello" + speech(size) == (await phone.audio(upload)).body


async def test_an_empty_body_has_a_checksum_too(phone: Phone) -> None:
    upload = await phone.begin(5)

    assert 460 == (await phone.patch(upload, 0, b"", checksum_of(b"x"))).status
    assert 204 == (await phone.patch(upload, 0, b"", checksum_of(b""))).status


@pytest.mark.parametrize(
    "header",
    [
        "md5 XUFAKrxLKna5cZ2REBfFkg==",
        "crc32 AAAAAA==",
        "sha512 AAAA",
        "Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha1",
        "sha1 ",
        "sha1 !",
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0",
        "sha1 AAAA",
        "sha256 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=,sha256 x",
        "",
        "sha1:Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "shake_128 AAAA",
    ],
)
async def test_an_unknown_algorithm_or_malformed_digest_names_the_header(phone: Phone, header: str) -> None:
    upload = await phone.begin(11)

    answer = await phone.patch(upload, 0, b"hello world", {"Upload-Checksum": header})

    assert "Upload-Checksum" == answer.field
    assert 0 == await phone.offset_of(upload)


@pytest.mark.parametrize("size", [1, 16384, 300_000])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_nothing_is_kept_of_a_body_that_was_cut(
    shared: Served, phone: Phone, size: int, is_chunked: bool
) -> None:
    content = speech(400_000)
    upload = await phone.begin(len(content))
    async with Wire.to(shared) as wire:
        await wire.begin_patch(phone, upload, 0, None if is_chunked else len(content), checksum_of(content))
        await wire.send(chunk(content[:size]) if is_chunked else content[:size])

    assert 0 == (await settled(shared, upload)).received
    assert 204 == (await phone.patch(upload, 0, content, checksum_of(content))).status
    assert content == (await phone.audio(upload)).body


async def test_nothing_is_kept_of_a_cut_body_whose_beginning_matches(shared: Served, phone: Phone) -> None:
    """
    The checksum of what came is not the checksum of what was announced.
    """
    upload = await phone.begin(10)
    async with Wire.to(shared) as wire:
        await wire.begin_patch(phone, upload, 0, 10, checksum_of(b"hello"))
        await wire.send(b"hello")

    assert 0 == (await settled(shared, upload)).received
