"""
A body that stops coming without its connection's end.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.http.phone import Phone
from tests.http.wire import RawAnswer, Wire, chunk
from tests.support.gateway import APPEND, Served, serving


@pytest.fixture
async def impatient(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path / "data", with_workers=False, uploads={"idle_timeout_s": 1}) as gateway:
        yield gateway


async def test_is_ended_and_what_came_is_kept(impatient: Served) -> None:
    phone = await Phone.of_new_user(impatient)
    told, untold, summed, empty = [await phone.begin(10) for _ in range(4)]
    checksum = {"Upload-Checksum": "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="}
    created = {**phone.auth, **APPEND, "Upload-Length": "10", "Content-Length": "10"}

    async def answered(wire: Wire) -> RawAnswer:
        return await wire.answer()

    async with (
        Wire.to(impatient) as one,
        Wire.to(impatient) as two,
        Wire.to(impatient) as three,
        Wire.to(impatient) as four,
        Wire.to(impatient) as five,
    ):
        await one.begin_patch(phone, told, 0, 10)
        await one.send(b"hello")
        await two.begin_patch(phone, untold, 0, None)
        await two.send(chunk(b"hello"))
        await three.begin_patch(phone, summed, 0, 10, checksum)
        await three.send(b"hello")
        await four.begin_patch(phone, empty, 0, 10)
        await five.send_head("POST", "/v1/uploads", created)
        await five.send(b"hello")
        answers = await asyncio.gather(*(answered(wire) for wire in (one, two, three, four, five)))

    assert [408] * 5 == [answer.status for answer in answers]
    assert b'"code":"body-idle"' in answers[0].body
    assert b'"retry":true' in answers[0].body
    born = answers[4].headers["location"].rpartition("/")[2]
    assert [5, 5, 0, 0, 5] == [await phone.offset_of(each) for each in (told, untold, summed, empty, born)]
    assert 204 == (await phone.patch(told, 5, b"world")).status
    assert b"helloworld" == (await phone.audio(told)).body
