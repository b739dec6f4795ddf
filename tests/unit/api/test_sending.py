"""
What the contract offers for sending: parts of one size, and calls that are waited for.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from gateway.api import (
    IntegrityMismatch,
    PutSession,
    Transient,
    drop_put,
    new_blob_key,
    no_pieces,
    parts_of,
    settled,
)
from gateway.testing.sources import pattern

PART = 10
KEY = new_blob_key()


async def pieces_of(content: bytes, length: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), length):
        yield content[start : start + length]


async def gathered(content: bytes, size: int, length: int = 3) -> list[bytes]:
    async with aclosing(parts_of(KEY, pieces_of(content, length), size, PART)) as parts:
        return [part async for part in parts]


@pytest.mark.parametrize("length", [1, 3, PART, 3 * PART])
@pytest.mark.parametrize(
    ("size", "lengths"),
    [
        (0, [0]),
        (1, [1]),
        (PART - 1, [PART - 1]),
        (PART, [PART]),
        (PART + 1, [PART, 1]),
        (2 * PART, [PART, PART]),
        (2 * PART + 1, [PART, PART, 1]),
    ],
)
async def test_pieces_become_parts_of_one_size(size: int, lengths: list[int], length: int) -> None:
    parts = await gathered(pattern(size), size, length)
    assert lengths == [len(part) for part in parts]
    assert pattern(size) == b"".join(parts)


@pytest.mark.parametrize("size", [1, PART, PART + 1, 2 * PART])
@pytest.mark.parametrize("wrong_by", [-1, 1])
async def test_the_last_part_of_a_source_of_another_length_never_comes(size: int, wrong_by: int) -> None:
    sent: list[bytes] = []

    async def send() -> None:
        async for part in parts_of(KEY, pieces_of(pattern(size + wrong_by), 3), size, PART):
            sent.append(part)  # noqa: PERF401 # those in front of the error count

    with pytest.raises(IntegrityMismatch):
        await send()
    assert len(b"".join(sent)) < size


async def test_no_pieces_are_none() -> None:
    assert [] == [piece async for piece in no_pieces()]


class Call:
    """
    A call that ends when it is let, and notes how it ended.
    """

    def __init__(self, error: Exception | None = None) -> None:
        self.is_under_way = asyncio.Event()
        self.may_end = asyncio.Event()
        self.outcome = ""
        self._error = error

    async def __call__(self) -> str:
        self.is_under_way.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.outcome = "cancelled"
            raise
        self.outcome = "ended"
        if self._error is not None:
            raise self._error
        return "answer"


async def cancelled_under_way(call: Call, task: "asyncio.Task[Any]") -> None:
    await call.is_under_way.wait()
    task.cancel()
    # The cancellation arrives, and the wait begins.
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_settled_call_returns_and_raises_as_it_does_alone() -> None:
    call, failing = Call(), Call(Transient("busy"))
    call.may_end.set()
    failing.may_end.set()
    assert "answer" == await settled(call())
    with pytest.raises(Transient):
        await settled(failing())


@pytest.mark.parametrize("error", [None, Transient("busy")])
async def test_a_cancelled_call_is_waited_for(error: Exception | None) -> None:
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    call = Call(error)
    task = asyncio.create_task(settled(call()))
    await cancelled_under_way(call, task)
    assert not task.done()
    call.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "ended" == call.outcome
    del task
    assert [] == unheard


async def test_a_cancelled_call_that_does_not_end_in_time_is_cancelled_itself() -> None:
    call = Call()
    task = asyncio.create_task(settled(call(), within_s=0))
    await cancelled_under_way(call, task)
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert "cancelled" == call.outcome


async def test_who_is_cancelled_once_more_waits_no_longer() -> None:
    call = Call()
    task = asyncio.create_task(settled(call(), within_s=3600))
    await cancelled_under_way(call, task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert "cancelled" == call.outcome


class Puts:
    """
    Puts of which only the abort is called.
    """

    def __init__(self, call: Call) -> None:
        self._call = call

    async def abort(self, session: PutSession) -> None:
        await self._call()


@pytest.mark.parametrize("error", [None, Transient("busy")])
async def test_a_put_is_dropped_even_if_cancelled(error: Exception | None) -> None:
    call = Call(error)
    task = asyncio.create_task(drop_put(Puts(call), PutSession("token", 0)))  # type: ignore[arg-type]
    await cancelled_under_way(call, task)
    with pytest.raises(asyncio.CancelledError):
        await task
    call.may_end.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert "ended" == call.outcome


async def test_an_error_of_a_drop_is_not_raised_but_a_bug_is() -> None:
    for error in (Transient("busy"), ValueError("a bug")):
        call = Call(error)
        call.may_end.set()
        dropping = drop_put(Puts(call), PutSession("token", 0))  # type: ignore[arg-type]
        if isinstance(error, Transient):
            await dropping
        else:
            with pytest.raises(ValueError, match="a bug"):
                await dropping
