"""
Limits: how many at once, and how that follows the provider's complaints.
"""

import asyncio
from datetime import timedelta

import pytest

from gateway.api import RateLimited, new_blob_key
from gateway.backends.limited import LimitedBackend, Narrows
from gateway.testing.sources import BytesSource, pattern
from tests.backends.decorators.scripted import ScriptedBackend, Sleeps
from tests.support.clock import FakeClock


@pytest.fixture
def plugin() -> ScriptedBackend:
    return ScriptedBackend()


@pytest.fixture
def sleeps() -> Sleeps:
    return Sleeps(FakeClock())


@pytest.fixture
def narrows(sleeps: Sleeps) -> Narrows:
    return Narrows(4, sleeps.clock, sleeps, successes_to_widen=2, pause_s=1, longest_wait_s=30)


@pytest.fixture
def backend(plugin: ScriptedBackend, narrows: Narrows) -> LimitedBackend:
    return LimitedBackend(plugin, narrows)


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_no_more_calls_run_at_once_than_do_it_good(
    backend: LimitedBackend, plugin: ScriptedBackend, narrows: Narrows
) -> None:
    out = asyncio.Event()
    plugin.waits["probe"] = out.wait
    tasks = [asyncio.create_task(backend.probe()) for _ in range(6)]
    await turns()
    assert 4 == len(plugin.calls)
    tasks[5].cancel()
    out.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (5, 0) == (len(plugin.calls), narrows.inside)


async def test_after_a_complaint_everybody_waits_and_half_as_many_enter(
    backend: LimitedBackend, plugin: ScriptedBackend, narrows: Narrows, sleeps: Sleeps
) -> None:
    plugin.before["probe"] = [RateLimited("slower", retry_after=timedelta(seconds=9))]
    with pytest.raises(RateLimited):
        await backend.probe()
    assert 2 == narrows.width
    await backend.quota()
    assert [9] == sleeps.slept


async def test_complaints_of_calls_under_way_together_count_once(
    backend: LimitedBackend, plugin: ScriptedBackend, narrows: Narrows
) -> None:
    out = asyncio.Event()
    plugin.waits["probe"] = out.wait
    plugin.before["probe"] = [RateLimited("slower") for _ in range(4)]
    tasks = [asyncio.create_task(backend.probe()) for _ in range(4)]
    await turns()
    out.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert 2 == narrows.width


async def test_successes_widen_it_by_one_each_time_and_no_further_than_it_was(
    backend: LimitedBackend, plugin: ScriptedBackend, narrows: Narrows
) -> None:
    plugin.before["probe"] = [RateLimited("slower")]
    with pytest.raises(RateLimited):
        await backend.probe()
    widths = []
    for _ in range(6):
        await backend.probe()
        widths.append(narrows.width)
    assert [2, 3, 3, 4, 4, 4] == widths


async def test_a_long_time_alone_is_not_waited_for(
    backend: LimitedBackend, plugin: ScriptedBackend, sleeps: Sleeps
) -> None:
    plugin.before["probe"] = [RateLimited("slower", retry_after=timedelta(hours=1))]
    for _ in range(2):
        with pytest.raises(RateLimited):
            await backend.probe()
    assert (["probe"], []) == (plugin.calls, sleeps.slept)


async def test_a_reader_who_pauses_holds_nobody_up(backend: LimitedBackend, narrows: Narrows) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(pattern(50)))
    async with backend.read(ref) as pieces:
        await anext(pieces)
        assert 0 == narrows.inside
