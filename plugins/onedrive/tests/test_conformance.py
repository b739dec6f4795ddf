"""
The contract, on a pretend OneDrive: of a person, and of an organisation.
"""

from collections.abc import Callable
from datetime import timedelta

import pytest
from gateway_onedrive.oauth import profile as profile_of
from gateway_onedrive.settings import OneDriveSettings

from gateway.api import Grant, OAuthProfile
from gateway.testing.conformance import BackendConformance, Connect
from gateway.testing.faults import ProviderFaultsConformance
from gateway.testing.lint import PluginLint
from gateway.testing.oauth import OAuthConformance
from gateway.testing.resumable import ResumablePutsConformance
from tests.emulators.cloud import Account
from tests.emulators.faults import Effect
from tests.emulators.onedrive import GraphEmulator
from tests.support.lent import LentTokens


class OneDrive(ProviderFaultsConformance, BackendConformance, ResumablePutsConformance):
    @pytest.fixture
    def connect(self, connect: Connect) -> Connect:
        # Given once more, or the suites' own, which only fails, would hide that of the folder.
        return connect

    @pytest.fixture
    def throttle(self, cloud: GraphEmulator) -> Callable[[timedelta], None]:
        return lambda wait: cloud.faults.order("stat", Effect.THROTTLE, amount=int(wait.total_seconds()))

    @pytest.fixture
    def cut_sending(self, cloud: GraphEmulator) -> Callable[[int], None]:
        return lambda size: cloud.faults.order("append", Effect.CUT_IN_BODY, amount=size % 10_000, after=1)

    @pytest.fixture
    def cut_receiving(self, cloud: GraphEmulator) -> Callable[[int], None]:
        def cut(size: int) -> None:
            cloud.transfers.cut_download_after = size

        return cut

    @pytest.fixture
    def tokens(self, tokens: LentTokens) -> LentTokens:
        return tokens

    @pytest.fixture
    def expire_token(self, cloud: GraphEmulator) -> Callable[[], None]:
        return cloud.oauth.expire_access_tokens

    @pytest.fixture
    def revoke(self, cloud: GraphEmulator, account: Account) -> Callable[[], None]:
        return lambda: cloud.oauth.revoke(account)


class TestPersonalDrive(OneDrive):
    pass


class TestBusinessDrive(OneDrive):
    @pytest.fixture
    def cloud(self, cloud: GraphEmulator) -> GraphEmulator:
        cloud.is_business = True
        return cloud


class TestLinking(OAuthConformance):
    @pytest.fixture
    def profile(self, settings: OneDriveSettings) -> OAuthProfile:
        return profile_of(settings)

    @pytest.fixture
    def grant(self, cloud: GraphEmulator, account: Account, profile: OAuthProfile) -> Grant:
        access, refresh = cloud.oauth.grant(account, frozenset(profile.scopes))
        return Grant(access_token=access, refresh_token=refresh, expires_in_s=3600)

    @pytest.fixture
    def end_grant(self, cloud: GraphEmulator, account: Account) -> Callable[[], None]:
        return lambda: cloud.oauth.revoke(account)


class TestLint(PluginLint):
    package = "gateway_onedrive"
