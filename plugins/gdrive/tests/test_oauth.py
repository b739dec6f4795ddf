"""
Linking and unlinking, with the consent page of a pretend Google.
"""

import urllib.parse
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from gateway_gdrive import gateway_register_backends
from gateway_gdrive.oauth import DRIVE_FILE, oauth_profile
from gateway_gdrive.settings import GDriveSettings

from gateway.api import AuthRevoked, Grant, OAuthProfile, Transient
from gateway.testing.oauth import OAuthConformance
from tests.emulators.cloud import Account
from tests.emulators.faults import Effect
from tests.emulators.gdrive import DriveEmulator

GOOGLE = GDriveSettings(client_id="client", client_secret="secret")


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


class _Linking(OAuthConformance):
    @pytest.fixture
    def grant(self, cloud: DriveEmulator, account: Account, profile: OAuthProfile) -> Grant:
        access, refresh = cloud.oauth.grant(account, profile.needed_scopes)
        return Grant(access_token=access, refresh_token=refresh, expires_in_s=3600)

    @pytest.fixture
    def end_grant(self, cloud: DriveEmulator, account: Account) -> Callable[[], None]:
        return lambda: cloud.oauth.revoke(account)


class TestLinking(_Linking):
    @pytest.fixture
    def profile(self, cloud: DriveEmulator) -> OAuthProfile:
        return oauth_profile(GDriveSettings(**cloud.settings()))  # type: ignore[arg-type]


class TestLinkingWithRevocation(_Linking):
    @pytest.fixture
    def profile(self, cloud: DriveEmulator) -> OAuthProfile:
        return oauth_profile(GDriveSettings(**cloud.settings(), revoke_on_unlink=True))  # type: ignore[arg-type]


def test_without_a_word_from_the_operator_it_is_google_itself() -> None:
    [kind] = gateway_register_backends()
    assert kind.oauth is not None
    profile = kind.oauth(GOOGLE)
    assert "https://accounts.google.com/o/oauth2/v2/auth" == profile.authorize_url
    assert "https://oauth2.googleapis.com/token" == profile.token_url
    assert "https://myaccount.google.com/connections" == profile.manage_url
    assert frozenset({DRIVE_FILE}) == profile.needed_scopes
    # Ending the grant there would end the user's sign-in with it.
    assert profile.revoke is None


async def test_a_second_consent_brings_a_refresh_token_again(
    cloud: DriveEmulator, account: Account, http: aiohttp.ClientSession
) -> None:
    profile = oauth_profile(GDriveSettings(**cloud.settings()))  # type: ignore[arg-type]
    for _ in range(2):
        token = await _linked(profile, cloud, account, http)
        assert token["refresh_token"]
        assert DRIVE_FILE == token["scope"]
        identity = await profile.identify(http, token["access_token"])
        assert (account.subject, account.email) == (identity.subject, identity.label)


async def test_the_token_of_a_grant_that_ended_belongs_to_nobody(
    cloud: DriveEmulator, account: Account, http: aiohttp.ClientSession
) -> None:
    profile = oauth_profile(GDriveSettings(**cloud.settings()))  # type: ignore[arg-type]
    access, _ = cloud.oauth.grant(account, profile.needed_scopes)
    cloud.oauth.revoke(account)
    with pytest.raises(AuthRevoked):
        await profile.identify(http, access)


@pytest.mark.parametrize("effect", [Effect.FAIL, Effect.CUT_BEFORE, Effect.LOSE_ANSWER])
async def test_trouble_while_asking_who_it_is_may_be_over_next_time(
    cloud: DriveEmulator, account: Account, http: aiohttp.ClientSession, effect: Effect
) -> None:
    profile = oauth_profile(GDriveSettings(**cloud.settings()))  # type: ignore[arg-type]
    access, _ = cloud.oauth.grant(account, profile.needed_scopes)
    # Twice, since aiohttp asks once more of its own accord where a connection breaks.
    cloud.faults.order("identity", effect, times=2)
    with pytest.raises(Transient):
        await profile.identify(http, access)
    cloud.faults.clear()
    assert account.subject == (await profile.identify(http, access)).subject


async def test_a_revocation_that_failed_is_told(
    cloud: DriveEmulator, account: Account, http: aiohttp.ClientSession
) -> None:
    profile = oauth_profile(GDriveSettings(**cloud.settings(), revoke_on_unlink=True))  # type: ignore[arg-type]
    _, refresh = cloud.oauth.grant(account, profile.needed_scopes)
    assert profile.revoke is not None
    cloud.faults.order("revoke", Effect.FAIL)
    with pytest.raises(Transient):
        await profile.revoke(http, refresh)
    await profile.revoke(http, refresh)
    assert all(grant.is_revoked for grant in cloud.oauth.grants)


BAD: list[dict[str, object]] = [
    {"client_id": ""},
    {"client_secret": ""},
    {"folder": "  "},
    {"api_url": "https://www.googleapis.com"},
    {"token_url": "oauth2.googleapis.com/token"},
    {"manage_url": "javascript:alert(1)"},
    {"part_size": 1 << 10},
    {"part_size": (1 << 20) + 1},
    {"part_size": 1 << 30},
    {"listing_lag_s": -1.0},
    {"timeout_s": 0.0},
    {"max_concurrency": 0},
    {"list_page_size": 1001},
]


@pytest.mark.parametrize("changes", BAD)
def test_settings_that_cannot_be_are_refused_with_their_name(changes: dict[str, object]) -> None:
    [name] = changes
    with pytest.raises(ValueError, match=name):
        GDriveSettings(**{"client_id": "client", "client_secret": "secret", **changes})  # type: ignore[arg-type]


async def _linked(
    profile: OAuthProfile, cloud: DriveEmulator, account: Account, http: aiohttp.ClientSession
) -> dict[str, str]:
    """
    Consent as the user, and exchange the code as the host does.
    """
    redirect_uri = "http://127.0.0.1/linked"
    asked = {
        "client_id": profile.client_id,
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "scope": " ".join(profile.scopes),
        **profile.authorize_parameters,
    }
    back = cloud.oauth.approve(f"{profile.authorize_url}?{urllib.parse.urlencode(asked)}", account)
    [code] = urllib.parse.parse_qs(urllib.parse.urlsplit(back).query)["code"]
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "client_id": profile.client_id,
        "client_secret": profile.client_secret,
    }
    async with http.post(profile.token_url, data=form) as answer:
        assert answer.status == 200
        token: dict[str, str] = await answer.json()
        return token
