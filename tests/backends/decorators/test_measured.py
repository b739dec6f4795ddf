"""
Measurements: one call, one count, with what came of it.
"""

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.api import NotFound, Transient, new_blob_key
from gateway.backends.measured import MeasuredBackend, Meters
from gateway.testing.conformance import listed, read_all
from gateway.testing.sources import BytesSource, pattern
from tests.backends.decorators.scripted import ScriptedBackend
from tests.support.clock import FakeClock


async def test_calls_are_counted_by_operation_and_outcome_and_streams_once() -> None:
    registry = CollectorRegistry()
    meters = Meters(
        calls=Counter("calls", "Calls", ("kind", "operation", "outcome"), registry=registry),
        duration=Histogram("duration", "Duration", ("kind", "operation"), registry=registry),
    )
    plugin, clock = ScriptedBackend(), FakeClock()
    backend = MeasuredBackend(plugin, kind="tape", meters=meters, clock=clock)

    async def slow() -> None:
        clock.advance(2)

    plugin.waits = {"piece": slow, "put": slow}
    ref = await backend.put(new_blob_key(), BytesSource(pattern(30)))
    await read_all(backend, ref)
    await listed(backend)
    plugin.breaks_at = [(10, Transient("cut"))]
    with pytest.raises(Transient):
        await read_all(backend, ref)
    await backend.delete(ref)
    with pytest.raises(NotFound):
        await backend.stat(ref)

    def counted(operation: str, outcome: str) -> float | None:
        labels = {"kind": "tape", "operation": operation, "outcome": outcome}
        return registry.get_sample_value("calls_total", labels)

    assert [1, 1, 1, 1, 1, 1] == [
        counted("put", "ok"),
        counted("read", "ok"),
        counted("scan", "ok"),
        counted("read", "backend-transient"),
        counted("delete", "ok"),
        counted("stat", "backend-not-found"),
    ]
    assert 8 == registry.get_sample_value("duration_sum", {"kind": "tape", "operation": "read"})
