"""
Idempotency-Key: a creation whose answer was lost can be sent again.
"""

import asyncio

import pytest

from tests.http.phone import Phone, speech
from tests.http.wire import Wire

KEY = {"Idempotency-Key": "the call of 9.15"}

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_same_key_gives_the_same_upload(either: Phone) -> None:
    first = await either.create(10, KEY)
    await either.patch(first.upload_id, 0, b"hello")

    again = await either.create(10, KEY)

    assert (201, first.upload_id) == (again.status, again.upload_id)
    assert 5 == await either.offset_of(first.upload_id)
    assert first.upload_id != await either.begin(10, {"Idempotency-Key": "another"})
    assert first.upload_id != await either.begin(10)


async def test_first_bytes_are_taken_once(either: Phone) -> None:
    content = speech(20)

    answers = [await either.create(20, KEY, data=content[:10]) for _ in range(2)]

    assert [(201, 10), (201, 10)] == [(answer.status, answer.offset) for answer in answers]
    assert 1 == len({answer.upload_id for answer in answers})
    assert 204 == (await either.patch(answers[0].upload_id, 10, content[10:])).status
    assert 20 == (await either.create(20, KEY, data=content[:10])).offset
    assert content == (await either.audio(answers[0].upload_id)).body
    assert 1 == len(await either.listed())


async def test_the_same_key_of_another_user_is_another_key(either: Phone) -> None:
    stranger = await Phone.of_new_user(either.served)

    assert await either.begin(10, KEY) != await stranger.begin(10, KEY)


async def test_many_at_once_begin_one_upload(either: Phone) -> None:

    answers = await asyncio.gather(*(either.create(10, KEY) for _ in range(8)))

    assert {201} == {answer.status for answer in answers}
    assert 1 == len({answer.upload_id for answer in answers})


async def test_after_the_upload_was_given_up_the_key_begins_a_new_one(either: Phone) -> None:
    """
    An app that takes a file's name for its key would otherwise never get that file in.
    """
    given_up = await either.begin(10, KEY)
    await either.terminate(given_up)

    upload = await either.begin(10, KEY)

    assert given_up != upload
    assert 0 == await either.offset_of(upload)


async def test_after_the_recording_was_erased_the_key_begins_a_new_one(either: Phone) -> None:
    erased = (await either.create(5, KEY, data=b"hello")).upload_id
    await either.erase(erased)

    assert erased != (await either.create(5, KEY, data=b"hello")).upload_id


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_malformed_key_names_the_header(either: Phone, key: str) -> None:

    assert "Idempotency-Key" == (await either.create(10, {"Idempotency-Key": key})).field


async def test_a_key_may_be_any_bytes(either: Phone) -> None:
    headers = {**either.auth, "Tus-Resumable": "1.0.0", "Upload-Length": "5", "Content-Length": "0"}
    async with Wire.to(either.served) as wire:
        answers = []
        for key in ("\xff\xfe", "\xff\xfe", "\xfe\xff", "\xc3\xa9"):
            await wire.send_head("POST", "/v1/uploads", {**headers, "Idempotency-Key": key})
            answers.append(await wire.answer())

    assert [201] * 4 == [answer.status for answer in answers]
    locations = [answer.headers["location"] for answer in answers]
    assert locations[0] == locations[1]
    assert 3 == len(set(locations))
