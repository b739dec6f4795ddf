"""
Erasing while something else goes on with the same recording: whoever comes first, nothing of it can be reached after.

In the first race the erasure is over before the other begins.
Then the other is stopped nowhere; the erasure begins together with it, then when it has passed its first point, its
second, until it has no more: so the erasure comes between every two changes that the other makes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from gateway.services.bodies import Append
from gateway.services.erasure import Erasure
from gateway.services.errors import NotFound, Refused, Superseded
from gateway.services.playback import ReadEnded
from tests.closure.world import Call, World

LONG = 3 * 1024 * 1024 + 5

Action = Callable[[], Awaitable[Any]]


async def races(
    world: World, prepare: Callable[[], Awaitable[tuple[Action, Action]]]
) -> AsyncIterator[tuple[Any, Any]]:
    """
    Run *prepare* for each race, which returns two actions; yield what came of both.
    """
    first, second = await prepare()
    [later] = await asyncio.gather(second(), return_exceptions=True)
    [earlier] = await asyncio.gather(first(), return_exceptions=True)
    yield _known(earlier), _known(later)
    points = 0
    while True:
        first, second = await prepare()
        passed = world.witness.passed(points)
        running = asyncio.ensure_future(first())
        waiting = asyncio.ensure_future(passed.wait())
        await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
        has_begun_in_time = passed.is_set()
        waiting.cancel()
        outcomes = await asyncio.gather(running, second(), return_exceptions=True)
        yield _known(outcomes[0]), _known(outcomes[1])
        if not has_begun_in_time:
            return
        points += 1


def _known(outcome: Any) -> Any:
    if isinstance(outcome, BaseException) and not isinstance(outcome, Refused):
        raise outcome
    return outcome


def erasing(world: World, call: Call) -> Callable[[], Awaitable[Erasure]]:
    return partial(world.context.erasure.erase_recording, call.owner, call.id, wait_s=60)


@pytest.mark.parametrize("is_placed", [False, True], ids=["in the spool", "at home"])
async def test_a_stream_that_goes_out_ends(either: World, is_placed: bool) -> None:
    owner = await either.add_owner()
    user = await either.user(owner.id)
    for parts_before in range(3):
        call = await either.upload(owner, LONG)
        if is_placed:
            await either.gateway.do_due_jobs()
        row = await either.context.recordings.row(user, call.id)
        stream = either.context.playback.open(row, start=0, length=row.size)
        heard = b""
        for _ in range(parts_before):
            heard += await anext(stream)
        assert call.content.startswith(heard)
        assert len(heard) < len(call.content)
        await either.erase(call)
        with pytest.raises(ReadEnded if heard else NotFound):
            await anext(stream)
    await either.check()


async def test_a_stream_and_an_erasure_at_once(either: World) -> None:
    owner = await either.add_owner()
    user = await either.user(owner.id)
    for parts_before in (0, 1, 5, 12, 13):
        call = await either.upload(owner, LONG)
        row = await either.context.recordings.row(user, call.id)
        erasure: asyncio.Future[None] | None = None
        heard, parts = b"", 0
        try:
            async for part in either.context.playback.open(row, start=0, length=row.size):
                heard, parts = heard + part, parts + 1
                # Whatever goes out was verified, and is this recording's.
                assert call.content.startswith(heard)
                if parts == parts_before:
                    erasure = asyncio.ensure_future(either.erase_unchecked(call))
            assert call.content == heard
        except ReadEnded:
            assert erasure is not None
        await (erasure or either.erase_unchecked(call))
    await either.check()


async def test_the_last_byte_of_an_upload_against_its_erasure(either: World) -> None:
    """
    Before that byte there is no recording to erase, after it there is one.
    """
    owner = await either.add_owner()
    calls: list[Call] = []

    async def prepare() -> tuple[Action, Action]:
        calls.append(await either.begin(owner, 700))
        return partial(either.send, calls[-1], 700), erasing(either, calls[-1])

    found = set()
    async for sent, erasure in races(either, prepare):
        # What was erased between its last byte and the answer is told as gone.
        assert None is sent or isinstance(erasure, Erasure)
        found.add(type(erasure))
        if isinstance(erasure, Erasure):
            calls[-1].state, calls[-1].is_asked_to_end = "erased", True
        else:
            assert "live" == calls[-1].state
    assert {NotFound, Erasure} == found
    await either.check()


async def test_an_upload_that_has_all_its_bytes_is_not_terminated_any_more(either: World) -> None:
    owner = await either.add_owner()
    user = await either.user(owner.id)

    calls: list[Call] = []

    async def prepare() -> tuple[Action, Action]:
        calls.append(await either.begin(owner, 700))
        return partial(either.send, calls[-1], 700), partial(
            either.context.uploads.terminate, user, calls[-1].id
        )

    found = set()
    async for sent, is_terminated in races(either, prepare):
        assert isinstance(sent, Refused) == is_terminated
        calls[-1].is_asked_to_end = is_terminated
        found.add(is_terminated)
    assert {True, False} == found
    assert "live" == calls[-1].state
    await either.check()


class EndlessBody:
    """
    Brings some bytes, and then nothing for ever.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.is_waited_for = asyncio.Event()

    async def source(self) -> None:
        return None

    def at_once(self) -> None:
        return None

    async def read(self) -> bytes:
        content, self._content = self._content, b""
        if not content:
            self.is_waited_for.set()
            await asyncio.Event().wait()
        return content


@pytest.mark.parametrize("end", ["terminate", "expire", "erase account"])
async def test_bytes_that_still_come_go_with_the_upload(either: World, end: str) -> None:
    owner = await either.add_owner()
    await either.upload(owner, 700)
    call = await either.begin(owner, 40000)
    user = await either.user(owner.id)
    body = EndlessBody(call.content[:30000])
    appending = asyncio.ensure_future(
        either.context.uploads.append(user, call.id, Append(offset=0, body=body, body_length=40000))
    )
    await body.is_waited_for.wait()
    if end == "terminate":
        await either.terminate(call)
    elif end == "expire":
        await either.expire_unfinished()
    else:
        await either.erase_account(owner)
        # Nobody tells a request under way that its user is gone; it finds out when it ends.
        either.context.uploads.interrupt_all()
    with pytest.raises(Superseded):
        await appending
    await either.gateway.do_due_jobs()
    if end == "expire":
        # It was still being written to, which moved its deadline; later it is due again.
        await either.expire_unfinished()
        await either.gateway.do_due_jobs()
    assert str(call.id) in either.receipted or owner.id in either.receipted
    assert [] == list((either.data_dir / "spool").iterdir())
    await either.check(exhaustive=True)


async def test_the_last_byte_of_an_upload_against_the_erasure_of_the_account(either: World) -> None:
    calls: list[Call] = []

    async def prepare() -> tuple[Action, Action]:
        owner = await either.add_owner()
        await either.upload(owner, 700)
        calls.append(await either.begin(owner, 700))
        return partial(either.send, calls[-1], 700), partial(either.erase_account, owner)

    found = set()
    async for sent, _ in races(either, prepare):
        found.add(isinstance(sent, Refused))
        calls[-1].state = "erased"
    assert {True, False} == found
    await either.check()
    assert {"erased"} == {owner.state for owner in either.promises.owners.values()}


@pytest.mark.parametrize("pieces", [1, 2])
async def test_placing_against_erasing(either: World, pieces: int) -> None:
    """
    A blob that arrives at home after all is taken away again.
    """
    owner = await either.add_owner()

    async def prepare() -> tuple[Action, Action]:
        call = await either.upload(owner, 20000, pieces=pieces)
        return either.gateway.do_due_jobs, partial(either.erase_unchecked, call)

    async for outcomes in races(either, prepare):
        assert (None, None) == outcomes
    await either.check()
    files = [path for path in (either.data_dir / "blobs").rglob("*") if path.is_file()]
    assert [] == [path for path in files if path.stat().st_size]


async def test_editing_against_erasing(either: World) -> None:
    """
    Details that were sealed just before are as unreachable as those from before.
    """
    owner = await either.add_owner()

    async def prepare() -> tuple[Action, Action]:
        call = await either.upload(owner, 1)
        return partial(either.edit, call, "a last word"), partial(either.erase_unchecked, call)

    found = set()
    async for edited, erased in races(either, prepare):
        assert None is erased
        found.add(isinstance(edited, Refused))
    assert {True, False} == found
    await either.check()


async def test_two_who_erase_the_same_get_the_same_receipt(either: World) -> None:
    owner = await either.add_owner()

    async def prepare() -> tuple[Action, Action]:
        call = await either.upload(owner, 1)
        call.state, call.is_asked_to_end = "erased", True
        return erasing(either, call), erasing(either, call)

    async for first, second in races(either, prepare):
        assert 1 == len(first.receipts)
        assert first.receipts == second.receipts
    await either.check()


async def test_an_account_against_one_of_its_recordings(either: World) -> None:
    async def prepare() -> tuple[Action, Action]:
        owner = await either.add_owner()
        call = await either.upload(owner, 700)
        await either.upload(owner, 1)
        # Once the account's key is shredded the recording has no receipt of its own.
        return erasing(either, call), partial(either.erase_account, owner)

    async for _ in races(either, prepare):
        pass
    await either.check()
    assert {"erased"} == {owner.state for owner in either.promises.owners.values()}


async def test_many_at_once_share_rounds(either: World) -> None:
    owners = [await either.add_owner() for _ in range(3)]
    calls = [await either.upload(owner, 700) for owner in owners for _ in range(10)]
    kept = [await either.upload(owner, 700) for owner in owners]
    for call in calls:
        either.check_reached(call)
    before = either.witness.steps.count("2-committed")
    await asyncio.gather(*(either.erase_unchecked(call) for call in calls))
    assert either.witness.steps.count("2-committed") - before < len(calls) / 3
    loot = either.attack(exhaustive=True)
    assert [] == [call.id for call in calls if either.ways_to(loot, str(call.id))]
    assert [] == [call.id for call in kept if not either.ways_to(loot, str(call.id))]
    await either.check()
