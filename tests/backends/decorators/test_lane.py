"""
The lane lent to plugins: threads that are counted, and a close that does not wait for ever.
"""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator

import pytest

from gateway.api import ThreadLane, Transient
from gateway.backends.lane import Lane

VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    lane = Lane("test", 2, queue=1)
    yield lane
    await lane.close(patience_s=5)


class Gate:
    """
    Calls that wait inside until they are let out.
    """

    def __init__(self) -> None:
        self.out = threading.Event()
        self.entered = 0
        self._loop = asyncio.get_running_loop()
        self._inside = asyncio.Semaphore(0)

    def __call__(self) -> str:
        self.entered += 1
        self._loop.call_soon_threadsafe(self._inside.release)
        self.out.wait(30)
        return "out"

    async def filled(self, by: int) -> None:
        for _ in range(by):
            await self._inside.acquire()


@pytest.fixture
async def gate(lane: Lane) -> AsyncIterator[Gate]:
    gate = Gate()
    yield gate
    gate.out.set()


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_call_gives_its_result_or_its_error(lane: Lane) -> None:
    assert 3 == await lane.run(lambda: 1 + 2)
    with pytest.raises(ZeroDivisionError):
        await lane.run(lambda: 1 / 0)


async def test_a_call_runs_in_another_thread_with_its_callers_context(lane: Lane) -> None:
    VARIABLE.set("set")
    assert "set" == await lane.run(VARIABLE.get)
    assert threading.current_thread() is not await lane.run(threading.current_thread)


async def test_calls_past_the_queue_are_refused(lane: Lane, gate: Gate) -> None:
    tasks = [asyncio.create_task(lane.run(gate)) for _ in range(3)]
    await gate.filled(by=2)
    with pytest.raises(Transient):
        await lane.run(lambda: None)
    assert 2 == gate.entered
    gate.out.set()
    assert 3 * ["out"] == await asyncio.gather(*tasks)
    assert 1 == await lane.run(lambda: 1)


async def test_a_cancelled_caller_goes_and_his_slot_is_taken_until_his_thread_ends(
    lane: Lane, gate: Gate
) -> None:
    tasks = [asyncio.create_task(lane.run(gate)) for _ in range(2)]
    await gate.filled(by=2)
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    waiting = asyncio.create_task(lane.run(gate))
    await turns()
    assert 2 == gate.entered
    gate.out.set()
    assert ("out", "out") == tuple(await asyncio.gather(tasks[1], waiting))


async def test_a_call_cancelled_while_it_waits_is_never_begun_and_leaves_its_place(
    lane: Lane, gate: Gate
) -> None:
    running = [asyncio.create_task(lane.run(gate)) for _ in range(2)]
    await gate.filled(by=2)
    waiting = asyncio.create_task(lane.run(gate))
    await turns()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    third = asyncio.create_task(lane.run(lambda: "third"))
    await turns()
    gate.out.set()
    assert ["out", "out", "third"] == await asyncio.gather(*running, third)
    assert 2 == gate.entered


async def test_closing_ends_although_a_thread_does_not(lane: Lane, gate: Gate) -> None:
    tasks = [asyncio.create_task(lane.run(gate)) for _ in range(3)]
    await gate.filled(by=2)
    await lane.close(patience_s=0.01)
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [Transient, Transient, Transient] == [type(end) for end in ends]
    with pytest.raises(Transient):
        await lane.run(lambda: None)


async def test_closing_waits_for_calls_that_end_in_time(lane: Lane, gate: Gate) -> None:
    task = asyncio.create_task(lane.run(gate))
    await gate.filled(by=1)
    closing = asyncio.create_task(lane.close(patience_s=20))
    await turns()
    assert not closing.done()
    gate.out.set()
    await closing
    assert "out" == await task


def _checked_by_mypy(lane: Lane) -> ThreadLane:
    return lane
