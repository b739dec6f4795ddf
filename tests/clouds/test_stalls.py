"""
A cloud that does not answer holds up nobody but who asked it: the event loop goes on.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.testing.sources import pattern
from tests.clouds.conftest import KINDS
from tests.clouds.world import JSON, World, world
from tests.emulators.cloud import Cloud
from tests.emulators.faults import Effect
from tests.http.phone import Phone

SILENCE_S = 1
"""How long the host waits for an answer; a call that blocked the loop would do so for a library's own time-out, half a minute."""
TICK_S = 0.005
WATCHED_S = 4
OPERATIONS = (
    "begin",
    "append",
    "resume",
    "commit",
    "put",
    "read",
    "stat",
    "list",
    "delete",
    "quota",
    "token",
    "identity",
)


class Pulse:
    """
    Beats as often as the event loop lets it, and remembers the longest pause.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def beat(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.perf_counter()
            self.longest_s = max(self.longest_s, now - last - TICK_S)
            last = now


@asynccontextmanager
async def watched() -> AsyncIterator[Pulse]:
    pulse = Pulse()
    beating = asyncio.create_task(pulse.beat())
    try:
        yield pulse
    finally:
        beating.cancel()


async def stalled(there: World, phone: Phone, recording: str, link: str) -> None:
    """
    Ask the cloud for everything that a user or a job can ask it for, while it answers nothing for a while.
    """
    heard = phone.ask("GET", f"/v1/recordings/{recording}/audio")
    looked = phone.ask("POST", f"/v1/links/{link}/check")
    work = [there.served.placed(), there.served.placed(), heard, looked, _scrubbed(there)]
    tasks = [asyncio.ensure_future(one) for one in work]
    await asyncio.wait(tasks, timeout=WATCHED_S)
    # From now on the cloud answers, and everything comes to its own end.
    there.clouds[0].faults.clear()
    async with asyncio.timeout(60):
        await asyncio.gather(*tasks, return_exceptions=True)


async def _scrubbed(there: World) -> None:
    async for _ in there.served.gateway.checks.scrub(deep=True):
        pass


async def longest_lag(folder: Path, cloud: Cloud) -> float:
    """
    Return the longest pause of the event loop, in seconds, while nothing that is asked of *cloud* is answered.

    With asyncio's debug mode on, which makes the loop itself slower and tells of every slow callback.
    """
    limits = {"call_timeout_s": SILENCE_S, "put_timeout_s": SILENCE_S, "idle_timeout_s": SILENCE_S}
    async with world(folder, cloud, backends=limits) as there:
        phone, [account] = await there.routed(home=False)
        recording = await phone.record(pattern(700_000))
        await there.worked()
        assert 1 == len(account.keys)
        wanted = json.dumps({"home": True, "copies": [account.link_id]}).encode()
        await phone.ask("PUT", "/v1/route", JSON, wanted)
        await phone.record(pattern(900_000))
        before = account.cloud.faults.requests.total()
        for operation in OPERATIONS:
            account.cloud.faults.order(operation, Effect.STALL, times=1000)
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        try:
            async with watched() as pulse:
                await stalled(there, phone, recording, account.link_id)
        finally:
            loop.set_debug(False)
        assert account.cloud.faults.requests.total() > before
        return pulse.longest_s


@pytest.mark.parametrize("kind", KINDS)
async def test_the_event_loop_goes_on_while_a_cloud_is_silent(
    tmp_path: Path, new_cloud: Callable[[str], Cloud], kind: str
) -> None:
    """
    How long it pauses on an idle machine is measured by ``python -m bench stalls``.
    """
    assert await longest_lag(tmp_path, new_cloud(kind)) < WATCHED_S / 2
