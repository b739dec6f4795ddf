"""
msal against the pretend sign-in: codes, refreshes, refusals, and what it must not do behind the host's back.
"""

import asyncio
import base64
import hashlib
import logging
import socket
import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest
from gateway_onedrive import gateway_register_backends
from gateway_onedrive.oauth import profile
from gateway_onedrive.settings import OneDriveSettings

from gateway.api import (
    AccessDenied,
    AuthRevoked,
    BackendError,
    Grant,
    Misconfigured,
    OAuthProfile,
    RateLimited,
    TokenRequest,
    Transient,
)
from tests.emulators.cloud import Account
from tests.emulators.faults import Effect
from tests.emulators.onedrive import GraphEmulator

REDIRECT = "http://127.0.0.1:9/v1/links/callback"
VERIFIER = "v" * 64
APP_FOLDER = "Files.ReadWrite.AppFolder"


@pytest.fixture
def linking(settings: OneDriveSettings) -> OAuthProfile:
    return profile(settings)


@pytest.fixture
def refresh_token(cloud: GraphEmulator, account: Account, linking: OAuthProfile) -> str:
    return cloud.oauth.grant(account, frozenset(linking.scopes))[1]


def consent(cloud: GraphEmulator, account: Account, linking: OAuthProfile, scopes: tuple[str, ...]) -> str:
    """
    Ask for consent as the host does; return the code.
    """
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "client_id": linking.client_id,
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": " ".join(scopes),
        "state": "state",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **linking.authorize_parameters,
    }
    back = cloud.oauth.approve(f"{linking.authorize_url}?{urlencode(asked)}", account)
    return parse_qs(urlsplit(back).query)["code"][0]


async def exchanged(
    linking: OAuthProfile, *, code: str | None = None, verifier: str = VERIFIER, refresh: str | None = None
) -> Grant:
    assert linking.exchange is not None
    return await linking.exchange(
        TokenRequest(
            scopes=linking.scopes,
            redirect_uri=REDIRECT if code else None,
            code=code,
            code_verifier=verifier if code else None,
            refresh_token=refresh,
        )
    )


# Codes


async def test_a_code_is_given_for_tokens_with_the_hosts_own_verifier(
    cloud: GraphEmulator, account: Account, linking: OAuthProfile
) -> None:
    code = consent(cloud, account, linking, linking.scopes)
    grant = await exchanged(linking, code=code)
    assert linking.needed_scopes <= (grant.scopes or frozenset())
    assert 3600 == grant.expires_in_s
    assert grant.refresh_token is not None
    async with aiohttp.ClientSession() as http:
        identity = await linking.identify(http, grant.access_token)
    assert (account.subject, account.email) == (identity.subject, identity.label)


async def test_a_wrong_verifier_is_refused(
    cloud: GraphEmulator, account: Account, linking: OAuthProfile
) -> None:
    code = consent(cloud, account, linking, linking.scopes)
    with pytest.raises(AuthRevoked):
        await exchanged(linking, code=code, verifier="w" * 64)


async def test_a_code_is_good_for_one_exchange(
    cloud: GraphEmulator, account: Account, linking: OAuthProfile
) -> None:
    code = consent(cloud, account, linking, linking.scopes)
    await exchanged(linking, code=code)
    with pytest.raises(AuthRevoked):
        await exchanged(linking, code=code)


async def test_a_wider_consent_holds_what_the_narrow_one_needs(
    cloud: GraphEmulator, account: Account, linking: OAuthProfile
) -> None:
    assert linking.wider_scopes is not None
    grant = await exchanged(linking, code=consent(cloud, account, linking, linking.wider_scopes))
    assert {APP_FOLDER, "Files.ReadWrite"} <= (grant.scopes or frozenset())


async def test_an_answer_that_names_the_wide_scope_alone_is_enough(
    cloud: GraphEmulator, account: Account, linking: OAuthProfile
) -> None:
    scopes = ("https://graph.microsoft.com/files.readwrite", "offline_access")
    grant = await exchanged(linking, code=consent(cloud, account, linking, scopes))
    assert linking.needed_scopes <= (grant.scopes or frozenset())


async def test_a_consent_without_files_lacks_what_is_needed(
    cloud: GraphEmulator, account: Account, linking: OAuthProfile
) -> None:
    code = consent(cloud, account, linking, ("User.Read", "offline_access"))
    grant = await exchanged(linking, code=code)
    assert linking.needed_scopes - (grant.scopes or frozenset()) == {APP_FOLDER}


# Refreshes


async def test_each_refresh_brings_another_refresh_token_and_the_one_before_still_works(
    linking: OAuthProfile, refresh_token: str
) -> None:
    first = await exchanged(linking, refresh=refresh_token)
    again = await exchanged(linking, refresh=refresh_token)
    assert first.refresh_token is not None
    second = await exchanged(linking, refresh=first.refresh_token)
    tokens = {refresh_token, first.refresh_token, again.refresh_token, second.refresh_token}
    assert 4 == len(tokens)
    assert 3 == len({first.access_token, again.access_token, second.access_token})


async def test_a_grant_that_was_ended_is_told_and_not_remembered(
    cloud: GraphEmulator, account: Account, linking: OAuthProfile, refresh_token: str
) -> None:
    grants = [grant for grant in cloud.oauth.grants if grant.account is account]
    cloud.oauth.revoke(account)
    for _ in range(2):
        with pytest.raises(AuthRevoked) as caught:
            await exchanged(linking, refresh=refresh_token)
    assert "AADSTS70000" == caught.value.provider_code
    assert 2 == cloud.faults.requests["token"]
    # As if it had been a slip of Microsoft's: the next try is a new question.
    grants[0].is_revoked = False
    grants[0].refresh_tokens.add(refresh_token)
    assert (await exchanged(linking, refresh=refresh_token)).access_token


@pytest.mark.parametrize("effect", [Effect.FAIL, Effect.CUT_BEFORE, Effect.LOSE_ANSWER])
async def test_a_sign_in_that_fails_is_asked_again_when_the_host_likes(
    cloud: GraphEmulator, linking: OAuthProfile, refresh_token: str, effect: Effect
) -> None:
    cloud.faults.order("token", effect)
    with pytest.raises(Transient):
        await exchanged(linking, refresh=refresh_token)
    assert 1 == cloud.faults.requests["token"]
    assert (await exchanged(linking, refresh=refresh_token)).access_token
    assert 2 == cloud.faults.requests["token"]


async def test_a_throttled_sign_in_quotes_the_time_to_wait(
    cloud: GraphEmulator, linking: OAuthProfile, refresh_token: str
) -> None:
    cloud.faults.order("token", Effect.THROTTLE, amount=41)
    with pytest.raises(RateLimited) as caught:
        await exchanged(linking, refresh=refresh_token)
    assert timedelta(seconds=41) == caught.value.retry_after
    assert (await exchanged(linking, refresh=refresh_token)).access_token


async def test_many_refreshes_at_once_hold_up_nobody(
    cloud: GraphEmulator, account: Account, linking: OAuthProfile
) -> None:
    tokens = [cloud.oauth.grant(account, frozenset(linking.scopes))[1] for _ in range(12)]
    grants = await asyncio.gather(*(exchanged(linking, refresh=token) for token in tokens))
    assert 12 == len({grant.access_token for grant in grants})


# The operator's mistakes


async def test_a_wrong_secret_is_for_the_operator(settings: OneDriveSettings, refresh_token: str) -> None:
    wrong = profile(replace(settings, client_secret="expired"))
    with pytest.raises(Misconfigured) as caught:
        await exchanged(wrong, refresh=refresh_token)
    assert "AADSTS7000215" == caught.value.provider_code


async def test_an_address_that_is_no_sign_in_is_for_the_operator(
    settings: OneDriveSettings, cloud: GraphEmulator
) -> None:
    wrong = profile(replace(settings, login_url=f"{cloud.url}/elsewhere"))
    with pytest.raises(Misconfigured):
        await exchanged(wrong, refresh="any")


async def test_a_sign_in_that_is_not_there_is_transient_and_tried_anew(settings: OneDriveSettings) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        nowhere = profile(replace(settings, login_url=url))
        for _ in range(2):
            with pytest.raises(Transient):
                await exchanged(nowhere, refresh="any")


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": ""},
        {"client_secret": ""},
        {"tenant": "a/b"},
        {"login_url": "login.microsoftonline.com"},
        {"graph_url": "https://graph.microsoft.com/v1.0/"},
        {"part_size": 1000},
        {"part_size": 61 << 20},
        {"max_concurrency": 0},
        {"list_page_size": 1001},
        {"read_timeout_s": 0.0},
    ],
    ids=repr,
)
def test_settings_that_cannot_be_are_refused(settings: OneDriveSettings, changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(settings, **changes)  # type: ignore[arg-type]


# The facts


def test_the_profile_asks_for_the_least_and_knows_a_wider_way(settings: OneDriveSettings) -> None:
    narrow = profile(settings)
    assert {APP_FOLDER} == narrow.needed_scopes
    assert "Files.ReadWrite" not in narrow.scopes
    assert "offline_access" in narrow.scopes
    assert narrow.wider_scopes is not None
    wide = profile(replace(settings, scope="Files.ReadWrite"))
    assert ({"Files.ReadWrite"}, None) == (wide.needed_scopes, wide.wider_scopes)


def test_the_addresses_are_those_of_microsoft_unless_it_is_said_otherwise() -> None:
    said = OneDriveSettings(client_id="id", client_secret="secret", tenant="consumers")
    linking = profile(said)
    assert "https://login.microsoftonline.com/consumers/oauth2/v2.0/authorize" == linking.authorize_url
    assert "https://login.microsoftonline.com/consumers/oauth2/v2.0/token" == linking.token_url
    assert linking.revoke is None
    assert linking.manage_url is not None


def test_the_kind_is_linked_by_signing_in_and_by_nothing_else() -> None:
    [kind] = gateway_register_backends()
    assert (kind.oauth, kind.user_settings) == (profile, frozenset())
    assert {"client_secret"} == kind.secret_settings


async def test_whose_account_it_is_cannot_be_asked_with_a_dead_token(linking: OAuthProfile) -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(AuthRevoked):
            await linking.identify(http, "dead")


async def test_whose_account_it_is_needs_its_scope(
    cloud: GraphEmulator, account: Account, linking: OAuthProfile
) -> None:
    token, _ = cloud.oauth.grant(account, frozenset({APP_FOLDER}))
    async with aiohttp.ClientSession() as http:
        with pytest.raises(AccessDenied):
            await linking.identify(http, token)


async def test_no_token_and_no_secret_gets_into_a_message_or_a_log(
    cloud: GraphEmulator,
    account: Account,
    linking: OAuthProfile,
    refresh_token: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    code = consent(cloud, account, linking, linking.scopes)
    grant = await exchanged(linking, code=code)
    renewed = await exchanged(linking, refresh=refresh_token)
    told = f"{grant!r} {renewed!r} {linking!r}"
    for effect in (Effect.FAIL, Effect.CUT_BEFORE, Effect.LOSE_ANSWER, Effect.THROTTLE):
        cloud.faults.order("token", effect)
        try:
            await exchanged(linking, refresh=refresh_token)
        except BackendError as exc:
            told += "".join(traceback.format_exception(exc))
    cloud.oauth.revoke(account)
    for request in ({"refresh": refresh_token}, {"code": code}):
        try:
            await exchanged(linking, **request)  # type: ignore[arg-type]
        except BackendError as exc:
            told += "".join(traceback.format_exception(exc))
    told += caplog.text
    assert "AADSTS70000" in told
    tokens = [grant.access_token, grant.refresh_token, renewed.access_token, renewed.refresh_token]
    secrets = [*tokens, refresh_token, code, linking.client_secret, VERIFIER]
    assert [] == [number for number, secret in enumerate(secrets) if secret is None or secret in told]


@pytest.fixture(autouse=True)
def _no_threads_left(settings: OneDriveSettings) -> Iterator[None]:
    yield
    from gateway_onedrive import oauth

    # Each test has its own server, so no application is of use to another.
    oauth._token_endpoint.cache_clear()
