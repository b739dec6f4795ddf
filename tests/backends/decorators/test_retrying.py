"""
Second tries: how often, after how long, and what is looked at before.
"""

import random
from datetime import timedelta

import pytest

from gateway.api import (
    AuthRevoked,
    BackendError,
    Conflict,
    IntegrityMismatch,
    NotFound,
    QuotaExceeded,
    RateLimited,
    SessionLost,
    Span,
    Transient,
    new_blob_key,
)
from gateway.backends.retrying import Patience, RetryingBackend
from gateway.testing.conformance import listed, read_all
from gateway.testing.sources import BytesSource, pattern
from tests.backends.decorators.scripted import ScriptedBackend, Sleeps
from tests.support.clock import FakeClock

CONTENT = pattern(95)


@pytest.fixture
def plugin() -> ScriptedBackend:
    return ScriptedBackend()


@pytest.fixture
def sleeps() -> Sleeps:
    return Sleeps(FakeClock())


@pytest.fixture
def backend(plugin: ScriptedBackend, sleeps: Sleeps) -> RetryingBackend:
    patience = Patience(attempts=4, base_s=1, longest_s=30, sleep=sleeps, rng=random.Random(7))
    return RetryingBackend(plugin, patience)


def broken(times: int) -> list[Exception | None]:
    return [Transient("broken") for _ in range(times)]


async def test_a_passing_fault_is_tried_again_after_longer_and_longer_waits(
    backend: RetryingBackend, plugin: ScriptedBackend, sleeps: Sleeps
) -> None:
    plugin.before["probe"] = broken(3)
    await backend.probe()
    assert 4 * ["probe"] == plugin.calls
    bounds = [(0.5, 1), (1, 2), (2, 4)]
    assert all(low <= slept <= high for (low, high), slept in zip(bounds, sleeps.slept, strict=True))


async def test_a_fault_that_stays_keeps_its_class_when_the_attempts_are_spent(
    backend: RetryingBackend, plugin: ScriptedBackend
) -> None:
    plugin.before["stat"] = [RateLimited("slower") for _ in range(9)]
    ref = await backend.put(new_blob_key(), BytesSource(CONTENT))
    with pytest.raises(RateLimited):
        await backend.stat(ref)
    assert 4 == plugin.calls.count("stat")


@pytest.mark.parametrize("failure", [AuthRevoked, QuotaExceeded, NotFound, BackendError, IntegrityMismatch])
async def test_what_trying_again_cannot_mend_is_not_tried_again(
    backend: RetryingBackend, plugin: ScriptedBackend, sleeps: Sleeps, failure: type[BackendError]
) -> None:
    plugin.before["quota"] = [failure("no")]
    with pytest.raises(failure):
        await backend.quota()
    assert (["quota"], []) == (plugin.calls, sleeps.slept)


async def test_a_provider_is_left_alone_as_long_as_it_asks(
    backend: RetryingBackend, plugin: ScriptedBackend, sleeps: Sleeps
) -> None:
    plugin.before["probe"] = [RateLimited("slower", retry_after=timedelta(seconds=17))]
    await backend.probe()
    assert [17] == sleeps.slept


async def test_a_provider_that_asks_for_too_long_is_not_waited_for(
    backend: RetryingBackend, plugin: ScriptedBackend, sleeps: Sleeps
) -> None:
    plugin.before["probe"] = [RateLimited("slower", retry_after=timedelta(hours=1))]
    with pytest.raises(RateLimited):
        await backend.probe()
    assert [] == sleeps.slept


async def test_a_put_whose_answer_was_lost_is_found_and_not_put_again(
    backend: RetryingBackend, plugin: ScriptedBackend
) -> None:
    plugin.after["put"] = broken(1)
    key = new_blob_key()
    assert key == (await backend.put(key, BytesSource(CONTENT))).key
    assert ["put", "find", "stat"] == plugin.calls


async def test_a_put_that_did_not_land_is_looked_for_and_put_again(
    backend: RetryingBackend, plugin: ScriptedBackend
) -> None:
    plugin.before["put"] = broken(1)
    key = new_blob_key()
    await backend.put(key, BytesSource(CONTENT))
    assert ["put", "find", "put"] == plugin.calls
    assert {key: CONTENT} == plugin.blobs


async def test_a_taken_key_is_a_conflict(backend: RetryingBackend, plugin: ScriptedBackend) -> None:
    key = new_blob_key()
    plugin.blobs[key] = CONTENT
    with pytest.raises(Conflict):
        await backend.put(key, BytesSource(CONTENT))
    assert ["put"] == plugin.calls


async def test_another_blob_under_the_key_is_not_taken_for_an_unclear_put(
    backend: RetryingBackend, plugin: ScriptedBackend
) -> None:
    key = new_blob_key()
    plugin.blobs[key] = b"other"
    plugin.before["put"] = broken(1)
    with pytest.raises(Conflict):
        await backend.put(key, BytesSource(CONTENT))
    assert {key: b"other"} == plugin.blobs


@pytest.mark.parametrize("span", [None, Span(0, 95), Span(7, 70)])
async def test_a_read_that_breaks_goes_on_from_the_byte_it_reached(
    backend: RetryingBackend, plugin: ScriptedBackend, span: Span | None
) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(CONTENT))
    plugin.before["read"] = broken(1)
    plugin.breaks_at = [(30, Transient("cut")), (20, Transient("cut"))]
    start, end = (0, 95) if span is None else (span.start, span.end)
    assert CONTENT[start:end] == await read_all(backend, ref, span)
    rests = [Span(start + 30, end - start - 30), Span(start + 50, end - start - 50)]
    assert [span, *rests] == plugin.spans


async def test_a_read_that_breaks_without_getting_on_ends(
    backend: RetryingBackend, plugin: ScriptedBackend
) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(CONTENT))
    plugin.breaks_at = [(0, Transient("cut")) for _ in range(9)]
    with pytest.raises(Transient):
        await read_all(backend, ref)
    assert 4 == plugin.calls.count("read")


async def test_a_scan_is_begun_again_only_while_it_has_shown_nothing(
    backend: RetryingBackend, plugin: ScriptedBackend
) -> None:
    await backend.put(new_blob_key(), BytesSource(CONTENT))
    plugin.before["scan"] = broken(2)
    assert 1 == len(await listed(backend))
    plugin.after["scan"] = broken(1)
    with pytest.raises(Transient):
        await listed(backend)


async def test_an_unclear_part_is_asked_about_before_it_is_sent_again(
    backend: RetryingBackend, plugin: ScriptedBackend
) -> None:
    puts = backend.resumable
    assert puts is not None
    session = await puts.begin(new_blob_key(), size=20, sha256=bytes(32))
    plugin.after["append"] = broken(1)
    session = await puts.append(session, pattern(10))
    assert 10 == session.offset
    plugin.before["append"] = broken(1)
    session = await puts.append(session, pattern(10, seed=1))
    assert 20 == session.offset
    assert ["begin", "append", "resume", "append", "resume", "append"] == plugin.calls
    assert pattern(10) + pattern(10, seed=1) == plugin.puts.received


async def test_a_lost_session_is_the_hosts_to_know(
    backend: RetryingBackend, plugin: ScriptedBackend, sleeps: Sleeps
) -> None:
    puts = backend.resumable
    assert puts is not None
    session = await puts.begin(new_blob_key(), size=10, sha256=bytes(32))
    await puts.abort(session)
    with pytest.raises(SessionLost):
        await puts.append(session, pattern(10))
    assert (1, []) == (plugin.calls.count("append"), sleeps.slept)


async def test_a_commit_whose_answer_was_lost_sends_the_host_looking(
    backend: RetryingBackend, plugin: ScriptedBackend
) -> None:
    puts = backend.resumable
    assert puts is not None
    key = new_blob_key()
    session = await puts.append(await puts.begin(key, size=95, sha256=bytes(32)), CONTENT)
    plugin.after["commit"] = broken(1)
    with pytest.raises(SessionLost):
        await puts.commit(session)
    assert {key: CONTENT} == plugin.blobs


async def test_a_commit_of_a_taken_key_is_a_conflict(
    backend: RetryingBackend, plugin: ScriptedBackend
) -> None:
    puts = backend.resumable
    assert puts is not None
    key = new_blob_key()
    session = await puts.append(await puts.begin(key, size=95, sha256=bytes(32)), CONTENT)
    plugin.blobs[key] = b"other"
    with pytest.raises(Conflict):
        await puts.commit(session)
