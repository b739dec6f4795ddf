"""
Time-outs: a time-out of nothing is over at once, so no test waits.
"""

import asyncio

import pytest

from gateway.api import Transient, new_blob_key
from gateway.backends.timed import TimedBackend
from gateway.testing.conformance import listed, read_all
from gateway.testing.sources import BytesSource, StallingSource, pattern
from tests.backends.decorators.scripted import ScriptedBackend

LONG = 100.0


def timed(
    plugin: ScriptedBackend, *, call: float = LONG, put: float = LONG, idle: float = LONG
) -> TimedBackend:
    return TimedBackend(plugin, call_timeout_s=call, put_timeout_s=put, idle_timeout_s=idle)


@pytest.fixture
def plugin() -> ScriptedBackend:
    plugin = ScriptedBackend()
    plugin.waits = dict.fromkeys(("stat", "put", "piece", "scan", "append"), asyncio.Event().wait)
    return plugin


async def test_a_silent_call_is_a_passing_fault(plugin: ScriptedBackend) -> None:
    plugin.waits["probe"] = asyncio.Event().wait
    with pytest.raises(Transient):
        await timed(plugin, call=0).probe()


async def test_a_silent_put_is_a_passing_fault(plugin: ScriptedBackend) -> None:
    with pytest.raises(Transient):
        await timed(plugin, put=0).put(new_blob_key(), BytesSource(b"x"))


async def test_a_silent_part_is_a_passing_fault(plugin: ScriptedBackend) -> None:
    puts = timed(plugin, put=0).resumable
    assert puts is not None
    session = await plugin.puts.begin(new_blob_key(), size=1, sha256=bytes(32))
    with pytest.raises(Transient):
        await puts.append(session, b"x")


async def test_a_silent_stream_is_a_passing_fault(plugin: ScriptedBackend) -> None:
    del plugin.waits["put"]
    backend = timed(plugin, idle=0)
    ref = await backend.put(new_blob_key(), BytesSource(pattern(30)))
    with pytest.raises(Transient):
        await read_all(backend, ref)
    with pytest.raises(Transient):
        await listed(backend)


async def test_the_time_of_a_put_stands_still_while_its_source_is_asked(plugin: ScriptedBackend) -> None:
    del plugin.waits["put"]
    source = StallingSource(pattern(30), at=10)
    task = asyncio.create_task(timed(plugin, put=0.001).put(new_blob_key(), source))
    await source.stalled.wait()
    await asyncio.wait([task], timeout=0.02)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_time_out_of_the_source_stays_what_it_is(plugin: ScriptedBackend) -> None:
    plugin.before["quota"] = [TimeoutError("not ours")]
    with pytest.raises(TimeoutError):
        await timed(plugin).quota()
