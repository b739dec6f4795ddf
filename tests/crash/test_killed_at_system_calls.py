"""
The daemon dies at the very system call that would have made something durable, at each of them in turn.

A fixed story of uploads, edits and erasures is told to a daemon that strace kills at the Nth call of one kind.
One connection to each database and one thread for the spool, so that the Nth call is the same in each telling.
"""

import asyncio
import re
import secrets
import shutil
from itertools import count
from pathlib import Path
from random import Random
from typing import Final

import aiohttp
import pytest

from tests.crash import aftermath
from tests.crash.conftest import Installation
from tests.crash.phones import Account, Call, Network, Phone, check_promises, jobs_done
from tests.crash.tracing import Calls, started_to_die
from tests.support.forked_daemon import ForkedDaemon

SETTINGS: Final = {"GATEWAY_DATA__POOL_SIZE": "1", "GATEWAY_SPOOL__THREADS": "1"}
SEED_OF_THE_STORY: Final = 1


CALLS: Final = (
    Calls("fdatasync", 50, ("catalog.db", "catalog.db-wal")),
    Calls("pwrite64", 350, ("catalog.db", "catalog.db-wal")),
    Calls("fdatasync", 18, ("keys.db", "keys.db-wal")),
    Calls("pwrite64", 140, ("keys.db", "keys.db-wal")),
    Calls("pwrite64", 8, ("root/slots",)),
    Calls("fsync", 8, ("root/slots",)),
    Calls("fsync", 14, ("spool",)),
    Calls("fsync", 12),
    Calls("linkat", 4),
    Calls("mkdirat", 9),
    Calls("unlink", 6),
    Calls("unlinkat", 4),
)


async def story(phone: Phone, network: Network) -> None:
    """
    Two recordings, one of them of two pieces; an edit; one erased at home, one perhaps still in the spool; one given up.
    """
    at_home = await phone.begin(20_000, first=20_000)
    await finish(phone, at_home)
    pieced = await phone.begin(60_000, is_deferred=True)
    await phone.append(pieced, 40_000)
    await finish(phone, pieced, checksum="sha1")
    await phone.edit(at_home)
    await jobs_done(network)
    await phone.erase(at_home)
    fresh = await phone.begin(18_000)
    await finish(phone, fresh)
    await phone.erase(fresh)
    given_up = await phone.begin(30_000, first=17_000)
    while given_up.state == "open":
        await phone.terminate(given_up)
    await jobs_done(network)


async def finish(phone: Phone, call: Call, *, checksum: str = "") -> None:
    """
    Send what is left, however often the daemon dies over it.
    """
    while call.state == "open":
        await phone.append(call, call.length - len(call.content), checksum=checksum)


async def tell(daemon: ForkedDaemon, account: Account, calls: Calls, number: int) -> bool:
    """
    Tell the story to a daemon that dies at the call; check everything; return whether it died.
    """
    data_dir = daemon.data_dir
    died = False
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
            network = Network(http)
            phone = Phone(account, network, Random(SEED_OF_THE_STORY), name="phone")
            telling = asyncio.create_task(story(phone, network))
            async with started_to_die(daemon, calls, number) as died_at_once:
                status = died_at_once
                if status is None:
                    network.went_up(daemon.url)
                    ending = asyncio.create_task(daemon.ended())
                    await asyncio.wait([telling, ending], return_when=asyncio.FIRST_COMPLETED)
                    status = await ending if ending.done() else None
                    ending.cancel()
                assert status in (None, -9), daemon.log_text
                died = status is not None
            if died:
                network.goes_down()
                await daemon.start()
                network.went_up(daemon.url)
            await telling
            await check_promises([account], network)
            assert [] == list((data_dir / "spool").iterdir())
            assert 0 == daemon.stop()
    finally:
        daemon.kill()
    live = {call.id for call in account.calls if call.state == "live"}
    aftermath.check(await aftermath.settle(daemon.settings), live=live, unfinished=())
    return died


@pytest.mark.parametrize("calls", CALLS, ids=str)
async def test_death_at_some_call_breaks_no_promise(
    installation: Installation, tmp_path: Path, calls: Calls
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it where the test fails
    account = installation.copy_to(tmp_path / "data")
    daemon = ForkedDaemon(tmp_path / "data", settings=SETTINGS)
    await tell(daemon, account, calls, Random(seed).randrange(calls.about) + 1)


@pytest.mark.torture
@pytest.mark.parametrize("calls", CALLS, ids=str)
async def test_death_at_every_call_breaks_no_promise(
    installation: Installation, tmp_path: Path, calls: Calls
) -> None:
    for number in count(1):
        data_dir = tmp_path / f"data-{number}"
        account = installation.copy_to(data_dir)
        if not await tell(ForkedDaemon(data_dir, settings=SETTINGS), account, calls, number):
            break
        shutil.rmtree(data_dir)


FIRST_CALLS: Final = (
    Calls("fdatasync", 6, ("keys.db", "keys.db-wal", "catalog.db", "catalog.db-wal")),
    Calls("pwrite64", 40, ("keys.db", "keys.db-wal", "catalog.db", "catalog.db-wal")),
    Calls("pwrite64", 2, ("root/slots",)),
    Calls("fsync", 8),
    Calls("mkdir", 3),
    Calls("mkdirat", 1),
    Calls("write", 40),
)


async def start_first(data_dir: Path, calls: Calls, number: int) -> bool:
    """
    Let the very first start die at the call; check that the next one makes all good; return whether it died.
    """
    daemon = ForkedDaemon(data_dir, settings=SETTINGS)
    try:
        async with started_to_die(daemon, calls, number) as status:
            pass
        assert status in (None, -9), daemon.log_text
        if status is not None:
            await daemon.start()
        account = Account((await daemon.new_user())[1])
        async with aiohttp.ClientSession() as http:
            network = Network(http)
            network.went_up(daemon.url)
            phone = Phone(account, network, Random(SEED_OF_THE_STORY), name="phone")
            await phone.begin(20_000, first=20_000)
            await phone.erase(await phone.begin(30_000, first=30_000))
            await check_promises([account], network)
        assert 0 == daemon.stop()
        assert re.fullmatch(r"node-[0-9a-f]{12}\n", (data_dir / "node").read_text())
    finally:
        daemon.kill()
    return status is not None


@pytest.mark.parametrize("calls", FIRST_CALLS, ids=str)
async def test_a_first_start_that_died_at_some_call_is_made_good(tmp_path: Path, calls: Calls) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it where the test fails
    await start_first(tmp_path / "data", calls, Random(seed).randrange(calls.about) + 1)


@pytest.mark.torture
@pytest.mark.parametrize("calls", FIRST_CALLS, ids=str)
async def test_a_first_start_that_died_at_any_call_is_made_good(tmp_path: Path, calls: Calls) -> None:
    for number in count(1):
        if not await start_first(tmp_path / f"data-{number}", calls, number):
            break
        shutil.rmtree(tmp_path / f"data-{number}")
