"""
That the doubles do what was ordered, and that the host's decorators get over it.
"""

import asyncio
import random
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.api import (
    AuthRevoked,
    Backend,
    Misconfigured,
    QuotaExceeded,
    RateLimited,
    SessionLost,
    Transient,
    new_blob_key,
)
from gateway.backends.hosted import hosted
from gateway.backends.measured import Meters
from gateway.backends.timed import TimedBackend
from gateway.settings import Backends
from gateway.testing.conformance import read_all
from gateway.testing.doubles import CountingLane, FaultyBackend, TokensOnOrder
from gateway.testing.memory import MemoryBackend, MemoryPlace
from gateway.testing.resumable import begun, puts_of
from gateway.testing.sources import BytesSource, pattern
from tests.backends.decorators.scripted import Sleeps
from tests.support.clock import FakeClock

CONTENT = pattern(700_000)


@pytest.fixture
def plugin() -> FaultyBackend:
    return FaultyBackend(MemoryBackend(MemoryPlace()))


@pytest.fixture
def sleeps() -> Sleeps:
    return Sleeps(FakeClock())


@pytest.fixture
def backend(plugin: FaultyBackend, sleeps: Sleeps) -> Backend:
    registry = CollectorRegistry()
    meters = Meters(
        calls=Counter("calls", "Calls", ("kind", "operation", "outcome"), registry=registry),
        duration=Histogram("duration", "Duration", ("kind", "operation"), registry=registry),
    )
    return hosted(
        plugin,
        kind="memory",
        limits=Backends(),
        clock=sleeps.clock,
        meters=meters,
        rng=random.Random(5),
        sleep=sleeps,
    )


async def test_the_nth_call_fails_and_the_others_do_not(plugin: FaultyBackend) -> None:
    plugin.fail("probe", Misconfigured("no"), nth=2, times=2)
    outcomes = [type(await outcome_of(plugin)) for _ in range(4)]
    assert [type(None), Misconfigured, Misconfigured, type(None)] == outcomes
    assert 4 == plugin.calls["probe"]


async def outcome_of(plugin: FaultyBackend) -> Exception | None:
    try:
        await plugin.probe()
    except Misconfigured as exc:
        return exc
    return None


async def test_a_lost_answer_is_of_a_call_that_was_done(plugin: FaultyBackend) -> None:
    key = new_blob_key()
    plugin.lose_answer("put")
    with pytest.raises(Transient):
        await plugin.put(key, BytesSource(CONTENT))
    assert await plugin.find(key) is not None


async def test_the_host_finds_a_put_whose_answer_was_lost(plugin: FaultyBackend, backend: Backend) -> None:
    plugin.lose_answer("put")
    ref = await backend.put(new_blob_key(), BytesSource(CONTENT))
    assert CONTENT == await read_all(backend, ref)
    assert 1 == plugin.calls["put"]


async def test_the_host_asks_how_far_a_part_came_whose_answer_was_lost(
    plugin: FaultyBackend, backend: Backend
) -> None:
    puts = puts_of(backend)
    content = pattern(2 * puts.max_part_size)
    session = await begun(puts, new_blob_key(), content)
    plugin.lose_answer("append", nth=2)
    while session.offset < len(content):
        session = await puts.append(session, content[session.offset :][: puts.max_part_size])
    assert content == await read_all(backend, await puts.commit(session))
    assert (2, 1) == (plugin.calls["append"], plugin.calls["resume"])


async def test_the_host_looks_for_a_commit_whose_answer_was_lost(
    plugin: FaultyBackend, backend: Backend
) -> None:
    puts = puts_of(backend)
    key = new_blob_key()
    session = await puts.append(await begun(puts, key, b"sealed"), b"sealed")
    plugin.lose_answer("commit")
    with pytest.raises(SessionLost):
        await puts.commit(session)
    assert await backend.find(key) is not None


async def test_the_host_goes_on_with_a_read_that_broke(plugin: FaultyBackend, backend: Backend) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(CONTENT))
    plugin.fail("piece", Transient("cut"), nth=2)
    assert CONTENT == await read_all(backend, ref)
    assert 2 == plugin.calls["read"]


async def test_the_host_waits_as_long_as_it_is_asked_to(
    plugin: FaultyBackend, backend: Backend, sleeps: Sleeps
) -> None:
    plugin.fail("stat", RateLimited("slower", retry_after=timedelta(seconds=9)))
    ref = await backend.put(new_blob_key(), BytesSource(CONTENT))
    assert len(CONTENT) == (await backend.stat(ref)).size
    assert [9] == sleeps.slept


async def test_the_host_passes_on_what_trying_again_cannot_mend(
    plugin: FaultyBackend, backend: Backend
) -> None:
    plugin.fail("put", QuotaExceeded("full"))
    with pytest.raises(QuotaExceeded):
        await backend.put(new_blob_key(), BytesSource(CONTENT))
    assert 1 == plugin.calls["put"]


async def test_the_host_gives_a_call_up_that_stalls(plugin: FaultyBackend) -> None:
    timed = TimedBackend(plugin, call_timeout_s=0, put_timeout_s=100, idle_timeout_s=100)
    plugin.stall("probe")
    with pytest.raises(Transient):
        await timed.probe()


async def test_a_token_is_renewed_when_the_current_one_is_stale_and_not_otherwise() -> None:
    tokens = TokensOnOrder()
    first = await tokens.access_token()
    assert first == await tokens.access_token(stale="an older one")
    second = await tokens.access_token(stale=first)
    assert second == await tokens.access_token(stale=first)
    assert (first != second, 1, 4) == (True, tokens.renewals, tokens.asked)


async def test_an_ended_grant_has_no_tokens() -> None:
    tokens = TokensOnOrder()
    tokens.end()
    with pytest.raises(AuthRevoked):
        await tokens.access_token()


async def test_a_lane_counts_its_calls_and_how_many_ran_at_once() -> None:
    lane = CountingLane()
    assert [0, 1, 4] == await asyncio.gather(
        *(lane.run(lambda number=number: number**2) for number in range(3))
    )
    assert (3, 3, 0) == (lane.calls, lane.most, lane.running)
