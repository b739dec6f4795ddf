"""
The daemon is SIGKILLed again and again while phones are at work, at moments that hurt.
"""

import asyncio
import secrets
from collections import Counter
from pathlib import Path
from random import Random
from typing import Final

import aiohttp

from tests.conftest import DatabaseUrls
from tests.crash import aftermath
from tests.crash.phones import Account, Network, Phone, check_promises
from tests.support.forked_daemon import ForkedDaemon, forked_daemon

KILLS: Final = {"sqlite": 15, "postgresql": 6}
ACCOUNTS: Final = 2
PHONES_EACH: Final = 2

# What is waited for before a kill: mostly things that take several steps to become durable.
MOMENTS: Final = (
    *("append", "part sent", "body sent", "body sent", "body sent"),
    *("body held back", "body held back", "body held back", "body held back"),
    *("erase", "erase", "erase", "terminate", "edit", "call live", "answer"),
)
START_SECONDS: Final = 0.1
"""About what a start costs of CPU; a kill in a start comes anywhere in it."""


class Killer:
    """
    Kills the daemon at chosen moments, sometimes again while it starts, and brings it back.
    """

    def __init__(self, daemon: ForkedDaemon, network: Network, random: Random) -> None:
        self._daemon = daemon
        self._network = network
        self._random = random
        self.kills = 0

    async def kill_times(self, times: int) -> None:
        while self.kills < times:
            await self._moment()
            self._network.goes_down()
            self._kill()
            while self.kills < times and self._random.random() < 0.25:
                self._daemon.spawn()
                await self._worked_for(self._random.uniform(0, START_SECONDS))
                self._kill()
            await self._daemon.start()
            self._network.went_up(self._daemon.url)

    async def _moment(self) -> None:
        """
        Wait until one of the moments comes, and then until the daemon has done a little more work, or a bit longer.
        """
        what = self._random.choice(MOMENTS)
        try:
            async with asyncio.timeout(3):
                await self._network.moments.next(what, self._random.choice((1, 1, 2, 5)))
        except TimeoutError:
            pass  # That moment is rare just now; any other is as good.
        await self._worked_for(self._random.choice((0, 0.01, self._random.uniform(0, 0.03))))

    async def _worked_for(self, seconds: float) -> None:
        wanted = self._daemon.cpu_seconds() + seconds
        try:
            async with asyncio.timeout(1):
                while self._daemon.is_running and self._daemon.cpu_seconds() < wanted:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0)
        except TimeoutError:
            pass  # It idles.

    def _kill(self) -> None:
        self._daemon.kill()
        self.kills += 1


async def test_no_promise_is_broken_by_any_number_of_kills(
    tmp_path: Path, database_urls: DatabaseUrls, thoroughness: int
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it where the test fails
    random = Random(seed)
    kills = KILLS[database_urls.dialect] * thoroughness
    data_dir = tmp_path / "data"
    urls = {
        "GATEWAY_DATA__CATALOG_URL": database_urls.catalog,
        "GATEWAY_DATA__KEYS_URL": database_urls.keys,
    }
    async with (
        forked_daemon(data_dir, settings=urls) as daemon,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http,
    ):
        network = Network(http)
        accounts = [Account((await daemon.new_user(f"User {n}"))[1]) for n in range(ACCOUNTS)]
        phones = [
            Phone(account, network, Random(random.randbytes(8)), name=f"phone {a}.{n}")
            for a, account in enumerate(accounts)
            for n in range(PHONES_EACH)
        ]
        network.went_up(daemon.url)
        async with asyncio.TaskGroup() as group:
            for phone in phones:
                group.create_task(phone.run())
            killer = Killer(daemon, network, random)
            await killer.kill_times(kills)
            for phone in phones:
                phone.is_over = True
        assert kills == killer.kills

        calls = [call for account in accounts for call in account.calls]
        kept = network.moments.count("part kept")
        print(Counter(call.state for call in calls), f"{kept} appends kept in part")  # noqa: T201
        await check_promises(accounts, network)
        # Before anything starts anew and sweeps up.
        assert [] == list((data_dir / "spool").iterdir())
        assert 0 == daemon.stop()

    live = {call.id for call in calls if call.state == "live"}
    aftermath.check(await aftermath.settle(daemon.settings), live=live, unfinished=())
