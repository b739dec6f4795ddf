"""
The token endpoint's client: what each kind of answer means, and that no answer makes it say a secret.
"""

import asyncio
import hashlib
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest
from aiohttp import web

from gateway.api import (
    AccountIdentity,
    AuthRevoked,
    BackendError,
    Grant,
    Misconfigured,
    OAuthProfile,
    RateLimited,
    TokenRequest,
    Transient,
)
from gateway.services.oauth import Proof, TokenEndpoint, authorization_url

CODE = TokenRequest(
    scopes=("files",), redirect_uri="https://us/back", code="c-secret", code_verifier="v-secret"
)
REFRESH = TokenRequest(scopes=("files",), refresh_token="r-secret")


class Server:
    """
    A token endpoint that answers what it is told to.
    """

    def __init__(self) -> None:
        self.url = ""
        self.answer = web.Response()
        self.forms: list[dict[str, str]] = []
        self.elsewhere = 0
        self.stalls = False

    async def token(self, request: web.Request) -> web.Response:
        self.forms.append({name: str(value) for name, value in (await request.post()).items()})
        if self.stalls:
            await asyncio.Event().wait()
        return self.answer

    async def other(self, _: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.json_response({"access_token": "from elsewhere", "token_type": "bearer"})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_post("/token", server.token)
    app.router.add_route("*", "/elsewhere", server.other)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def _nobody(_: aiohttp.ClientSession, __: str) -> AccountIdentity:
    return AccountIdentity(subject="", label="")


def profile(server: Server, **facts: object) -> OAuthProfile:
    given = {
        "client_id": "us",
        "client_secret": "s-secret",
        "authorize_url": "https://them/authorize",
        "token_url": f"{server.url}/token",
        "scopes": ("files", "who"),
        "needed_scopes": frozenset({"files"}),
        "identify": _nobody,
        **facts,
    }
    return OAuthProfile(**given)  # type: ignore[arg-type]


async def test_a_code_is_exchanged_with_its_verifier(server: Server, http: aiohttp.ClientSession) -> None:
    server.answer = web.json_response(
        {
            "access_token": "a",
            "token_type": "Bearer",
            "expires_in": "3599",
            "refresh_token": "r",
            "scope": "files who",
            "refresh_token_expires_in": 604799,
        }
    )

    answer = await TokenEndpoint(http, timeout_s=5).ask(profile(server), CODE)

    assert [
        {
            "client_id": "us",
            "client_secret": "s-secret",
            "grant_type": "authorization_code",
            "code": "c-secret",
            "code_verifier": "v-secret",
            "redirect_uri": "https://us/back",
        }
    ] == server.forms
    assert answer.grant == Grant(
        access_token="a", expires_in_s=3599, refresh_token="r", scopes=frozenset({"files", "who"})
    )
    assert 604799 == answer.grant_lasts_s


async def test_a_public_client_sends_no_secret(server: Server, http: aiohttp.ClientSession) -> None:
    server.answer = web.json_response({"access_token": "a"})

    answer = await TokenEndpoint(http, timeout_s=5).ask(profile(server, client_secret=None), REFRESH)

    assert [{"client_id": "us", "grant_type": "refresh_token", "refresh_token": "r-secret"}] == server.forms
    assert answer.grant == Grant(access_token="a", expires_in_s=None)


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (400, '{"error": "invalid_grant"}', AuthRevoked),
        (400, "error=invalid_grant&error_description=gone", AuthRevoked),
        (400, '{"error": "interaction_required"}', AuthRevoked),
        (401, '{"error": "invalid_client"}', Misconfigured),
        (400, '{"error": "unauthorized_client"}', Misconfigured),
        (400, '{"error": "invalid_request"}', Misconfigured),
        (404, "<html>", Misconfigured),
        (400, "", Misconfigured),
        (400, "[]", Misconfigured),
        (400, '{"error": {"code": 7}}', Misconfigured),
        (400, '{"error": "temporarily_unavailable"}', Transient),
        (429, "", RateLimited),
        (500, '{"error": "invalid_grant"}', Transient),
        (503, "", Transient),
        (200, '{"error": "invalid_grant"}', AuthRevoked),
        (200, "", BackendError),
        (200, "[1]", BackendError),
        (200, '{"access_token": ""}', BackendError),
        (200, '{"access_token": 5}', BackendError),
        (200, '{"access_token": "a", "token_type": "mac"}', BackendError),
        (200, '{"access_token": "' + "a" * 70_000 + '"}', BackendError),
    ],
)
async def test_every_other_answer_has_its_meaning(
    server: Server, http: aiohttp.ClientSession, status: int, body: str, meaning: type[BackendError]
) -> None:
    server.answer = web.Response(status=status, text=body, content_type="application/json")

    with pytest.raises(BackendError) as caught:
        await TokenEndpoint(http, timeout_s=5).ask(profile(server), REFRESH)

    assert meaning is type(caught.value)


async def test_a_redirect_is_not_followed(server: Server, http: aiohttp.ClientSession) -> None:
    server.answer = web.Response(status=307, headers={"Location": f"{server.url}/elsewhere"})

    with pytest.raises(Misconfigured):
        await TokenEndpoint(http, timeout_s=5).ask(profile(server), REFRESH)

    assert 0 == server.elsewhere


async def test_a_silent_server_is_given_up(server: Server, http: aiohttp.ClientSession) -> None:
    server.stalls = True

    with pytest.raises(Transient):
        await TokenEndpoint(http, timeout_s=0.05).ask(profile(server), REFRESH)


async def test_no_error_quotes_what_was_sent_or_answered(http: aiohttp.ClientSession, server: Server) -> None:
    told = []
    for text in (
        '{"error": "invalid_grant", "error_description": "r-secret s-secret"}',
        '{"error": "r-secret!", "error_description": "s-secret"}',
        "r-secret",
    ):
        server.answer = web.Response(status=400, text=text, content_type="application/json")
        with pytest.raises(BackendError) as caught:
            await TokenEndpoint(http, timeout_s=5).ask(profile(server), REFRESH)
        told += [str(caught.value), repr(caught.value), str(caught.value.provider_code)]

    async def leaks(request: TokenRequest) -> Grant:
        raise ValueError(f"{request.refresh_token} is no good")

    with pytest.raises(BackendError) as caught:
        await TokenEndpoint(http, timeout_s=5).ask(profile(server, exchange=leaks), REFRESH)
    told.append(str(caught.value))

    assert "secret" not in "".join(
        [*told, repr(CODE), repr(REFRESH), repr(profile(server)), repr(Proof("v-secret"))]
    )
    assert caught.value.__cause__ is None


async def test_a_plugins_own_exchange_is_used(server: Server, http: aiohttp.ClientSession) -> None:
    async def exchange(request: TokenRequest) -> Grant:
        return Grant(access_token=f"for {request.code}", expires_in_s=None)

    answer = await TokenEndpoint(http, timeout_s=5).ask(profile(server, exchange=exchange), CODE)

    assert "for c-secret" == answer.grant.access_token
    assert [] == server.forms


async def test_the_authorization_request_keeps_what_the_address_has_already(server: Server) -> None:
    proof = Proof.new()
    url = authorization_url(
        profile(
            server, authorize_url="https://them/authorize?hint=a%26b", authorize_parameters={"state": "x"}
        ),
        state="st&te",
        proof=proof,
        redirect_uri="https://us/back?a=b",
        scopes=("files", "who"),
    )

    asked = dict(parse_qsl(urlsplit(url).query))
    digest = hashlib.sha256(proof.verifier.encode()).digest()
    assert {
        "hint": "a&b",
        "response_type": "code",
        "client_id": "us",
        "redirect_uri": "https://us/back?a=b",
        "scope": "files who",
        "state": "st&te",
        "code_challenge": urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
    } == asked
    assert 43 <= len(proof.verifier) <= 128
