"""
A daemon that is killed in the middle of placing a long recording goes on where the cloud has got to.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.base.ids import UserId
from gateway.testing.sources import pattern
from tests.clouds.conftest import KINDS
from tests.clouds.world import JSON, link_new_account
from tests.emulators.cloud import Cloud
from tests.http.phone import Phone
from tests.support.environment import inline_table
from tests.support.forked_daemon import forked_daemon
from tests.support.gateway import APPEND, Served
from tests.support.waiting import until

SIZE = 40_000_000
LONG = 200_000_000
KILLED_AT = (0.3, 0.6)
LOST_AT_A_KILL = 11_000_000
"""The part that is on its way then, at the most; of a long recording both together are less than a fifth."""


def environment_for(*clouds: Any) -> dict[str, str]:
    """
    Return what a daemon is told so that these clouds can be linked.
    """
    return {
        "GATEWAY_LINKS__KINDS": inline_table({cloud.kind: cloud.settings() for cloud in clouds}),
        "GATEWAY_LINKS__ALLOW_PRIVATE_ADDRESSES": "true",
        "GATEWAY_LINKS__ALLOW_HTTP": "true",
        "GATEWAY_BACKENDS__BACKOFF_BASE_MS": "10",
        "GATEWAY_JOBS__POLL_INTERVAL_S": "1",
    }


@asynccontextmanager
async def phone_at(url: str, user_id: str, auth: Mapping[str, str]) -> AsyncIterator[Phone]:
    """
    Give a client of the daemon at *url*, signed in by the Authorization header *auth*.
    """
    async with aiohttp.ClientSession(url) as session:
        served = Served(url, None, session)  # type: ignore[arg-type]
        yield Phone(served, UserId(user_id), auth)


def is_blob(path: Path) -> bool:
    return path.is_file() and path.stat().st_size >= SIZE


async def pieces_of(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 1 << 20):
        yield content[start : start + (1 << 20)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [SIZE, pytest.param(LONG, marks=pytest.mark.torture)])
async def test_placing_goes_on_after_a_kill_and_sends_hardly_more_than_once(
    tmp_path: Path, new_cloud: Callable[[str], Cloud], kind: str, size: int
) -> None:
    content = pattern(size)
    with new_cloud(kind) as cloud:
        async with (
            forked_daemon(tmp_path / "data", settings=environment_for(cloud)) as daemon,
            phone_at(daemon.url, *await daemon.new_user()) as phone,
        ):
            account = await link_new_account(phone, cloud)
            route = json.dumps({"home": True, "copies": [account.link_id]}).encode()
            assert 200 == (await phone.ask("PUT", "/v1/route", JSON, route)).status
            before = cloud.upload_bytes
            created = await phone.ask(
                "POST", "/v1/uploads", {**APPEND, "Upload-Length": str(size)}, pieces_of(content)
            )
            assert 201 == created.status, created.body

            for share in KILLED_AT:
                await until(lambda share=share: cloud.upload_bytes - before > share * size, within_s=120)
                daemon.kill()
                await daemon.start()

            async def is_placed() -> bool:
                copies = await phone.ask("GET", f"/v1/recordings/{created.upload_id}/copies")
                states = {copy["place"]: copy["state"] for copy in copies.document["copies"]}
                return states[account.link_id] == "placed"

            await until(is_placed, within_s=120)
            sent = cloud.upload_bytes - before
            [key] = account.keys
            [home] = [path for path in (tmp_path / "data" / "blobs").rglob("*") if is_blob(path)]
            assert home.read_bytes() == account.content(key)
            assert size < sent < size + len(KILLED_AT) * LOST_AT_A_KILL
