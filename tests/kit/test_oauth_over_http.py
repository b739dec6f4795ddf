"""
The suite for linking, over HTTP: with a profile that leaves the token endpoint to the host's form post.
"""

from collections.abc import Callable, Iterator

import aiohttp
import pytest

from gateway.api import AccountIdentity, Grant, OAuthProfile
from gateway.testing.oauth import OAuthConformance
from tests.emulators.cloud import Account
from tests.emulators.oauth import CLIENT_ID, CLIENT_SECRET
from tests.support.pretend_drive import FILES, WHO, PretendDrive


class TestOverHttp(OAuthConformance):
    @pytest.fixture
    def drive(self) -> Iterator[PretendDrive]:
        with PretendDrive() as drive:
            yield drive

    @pytest.fixture
    def ada(self, drive: PretendDrive) -> Account:
        return drive.new_account()

    @pytest.fixture
    def profile(self, drive: PretendDrive) -> OAuthProfile:
        async def identify(http: aiohttp.ClientSession, token: str) -> AccountIdentity:
            bearer = {"Authorization": f"Bearer {token}"}
            async with http.get(f"{drive.url}/identity", headers=bearer, raise_for_status=True) as answer:
                told = await answer.json()
            return AccountIdentity(subject=told["id"], label=told["email"])

        async def revoke(http: aiohttp.ClientSession, token: str) -> None:
            # 400 for a token that is dead already.
            async with http.post(f"{drive.url}/revoke", data={"token": token}):
                pass

        return OAuthProfile(
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            authorize_url=f"{drive.url}/authorize",
            token_url=f"{drive.url}/token",
            scopes=(FILES, WHO),
            needed_scopes=frozenset({FILES}),
            identify=identify,
            revoke=revoke,
        )

    @pytest.fixture
    def grant(self, drive: PretendDrive, ada: Account, profile: OAuthProfile) -> Grant:
        access, refresh = drive.oauth.grant(ada, frozenset(profile.scopes))
        return Grant(access_token=access, refresh_token=refresh, expires_in_s=3600)

    @pytest.fixture
    def end_grant(self, drive: PretendDrive, ada: Account) -> Callable[[], None]:
        return lambda: drive.oauth.revoke(ada)
