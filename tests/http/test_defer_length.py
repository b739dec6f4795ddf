"""
Upload-Defer-Length: a length that is told later.
"""

import pytest

from tests.http.phone import Phone, checksum_of, speech

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_while_it_is_not_known_head_says_so(phone: Phone) -> None:
    upload = await phone.begin(None)
    await phone.patch(upload, 0, b"hello")

    head = await phone.head(upload)

    assert ("1", 5) == (head.headers["Upload-Defer-Length"], head.offset)
    assert "Upload-Length" not in head.headers


async def test_it_is_declared_with_the_last_bytes(phone: Phone) -> None:
    upload, content = await phone.begin(None), speech(40_000)
    await phone.patch(upload, 0, content[:30_000])

    answer = await phone.patch(upload, 30_000, content[30_000:], {"Upload-Length": "40000"})

    assert (204, 40_000) == (answer.status, answer.offset)
    head = await phone.head(upload)
    assert ("40000", 40_000) == (head.headers["Upload-Length"], head.offset)
    assert "Upload-Defer-Length" not in head.headers
    assert content == (await phone.audio(upload)).body


async def test_it_is_declared_behind_the_last_bytes_without_any(phone: Phone) -> None:
    upload, content = await phone.begin(None), speech(40_000)
    await phone.patch(upload, 0, content)

    answer = await phone.patch(upload, 40_000, b"", {"Upload-Length": "40000"})

    assert (204, 40_000) == (answer.status, answer.offset)
    assert content == (await phone.audio(upload)).body


async def test_it_is_declared_before_the_first_bytes(phone: Phone) -> None:
    upload = await phone.begin(None)

    assert 204 == (await phone.patch(upload, 0, b"", {"Upload-Length": "5"})).status
    assert "5" == (await phone.head(upload)).headers["Upload-Length"]
    assert 204 == (await phone.patch(upload, 0, b"hello")).status

    assert b"hello" == (await phone.audio(upload)).body


async def test_nothing_at_all_may_be_declared(phone: Phone) -> None:
    upload = await phone.begin(None)

    assert 204 == (await phone.patch(upload, 0, b"", {"Upload-Length": "0"})).status
    assert b"" == (await phone.audio(upload)).body


async def test_it_may_be_declared_again_but_not_otherwise(phone: Phone) -> None:
    upload = await phone.begin(None)
    await phone.patch(upload, 0, b"he", {"Upload-Length": "5"})

    other = await phone.patch(upload, 2, b"l", {"Upload-Length": "6"})
    assert (400, "length-conflict", 2) == (other.status, other.problem["code"], await phone.offset_of(upload))
    assert 204 == (await phone.patch(upload, 2, b"llo", {"Upload-Length": "5"})).status


async def test_a_length_given_at_creation_does_not_change(phone: Phone) -> None:
    upload = await phone.begin(5)

    assert 400 == (await phone.patch(upload, 0, b"hello", {"Upload-Length": "6"})).status
    assert 204 == (await phone.patch(upload, 0, b"hello", {"Upload-Length": "5"})).status


async def test_less_than_was_received_cannot_be_declared(phone: Phone) -> None:
    upload = await phone.begin(None)
    await phone.patch(upload, 0, b"hello")

    answer = await phone.patch(upload, 5, b"", {"Upload-Length": "4"})

    assert (400, "length-conflict") == (answer.status, answer.problem["code"])
    assert "1" == (await phone.head(upload)).headers["Upload-Defer-Length"]


async def test_more_than_the_limit_cannot_be_declared(phone: Phone) -> None:
    upload = await phone.begin(None)

    answer = await phone.patch(upload, 0, b"", {"Upload-Length": str(2**63)})

    assert (413, 8 * 1024**3) == (answer.status, answer.problem["limit"])


@pytest.mark.parametrize("length", ["-1", "five", "5.0"])
async def test_a_malformed_declaration_names_the_header(phone: Phone, length: str) -> None:
    upload = await phone.begin(None)

    assert "Upload-Length" == (await phone.patch(upload, 0, b"hello", {"Upload-Length": length})).field
    assert 0 == await phone.offset_of(upload)


async def test_a_body_past_its_own_declaration_is_too_long(phone: Phone) -> None:
    upload = await phone.begin(None)

    answer = await phone.patch(upload, 0, b"hello", {"Upload-Length": "4"})

    assert (413, 4) == (answer.status, answer.problem["limit"])
    assert 0 == await phone.offset_of(upload)


async def test_a_patch_with_a_wrong_checksum_declares_nothing(phone: Phone) -> None:
    """
    The protocol: the upload must not be updated.
    """
    upload = await phone.begin(None)

    answer = await phone.patch(upload, 0, b"hello", {"Upload-Length": "5", **checksum_of(b"other")})

    assert 460 == answer.status
    head = await phone.head(upload)
    assert (0, "1") == (head.offset, head.headers.get("Upload-Defer-Length"))
    assert (
        204
        == (await phone.patch(upload, 0, b"hello", {"Upload-Length": "5", **checksum_of(b"hello")})).status
    )
    assert b"hello" == (await phone.audio(upload)).body
