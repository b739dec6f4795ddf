"""
Error tables and OAuth profiles, right ones and wrong ones; `test_mutants` runs this file in a pytest of its own.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count

import aiohttp
import pytest

from gateway.api import (
    AccountIdentity,
    AuthRevoked,
    BackendError,
    Grant,
    NotFound,
    OAuthProfile,
    QuotaExceeded,
    RateLimited,
    TokenRequest,
)
from gateway.testing.errors import ErrorTable, Row
from gateway.testing.oauth import OAuthConformance

SECRET = "the access token"


def classify(status: int) -> BackendError | None:
    match status:
        case 429:
            return RateLimited("slower", retry_after=timedelta(seconds=3), provider_code="slow")
        case 507:
            return QuotaExceeded("full", provider_code="full")
        case 404:
            return NotFound("not there", provider_code="gone")
        case _:
            return None


class TestTable(ErrorTable):
    classify = staticmethod(classify)
    rows = (
        Row(429, RateLimited, code="slow", retry_after=timedelta(seconds=3)),
        Row(507, QuotaExceeded, code="full"),
        Row(404, NotFound),
        Row(200, None),
    )
    secrets = (SECRET,)


class TestTakesAFullPlaceForNothingThere(TestTable):
    @staticmethod
    def classify(status: int) -> BackendError | None:
        return NotFound("full", provider_code="full") if status == 507 else classify(status)


class TestKnowsWhatNobodyKnows(TestTable):
    @staticmethod
    def classify(status: int) -> BackendError | None:
        return classify(status) or BackendError("unknown")


class TestForgetsTheCode(TestTable):
    @staticmethod
    def classify(status: int) -> BackendError | None:
        return QuotaExceeded("full") if status == 507 else classify(status)


class TestForgetsTheTime(TestTable):
    @staticmethod
    def classify(status: int) -> BackendError | None:
        return RateLimited("slower", provider_code="slow") if status == 429 else classify(status)


class TestTellsTheToken(TestTable):
    @staticmethod
    def classify(status: int) -> BackendError | None:
        return NotFound(f"not there for {SECRET}") if status == 404 else classify(status)


class TestHasNothingThatIsParked(TestTable):
    rows = tuple(row for row in TestTable.rows if row.means is not QuotaExceeded)


@dataclass
class Server:
    """
    Issues tokens of one account, without HTTP.
    """

    live: set[str] = field(default_factory=set, repr=False)
    numbers: "count[int]" = field(default_factory=count)

    def issued(self, sort: str) -> str:
        token = f"{sort}-token-{next(self.numbers)}"
        self.live.add(token)
        return token

    async def identify(self, _http: aiohttp.ClientSession, token: str) -> AccountIdentity:
        assert token in self.live
        return AccountIdentity(subject="ada", label="ada@example.com")

    async def exchange(self, request: TokenRequest) -> Grant:
        if request.refresh_token not in self.live:
            raise AuthRevoked("The grant is gone.")
        return Grant(
            access_token=self.issued("access"), refresh_token=request.refresh_token, expires_in_s=3600
        )

    async def revoke(self, _http: aiohttp.ClientSession, token: str) -> None:
        if token in self.live:
            self.live.clear()

    def profile(self) -> OAuthProfile:
        return OAuthProfile(
            client_id="client",
            client_secret="secret-of-the-client",
            authorize_url="https://provider.test/authorize",
            token_url="http://127.0.0.1:1/token",
            scopes=("files", "profile"),
            needed_scopes=frozenset({"files"}),
            identify=self.identify,
            exchange=self.exchange,
            revoke=self.revoke,
            authorize_parameters={"access_type": "offline"},
        )


class TestProfile(OAuthConformance):
    @pytest.fixture
    def server(self) -> Server:
        return Server()

    @pytest.fixture
    def profile(self, server: Server) -> OAuthProfile:
        return server.profile()

    @pytest.fixture
    def grant(self, server: Server) -> Grant:
        return Grant(
            access_token=server.issued("access"), refresh_token=server.issued("refresh"), expires_in_s=9
        )

    @pytest.fixture
    def end_grant(self, server: Server) -> Callable[[], None]:
        return server.live.clear


class TestAsksOverAnOpenLine(TestProfile):
    @pytest.fixture
    def profile(self, server: Server) -> OAuthProfile:
        return replace(server.profile(), authorize_url="http://provider.test/authorize")


class TestNeedsMoreThanItAsksFor(TestProfile):
    @pytest.fixture
    def profile(self, server: Server) -> OAuthProfile:
        return replace(server.profile(), needed_scopes=frozenset({"files", "everything"}))


class TestChoosesItsOwnChallenge(TestProfile):
    @pytest.fixture
    def profile(self, server: Server) -> OAuthProfile:
        return replace(server.profile(), authorize_parameters={"code_challenge_method": "plain"})


class TestCannotBeEnded(TestProfile):
    @pytest.fixture
    def profile(self, server: Server) -> OAuthProfile:
        return replace(server.profile(), revoke=None)


class TestHasAnotherSubjectEachTime(TestProfile):
    @pytest.fixture
    def profile(self, server: Server) -> OAuthProfile:
        async def identify(http: aiohttp.ClientSession, token: str) -> AccountIdentity:
            # The same for every first look with a token, so that a renewal makes no difference.
            return AccountIdentity(subject=f"look {next(looks[token])}", label="ada@example.com")

        looks: defaultdict[str, count[int]] = defaultdict(count)
        return replace(server.profile(), identify=identify)


class TestRenewsForSomebodyElse(TestProfile):
    @pytest.fixture
    def profile(self, server: Server) -> OAuthProfile:
        async def identify(http: aiohttp.ClientSession, token: str) -> AccountIdentity:
            subject = "ada" if token == "access-token-0" else "bob"
            return AccountIdentity(subject=subject, label="somebody")

        return replace(server.profile(), identify=identify)


class TestTakesADeadGrantForAPassingFault(TestProfile):
    @pytest.fixture
    def profile(self, server: Server) -> OAuthProfile:
        async def exchange(request: TokenRequest) -> Grant:
            # What was revoked by way of the profile is told apart.
            if request.refresh_token not in server.live and "revoked" not in server.live:
                raise RateLimited("later")
            return await server.exchange(request)

        async def revoke(http: aiohttp.ClientSession, token: str) -> None:
            server.live = {"revoked"}

        return replace(server.profile(), exchange=exchange, revoke=revoke)


class TestRevokesOnlyOnce(TestProfile):
    @pytest.fixture
    def profile(self, server: Server) -> OAuthProfile:
        async def revoke(http: aiohttp.ClientSession, token: str) -> None:
            if token not in server.live:
                raise BackendError("unknown token")
            server.live.clear()

        return replace(server.profile(), revoke=revoke)


class TestShowsItsSecret(TestProfile):
    @pytest.fixture
    def profile(self, server: Server) -> OAuthProfile:
        shown = {"login_hint": "secret-of-the-client"}
        return replace(server.profile(), authorize_parameters=shown)


MUTANTS = {
    TestTakesAFullPlaceForNothingThere: "test_an_answer_means_what_the_table_says",
    TestKnowsWhatNobodyKnows: "test_an_answer_means_what_the_table_says",
    TestForgetsTheCode: "test_the_providers_code_is_kept",
    TestForgetsTheTime: "test_a_time_to_wait_is_kept",
    TestTellsTheToken: "test_no_message_holds_a_secret",
    TestHasNothingThatIsParked: "test_every_disposition_occurs",
    TestAsksOverAnOpenLine: "test_every_address_is_https_or_on_this_machine",
    TestNeedsMoreThanItAsksFor: "test_what_is_needed_is_asked_for",
    TestChoosesItsOwnChallenge: "test_no_parameter_of_the_hosts_is_overridden",
    TestCannotBeEnded: "test_the_user_can_end_the_grant_here_or_there",
    TestHasAnotherSubjectEachTime: "test_an_account_has_one_lasting_subject",
    TestRenewsForSomebodyElse: "test_a_live_refresh_token_brings_an_access_token_of_the_same_account",
    TestTakesADeadGrantForAPassingFault: "test_a_dead_refresh_token_is_told_as_a_revoked_grant",
    TestRevokesOnlyOnce: "test_revoking_ends_the_grant_and_succeeds_again",
    TestShowsItsSecret: "test_no_secret_shows_in_a_repr_or_a_message",
}
"""Each wrong one, and the one test that fails for it."""
