"""
How accounts are linked, as tests of a plugin's `OAuthProfile`, against whatever server the author pretends with.

    class TestLinking(OAuthConformance):
        @pytest.fixture
        def profile(self, cloud: PretendCloud) -> OAuthProfile:
            return oauth_profile(TapeSettings(authority=cloud.url, client_id="...", client_secret="..."))

        @pytest.fixture
        def grant(self, cloud: PretendCloud, profile: OAuthProfile) -> Grant:
            access, refresh = cloud.oauth.grant(ada, scopes=frozenset(profile.scopes))
            return Grant(access_token=access, refresh_token=refresh, expires_in_s=3600)

        @pytest.fixture
        def end_grant(self, cloud: PretendCloud) -> Callable[[], None]:
            return lambda: cloud.oauth.revoke(ada)
"""

from collections.abc import AsyncIterator, Callable
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import pytest

from gateway.api import AuthRevoked, BackendError, Grant, OAuthProfile, TokenRequest

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
"""RFC 8252 §8.3: what stays on this machine needs no TLS."""

THE_HOSTS_OWN: Final = frozenset(
    {
        "client_id",
        "client_secret",
        "code_challenge",
        "code_challenge_method",
        "redirect_uri",
        "response_type",
        "scope",
        "state",
    }
)
"""Parameters of the authorization request that the host sets (RFC 6749 §4.1.1, RFC 7636 §4.3)."""


class OAuthConformance:
    """
    What every profile must hold to.
    """

    @pytest.fixture
    def profile(self) -> OAuthProfile:
        pytest.fail("a subclass gives the profile that it tests")

    @pytest.fixture
    def grant(self, profile: OAuthProfile) -> Grant:
        """
        Return what a user's consent led to: an access token that is valid, and a refresh token.
        """
        pytest.fail("a subclass has its server grant what the profile asks for")

    @pytest.fixture
    def end_grant(self) -> Callable[[], None]:
        """
        End the grant, as its owner would on the provider's page.
        """
        pytest.fail("a subclass has its server end the grant")

    @pytest.fixture
    async def http(self) -> AsyncIterator[aiohttp.ClientSession]:
        async with aiohttp.ClientSession() as session:
            yield session

    def test_every_address_is_https_or_on_this_machine(self, profile: OAuthProfile) -> None:
        addresses = [profile.authorize_url, profile.token_url, *filter(None, [profile.manage_url])]
        assert [address for address in addresses if not _is_safe(address)] == []

    def test_what_is_needed_is_asked_for(self, profile: OAuthProfile) -> None:
        assert set() == profile.needed_scopes - set(profile.scopes)
        assert profile.wider_scopes is None or set() == profile.needed_scopes - set(profile.wider_scopes)

    def test_no_parameter_of_the_hosts_is_overridden(self, profile: OAuthProfile) -> None:
        assert set() == THE_HOSTS_OWN & set(profile.authorize_parameters)

    def test_the_user_can_end_the_grant_here_or_there(self, profile: OAuthProfile) -> None:
        assert profile.revoke is not None or profile.manage_url is not None

    async def test_an_account_has_one_lasting_subject(
        self, profile: OAuthProfile, grant: Grant, http: aiohttp.ClientSession
    ) -> None:
        first = await profile.identify(http, grant.access_token)
        second = await profile.identify(http, grant.access_token)
        assert first.subject
        assert first.label
        assert first.subject == second.subject

    async def test_a_live_refresh_token_brings_an_access_token_of_the_same_account(
        self, profile: OAuthProfile, grant: Grant, http: aiohttp.ClientSession
    ) -> None:
        before = await profile.identify(http, grant.access_token)
        renewed = await refreshed(profile, grant, http)
        assert before.subject == (await profile.identify(http, renewed.access_token)).subject

    async def test_a_dead_refresh_token_is_told_as_a_revoked_grant(
        self,
        profile: OAuthProfile,
        grant: Grant,
        end_grant: Callable[[], None],
        http: aiohttp.ClientSession,
    ) -> None:
        end_grant()
        with pytest.raises(AuthRevoked):
            await refreshed(profile, grant, http)

    async def test_revoking_ends_the_grant_and_succeeds_again(
        self, profile: OAuthProfile, grant: Grant, http: aiohttp.ClientSession
    ) -> None:
        if profile.revoke is None:
            # Nothing is promised; the user is sent to `manage_url`.
            return
        token = grant.refresh_token or grant.access_token
        await profile.revoke(http, token)
        await profile.revoke(http, token)
        with pytest.raises(AuthRevoked):
            await refreshed(profile, grant, http)

    async def test_no_secret_shows_in_a_repr_or_a_message(
        self,
        profile: OAuthProfile,
        grant: Grant,
        end_grant: Callable[[], None],
        http: aiohttp.ClientSession,
    ) -> None:
        renewed = await refreshed(profile, grant, http)
        told = f"{profile!r} {renewed!r}"
        end_grant()
        try:
            await refreshed(profile, grant, http)
        except BackendError as exc:
            told += f"{exc} {exc!r} {exc.provider_code}"
        tokens = [grant.access_token, grant.refresh_token, renewed.access_token, renewed.refresh_token]
        assert [secret for secret in [profile.client_secret, *tokens] if secret and secret in told] == []


async def refreshed(profile: OAuthProfile, grant: Grant, http: aiohttp.ClientSession) -> Grant:
    """
    Return what the refresh token of *grant* brings: by the profile's own exchange, or by a form post as the host's.
    """
    assert grant.refresh_token, "a grant without a refresh token ends with its access token"
    request = TokenRequest(scopes=profile.scopes, refresh_token=grant.refresh_token)
    if profile.exchange is not None:
        return await profile.exchange(request)
    form = {
        "grant_type": "refresh_token",
        "refresh_token": grant.refresh_token,
        "client_id": profile.client_id,
        "client_secret": profile.client_secret,
    }
    sent = {name: value for name, value in form.items() if value is not None}
    async with http.post(profile.token_url, data=sent) as answer:
        document = await answer.json(content_type=None)
    # RFC 6749 §5.2.
    if document.get("error") == "invalid_grant":
        raise AuthRevoked("The token endpoint says that the grant is gone.")
    assert answer.status == 200, f"the token endpoint answered {answer.status}: {document.get('error')}"
    return Grant(
        access_token=document["access_token"],
        refresh_token=document.get("refresh_token"),
        expires_in_s=document.get("expires_in"),
    )


def _is_safe(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    )
