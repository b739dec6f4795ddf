"""
A gateway and a pretend cloud that one of its users has linked, the way he would: over HTTP, with his consent.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import update

from gateway.catalog import tables
from gateway.catalog.jobs import JobRow, list_jobs
from gateway.database import db_now_ms
from tests.emulators.cloud import Account, Cloud
from tests.emulators.s3_front import S3Front
from tests.http.phone import Phone
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving

JSON = {"Content-Type": "application/json"}
QUICK = {"backoff_base_ms": 1, "backoff_max_ms": 20}
"""Waits between tries, so short that no test notices them."""

OpenCloud = Callable[[], Cloud]


class LinkedAccount:
    """
    A user's account at one cloud, linked.
    """

    def __init__(self, cloud: Any, account: Account, link_id: str) -> None:
        self.cloud = cloud
        self.account = account
        self.link_id = link_id

    @property
    def keys(self) -> list[str]:
        found: list[str] = self.cloud.blob_keys(self.account)
        return found

    def content(self, key: str) -> bytes:
        found: bytes = self.cloud.blob_bytes(self.account, key)
        return found

    def revoke(self) -> None:
        if isinstance(self.cloud, S3Front):
            self.cloud.revoke()
        else:
            self.cloud.oauth.revoke(self.account)
            self.cloud.oauth.expire_access_tokens()

    def fill(self) -> None:
        if isinstance(self.cloud, S3Front):
            self.cloud.fill()
        else:
            self.account.quota = 0

    def free(self) -> None:
        if isinstance(self.cloud, S3Front):
            self.cloud.free()
        else:
            self.account.quota = 15 << 30


async def links_of(phone: Phone) -> list[dict[str, Any]]:
    """
    Return what the user has linked.
    """
    answer = await phone.ask("GET", "/v1/links")
    found: list[dict[str, Any]] = answer.document["links"]
    return found


async def consent(phone: Phone, cloud: Any, account: Account, authorize_url: str) -> None:
    """
    Allow it at the cloud as *account*, and come back to the gateway, as a browser would.
    """
    back = await asyncio.to_thread(cloud.oauth.approve, authorize_url, account)
    async with phone.served.http.get(back, allow_redirects=False) as page:
        assert 200 == page.status, await page.text()


async def link_new_account(phone: Phone, cloud: Any) -> LinkedAccount:
    """
    Open an account at *cloud* and link it.
    """
    account = cloud.new_account()
    before = {link["id"] for link in await links_of(phone)}
    given = {"settings": cloud.user_settings(account)} if isinstance(cloud, S3Front) else {}
    answer = await phone.ask("POST", f"/v1/links/{cloud.kind}", JSON, json.dumps(given).encode())
    assert answer.status in (201, 202), answer.body
    if answer.status == 202:
        await consent(phone, cloud, account, answer.document["authorize_url"])
    [link] = [link for link in await links_of(phone) if link["id"] not in before]
    assert "ok" == link["state"], link
    return LinkedAccount(cloud, account, link["id"])


class World:
    """
    A gateway beside its clouds.
    """

    def __init__(self, served: Served, clock: FakeClock, clouds: list[Any]) -> None:
        self.served = served
        self.clock = clock
        self.clouds = clouds

    async def linked(self, phone: Phone, cloud: Any) -> LinkedAccount:
        """
        Open an account at *cloud* and link it.
        """
        return await link_new_account(phone, cloud)

    async def relinked(self, phone: Phone, linked: LinkedAccount) -> None:
        """
        Link the same account anew, as its owner does whose grant is gone.
        """
        cloud = linked.cloud
        document: dict[str, object] = {"relink": linked.link_id}
        if isinstance(cloud, S3Front):
            cloud.restore()
            document["settings"] = cloud.user_settings(linked.account)
        answer = await phone.ask("POST", f"/v1/links/{cloud.kind}", JSON, json.dumps(document).encode())
        if not isinstance(cloud, S3Front):
            await consent(phone, cloud, linked.account, answer.document["authorize_url"])
        [link] = await self.links(phone)
        assert (linked.link_id, "ok") == (link["id"], link["state"]), link

    async def links(self, phone: Phone) -> list[dict[str, Any]]:
        return await links_of(phone)

    async def routed(self, **route: object) -> tuple[Phone, list[LinkedAccount]]:
        """
        Return a phone whose user has linked an account at each cloud, and sends copies to all of them.
        """
        phone = await Phone.of_new_user(self.served)
        accounts = [await self.linked(phone, cloud) for cloud in self.clouds]
        wanted = {"home": True, "copies": [account.link_id for account in accounts], **route}
        answer = await phone.ask("PUT", "/v1/route", JSON, json.dumps(wanted).encode())
        assert 200 == answer.status, answer.body
        return phone, accounts

    async def jobs(self) -> list[JobRow]:
        async with self.served.gateway.context.catalog.read() as connection:
            return await list_jobs(connection)

    async def worked(self, *, rounds: int = 15) -> int:
        """
        Do all work that there is, however often it was put off, and return the rounds that it took.
        """
        for number in range(rounds):
            await self.served.placed()
            if all(job.state == "parked" for job in await self.jobs()):
                return number + 1
            self.clock.advance(120)
            async with self.served.gateway.context.catalog.write() as connection:
                await connection.execute(
                    update(tables.jobs).where(tables.jobs.c.state == "ready").values(run_at=db_now_ms())
                )
        return rounds

    async def copies(self, phone: Phone, recording: str) -> dict[str, str]:
        answer = await phone.ask("GET", f"/v1/recordings/{recording}/copies")
        return {copy["place"]: copy["state"] for copy in answer.document["copies"]}


@asynccontextmanager
async def world(tmp_path: Path, *clouds: Cloud, **sections: Any) -> AsyncIterator[World]:
    """
    Start *clouds* and a gateway that offers to link them; its waits are short, and its clock is the test's.
    """
    clock = FakeClock()
    with ExitStack() as stack:
        started: list[Any] = [stack.enter_context(cloud) for cloud in clouds]
        links = {
            "kinds": {cloud.kind: cloud.settings() for cloud in started},
            "allow_private_addresses": True,
            "allow_http": True,
            **sections.pop("links", {}),
        }
        async with serving(
            tmp_path / "data",
            clock=clock,
            with_workers=False,
            links=links,
            backends={**QUICK, **sections.pop("backends", {})},
            **sections,
        ) as served:
            yield World(served, clock, started)
