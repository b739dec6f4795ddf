"""
Who is woken when there is work, and who lets others pass.
"""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.services.work import Courtesy, WorkBell

LONG_S = 1000.0


async def waiting(bell: WorkBell, count: int, *, timeout_s: float = LONG_S) -> list["asyncio.Task[None]"]:
    tasks = [asyncio.create_task(bell.wait(timeout_s)) for _ in range(count)]
    await turns()
    return tasks


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def awake(tasks: Sequence["asyncio.Task[None]"]) -> int:
    await turns()
    return sum(task.done() for task in tasks)


async def test_a_ring_wakes_one_and_the_longest_waiting_first() -> None:
    bell = WorkBell()
    tasks = await waiting(bell, 3)
    bell.ring()
    assert 1 == await awake(tasks)
    assert tasks[0].done()
    assert 2 == bell.wake(5)
    assert 3 == await awake(tasks)


async def test_a_ring_that_nobody_hears_is_for_the_next_one_who_comes() -> None:
    bell = WorkBell()
    bell.ring()
    bell.ring()
    assert 1 == await awake(await waiting(bell, 2))


async def test_a_bell_rings_those_that_hang_on_it_and_they_not_it() -> None:
    below = WorkBell()
    above = WorkBell(below)
    [low], [high] = await waiting(below, 1), await waiting(above, 1)
    below.ring()
    assert 1 == await awake([low, high])
    assert low.done()
    [low] = await waiting(below, 1)
    above.ring()
    assert 2 == await awake([low, high])


@pytest.mark.parametrize("is_woken_first", [True, False])
async def test_who_is_cancelled_leaves_the_work_to_another(is_woken_first: bool) -> None:
    bell = WorkBell()
    first, second = await waiting(bell, 2)
    for step in (bell.ring, first.cancel) if is_woken_first else (first.cancel, bell.ring):
        step()
    assert 2 == await awake([first, second])
    assert first.cancelled()


async def test_of_all_who_wait_one_looks_from_time_to_time() -> None:
    bell = WorkBell()
    tasks = await waiting(bell, 3, timeout_s=0.01)
    for left in (2, 1, 0):
        done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert (1, left) == (len(done), len(rest))
        tasks = [task for task in tasks if task in rest]


class Rush:
    """
    Others who wait for an answer, until they have been looked at so many times.
    """

    def __init__(self, looks: int) -> None:
        self.looks_left = looks

    def __call__(self) -> bool:
        self.looks_left -= 1
        return self.looks_left >= 0


async def test_without_a_rush_nobody_is_let_pass() -> None:
    rush = Rush(0)
    async with asyncio.timeout(0.2):
        await Courtesy(rush).let_pass(LONG_S)
    assert -1 == rush.looks_left


async def test_who_lets_pass_goes_on_when_the_rush_is_over() -> None:
    rush = Rush(2)
    async with asyncio.timeout(5):
        await Courtesy(rush).let_pass(LONG_S)
    assert -1 == rush.looks_left


@pytest.mark.parametrize("at_most_s", [-1.0, 0.0, 0.01])
async def test_nobody_lets_pass_for_longer_than_he_may(at_most_s: float) -> None:
    async with asyncio.timeout(5):
        await Courtesy(lambda: True).let_pass(at_most_s)
