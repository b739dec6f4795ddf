"""
The contract, on the pretend Dropbox.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from gateway_dropbox.backend import STRETCH_SIZE
from gateway_dropbox.backend import connect as connect_dropbox
from gateway_dropbox.oauth import profile as dropbox_profile
from gateway_dropbox.settings import BLOCK_SIZE, DropboxSettings

from gateway.api import Backend, Grant, OAuthProfile
from gateway.testing.conformance import BackendConformance, Connect
from gateway.testing.faults import Cut, Happen, ProviderFaultsConformance, Throttle
from gateway.testing.lint import PluginLint
from gateway.testing.oauth import OAuthConformance
from gateway.testing.resumable import ResumablePutsConformance
from tests.emulators.cloud import Account
from tests.emulators.dropbox import DropboxEmulator
from tests.emulators.faults import Effect
from tests.support.lent import LentTokens, lent_context


class TestDropbox(BackendConformance, ResumablePutsConformance, ProviderFaultsConformance):
    @pytest.fixture
    def tokens(self, cloud: DropboxEmulator, account: Account) -> LentTokens:
        return LentTokens(cloud, account, cloud.scopes())

    @pytest.fixture
    def connect(self, cloud: DropboxEmulator, account: Account, tokens: LentTokens) -> Connect:
        settings = DropboxSettings(**cloud.settings(), part_size=BLOCK_SIZE, list_page_size=10)

        @asynccontextmanager
        async def connected() -> AsyncIterator[Backend]:
            async with (
                lent_context(cloud, account, cloud.scopes(), lane=4, tokens=tokens) as context,
                connect_dropbox(context, settings) as backend,
            ):
                yield backend

        return connected

    @pytest.fixture
    def throttle(self, cloud: DropboxEmulator) -> Throttle:
        return lambda rest: cloud.faults.order("stat", Effect.THROTTLE, amount=int(rest.total_seconds()))

    @pytest.fixture
    def cut_sending(self, cloud: DropboxEmulator) -> Cut:
        return lambda size: cloud.faults.order("put", Effect.CUT_IN_BODY, amount=size)

    @pytest.fixture
    def cut_receiving(self, cloud: DropboxEmulator) -> Cut:
        def cut(size: int) -> None:
            whole, rest = divmod(size, STRETCH_SIZE)
            cloud.faults.order("read", Effect.CUT_IN_BODY, after=whole, amount=rest)

        return cut

    @pytest.fixture
    def expire_token(self, cloud: DropboxEmulator) -> Happen:
        return cloud.oauth.expire_access_tokens

    @pytest.fixture
    def revoke(self, cloud: DropboxEmulator, account: Account) -> Happen:
        return lambda: cloud.oauth.revoke(account)


class TestLinking(OAuthConformance):
    @pytest.fixture
    def profile(self, cloud: DropboxEmulator) -> OAuthProfile:
        return dropbox_profile(DropboxSettings(**cloud.settings()))

    @pytest.fixture
    def grant(self, cloud: DropboxEmulator, account: Account) -> Grant:
        access, refresh = cloud.oauth.grant(account, cloud.scopes())
        return Grant(access_token=access, refresh_token=refresh, expires_in_s=14_400)

    @pytest.fixture
    def end_grant(self, cloud: DropboxEmulator, account: Account) -> Callable[[], None]:
        return lambda: cloud.oauth.revoke(account)


class TestLint(PluginLint):
    package = "gateway_dropbox"
