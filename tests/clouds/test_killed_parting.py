"""
A daemon that is killed while it takes leave of its users' clouds: they are taken leave of all the same.

At the provider, whatever the gateway knew when it died, nothing may be left that it could still have ended.
"""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

import aiohttp
import pytest

from gateway.base.ids import UserId
from gateway.catalog.links import get_link
from gateway.console import open_console
from gateway.testing.sources import pattern
from tests.clouds.test_killed import environment_for, phone_at
from tests.clouds.world import JSON, LinkedAccount, link_new_account
from tests.crash.tracing import Calls, started_to_die
from tests.emulators.dropbox import DropboxEmulator
from tests.emulators.faults import Effect
from tests.emulators.gdrive import DriveEmulator
from tests.http.phone import Phone
from tests.support.environment import inline_table
from tests.support.forked_daemon import ForkedDaemon, forked_daemon
from tests.support.gateway import APPEND
from tests.support.waiting import until

KINDS: Final = ["gdrive", "dropbox"]
"""Those at which a gateway may end what was allowed."""
RECORDINGS: Final = 3
CALLS: Final = (
    Calls("fdatasync", 12, ("catalog.db", "catalog.db-wal")),
    Calls("fdatasync", 5, ("keys.db", "keys.db-wal")),
    Calls("pwrite64", 30, ("keys.db", "keys.db-wal")),
    Calls("pwrite64", 2, ("root/slots",)),
    Calls("sendto", 25),
)


def new_cloud(kind: str) -> Any:
    return DriveEmulator() if kind == "gdrive" else DropboxEmulator()


def settings_for(cloud: Any) -> dict[str, str]:
    kinds = {
        cloud.kind: {**cloud.settings(), **({"revoke_on_unlink": True} if cloud.kind == "gdrive" else {})}
    }
    return {
        **environment_for(cloud),
        "GATEWAY_LINKS__KINDS": inline_table(kinds),
        "GATEWAY_DATA__POOL_SIZE": "1",
        # What a daemon that died of asking for a token keeps others from asking is waited for half of that.
        "GATEWAY_LINKS__PARTING_S": "10",
    }


@dataclass(frozen=True)
class Leaver:
    """
    Somebody with recordings at his cloud.
    """

    phone: Phone
    linked: LinkedAccount

    @property
    def is_allowed(self) -> bool:
        """
        Whether the provider would still let the gateway in.
        """
        grants = self.linked.cloud.oauth.grants
        return not all(grant.is_revoked for grant in grants if grant.account is self.linked.account)


@asynccontextmanager
async def leaver_at(daemon: ForkedDaemon, cloud: Any) -> AsyncIterator[Leaver]:
    """
    Give a new user whose recordings lie at home and at *cloud*.
    """
    async with phone_at(daemon.url, *await daemon.new_user()) as phone:
        linked = await link_new_account(phone, cloud)
        route = json.dumps({"home": True, "copies": [linked.link_id]}).encode()
        assert 200 == (await phone.ask("PUT", "/v1/route", JSON, route)).status
        for _ in range(RECORDINGS):
            sent = await phone.ask("POST", "/v1/uploads", {**APPEND, "Upload-Length": "5000"}, pattern(5000))
            assert 201 == sent.status
        await until(lambda: len(linked.keys) == RECORDINGS)
        yield Leaver(phone, linked)


async def check_gone(daemon: ForkedDaemon, leaver: Leaver) -> None:
    """
    Make sure that an erased user is gone, here and at his cloud.
    """

    async def is_purged() -> bool:
        farewell = await leaver.phone.ask("GET", f"/v1/farewells/{leaver.phone.user_id}")
        return farewell.status == 200 and farewell.document["state"] == "purged"

    await until(is_purged, within_s=60)
    assert [] == leaver.linked.keys
    assert not leaver.is_allowed
    assert ("unlinked", None) == await kept_of(daemon, leaver.linked.link_id)


async def kept_of(daemon: ForkedDaemon, link_id: str) -> tuple[str, bytes | None]:
    async with open_console(daemon.settings) as console, console.catalog.read() as connection:
        link = await get_link(connection, link_id)
    assert link is not None
    return link.state, link.secrets


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operation", ["token", "delete", "revoke"])
@pytest.mark.parametrize("effect", [Effect.STALL, Effect.HOLD_ANSWER], ids=["before", "after"])
async def test_death_while_a_provider_is_asked_for_an_erased_user_leaves_nothing_there(
    tmp_path: Path, kind: str, operation: str, effect: Effect
) -> None:
    with new_cloud(kind) as cloud:
        async with (
            forked_daemon(tmp_path / "data", settings=settings_for(cloud)) as daemon,
            leaver_at(daemon, cloud) as leaver,
        ):
            asked = cloud.faults.requests[operation]
            cloud.faults.order(operation, effect)
            leaving = asyncio.create_task(leaver.phone.ask("DELETE", "/v1/me?now=true"))
            await until(lambda: cloud.faults.requests[operation] > asked and cloud.faults.are_spent)
            daemon.kill()
            with contextlib.suppress(aiohttp.ClientError):
                await leaving
            cloud.faults.clear()

            await daemon.start()
            await check_gone(daemon, leaver)


async def erased_and_killed(daemon: ForkedDaemon, cloud: Any, calls: Calls, number: int) -> bool:
    """
    Let the daemon die at the call while it erases a user; check what the next one makes of it; return whether it died.
    """
    async with leaver_at(daemon, cloud) as leaver:
        assert 0 == daemon.stop()
        async with open_console(daemon.settings) as console:
            await console.erasure.bury_account(UserId(leaver.phone.user_id))
        async with started_to_die(daemon, calls, number) as died_at_once:
            status = died_at_once
            if status is None:
                ending = asyncio.create_task(daemon.ended())
                gone = asyncio.create_task(gone_or_never(daemon, leaver))
                await asyncio.wait([ending, gone], return_when=asyncio.FIRST_COMPLETED)
                status = await ending if ending.done() else None
                for task in (ending, gone):
                    task.cancel()
                await asyncio.gather(ending, gone, return_exceptions=True)
        assert status in (None, -9), daemon.log_text
        if status is not None:
            await daemon.start()
        await check_gone(daemon, leaver)
        return status is not None


async def gone_or_never(daemon: ForkedDaemon, leaver: Leaver) -> None:
    try:
        await check_gone(daemon, leaver)
    except aiohttp.ClientError:
        await asyncio.Event().wait()


@pytest.mark.parametrize("calls", CALLS, ids=str)
async def test_death_at_some_call_of_an_erasure_leaves_nothing_at_the_cloud(
    tmp_path: Path, calls: Calls
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it where the test fails
    with new_cloud("dropbox") as cloud:
        async with forked_daemon(tmp_path / "data", settings=settings_for(cloud)) as daemon:
            await erased_and_killed(daemon, cloud, calls, Random(seed).randrange(calls.about) + 1)


@pytest.mark.torture
@pytest.mark.parametrize("calls", CALLS, ids=str)
async def test_death_at_every_call_of_an_erasure_leaves_nothing_at_the_cloud(
    tmp_path: Path, calls: Calls
) -> None:
    with new_cloud("dropbox") as cloud:
        async with forked_daemon(tmp_path / "data", settings=settings_for(cloud)) as daemon:
            for number in count(1):
                if not await erased_and_killed(daemon, cloud, calls, number):
                    print(f"{calls}: {number - 1} calls")  # noqa: T201 - what `about` says
                    break


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("effect", [Effect.STALL, Effect.HOLD_ANSWER], ids=["before", "after"])
async def test_death_while_a_provider_is_told_of_an_unlinking_leaves_nothing_there(
    tmp_path: Path, kind: str, effect: Effect
) -> None:
    with new_cloud(kind) as cloud:
        async with (
            forked_daemon(tmp_path / "data", settings=settings_for(cloud)) as daemon,
            leaver_at(daemon, cloud) as leaver,
        ):
            link_id = leaver.linked.link_id
            cloud.faults.order("revoke", effect)
            unlinking = asyncio.create_task(leaver.phone.ask("DELETE", f"/v1/links/{link_id}?copies=leave"))
            await until(lambda: cloud.faults.are_spent)
            daemon.kill()
            with contextlib.suppress(aiohttp.ClientError):
                await unlinking
            cloud.faults.clear()

            await daemon.start()
            answer = await leaver.phone.ask("GET", "/v1/links")
            assert [] == answer.document["links"]
            await until(lambda: not leaver.is_allowed)

            async def is_forgotten() -> bool:
                return await kept_of(daemon, link_id) == ("unlinked", None)

            await until(is_forgotten)
