"""
A loop that falls is started again, soon at first and later later.
"""

import asyncio

import pytest
from structlog.testing import capture_logs

from gateway.workers import supervisor as module
from gateway.workers.supervisor import Supervisor


async def test_the_pause_grows_with_each_fall_and_is_short_again_after_a_good_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.001)
    monkeypatch.setattr(module, "_LONGEST_PAUSE_S", 0.004)
    good_times = iter([0.0, 0.0, 0.0, 0.0, 0.02, 0.0])
    came_to_its_end = asyncio.Event()

    async def falling() -> None:
        for good_time in good_times:
            async with asyncio.timeout(good_time):
                await asyncio.Event().wait()
        came_to_its_end.set()

    supervisor = Supervisor({"it": falling})
    with capture_logs() as logs:
        supervisor.start()
        async with asyncio.timeout(10):
            await came_to_its_end.wait()
        await supervisor.stop()
    pauses = [entry["restarts_in_s"] for entry in logs if entry["event"] == "worker.fell"]
    assert [0.001, 0.002, 0.004, 0.004, 0.001, 0.002] == pauses
