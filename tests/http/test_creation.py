"""
POST: beginning an upload.
"""

from uuid import UUID

import pytest

from tests.http.phone import TUS, UPLOADS, Phone, speech
from tests.http.wire import Wire
from tests.support.gateway import Served

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAX = 8 * 1024**3


@pytest.mark.parametrize("length", [1, 16384, 2**31, 2**32 + 1, MAX])
async def test_gives_an_address_of_an_empty_upload(phone: Phone, length: int) -> None:
    answer = await phone.create(length)

    assert (201, b"") == (answer.status, answer.body)
    assert "1.0.0" == answer.headers["Tus-Resumable"]
    assert "Upload-Expires" in answer.headers
    assert "Upload-Offset" not in answer.headers
    assert UUID(answer.upload_id).version == 4
    head = await phone.head(answer.upload_id)
    assert (0, str(length)) == (head.offset, head.headers["Upload-Length"])


async def test_an_upload_of_nothing_is_a_recording_at_once(phone: Phone) -> None:
    answer = await phone.create(0)

    head = await phone.head(answer.upload_id)
    assert (201, 200, 0, "0") == (answer.status, head.status, head.offset, head.headers["Upload-Length"])
    assert 0 == (await phone.details(answer.upload_id)).document["size"]


@pytest.mark.parametrize(
    "length", ["-1", "+1", "1.0", "1e3", "0x10", "1_000", " ", "", "ten", "1,2", "1 2", "\u0661", "NaN"]
)
async def test_a_length_that_is_no_whole_number_is_malformed(phone: Phone, length: str) -> None:
    assert "Upload-Length" == (await phone.create(length)).field


@pytest.mark.parametrize("length", [MAX + 1, 2**63 - 1, 2**63, 2**64, 10**30, 10**100])
async def test_a_length_past_the_limit_is_too_long_and_says_the_limit(phone: Phone, length: int) -> None:
    answer = await phone.create(length)

    assert (413, "too-long", MAX) == (answer.status, answer.problem["code"], answer.problem["limit"])
    assert answer.problem.get("retry", False) is False


async def test_without_a_length_the_field_is_named(phone: Phone) -> None:
    assert "Upload-Length" == (await phone.create(None)).field


async def test_a_length_and_a_deferred_length_contradict_each_other(phone: Phone) -> None:
    assert "Upload-Length" == (await phone.create(10, {"Upload-Defer-Length": "1"})).field


@pytest.mark.parametrize("value", ["0", "2", "true", "", "01", "1,1"])
async def test_a_length_is_deferred_with_1_alone(phone: Phone, value: str) -> None:
    assert "Upload-Defer-Length" == (await phone.create(None, {"Upload-Defer-Length": value})).field


@pytest.mark.parametrize("name", ["Upload-Length", "Upload-Offset", "Upload-Checksum", "Idempotency-Key"])
async def test_a_header_that_stands_twice_is_malformed(shared: Served, phone: Phone, name: str) -> None:
    """
    Which of two different values counts is a question that a proxy in front may answer otherwise.
    """
    values = {
        "Upload-Length": ("3", "4"),
        "Upload-Offset": ("0", "1"),
        "Upload-Checksum": ("sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        "Idempotency-Key": ("a", "b"),
    }[name]
    sent = [*phone.auth.items(), *TUS.items(), ("Content-Length", "3")]
    sent += [("Content-Type", "application/offset+octet-stream"), *((name, value) for value in values)]
    method, path = "POST", UPLOADS
    if name != "Upload-Length":
        sent.append(("Upload-Length", "3"))
    if name == "Upload-Offset":
        method, path = "PATCH", f"{UPLOADS}/{await phone.begin(3)}"
    async with Wire.to(shared) as wire:
        await wire.send_head(method, path, sent)
        await wire.send(b"abc")
        answer = await wire.answer()

    assert 400 == answer.status
    assert f'"field":"{name}"' in answer.body.decode()


async def test_a_body_of_another_type_is_not_looked_at(phone: Phone) -> None:
    answer = await phone.create(3, {"Content-Type": "application/octet-stream"}, data=speech(3))

    assert 201 == answer.status
    assert "Upload-Offset" not in answer.headers
    assert 0 == await phone.offset_of(answer.upload_id)


async def test_two_uploads_have_two_addresses(phone: Phone) -> None:
    assert await phone.begin(1) != await phone.begin(1)


async def test_a_collection_has_no_other_methods(phone: Phone) -> None:
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        answer = await phone.ask(method, UPLOADS, TUS)
        assert (405, "OPTIONS, POST") == (answer.status, answer.headers["Allow"])
        assert "method-not-allowed" == answer.problem["code"]
        assert "1.0.0" == answer.headers["Tus-Resumable"]
