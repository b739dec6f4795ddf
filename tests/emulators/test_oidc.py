"""
That the pretend OpenID providers sign in whom they should, refuse what they should, and that their forgeries are such.

What checks the tokens here is PyJWT, in the way of a careful program.
"""

import base64
import hashlib
import json
import secrets
import urllib.error
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import aiohttp
import jwt
import pytest
from yarl import URL

from tests.emulators.cloud import Account
from tests.emulators.emulator import EmulatedClock
from tests.emulators.faults import Effect
from tests.emulators.oauth import CLIENT_ID, CLIENT_SECRET
from tests.emulators.oidc import DropboxSignIn, Forgery, GoogleSignIn, MicrosoftSignIn, SignIn
from tests.emulators.oidc.forgeries import access_token_hash
from tests.support.clock import FakeClock

REDIRECT: Final = "http://127.0.0.1:9/v1/auth/callback"
PROVIDERS: Final[tuple[type[SignIn], ...]] = (GoogleSignIn, MicrosoftSignIn, DropboxSignIn)


class NotAccepted(Exception):
    """
    A careful program turns this sign-in away.
    """


class Program:
    """
    Signs people in, and believes nothing that it has not checked.
    """

    def __init__(self, provider: SignIn, http: aiohttp.ClientSession) -> None:
        self.provider = provider
        self.http = http
        self.verifier = secrets.token_urlsafe(32)
        self.nonce = secrets.token_urlsafe(16)
        self.state = secrets.token_urlsafe(16)

    async def metadata(self) -> dict[str, Any]:
        return await self.document(f"{self.provider.issuer}/.well-known/openid-configuration")

    async def document(self, url: str) -> dict[str, Any]:
        async with self.http.get(url) as answer:
            assert 200 == answer.status
            document: dict[str, Any] = await answer.json()
            return document

    async def authorize_url(self, **changes: str | None) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        asked: dict[str, str | None] = {
            "client_id": CLIENT_ID,
            "response_type": "code",
            "redirect_uri": REDIRECT,
            "scope": "openid email profile",
            "state": self.state,
            "nonce": self.nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        query = {name: value for name, value in (asked | changes).items() if value is not None}
        return str(URL((await self.metadata())["authorization_endpoint"]).with_query(query))

    async def approved(self, account: Account, **changes: str | None) -> dict[str, str]:
        """
        Return the parameters with which the browser comes back.
        """
        back = URL(self.provider.approve(await self.authorize_url(**changes), account))
        assert REDIRECT == str(back.with_query(None))
        return dict(back.query)

    async def exchanged(self, code: str, **changes: str | None) -> tuple[int, dict[str, Any]]:
        form: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "redirect_uri": REDIRECT,
            "code": code,
            "code_verifier": self.verifier,
        }
        sent = {name: value for name, value in (form | changes).items() if value is not None}
        async with self.http.post((await self.metadata())["token_endpoint"], data=sent) as answer:
            return answer.status, await answer.json()

    async def tokens(self, account: Account) -> dict[str, Any]:
        status, tokens = await self.exchanged((await self.approved(account))["code"])
        assert 200 == status
        return tokens

    async def signed_in(self, account: Account) -> dict[str, Any]:
        """
        Return the claims of a sign-in that is above doubt.
        """
        tokens = await self.tokens(account)
        return await self.checked(tokens.get("id_token", ""), tokens["access_token"])

    async def checked(self, id_token: str, access_token: str) -> dict[str, Any]:
        metadata = await self.metadata()
        published = jwt.PyJWKSet.from_dict(await self.document(metadata["jwks_uri"]))
        try:
            claims: dict[str, Any] = jwt.decode(
                id_token,
                published[jwt.get_unverified_header(id_token)["kid"]],
                algorithms=metadata["id_token_signing_alg_values_supported"],
                audience=CLIENT_ID,
                options={"require": ["iss", "aud", "exp", "iat", "sub"]},
            )
        except (jwt.PyJWTError, KeyError) as exc:
            raise NotAccepted(str(exc)) from exc
        issuer = metadata["issuer"].replace("{tenantid}", claims.get("tid", ""))
        if claims["iss"] != issuer or claims.get("azp", CLIENT_ID) != CLIENT_ID:
            raise NotAccepted("issuer or presenter")
        if claims.get("nonce") != self.nonce:
            raise NotAccepted("nonce")
        if claims.get("at_hash", access_token_hash(access_token)) != access_token_hash(access_token):
            raise NotAccepted("at_hash")
        return claims


@pytest.fixture(params=PROVIDERS, ids=lambda make: make.kind)
def provider(request: pytest.FixtureRequest) -> Iterator[SignIn]:
    with request.param() as provider:
        provider.register(REDIRECT)
        yield provider


@pytest.fixture
def account(provider: SignIn) -> Account:
    return provider.new_account("Ada Lovelace")


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


@pytest.fixture
def program(provider: SignIn, http: aiohttp.ClientSession) -> Program:
    return Program(provider, http)


# Signing in


async def test_whoever_presses_the_button_is_signed_in(program: Program, account: Account) -> None:
    claims = await program.signed_in(account)
    assert account.email == claims["email"]
    assert program.provider.oauth.requests[-1]["nonce"] == program.nonce


async def test_the_page_is_one_that_a_browser_can_press(
    program: Program, account: Account, http: aiohttp.ClientSession
) -> None:
    url = await program.authorize_url()
    async with http.get(url) as page:
        text = await page.text()
        assert (200, "text/html") == (page.status, page.content_type)
    assert '<form method="post">' in text
    assert '<button name="answer" value="allow">' in text
    assert account.email in text


async def test_userinfo_tells_the_same_subject(program: Program, account: Account) -> None:
    tokens = await program.tokens(account)
    claims = await program.checked(tokens["id_token"], tokens["access_token"])
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    told = await userinfo(program, headers)
    assert (claims["sub"], account.email) == (told["sub"], told["email"])


async def userinfo(program: Program, headers: dict[str, str]) -> dict[str, Any]:
    if program.provider.kind == "dropbox":
        # Its discovery document has none; this is a route of the API.
        url, method, body = f"{program.provider.url}/2/openid/userinfo", "POST", b"null"
        headers = headers | {"Content-Type": "application/json"}
    else:
        url, method, body = (await program.metadata())["userinfo_endpoint"], "GET", None
    async with program.http.request(method, url, headers=headers, data=body) as answer:
        document: dict[str, Any] = await answer.json()
        return document | {"status": answer.status}


async def test_userinfo_is_for_tokens_of_a_sign_in(program: Program, account: Account) -> None:
    assert 401 == (await userinfo(program, {"Authorization": "Bearer sl.ya29.unknown"}))["status"]
    access, _ = program.provider.oauth.grant(account, frozenset({"other"}))
    assert (await userinfo(program, {"Authorization": f"Bearer {access}"}))["status"] in {401, 403}


async def test_scopes_decide_what_is_told(program: Program, account: Account) -> None:
    back = await program.approved(account, scope="openid profile")
    _, tokens = await program.exchanged(back["code"])
    claims = await program.checked(tokens["id_token"], tokens["access_token"])
    assert "email" not in claims
    back = await program.approved(account, scope="email")
    _, tokens = await program.exchanged(back["code"])
    assert "id_token" not in tokens


async def test_all_time_is_the_injected_clocks() -> None:
    clock = FakeClock()
    with GoogleSignIn(clock=EmulatedClock(clock)) as provider:
        provider.register(REDIRECT)
        account = provider.new_account()
        async with aiohttp.ClientSession() as http:
            program = Program(provider, http)
            tokens = await program.tokens(account)
            claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
            assert (clock.now_ms() // 1000, 3600) == (claims["iat"], claims["exp"] - claims["iat"])
            back = await program.approved(account)
            clock.advance(600)
            assert "invalid_grant" == (await program.exchanged(back["code"]))[1]["error"]


# What is refused


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": REDIRECT + "/"},
        {"redirect_uri": REDIRECT + "?x=1"},
        {"redirect_uri": REDIRECT.replace("127.0.0.1", "localhost")},
        {"redirect_uri": "https://attacker.example.org/"},
        {"redirect_uri": None},
        {"client_id": "unheard-of"},
    ],
)
async def test_nobody_is_sent_to_an_address_that_is_not_registered(
    program: Program, account: Account, changes: dict[str, str | None]
) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        program.provider.approve(await program.authorize_url(**changes), account)
    assert (400, None) == (refused.value.code, refused.value.headers["Location"])


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        ("unsupported_response_type", {"response_type": "id_token"}),
        ("invalid_scope", {"scope": ""}),
        ("invalid_request", {"code_challenge_method": "plain"}),
        ("invalid_request", {"code_challenge_method": None}),
        ("invalid_request", {"response_mode": "fragment"}),
        ("login_required", {"prompt": "none"}),
    ],
)
async def test_other_wrong_requests_lead_back_with_the_error(
    program: Program, account: Account, error: str, changes: dict[str, str | None]
) -> None:
    back = await program.approved(account, **changes)
    assert (error, program.state, False) == (back["error"], back["state"], "code" in back)


async def test_a_parameter_that_is_there_twice_is_refused(program: Program, account: Account) -> None:
    url = await program.authorize_url()
    with pytest.raises(urllib.error.HTTPError, match="400"):
        program.provider.approve(f"{url}&redirect_uri=https%3A%2F%2Fattacker.example.org", account)


async def test_whoever_refuses_is_led_back(program: Program) -> None:
    back = URL(program.provider.oauth.deny(await program.authorize_url())).query
    assert ("access_denied", program.state) == (back["error"], back["state"])


async def test_a_code_is_good_once(program: Program, account: Account) -> None:
    code = (await program.approved(account))["code"]
    assert 200 == (await program.exchanged(code))[0]
    status, document = await program.exchanged(code)
    assert (400, "invalid_grant") == (status, document["error"])


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        ("invalid_client", {"client_secret": "wrong"}),
        ("invalid_client", {"client_secret": None}),
        ("invalid_client", {"client_secret": ""}),
        ("invalid_client", {"client_id": "unheard-of"}),
        ("invalid_grant", {"client_id": "second", "client_secret": "second's"}),
        ("invalid_grant", {"code_verifier": "w" * 43}),
        ("invalid_grant", {"code_verifier": None}),
        ("invalid_grant", {"redirect_uri": "http://127.0.0.1:9/other"}),
        ("invalid_grant", {"redirect_uri": None}),
        ("invalid_grant", {"code": "wrong"}),
        ("unsupported_grant_type", {"grant_type": "password"}),
    ],
)
async def test_a_wrong_exchange_brings_no_token(
    program: Program, account: Account, error: str, changes: dict[str, str | None]
) -> None:
    program.provider.register(REDIRECT, client_id="second", secret="second's")
    code = (await program.approved(account))["code"]
    status, document = await program.exchanged(**{"code": code} | changes)  # type: ignore[arg-type]
    assert (401 if error == "invalid_client" else 400, error) == (status, document["error"])
    assert "access_token" not in document


async def test_a_verifier_without_a_challenge_is_refused(program: Program, account: Account) -> None:
    """
    Or whoever takes the challenge out of a request on its way would have switched PKCE off.
    """
    back = await program.approved(account, code_challenge=None, code_challenge_method=None)
    assert "invalid_grant" == (await program.exchanged(back["code"]))[1]["error"]


async def test_basic_authentication_does_as_well(program: Program, account: Account) -> None:
    code = (await program.approved(account))["code"]
    program.http.headers["Authorization"] = aiohttp.encode_basic_auth(CLIENT_ID, CLIENT_SECRET)
    assert 200 == (await program.exchanged(code, client_id=None, client_secret=None))[0]


# Forgeries


@pytest.mark.parametrize("forgery", Forgery)
async def test_a_forgery_is_seen_through_and_the_next_token_is_good(
    program: Program, account: Account, forgery: Forgery
) -> None:
    program.provider.oauth.forge(forgery)
    with pytest.raises(NotAccepted):
        await program.signed_in(account)
    await program.signed_in(account)
    assert 0 == program.provider.faults.requests["forged-keys"]


@pytest.mark.parametrize(
    ("forgery", "member", "value"),
    [
        (Forgery.NO_SIGNATURE, "alg", "none"),
        (Forgery.MAC_BY_PUBLIC_KEY, "alg", "HS256"),
        (Forgery.MAC_BY_SECRET, "alg", "HS256"),
        (Forgery.CRITICAL_HEADER, "crit", ["unheard-of"]),
    ],
)
async def test_a_forgery_says_what_it_should(
    program: Program, account: Account, forgery: Forgery, member: str, value: Any
) -> None:
    program.provider.oauth.forge(forgery)
    tokens = await program.tokens(account)
    header = tokens["id_token"].partition(".")[0]
    assert value == json.loads(base64.urlsafe_b64decode(header + "=="))[member]


async def test_a_mac_by_the_secret_is_one(program: Program, account: Account) -> None:
    program.provider.oauth.forge(Forgery.MAC_BY_SECRET)
    tokens = await program.tokens(account)
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        claims = jwt.decode(tokens["id_token"], CLIENT_SECRET, algorithms=["HS256"], audience=CLIENT_ID)
    assert program.nonce == claims["nonce"]


async def test_the_key_of_an_address_in_the_header_fits(program: Program, account: Account) -> None:
    program.provider.oauth.forge(Forgery.KEY_ADDRESS)
    tokens = await program.tokens(account)
    header = jwt.get_unverified_header(tokens["id_token"])
    forged = jwt.PyJWKSet.from_dict(await program.document(header["jku"]))
    jwt.decode(tokens["id_token"], forged[header["kid"]], algorithms=["RS256"], audience=CLIENT_ID)


async def test_any_claim_can_be_changed_under_a_good_signature(program: Program, account: Account) -> None:
    program.provider.oauth.change_claims(email="root@example.org", email_verified=False, exp=None)
    tokens = await program.tokens(account)
    with pytest.raises(NotAccepted, match="exp"):
        await program.checked(tokens["id_token"], tokens["access_token"])
    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    assert ("root@example.org", False, False) == (claims["email"], claims["email_verified"], "exp" in claims)


async def test_the_discovery_document_can_lie(program: Program) -> None:
    program.provider.oauth.metadata_changes = {"issuer": "https://other.example.org", "jwks_uri": None}
    metadata = await program.metadata()
    assert ("https://other.example.org", False) == (metadata["issuer"], "jwks_uri" in metadata)


async def test_userinfo_can_be_somebody_elses(program: Program, account: Account) -> None:
    tokens = await program.tokens(account)
    program.provider.oauth.userinfo_changes = {"sub": "somebody-else"}
    told = await userinfo(program, {"Authorization": f"Bearer {tokens['access_token']}"})
    assert "somebody-else" == told["sub"]


# Keys


async def test_tokens_of_an_older_key_are_good_until_it_is_withdrawn(
    program: Program, account: Account
) -> None:
    keys = program.provider.oauth.keys
    tokens = await program.tokens(account)
    keys.rotate()
    await program.checked(tokens["id_token"], tokens["access_token"])
    await program.signed_in(account)
    keys.withdraw_older()
    await program.signed_in(account)
    with pytest.raises(NotAccepted):
        await program.checked(tokens["id_token"], tokens["access_token"])


async def test_a_key_may_sign_before_it_is_published(program: Program, account: Account) -> None:
    keys = program.provider.oauth.keys
    keys.rotate(is_published=False)
    tokens = await program.tokens(account)
    with pytest.raises(NotAccepted):
        await program.checked(tokens["id_token"], tokens["access_token"])
    keys.publish()
    await program.checked(tokens["id_token"], tokens["access_token"])


async def test_the_key_set_may_hold_other_keys(program: Program, account: Account) -> None:
    program.provider.oauth.keys.others.append({"kty": "oct", "k": "c2VjcmV0", "kid": "mac", "use": "enc"})
    await program.signed_in(account)


async def test_no_two_providers_have_the_same_key() -> None:
    with GoogleSignIn() as one, GoogleSignIn() as two:
        assert one.oauth.keys.current.kid != two.oauth.keys.current.kid


# The issuer in the answer, RFC 9207


async def test_only_google_names_the_issuer(program: Program, account: Account) -> None:
    metadata = await program.metadata()
    names = bool(metadata.get("authorization_response_iss_parameter_supported"))
    assert (program.provider.kind == "google") == names
    expected = metadata["issuer"] if names else None
    assert expected == (await program.approved(account)).get("iss")
    assert expected == URL(program.provider.oauth.deny(await program.authorize_url())).query.get("iss")


async def test_an_answer_may_name_another_issuer_or_none(program: Program, account: Account) -> None:
    program.provider.oauth.mix_up("https://other.example.org")
    program.provider.oauth.mix_up(None)
    assert "https://other.example.org" == (await program.approved(account))["iss"]
    assert "iss" not in await program.approved(account)


# Faults


@pytest.mark.parametrize("operation", ["discovery", "keys", "token", "identity"])
async def test_every_endpoint_fails_when_told_to(program: Program, account: Account, operation: str) -> None:
    metadata = await program.metadata()
    userinfo_url = metadata.get("userinfo_endpoint", f"{program.provider.url}/2/openid/userinfo")
    url, method = {
        "discovery": (f"{program.provider.issuer}/.well-known/openid-configuration", "GET"),
        "keys": (metadata["jwks_uri"], "GET"),
        "token": (metadata["token_endpoint"], "POST"),
        "identity": (userinfo_url, "POST" if program.provider.kind == "dropbox" else "GET"),
    }[operation]
    faults = program.provider.faults
    faults.order(operation, Effect.FAIL)
    faults.order(operation, Effect.THROTTLE, amount=3)
    for expected in (503, 429):
        async with program.http.request(method, url) as answer:
            assert expected == answer.status
    faults.order(operation, Effect.STALL)
    with pytest.raises(TimeoutError):
        await program.http.request(method, url, timeout=aiohttp.ClientTimeout(total=0.2))
    faults.clear()


async def test_the_answer_to_an_exchange_may_be_lost_with_the_code_used_up(
    program: Program, account: Account
) -> None:
    code = (await program.approved(account))["code"]
    program.provider.faults.order("token", Effect.LOSE_ANSWER)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await program.exchanged(code)
    assert "invalid_grant" == (await program.exchanged(code))[1]["error"]
