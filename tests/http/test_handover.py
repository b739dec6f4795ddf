"""
Two requests for one upload: the newcomer gets it, at once.
"""

import asyncio

import pytest

from tests.http.phone import Phone, speech
from tests.http.wire import Intake, RawAnswer, Wire, chunk, settled
from tests.support.gateway import Served

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHORT_S = 2
"""Far below the time after which a holder that does not answer is passed by."""
CONTENT = speech(400_000)


async def test_a_patch_takes_over_from_one_that_hangs(shared: Served, phone: Phone, intake: Intake) -> None:
    upload = await phone.begin(len(CONTENT))
    async with Wire.to(shared) as hanging:
        await hanging.begin_patch(phone, upload, 0, len(CONTENT))
        await hanging.send(CONTENT[:300_000])
        await intake.reaches(300_000)

        async with asyncio.timeout(SHORT_S):
            answer = await phone.patch(upload, 300_000, CONTENT[300_000:])
            superseded = await hanging.answer()

    assert (204, len(CONTENT)) == (answer.status, answer.offset)
    assert 423 == superseded.status
    assert b'"code":"superseded"' in superseded.body
    assert "1" == superseded.headers["retry-after"]
    assert CONTENT == (await phone.audio(upload)).body


async def test_a_head_takes_over_and_tells_what_was_received(
    shared: Served, phone: Phone, intake: Intake
) -> None:
    upload = await phone.begin(len(CONTENT))
    async with Wire.to(shared) as hanging:
        await hanging.begin_patch(phone, upload, 0, None)
        await hanging.send(chunk(CONTENT[:1000]))
        await intake.reaches(1000)

        async with asyncio.timeout(SHORT_S):
            assert 1000 == await phone.offset_of(upload)
            assert 423 == (await hanging.answer()).status

    assert 204 == (await phone.patch(upload, 1000, CONTENT[1000:])).status
    assert CONTENT == (await phone.audio(upload)).body


async def test_a_delete_takes_over(shared: Served, phone: Phone, intake: Intake) -> None:
    upload = await phone.begin(len(CONTENT))
    async with Wire.to(shared) as hanging:
        await hanging.begin_patch(phone, upload, 0, len(CONTENT))
        await hanging.send(CONTENT[:300_000])
        await intake.reaches(300_000)

        async with asyncio.timeout(SHORT_S):
            assert 204 == (await phone.terminate(upload)).status
            assert 423 == (await hanging.answer()).status

    assert 404 == (await phone.head(upload)).status


async def test_nothing_of_a_body_with_a_checksum_counts_when_it_loses_the_upload(
    shared: Served, phone: Phone, intake: Intake
) -> None:
    upload = await phone.begin(10)
    async with Wire.to(shared) as hanging:
        await hanging.begin_patch(
            phone, upload, 0, 10, {"Upload-Checksum": "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="}
        )
        await hanging.send(b"hello")
        await intake.reaches(5)

        assert 0 == await phone.offset_of(upload)
        assert 423 == (await hanging.answer()).status


async def test_of_three_newcomers_at_once_one_gets_it(either: Phone, intake: Intake) -> None:
    upload = await either.begin(len(CONTENT))
    async with Wire.to(either.served) as hanging:
        await hanging.begin_patch(either, upload, 0, len(CONTENT))
        await hanging.send(CONTENT[:300_000])
        await intake.reaches(300_000)

        async with asyncio.timeout(2 * SHORT_S):
            answers = await asyncio.gather(
                *(either.patch(upload, 300_000, CONTENT[300_000:]) for _ in range(3))
            )
            assert 423 == (await hanging.answer()).status

    statuses = sorted(answer.status for answer in answers)
    assert 1 == statuses.count(204)
    # Who comes after the winner finds the upload's end elsewhere; who was before him was asked to let go.
    assert set(statuses) <= {204, 409, 423}
    assert CONTENT == (await either.audio(upload)).body


async def test_newcomers_that_hang_as_well_hand_it_on(shared: Served, phone: Phone, intake: Intake) -> None:
    upload = await phone.begin(len(CONTENT))
    superseded: list[RawAnswer] = []
    async with Wire.to(shared) as first, Wire.to(shared) as second, Wire.to(shared) as third:
        for number, wire in enumerate((first, second, third)):
            await wire.begin_patch(phone, upload, number * 10_000, len(CONTENT) - number * 10_000)
            await wire.send(CONTENT[number * 10_000 : (number + 1) * 10_000])
            await intake.reaches((number + 1) * 10_000)
        async with asyncio.timeout(SHORT_S):
            answer = await phone.patch(upload, 30_000, CONTENT[30_000:])
            superseded = [await wire.answer() for wire in (first, second, third)]

    assert 204 == answer.status
    assert [423] * 3 == [answer.status for answer in superseded]
    assert CONTENT == (await phone.audio(upload)).body


async def test_heads_do_not_stop_each_other(phone: Phone) -> None:
    upload = await phone.begin(10)
    await phone.patch(upload, 0, b"hello")

    answers = await asyncio.gather(*(phone.head(upload) for _ in range(20)))

    assert [(200, 5)] * 20 == [(answer.status, answer.offset) for answer in answers]


async def test_the_same_bytes_sent_twice_at_once_count_once(either: Phone) -> None:
    """
    A client that gives up waiting and starts over, while its first request is still on the way.
    """
    upload = await either.begin(200_000)

    answers = await asyncio.gather(*(either.patch(upload, 0, CONTENT[:100_000]) for _ in range(5)))

    assert {answer.status for answer in answers} <= {204, 409, 423}
    offset = await either.offset_of(upload)
    assert offset <= 100_000
    assert 204 == (await either.patch(upload, offset, CONTENT[offset:200_000])).status
    assert CONTENT[:200_000] == (await either.audio(upload)).body


async def test_a_refused_newcomer_leaves_the_connection_usable(shared: Served, phone: Phone) -> None:
    upload = await phone.begin(10)
    async with Wire.to(shared) as wire:
        await wire.begin_patch(phone, upload, 5, 5)
        await wire.send(b"world")
        assert 409 == (await wire.answer()).status
        await wire.begin_patch(phone, upload, 0, 5)
        await wire.send(b"hello")
        assert 204 == (await wire.answer()).status

    assert 5 == (await settled(shared, upload)).received
