"""
The lane of the local backend: so many calls at once, and none that outlives its caller unseen.
"""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from gateway.api import Transient
from gateway.backends.local.lane import FileLane


@pytest.fixture
async def lane() -> AsyncIterator[FileLane]:
    lane = FileLane("test", 2)
    yield lane
    await lane.close(lambda: None)


class Gate:
    """
    Calls that wait inside until they are let out, and how many are in there.
    """

    def __init__(self) -> None:
        self.out = threading.Event()
        self.entered = 0
        self._loop = asyncio.get_running_loop()
        self._inside = asyncio.Semaphore(0)

    def __call__(self) -> str:
        self.entered += 1
        self._loop.call_soon_threadsafe(self._inside.release)
        self.out.wait()
        return "out"

    async def filled(self, by: int) -> None:
        for _ in range(by):
            await self._inside.acquire()


@pytest.fixture
async def gate(lane: FileLane) -> AsyncIterator[Gate]:
    """
    A gate that opens before the lane is closed, even if the test fails.
    """
    await lane.run(lambda: None)
    gate = Gate()
    yield gate
    gate.out.set()


async def test_a_call_gives_its_result_or_its_error(lane: FileLane) -> None:
    assert 3 == await lane.run(lambda: 1 + 2)
    with pytest.raises(ZeroDivisionError):
        await lane.run(lambda: 1 / 0)


async def test_calls_run_in_threads_of_their_own(lane: FileLane) -> None:
    assert threading.current_thread() is not await lane.run(threading.current_thread)


async def test_only_so_many_calls_run_at_once(lane: FileLane, gate: Gate) -> None:
    tasks = [asyncio.create_task(lane.run(gate)) for _ in range(5)]
    await gate.filled(by=2)
    for _ in range(20):
        await asyncio.sleep(0)
    assert 2 == gate.entered
    gate.out.set()
    assert 5 * ["out"] == await asyncio.gather(*tasks)


async def test_a_cancelled_caller_waits_for_his_running_call_however_often_he_is_cancelled(
    lane: FileLane, gate: Gate
) -> None:
    task = asyncio.create_task(lane.run(gate))
    await gate.filled(by=1)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    gate.out.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_call_that_waits_for_its_turn_is_never_begun_once_cancelled(
    lane: FileLane, gate: Gate
) -> None:
    running = [asyncio.create_task(lane.run(gate)) for _ in range(2)]
    await gate.filled(by=2)
    waiting = asyncio.create_task(lane.run(gate))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.out.set()
    await asyncio.gather(*running)
    assert 2 == gate.entered


async def test_tidying_up_runs_to_its_end_although_cancelled(lane: FileLane, gate: Gate) -> None:
    running = [asyncio.create_task(lane.run(gate)) for _ in range(2)]
    await gate.filled(by=2)
    tidied = threading.Event()
    tidying = asyncio.create_task(lane.run_through(tidied.set))
    await asyncio.sleep(0)
    tidying.cancel()
    await asyncio.sleep(0)
    assert not tidying.done()
    gate.out.set()
    with pytest.raises(asyncio.CancelledError):
        await tidying
    assert tidied.is_set()
    await asyncio.gather(*running)


async def test_closing_waits_for_what_runs_and_then_refuses(lane: FileLane, gate: Gate) -> None:
    order: list[str] = []
    running = asyncio.create_task(lane.run(lambda: order.append(gate())))
    await gate.filled(by=1)
    closing = asyncio.create_task(lane.close(lambda: order.append("the last call")))
    await asyncio.sleep(0)
    with pytest.raises(Transient):
        await lane.run(gate)
    assert not closing.done()
    gate.out.set()
    await closing
    await running
    assert ["out", "the last call"] == order
    await lane.run_through(lambda: order.append("too late"))
    assert "too late" not in order
