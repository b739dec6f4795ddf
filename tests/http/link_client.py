"""
A user who links accounts, and a gateway that lets him.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.base.ids import UserId
from tests.emulators.cloud import Account
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving
from tests.support.pretend_drive import PretendDrive

Json = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """
    An answer, read to its end.
    """

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Json:
        found = json.loads(self.text)
        assert isinstance(found, dict)
        return found


@asynccontextmanager
async def gateway_for(
    drive: PretendDrive,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: FakeClock,
    *,
    operator: Mapping[str, object] | None = None,
    catalog_url: str = "",
    keys_url: str = "",
    server: Mapping[str, object] | None = None,
    **links: Any,
) -> AsyncIterator[Served]:
    """
    Serve a gateway whose users can link accounts of *drive*; *links* are settings.
    """
    monkeypatch.setattr("gateway.reach.load_plugins", lambda **_: drive.plugins())
    kinds = {"pretend": drive.settings(**(operator or {})), **links.pop("kinds", {})}
    async with serving(
        data,
        clock=clock,
        with_workers=False,
        catalog_url=catalog_url,
        keys_url=keys_url,
        server={"port": 0, "shutdown_timeout_s": 1, **(server or {})},
        links={"kinds": kinds, **links},
        backends={"max_attempts": 1},
    ) as served:
        yield served


class Linker:
    """
    One user's client and browser.
    """

    def __init__(self, served: Served, drive: PretendDrive, user_id: UserId, auth: dict[str, str]) -> None:
        self.served = served
        self.drive = drive
        self.user_id = user_id
        self.auth = auth

    @classmethod
    async def of_new_user(cls, served: Served, drive: PretendDrive, name: str = "Ada") -> "Linker":
        accounts = served.gateway.context.accounts
        user_id = await accounts.add_user(name=name)
        token = await accounts.new_token(user_id, lifetime_s=10**9)
        return cls(served, drive, user_id, {"Authorization": f"Bearer {token.reveal().decode()}"})

    async def ask(self, method: str, path: str, body: object = None, **options: Any) -> Reply:
        """
        Send a request with the user's token.
        """
        content = {} if body is None else {"json": body}
        async with self.served.http.request(
            method, path, headers=self.auth, allow_redirects=False, **content, **options
        ) as response:
            return Reply(response.status, response.headers, await response.text())

    async def begin(self, **wanted: object) -> str:
        """
        Begin to link an account; return where its owner is to go.
        """
        reply = await self.ask("POST", "/v1/links/pretend", wanted or None)
        assert 202 == reply.status, reply.text
        return str(reply.json["authorize_url"])

    def consent(self, authorize_url: str, account: Account, *, scopes: frozenset[str] | None = None) -> str:
        """
        Allow it at the provider; return the path that the browser is sent back to.
        """
        back = urlsplit(self.drive.oauth.approve(authorize_url, account, scopes=scopes))
        assert self.served.url == f"{back.scheme}://{back.netloc}"
        return f"{back.path}?{back.query}"

    async def come_back(self, path: str) -> Reply:
        """
        Open *path* as a browser does: without a token.
        """
        async with self.served.http.get(path, allow_redirects=False) as response:
            return Reply(response.status, response.headers, await response.text())

    async def link(self, account: Account, **wanted: object) -> Json:
        """
        Link *account*, and return the link.
        """
        known = {link["id"] for link in await self.links()}
        reply = await self.come_back(self.consent(await self.begin(**wanted), account))
        assert 200 == reply.status, reply.text
        links = await self.links()
        return next((link for link in links if link["id"] not in known), links[-1])

    async def links(self) -> list[Json]:
        """
        Return what is linked.
        """
        listed: list[Json] = (await self.ask("GET", "/v1/links")).json["links"]
        return listed
