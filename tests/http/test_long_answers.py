"""
Answers of half a megabyte and more: a thread sends them, past aiohttp.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.services.sending import LONG, LongStretch
from tests.http.phone import RECORDINGS, Phone, blob_files, speech
from tests.http.wire import Wire, eventually
from tests.support.gateway import Served, serving

CONTENT = speech(3_000_017)
HUGE = speech(24_000_000)
"""More than the kernel holds for a listener who does not take it."""


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    # One thread: a listener who held it would be noticed by all others.
    async with serving(tmp_path / "data", with_workers=False, playback={"threads": 1}) as served:
        yield served


@pytest.fixture
async def phone(gateway: Served) -> Phone:
    return await Phone.of_new_user(gateway)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """
    Gets an entry for each turn of a thread that sends.
    """
    taken: list[int] = []
    take_turn = LongStretch.take_turn

    def counting(stretch: LongStretch, *arguments: Any) -> None:
        taken.append(1)
        take_turn(stretch, *arguments)

    monkeypatch.setattr(LongStretch, "take_turn", counting)
    return taken


async def placed(phone: Phone, content: bytes = CONTENT) -> str:
    recording = (await phone.create(len(content), None, content)).upload_id
    await phone.served.placed()
    return recording


def path_of(recording: str) -> str:
    return f"{RECORDINGS}/{recording}/audio"


async def test_it_is_what_was_sent(phone: Phone, turns: list[int]) -> None:
    recording = (await phone.create(len(CONTENT), None, CONTENT)).upload_id
    assert CONTENT == (await phone.audio(recording)).body
    assert [] == turns
    await phone.served.placed()
    answer = await phone.audio(recording)
    assert (200, CONTENT, str(len(CONTENT))) == (answer.status, answer.body, answer.headers["Content-Length"])
    assert turns


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, LONG),
        (1, LONG + 1),
        (16_383, 16_384 + LONG),
        (16_384, 2_000_000),
        (1_000_000, len(CONTENT)),
        (len(CONTENT) - LONG, len(CONTENT)),
    ],
)
async def test_any_long_range_of_it_is(phone: Phone, turns: list[int], start: int, end: int) -> None:
    recording = await placed(phone)
    answer = await phone.audio(recording, {"Range": f"bytes={start}-{end - 1}"})
    assert (206, f"bytes {start}-{end - 1}/{len(CONTENT)}") == (
        answer.status,
        answer.headers["Content-Range"],
    )
    assert CONTENT[start:end] == answer.body
    assert turns


async def test_a_shorter_one_goes_the_short_way(phone: Phone, turns: list[int]) -> None:
    recording = await placed(phone)
    assert CONTENT[: LONG - 1] == (await phone.audio(recording, {"Range": f"bytes=0-{LONG - 2}"})).body
    assert [] == turns


async def test_head_and_a_range_behind_the_end_send_nothing(phone: Phone, turns: list[int]) -> None:
    recording = await placed(phone)
    head = await phone.ask("HEAD", path_of(recording))
    assert (200, str(len(CONTENT)), b"") == (head.status, head.headers["Content-Length"], head.body)
    beyond = await phone.audio(recording, {"Range": f"bytes={len(CONTENT)}-"})
    assert (416, f"bytes */{len(CONTENT)}") == (beyond.status, beyond.headers["Content-Range"])
    assert [] == turns


async def test_the_connection_is_good_for_the_next_request(phone: Phone) -> None:
    recording = await placed(phone)
    async with Wire.to(phone.served) as wire:
        for headers, expected in (
            ({}, CONTENT),
            ({"Range": "bytes=5-9"}, CONTENT[5:10]),
            ({"Range": "bytes=7-1000000"}, CONTENT[7:1_000_001]),
            ({}, CONTENT),
        ):
            await wire.send_head("GET", path_of(recording), {**phone.auth, **headers})
            assert expected == (await wire.answer()).body


async def test_requests_behind_each_other_are_answered_in_order(phone: Phone) -> None:
    recording = await placed(phone)
    ranges = ["bytes=0-1999999", "bytes=3-3", "bytes=1000000-2999999"]
    async with Wire.to(phone.served) as wire:
        for header in ranges:
            await wire.send_head("GET", path_of(recording), {**phone.auth, "Range": header})
        answers = [(await wire.answer()).body for _ in ranges]
    assert [CONTENT[:2_000_000], CONTENT[3:4], CONTENT[1_000_000:3_000_000]] == answers


async def test_many_hear_it_at_once(phone: Phone) -> None:
    recording = await placed(phone)
    parts = [(start, start + 2_000_000) for start in range(0, 1_000_000, 100_000)]
    answers = await asyncio.gather(
        *(phone.audio(recording, {"Range": f"bytes={start}-{end - 1}"}) for start, end in parts)
    )
    assert [CONTENT[start:end] for start, end in parts] == [answer.body for answer in answers]


class Stalled:
    """
    A listener who asked for all of a huge recording and takes nothing.
    """

    def __init__(self, wire: Wire, phone: Phone, recording: str) -> None:
        self.wire = wire
        self.phone = phone
        self.recording = recording

    async def rest(self) -> bytes:
        """
        Take what comes until the gateway closes; the head is left out.
        """
        return (await self.wire.rest()).partition(b"\r\n\r\n")[2]


@pytest.fixture
async def stalled(phone: Phone, turns: list[int]) -> AsyncIterator[Stalled]:
    recording = await placed(phone, HUGE)
    async with Wire.to(phone.served) as wire:
        await wire.send_head("GET", path_of(recording), {**phone.auth, "Connection": "close"})
        await eventually(lambda: len(turns) > 0)
        # The one thread is given back while the listener takes nothing: others are served.
        other = await placed(phone)
        assert CONTENT == (await phone.audio(other)).body
        yield Stalled(wire, phone, recording)


async def test_a_listener_who_stops_holds_up_nobody_and_may_go_on(stalled: Stalled) -> None:
    assert HUGE == await stalled.rest()


async def test_what_is_erased_while_its_listener_stops_is_not_heard_any_more(stalled: Stalled) -> None:
    assert 200 == (await stalled.phone.erase(stalled.recording)).status
    heard = await stalled.rest()
    assert len(heard) < len(HUGE)
    assert HUGE.startswith(heard)


async def test_what_is_erased_while_it_is_heard_ends(phone: Phone) -> None:
    recording = await placed(phone, HUGE)
    async with Wire.to(phone.served) as wire:
        await wire.send_head("GET", path_of(recording), {**phone.auth, "Connection": "close"})
        heard = await wire._reader.readexactly(2_000_000)
        assert 200 == (await phone.erase(recording)).status
        heard += await wire.rest()
    heard = heard.partition(b"\r\n\r\n")[2]
    assert 1_000_000 < len(heard) < len(HUGE)
    assert HUGE.startswith(heard)
    assert 404 == (await phone.audio(recording)).status


async def test_what_is_erased_with_its_user_ends(phone: Phone) -> None:
    recording = await placed(phone, HUGE)
    async with Wire.to(phone.served) as wire:
        await wire.send_head("GET", path_of(recording), {**phone.auth, "Connection": "close"})
        heard = await wire._reader.readexactly(1_000_000)
        await phone.served.gateway.context.erasure.bury_account(phone.user_id)
        await phone.served.placed()
        heard += await wire.rest()
    assert len(heard) < len(HUGE)


@pytest.mark.parametrize("is_reset", [False, True])
async def test_a_listener_who_goes_away_does_no_harm(stalled: Stalled, is_reset: bool) -> None:
    before = descriptors()
    if is_reset:
        await stalled.wire.reset()
    else:
        await stalled.wire.cut()
    # Both ends of the connection, and the descriptor of its own that the thread had.
    await eventually(lambda: descriptors() <= before - 3)
    part = {"Range": "bytes=100-1000099"}
    assert HUGE[100:1_000_100] == (await stalled.phone.audio(stalled.recording, part)).body


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_damage_in_its_midst_ends_it_before_the_damage(phone: Phone) -> None:
    recording = await placed(phone)
    [blob] = blob_files(phone.served)
    damaged = 2_500_000 // 16_384
    with blob.open("r+b") as file:
        file.seek(36 + 56 + damaged * 16_400)
        file.write(bytes(16))
    async with Wire.to(phone.served) as wire:
        await wire.send_head("GET", path_of(recording), phone.auth)
        heard = (await wire.rest()).partition(b"\r\n\r\n")[2]
    assert len(heard) <= damaged * 16_384
    assert CONTENT.startswith(heard)
    assert 1 == phone.served.gateway.context.metrics.damaged_reads._value.get()


async def test_a_blob_that_is_not_there_any_more_ends_it_with_no_answer(phone: Phone) -> None:
    recording = await placed(phone)
    assert CONTENT == (await phone.audio(recording)).body
    [blob] = blob_files(phone.served)
    blob.unlink()
    async with Wire.to(phone.served) as wire:
        await wire.send_head("GET", path_of(recording), phone.auth)
        assert b"" == await wire.rest()


async def test_a_stop_of_the_gateway_ends_it(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", with_workers=False) as gateway:
        phone = await Phone.of_new_user(gateway)
        recording = await placed(phone, HUGE)
        wire_context = Wire.to(gateway)
        wire = await wire_context.__aenter__()
        await wire.send_head("GET", path_of(recording), phone.auth)
        await wire._reader.readexactly(1_000_000)
    heard = await wire.rest()
    await wire_context.__aexit__(None, None, None)
    assert len(heard) < len(HUGE)
