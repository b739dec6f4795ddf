"""
That the pretend sign-in of Microsoft answers as the real one does.
"""

import base64
import json
from collections.abc import AsyncIterator, Iterator
from typing import Final

import aiohttp
import pytest
from yarl import URL

from tests.emulators.cloud import Account
from tests.emulators.oauth import CLIENT_ID, CLIENT_SECRET
from tests.emulators.onedrive import GraphEmulator

WIDE: Final = frozenset({"Files.ReadWrite", "User.Read", "offline_access"})
REDIRECT: Final = "http://127.0.0.1:9/back"


@pytest.fixture
def cloud() -> Iterator[GraphEmulator]:
    with GraphEmulator() as cloud:
        yield cloud


@pytest.fixture
def account(cloud: GraphEmulator) -> Account:
    return cloud.new_account()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_code_brings_tokens_and_an_unproven_identity(
    cloud: GraphEmulator, account: Account, session: aiohttp.ClientSession
) -> None:
    asked = {
        "client_id": CLIENT_ID,
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "openid profile offline_access User.Read",
        "state": "s",
        "nonce": "n",
    }
    back = cloud.oauth.approve(
        f"{cloud.url}/common/oauth2/v2.0/authorize?{URL.build(query=asked).raw_query_string}", account
    )
    form = {
        "grant_type": "authorization_code",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "redirect_uri": REDIRECT,
        "code": URL(back).query["code"],
    }
    async with session.post(f"{cloud.url}/common/oauth2/v2.0/token", data=form) as answer:
        told = await answer.json()
    assert "User.Read openid profile" == told["scope"]
    header, claims, signature = told["id_token"].split(".")
    assert signature == ""
    assert account.subject == json.loads(base64.urlsafe_b64decode(claims + "=="))["oid"]
    assert "n" == json.loads(base64.urlsafe_b64decode(claims + "=="))["nonce"]
    assert json.loads(base64.urlsafe_b64decode(told["client_info"] + "=="))["uid"] == account.subject
    assert json.loads(base64.urlsafe_b64decode(header + "=="))["alg"] == "none"


async def test_a_refresh_token_rotates_and_the_one_before_goes_on_working(
    cloud: GraphEmulator, account: Account, session: aiohttp.ClientSession
) -> None:
    _, refresh = cloud.oauth.grant(account, cloud.scopes())
    form = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    found = set()
    for _ in range(2):
        async with session.post(
            f"{cloud.url}/consumers/oauth2/v2.0/token", data=form | {"refresh_token": refresh}
        ) as answer:
            assert answer.status == 200
            found.add((await answer.json())["refresh_token"])
    assert 2 == len(found - {refresh})
    cloud.oauth.revoke(account)
    async with session.post(
        f"{cloud.url}/consumers/oauth2/v2.0/token", data=form | {"refresh_token": refresh}
    ) as answer:
        told = await answer.json()
        assert (400, "invalid_grant", [70000]) == (answer.status, told["error"], told["error_codes"])
        assert told["error_description"].startswith("AADSTS70000: ")
