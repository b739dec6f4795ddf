"""
Calls in the threads of a lane come to their end, whatever becomes of whoever asked.
"""

import asyncio
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.base.threads import Lane
from tests.support.waiting import until


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane(2, name="test")
    yield lane
    lane.shutdown()


class Held:
    """
    A call that lasts until it is let go.
    """

    def __init__(self, failure: Exception | None = None) -> None:
        self.may_end = threading.Event()
        self.is_over = False
        self._failure = failure

    def __call__(self) -> str:
        assert self.may_end.wait(10)
        self.is_over = True
        if self._failure is not None:
            raise self._failure
        return "held"


async def test_a_call_gives_what_it_returns_or_raises(lane: Lane) -> None:
    assert threading.get_ident() != await lane.run(threading.get_ident)
    with pytest.raises(ZeroDivisionError):
        await lane.run(lambda: 1 // 0)


async def test_threads_begin_when_there_is_work_for_them(lane: Lane) -> None:
    alone = {await lane.run(threading.get_ident) for _ in range(5)}
    assert 1 == len(alone)

    together = threading.Barrier(2)

    def meet() -> int:
        together.wait(10)
        return threading.get_ident()

    found = await asyncio.gather(*(lane.run(meet) for _ in range(6)))
    assert 2 == len(set(found))
    assert alone < set(found)


async def test_a_call_for_which_no_thread_can_begin_is_refused_and_leaves_no_trace(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        for _ in range(3):
            with pytest.raises(RuntimeError, match="new thread"):
                await lane.run(threading.get_ident)
    for _ in range(3):
        await lane.run(lambda: None)
    # Refused calls do not count as under way: for one after the other one thread is enough.
    assert 1 == sum(thread.name.startswith("test_") for thread in threading.enumerate())


async def test_who_is_cancelled_hears_of_it_when_the_call_has_ended(lane: Lane) -> None:
    held = Held()
    asking = asyncio.create_task(lane.run(held))
    for _ in range(3):
        await asyncio.sleep(0)
        asking.cancel()
    await lane.run(lambda: None)
    assert not asking.done()

    held.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert held.is_over


async def test_a_call_that_waits_for_a_thread_is_carried_out_though_its_caller_is_cancelled(
    lane: Lane,
) -> None:
    held = [Held() for _ in range(3)]
    asking = [asyncio.create_task(lane.run(each)) for each in held]
    await asyncio.sleep(0)
    asking[2].cancel()
    for each in held:
        each.may_end.set()
    assert ["held", "held"] == await asyncio.gather(*asking[:2])
    with pytest.raises(asyncio.CancelledError):
        await asking[2]
    assert held[2].is_over


async def test_a_failure_that_nobody_waits_for_is_nobodys(lane: Lane) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    held = Held(OSError("late"))
    asking = asyncio.create_task(lane.run(held))
    await asyncio.sleep(0)
    asking.cancel()
    held.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    del asking
    # What nobody refers to any more is told of as it goes.
    await asyncio.sleep(0)
    assert [] == told


async def test_a_thread_that_waits_keeps_nothing_of_its_last_call(lane: Lane) -> None:
    class Plaintext:
        def work(self) -> None:
            pass

    plaintext = Plaintext()
    kept = weakref.ref(plaintext)
    await lane.run(plaintext.work)
    del plaintext
    await until(lambda: kept() is None, within_s=5)


async def test_shutting_down_waits_for_what_was_asked_for(lane: Lane) -> None:
    calls = [Held() for _ in range(4)]
    asking = [asyncio.create_task(lane.run(call)) for call in calls]
    await asyncio.sleep(0)
    for call in calls:
        call.may_end.set()
    lane.shutdown()
    assert all(call.is_over for call in calls)
    assert ["held"] * 4 == await asyncio.gather(*asking)
    with pytest.raises(RuntimeError, match="shut down"):
        await lane.run(lambda: None)
