"""
Signing in at Google, Microsoft and Dropbox: an app and a browser get in, and nobody who slips them an answer.
"""

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator, Iterator, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from yarl import URL

from gateway.base.ids import UserId
from gateway.http.sessions import BINDING_COOKIE, SESSION_COOKIE
from gateway.services.errors import InvalidField
from tests.emulators.cloud import Account
from tests.emulators.emulator import EmulatedClock
from tests.emulators.faults import Effect
from tests.emulators.oauth import CLIENT_ID, CLIENT_SECRET
from tests.emulators.oidc import (
    PERSONAL_TENANT,
    DropboxSignIn,
    Forgery,
    GoogleSignIn,
    MicrosoftSignIn,
    SignIn,
)
from tests.http.newcomer import Answer, Newcomer
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving

APP: Final = "org.example.app:/signed-in"
SITE: Final = "https://app.example.org/signed-in/"
PROVIDERS: Final[tuple[type[SignIn], ...]] = (GoogleSignIn, MicrosoftSignIn, DropboxSignIn)
CLIENT: Final = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def google(clock: FakeClock) -> Iterator[GoogleSignIn]:
    with GoogleSignIn(clock=EmulatedClock(clock)) as provider:
        yield provider


@pytest.fixture
def microsoft(clock: FakeClock) -> Iterator[MicrosoftSignIn]:
    with MicrosoftSignIn(clock=EmulatedClock(clock)) as provider:
        yield provider


@pytest.fixture
def dropbox(clock: FakeClock) -> Iterator[DropboxSignIn]:
    with DropboxSignIn(clock=EmulatedClock(clock)) as provider:
        yield provider


def settings_of(provider: SignIn) -> dict[str, Any]:
    """
    Return the settings of a gateway at which one signs in at *provider*.
    """
    if isinstance(provider, GoogleSignIn):
        return {
            **CLIENT,
            "authorize_url": f"{provider.url}/o/oauth2/v2/auth",
            "token_url": f"{provider.url}/token",
            "keys_url": f"{provider.url}/oauth2/v3/certs",
            "issuers": [provider.url, provider.url.removeprefix("http://")],
        }
    if isinstance(provider, MicrosoftSignIn):
        return {**CLIENT, "login_url": provider.url}
    return {**CLIENT, "api_root": provider.url, "web_root": provider.url}


@pytest.fixture
def kinds(
    google: GoogleSignIn, microsoft: MicrosoftSignIn, dropbox: DropboxSignIn
) -> dict[str, dict[str, Any]]:
    providers = (google, microsoft, dropbox)
    return {"console": {}, **{provider.kind: settings_of(provider) for provider in providers}}


@pytest.fixture
async def served(
    tmp_path: Path,
    clock: FakeClock,
    kinds: dict[str, dict[str, Any]],
    google: GoogleSignIn,
    microsoft: MicrosoftSignIn,
    dropbox: DropboxSignIn,
) -> AsyncIterator[Served]:
    limits = {"kinds": kinds, "return_to": [APP, SITE], "resend_after_s": 0, "tries_per_address": 1000}
    async with serving(tmp_path / "data", clock=clock, with_workers=False, sign_in=limits) as gateway:
        for provider in (google, microsoft, dropbox):
            provider.register(f"{gateway.url}/v1/auth/{provider.kind}/callback")
        yield gateway


@pytest.fixture(params=PROVIDERS, ids=lambda provider: provider.kind)
def provider(request: pytest.FixtureRequest) -> SignIn:
    found: SignIn = request.getfixturevalue(request.param.kind)
    return found


@pytest.fixture
def ada(served: Served, provider: SignIn) -> "App":
    return App(served, provider, provider.new_account())


@dataclass
class App:
    """
    An app on somebody's phone, and the phone's browser.
    """

    served: Served
    provider: SignIn
    account: Account
    return_to: str = APP
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def way(self) -> str:
        return f"/v1/auth/{self.provider.kind}"

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    async def call(self, method: str, path: str, json: Any = None, **headers: str) -> Answer:
        async with self.served.http.request(
            method, path, json=json, headers=headers, allow_redirects=False
        ) as answer:
            document = await answer.json() if answer.content_type.endswith("json") else await answer.text()
            return Answer(answer.status, document, dict(answer.headers))

    async def begin(self) -> str:
        wanted = {"return_to": self.return_to, "code_challenge": self.challenge}
        answer = await self.call("POST", f"{self.way}/consents", wanted)
        assert 201 == answer.status, answer
        return str(answer.document["authorize_url"])

    async def consent(self) -> str:
        return self.provider.approve(await self.begin(), self.account)

    async def come_back(self, address: str, **headers: str) -> Answer:
        assert address.startswith(f"{self.served.url}{self.way}/callback?"), address
        return await self.call("GET", address.removeprefix(self.served.url), **headers)

    async def returned(self) -> URL:
        """
        Go through the browser; return the address that the app is opened by.
        """
        answer = await self.come_back(await self.consent())
        assert 303 == answer.status, answer
        return URL(answer.headers["Location"])

    async def redeem(self, code: str) -> Answer:
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": self.verifier}
        return await self.call("POST", "/v1/auth/token", form)

    async def sign_in(self) -> dict[str, Any]:
        answer = await self.redeem((await self.returned()).query["code"])
        assert 200 == answer.status, answer
        return dict(answer.document)


async def test_an_app_signs_in(ada: App) -> None:
    tokens = await ada.sign_in()
    mine = {"Authorization": f"Bearer {tokens['access_token']}"}
    held = (await ada.call("GET", "/v1/me/identities", **mine)).document["identities"]

    assert tokens["is_new"]
    assert [(ada.provider.kind, ada.account.email)] == [(one["way"], one["label"]) for one in held]
    assert 200 == (await ada.call("GET", "/v1/recordings", **mine)).status


async def test_the_provider_learned_of_it_and_its_user_is_told(ada: App) -> None:
    tokens = await ada.sign_in()
    mine = {"Authorization": f"Bearer {tokens['access_token']}"}
    [told] = (await ada.call("GET", "/v1/me/disclosures", **mine)).document["disclosures"]
    assert ("sign-in", ada.provider.title) == (told["kind"], told["recipient"])


async def test_the_same_account_is_the_same_person_whatever_its_address(ada: App) -> None:
    first = await ada.sign_in()
    ada.account.email = "another@example.org"
    again = await ada.sign_in()

    assert first["user"] == again["user"]
    assert not again["is_new"]


async def test_another_account_of_the_same_address_is_another_person(ada: App) -> None:
    first = await ada.sign_in()
    email, ada.account = ada.account.email, ada.provider.new_account("Grace")
    ada.account.email = email

    assert first["user"] != (await ada.sign_in())["user"]


async def test_who_was_erased_comes_back_as_somebody_new(ada: App, served: Served) -> None:
    first = await ada.sign_in()
    await served.gateway.context.erasure.bury_account(UserId(first["user"]))
    again = await ada.sign_in()

    assert again["is_new"]
    assert first["user"] != again["user"]


async def test_an_app_at_a_web_address_keeps_its_own_parameters(ada: App) -> None:
    ada.return_to = f"{SITE}here?mine=a%26b"
    returned = await ada.returned()

    assert (SITE + "here", "a&b") == (str(returned.with_query(None)), returned.query["mine"])
    assert 200 == (await ada.redeem(returned.query["code"])).status


async def test_whoever_refuses_is_led_back_with_an_error(ada: App) -> None:
    answer = await ada.come_back(ada.provider.oauth.deny(await ada.begin()))

    assert (303, f"{APP}?error=identity-refused") == (answer.status, answer.headers["Location"])


# In a browser

BROWSER: Final = "of-this-browser"


async def consent_of_browser(ada: App, return_to: str = "/account", browser: str = BROWSER) -> str:
    consent = await ada.served.gateway.context.people.consents.begin_for_browser(
        ada.provider.kind,
        redirect_uri=f"{ada.served.url}{ada.way}/callback",
        return_to=return_to,
        browser=browser,
        is_remembered=False,
    )
    return ada.provider.approve(consent.authorize_url, ada.account)


async def test_a_browser_signs_in(ada: App) -> None:
    answer = await ada.come_back(await consent_of_browser(ada), Cookie=f"{BINDING_COOKIE}={BROWSER}")

    assert (303, "/account") == (answer.status, answer.headers["Location"])
    assert SESSION_COOKIE in answer.headers["Set-Cookie"]


@pytest.mark.parametrize("cookie", [None, "of-another", "é"])
async def test_another_browser_does_not(google_app: App, cookie: str | None) -> None:
    headers = {} if cookie is None else {"Cookie": f"{BINDING_COOKIE}={cookie}"}
    answer = await google_app.come_back(await consent_of_browser(google_app), **headers)

    assert (410, False) == (answer.status, "Set-Cookie" in answer.headers)


async def test_an_answer_to_an_app_signs_no_browser_in(google_app: App) -> None:
    answer = await google_app.come_back(await google_app.consent(), Cookie=f"{BINDING_COOKIE}={BROWSER}")

    assert (303, False) == (answer.status, "Set-Cookie" in answer.headers)


@pytest.mark.parametrize("return_to", ["//evil.example", "https://evil.example/", "/\\evil.example", APP])
async def test_a_browser_is_sent_to_pages_here_alone(google_app: App, return_to: str) -> None:
    with pytest.raises(InvalidField):
        await consent_of_browser(google_app, return_to)


# What is slipped in


@pytest.fixture
def google_app(served: Served, google: GoogleSignIn) -> App:
    return App(served, google, google.new_account())


async def test_no_forgery_signs_anybody_in(ada: App, logs: list[MutableMapping[str, Any]]) -> None:
    """
    Neither an app, which is led back with an error, nor a browser; and the next good token does.
    """
    refused = {f: None for f in Forgery if f is not Forgery.NO_NONCE or ada.provider.kind != "dropbox"}
    told: dict[Forgery, Any] = {}
    for forgery in refused:
        ada.provider.oauth.forge(forgery, times=2)
        returned = await ada.returned()
        browser = await ada.come_back(await consent_of_browser(ada), Cookie=f"{BINDING_COOKIE}={BROWSER}")
        told[forgery] = (str(returned), browser.status, "Set-Cookie" in browser.headers)

    assert dict.fromkeys(refused, (f"{APP}?error=identity-refused", 422, False)) == told
    assert 0 == ada.provider.faults.requests["forged-keys"]
    assert not [entry for entry in logs if entry["event"] == "user.signed_up"]
    assert (await ada.sign_in())["is_new"]


async def test_a_missing_nonce_counts_where_the_provider_is_not_known_to_repeat_it(
    served: Served, dropbox: DropboxSignIn
) -> None:
    ada = App(served, dropbox, dropbox.new_account())
    dropbox.oauth.echoes_nonce = False

    assert (await ada.sign_in())["is_new"]


@pytest.mark.parametrize("nonce", ["é", "\ud800", 7, ["x"], ""])
async def test_a_nonce_that_does_not_fit_is_refused(ada: App, nonce: Any) -> None:
    ada.provider.oauth.change_claims(nonce=nonce)

    assert "identity-refused" == (await ada.returned()).query["error"]


async def test_a_hash_of_the_access_token_that_is_no_text_of_ours_is_refused(google_app: App) -> None:
    google_app.provider.oauth.change_claims(at_hash="é")

    assert "identity-refused" == (await google_app.returned()).query["error"]


async def test_an_answer_counts_once(google_app: App) -> None:
    address = await google_app.consent()
    first, second = [await google_app.come_back(address) for _ in range(2)]

    assert (303, 410) == (first.status, second.status)


@pytest.mark.parametrize("state", ["x", "A" * 43, "é" * 43])
async def test_an_answer_that_nobody_asked_for_counts_for_nothing(google_app: App, state: str) -> None:
    address = URL(await google_app.consent()).update_query(state=state)

    assert 410 == (await google_app.come_back(str(address))).status
    assert 0 == google_app.provider.faults.requests["token"]


async def test_an_answer_comes_too_late(google_app: App, clock: FakeClock) -> None:
    address = await google_app.consent()
    clock.advance(601)

    assert 410 == (await google_app.come_back(address)).status


async def test_the_answer_of_one_provider_is_none_of_anothers(google_app: App, served: Served) -> None:
    query = URL(await google_app.consent()).query_string
    answer = await google_app.call("GET", f"/v1/auth/microsoft/callback?{query}")

    assert 410 == answer.status
    assert 0 == google_app.provider.faults.requests["token"]


async def test_an_answer_that_names_another_issuer_is_refused_before_the_code_is_sent_there(ada: App) -> None:
    ada.provider.oauth.mix_up("https://issuer.example.org")

    assert "identity-refused" == (await ada.returned()).query["error"]
    assert 0 == ada.provider.faults.requests["token"]


async def test_an_answer_that_names_its_own_issuer_is_good(ada: App) -> None:
    tenant = f"/{PERSONAL_TENANT}/v2.0" if ada.provider.kind == "microsoft" else ""
    ada.provider.oauth.mix_up(ada.provider.url + tenant)

    assert (await ada.sign_in())["is_new"]


async def test_who_always_names_the_issuer_is_not_believed_without(google_app: App) -> None:
    google_app.provider.oauth.mix_up(None)

    assert "identity-refused" == (await google_app.returned()).query["error"]


async def test_the_code_of_one_app_is_of_no_use_to_another(google_app: App) -> None:
    code = (await google_app.returned()).query["code"]
    google_app.verifier = secrets.token_urlsafe(48)

    assert (410, "sign-in-gone") == outcome(await google_app.redeem(code))


async def test_an_apps_code_counts_once(google_app: App) -> None:
    code = (await google_app.returned()).query["code"]

    assert 200 == (await google_app.redeem(code)).status
    assert (410, "sign-in-gone") == outcome(await google_app.redeem(code))


@pytest.mark.parametrize("verifier", ["short", "é" * 43, "a" * 129])
async def test_what_can_be_no_verifier_is_told(google_app: App, verifier: str) -> None:
    google_app.verifier = verifier
    answer = await google_app.redeem("A" * 43)

    assert (400, "code_verifier") == (answer.status, answer.document["field"])


@pytest.mark.parametrize("challenge", ["", "a" * 42, "é" * 43, "a" * 42 + "="])
async def test_what_can_be_no_challenge_is_told(google_app: App, challenge: str) -> None:
    answer = await google_app.call(
        "POST", f"{google_app.way}/consents", {"return_to": APP, "code_challenge": challenge}
    )

    assert (400, "code_challenge") == (answer.status, answer.document["field"])


@pytest.mark.parametrize(
    "return_to",
    [
        "https://evil.example/",
        "//evil.example/",
        "/account",
        "javascript:alert(1)",
        "org.example.app:/signed-in/further",
        "https://app.example.org/signed-in",
        "https://app.example.org/signed-in/../elsewhere",
        "https://app.example.org/signed-in/%2e%2E/elsewhere",
        "https://app.example.org/signed-in/.%2e/elsewhere",
        "https://app.example.org.evil.example/signed-in/",
        "https://app.example.org/signed-in/#code",
        "https://app.example.org\\@evil.example/signed-in/",
    ],
)
async def test_an_app_is_opened_where_the_operator_allows_and_nowhere_else(
    google_app: App, return_to: str
) -> None:
    answer = await google_app.call(
        "POST", f"{google_app.way}/consents", {"return_to": return_to, "code_challenge": google_app.challenge}
    )

    assert (400, "return_to") == (answer.status, answer.document["field"])


# Trouble at the provider


@pytest.mark.parametrize("effect", [Effect.CUT_BEFORE, Effect.LOSE_ANSWER, Effect.FAIL, Effect.THROTTLE])
@pytest.mark.parametrize("operation", ["token", "keys"])
async def test_a_provider_that_is_down_signs_nobody_in(
    google_app: App, operation: str, effect: Effect
) -> None:
    # Twice: a GET is repeated once where a connection that was kept turns out to be cut.
    google_app.provider.faults.order(operation, effect, times=2)
    returned = await google_app.returned()
    google_app.provider.faults.order(operation, effect, times=2)
    browser = await google_app.come_back(
        await consent_of_browser(google_app), Cookie=f"{BINDING_COOKIE}={BROWSER}"
    )

    google_app.provider.faults.clear()

    assert ("provider-unavailable", 503) == (returned.query["error"], browser.status)
    assert (await google_app.sign_in())["is_new"]


async def test_a_client_that_the_provider_does_not_know_is_the_operators_to_mend(
    ada: App, logs: list[MutableMapping[str, Any]]
) -> None:
    address = await ada.consent()
    ada.provider.oauth.clients[CLIENT_ID].secret = "another"
    answer = await ada.come_back(address)

    assert "provider-unavailable" == URL(answer.headers["Location"]).query["error"]
    assert ["invalid_client"] == [
        entry["error"] for entry in logs if entry["event"] == "sign_in.misconfigured"
    ]


async def test_a_key_that_is_new_is_fetched(ada: App, clock: FakeClock) -> None:
    await ada.sign_in()
    clock.advance(31)
    ada.provider.oauth.keys.rotate()

    assert not (await ada.sign_in())["is_new"]
    assert 2 == ada.provider.faults.requests["keys"]


async def test_a_key_that_was_withdrawn_counts_an_hour_at_the_most(google_app: App, clock: FakeClock) -> None:
    keys = google_app.provider.oauth.keys
    await google_app.sign_in()
    old = keys.current
    keys.rotate()
    keys.withdraw_older()
    keys.current = old
    clock.advance(3601)

    assert "identity-refused" == (await google_app.returned()).query["error"]


async def test_unknown_keys_do_not_have_the_keys_fetched_again_and_again(google_app: App) -> None:
    google_app.provider.oauth.forge(Forgery.UNKNOWN_KEY_ID, times=5)
    for _ in range(5):
        await google_app.returned()

    assert 1 == google_app.provider.faults.requests["keys"]


@pytest.mark.parametrize(
    "entry", [{"kty": "RSA"}, {"kty": "RSA", "kid": ["x"], "n": 7, "e": 7}, "x", {"kty": "LMS"}]
)
async def test_keys_that_cannot_be_read_are_passed_over(google_app: App, entry: Any) -> None:
    google_app.provider.oauth.keys.others.append(entry)

    assert (await google_app.sign_in())["is_new"]


# Google and Microsoft in their own ways


async def test_googles_issuer_may_lack_its_scheme(served: Served, google: GoogleSignIn) -> None:
    google.oauth.names_issuer_bare = True

    assert (await App(served, google, google.new_account()).sign_in())["is_new"]


async def test_an_account_of_work_is_another_persons_than_one_of_his_own(
    served: Served, microsoft: MicrosoftSignIn
) -> None:
    own = App(served, microsoft, microsoft.new_account())
    work = App(served, microsoft, microsoft.new_account(tenant=microsoft.new_tenant()))

    assert (await own.sign_in())["user"] != (await work.sign_in())["user"]


@pytest.mark.parametrize("claims", [{"oid": None}, {"tid": None}, {"tid": "another"}, {"tid": "x/../y"}])
async def test_whom_microsoft_does_not_name_whole_is_nobody(
    served: Served, microsoft: MicrosoftSignIn, claims: dict[str, Any]
) -> None:
    ada = App(served, microsoft, microsoft.new_account())
    microsoft.oauth.change_claims(**claims)

    assert "identity-refused" == (await ada.returned()).query["error"]


async def test_a_key_of_one_organisation_signs_for_no_other(
    served: Served, microsoft: MicrosoftSignIn
) -> None:
    work = App(served, microsoft, microsoft.new_account(tenant=microsoft.new_tenant()))
    own = App(served, microsoft, microsoft.new_account())
    microsoft.oauth.keys.rotate().members["issuer"] = f"{microsoft.url}/{PERSONAL_TENANT}/v2.0"

    assert "identity-refused" == (await work.returned()).query["error"]
    assert (await own.sign_in())["is_new"]


@pytest.mark.parametrize(
    ("tenant", "is_let_in"), [("consumers", (True, False)), ("organizations", (False, True))]
)
async def test_only_the_tenants_that_the_operator_names_are_let_in(
    tmp_path: Path,
    clock: FakeClock,
    microsoft: MicrosoftSignIn,
    tenant: str,
    is_let_in: tuple[bool, bool],
) -> None:
    accounts = (microsoft.new_account(), microsoft.new_account(tenant=microsoft.new_tenant()))
    kinds = {"microsoft": {**CLIENT, "login_url": microsoft.url, "tenant": tenant}}
    limits = {"kinds": kinds, "return_to": [APP]}
    async with serving(tmp_path / "data", clock=clock, with_workers=False, sign_in=limits) as served:
        microsoft.register(f"{served.url}/v1/auth/microsoft/callback")
        for account, expected in zip(accounts, is_let_in, strict=True):
            app = App(served, microsoft, account)
            if expected:
                assert (await app.sign_in())["is_new"]
            else:
                with pytest.raises(OSError, match="40"):
                    app.provider.approve(await app.begin(), account)


# Joining


async def test_an_account_joins_one_that_was_made_by_a_number(google_app: App, served: Served) -> None:
    phone = Newcomer(served)
    await phone.sign_in()
    proof = {
        "grant_type": "authorization_code",
        "code": (await google_app.returned()).query["code"],
        "code_verifier": google_app.verifier,
    }
    joined = await phone.mine("POST", "/v1/me/identities", proof)

    assert (201, "google") == (joined.status, joined.document["way"])
    assert phone.tokens["user"] == (await google_app.sign_in())["user"]


async def test_what_is_another_persons_cannot_be_joined(google_app: App, served: Served) -> None:
    theirs = await google_app.sign_in()
    phone = Newcomer(served)
    await phone.sign_in()
    proof = {
        "grant_type": "authorization_code",
        "code": (await google_app.returned()).query["code"],
        "code_verifier": google_app.verifier,
    }

    assert (409, "identity-taken") == outcome(await phone.mine("POST", "/v1/me/identities", proof))
    assert theirs["user"] == (await google_app.sign_in())["user"]


async def test_nothing_that_is_logged_tells_who_signed_in(
    ada: App, logs: list[MutableMapping[str, Any]]
) -> None:
    tokens = await ada.sign_in()
    ada.provider.oauth.forge(Forgery.BAD_SIGNATURE)
    await ada.returned()
    told = repr(logs)

    hidden = [
        ada.account.email,
        ada.account.subject,
        CLIENT_SECRET,
        tokens["access_token"],
        *ada.provider.oauth.issued,
    ]
    assert [] == [secret for secret in hidden if secret in told]


def outcome(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.document["code"]
