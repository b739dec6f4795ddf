"""
The decorators together: what each one's place in the order is for.
"""

import random
from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.api import Backend, RateLimited, Transient, new_blob_key
from gateway.backends.hosted import hosted
from gateway.backends.measured import Meters
from gateway.settings import Backends
from gateway.testing.sources import BytesSource, pattern
from tests.backends.decorators.scripted import ScriptedBackend, Sleeps
from tests.support.clock import FakeClock


class Stage:
    def __init__(self) -> None:
        self.plugin = ScriptedBackend()
        self.sleeps = Sleeps(FakeClock())
        self.registry = CollectorRegistry()
        meters = Meters(
            calls=Counter("calls", "Calls", ("kind", "operation", "outcome"), registry=self.registry),
            duration=Histogram("duration", "Duration", ("kind", "operation"), registry=self.registry),
        )
        self.backend: Backend = hosted(
            self.plugin,
            kind="tape",
            limits=Backends(),
            clock=self.sleeps.clock,
            meters=meters,
            rng=random.Random(3),
            sleep=self.sleeps,
        )

    def counted(self, operation: str) -> float | None:
        labels = {"kind": "tape", "operation": operation, "outcome": "ok"}
        return self.registry.get_sample_value("calls_total", labels)


async def test_all_attempts_and_looks_of_a_put_are_one_call() -> None:
    stage = Stage()
    stage.plugin.before["put"] = [Transient("broken")]
    await stage.backend.put(new_blob_key(), BytesSource(pattern(50)))
    assert ["put", "find", "put", "stat"] == stage.plugin.calls
    assert (1, None) == (stage.counted("put"), stage.counted("find"))


async def test_a_complaint_is_waited_out_once() -> None:
    stage = Stage()
    stage.plugin.before["probe"] = [RateLimited("slower", retry_after=timedelta(seconds=9))]
    await stage.backend.probe()
    assert [9] == stage.sleeps.slept


async def test_puts_in_parts_pass_every_decorator() -> None:
    stage = Stage()
    puts = stage.backend.resumable
    assert puts is not None
    session = await puts.begin(new_blob_key(), size=50, sha256=bytes(32))
    stage.plugin.after["append"] = [Transient("broken")]
    await puts.commit(await puts.append(session, pattern(50)))
    assert ["begin", "append", "resume", "commit", "stat"] == stage.plugin.calls
    assert [1, 1, 1] == [stage.counted(name) for name in ("begin", "append", "commit")]
