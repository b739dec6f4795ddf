"""
Linking an account to the app, and ending the link.
"""

import base64
import hashlib
import urllib.parse
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from gateway_dropbox import gateway_register_backends
from gateway_dropbox.oauth import profile
from gateway_dropbox.settings import DropboxSettings

from gateway.api import AccessDenied, AuthRevoked, Misconfigured, OAuthProfile, RateLimited, Transient
from tests.emulators.cloud import Account
from tests.emulators.dropbox import DropboxEmulator
from tests.emulators.faults import Effect

REDIRECT = "https://gateway.test/v1/links/return"
VERIFIER = "v" * 43


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def facts(cloud: DropboxEmulator) -> OAuthProfile:
    return profile(DropboxSettings(**cloud.settings()))


def consent_url(facts: OAuthProfile, **changes: str) -> str:
    digest = hashlib.sha256(VERIFIER.encode()).digest()
    asked = {
        "client_id": facts.client_id,
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": " ".join(facts.scopes),
        "state": "the-state",
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        **facts.authorize_parameters,
        **changes,
    }
    return f"{facts.authorize_url}?{urllib.parse.urlencode(asked)}"


async def exchanged(http: aiohttp.ClientSession, facts: OAuthProfile, returned: str) -> dict[str, Any]:
    code = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(returned).query))["code"]
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT,
        "client_id": facts.client_id,
        "code_verifier": VERIFIER,
    }
    async with http.post(facts.token_url, data=form) as response:
        assert response.status == 200
        return dict(await response.json())


async def refreshed(http: aiohttp.ClientSession, facts: OAuthProfile, token: str) -> int:
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": facts.client_id}
    async with http.post(facts.token_url, data=form) as response:
        return response.status


async def test_consent_leads_to_tokens_that_tell_whose_the_account_is(
    cloud: DropboxEmulator, account: Account, facts: OAuthProfile, http: aiohttp.ClientSession
) -> None:
    tokens = await exchanged(http, facts, cloud.oauth.approve(consent_url(facts), account))
    assert "refresh_token" in tokens
    assert facts.needed_scopes <= set(tokens["scope"].split())
    identity = await facts.identify(http, tokens["access_token"])
    assert (account.subject, account.email) == (identity.subject, identity.label)


async def test_without_the_profiles_parameters_there_would_be_no_refresh_token(
    cloud: DropboxEmulator, account: Account, facts: OAuthProfile, http: aiohttp.ClientSession
) -> None:
    url = consent_url(facts, token_access_type="online")
    assert "refresh_token" not in await exchanged(http, facts, cloud.oauth.approve(url, account))


async def test_a_refresh_token_is_revoked_with_all_that_came_of_it(
    cloud: DropboxEmulator, account: Account, facts: OAuthProfile, http: aiohttp.ClientSession
) -> None:
    access, refresh = cloud.oauth.grant(account, cloud.scopes())
    assert facts.revoke is not None
    await facts.revoke(http, refresh)
    assert 400 == await refreshed(http, facts, refresh)
    with pytest.raises(AuthRevoked):
        await facts.identify(http, access)


async def test_an_access_token_is_revoked_with_its_refresh_token(
    cloud: DropboxEmulator, account: Account, facts: OAuthProfile, http: aiohttp.ClientSession
) -> None:
    access, refresh = cloud.oauth.grant(account, cloud.scopes())
    assert facts.revoke is not None
    await facts.revoke(http, access)
    assert 400 == await refreshed(http, facts, refresh)


async def test_revoking_leaves_the_links_of_others_alone(
    cloud: DropboxEmulator, account: Account, facts: OAuthProfile, http: aiohttp.ClientSession
) -> None:
    other, _ = cloud.oauth.grant(cloud.new_account("Bob"), cloud.scopes())
    _, refresh = cloud.oauth.grant(account, cloud.scopes())
    assert facts.revoke is not None
    await facts.revoke(http, refresh)
    await facts.identify(http, other)


@pytest.mark.parametrize("which", [0, 1])
async def test_revoking_what_is_dead_succeeds(
    cloud: DropboxEmulator, account: Account, facts: OAuthProfile, http: aiohttp.ClientSession, which: int
) -> None:
    token = cloud.oauth.grant(account, cloud.scopes())[which]
    cloud.oauth.revoke(account)
    assert facts.revoke is not None
    await facts.revoke(http, token)
    await facts.revoke(http, "never-was")


@pytest.mark.parametrize("operation", ["token", "revoke"])
async def test_revoking_says_when_it_did_not_get_through(
    cloud: DropboxEmulator,
    account: Account,
    facts: OAuthProfile,
    http: aiohttp.ClientSession,
    operation: str,
) -> None:
    _, refresh = cloud.oauth.grant(account, cloud.scopes())
    assert facts.revoke is not None
    for effect in (Effect.FAIL, Effect.CUT_BEFORE):
        cloud.faults.order(operation, effect)
        with pytest.raises(Transient):
            await facts.revoke(http, refresh)
    cloud.faults.order(operation, Effect.THROTTLE, amount=9)
    with pytest.raises(RateLimited):
        await facts.revoke(http, refresh)
    assert 200 == await refreshed(http, facts, refresh)


async def test_a_wrong_app_key_is_for_the_operator(
    cloud: DropboxEmulator, account: Account, http: aiohttp.ClientSession
) -> None:
    _, refresh = cloud.oauth.grant(account, cloud.scopes())
    wrong = profile(DropboxSettings(**{**cloud.settings(), "client_secret": "wrong"}))
    assert wrong.revoke is not None
    with pytest.raises(Misconfigured):
        await wrong.revoke(http, refresh)


@pytest.mark.parametrize("effect", [Effect.FAIL, Effect.CUT_BEFORE, Effect.LOSE_ANSWER])
async def test_who_it_is_may_be_asked_again(
    cloud: DropboxEmulator,
    account: Account,
    facts: OAuthProfile,
    http: aiohttp.ClientSession,
    effect: Effect,
) -> None:
    access, _ = cloud.oauth.grant(account, cloud.scopes())
    cloud.faults.order("identity", effect)
    with pytest.raises(Transient) as caught:
        await facts.identify(http, access)
    assert access not in str(caught.value)
    assert account.subject == (await facts.identify(http, access)).subject


async def test_an_account_without_the_scope_is_told_which(
    cloud: DropboxEmulator, account: Account, facts: OAuthProfile, http: aiohttp.ClientSession
) -> None:
    access, _ = cloud.oauth.grant(account, frozenset({"files.content.write"}))
    with pytest.raises(AccessDenied, match=r"account_info\.read"):
        await facts.identify(http, access)


def test_the_profile_is_that_of_dropbox_and_shows_no_secret() -> None:
    facts = profile(DropboxSettings(client_id="key", client_secret="sesame"))
    assert "https://www.dropbox.com/oauth2/authorize" == facts.authorize_url
    assert "https://api.dropboxapi.com/oauth2/token" == facts.token_url
    assert "sesame" not in repr(facts)


def test_the_kind_is_linked_by_oauth_and_asks_for_a_lane() -> None:
    (kind,) = gateway_register_backends()
    assert ("dropbox", "Dropbox", True) == (kind.name, kind.title, kind.needs_lane)
    assert kind.oauth is not None
    assert kind.secret_settings <= set(DropboxSettings.__dataclass_fields__)
