"""
The OAuth 2.0 half of a pretend cloud: consent page, codes with PKCE, tokens, refresh, revocation.

RFC 6749 and RFC 7636, strictly; what a provider does in its own way is in its subclass:
how it words errors, what its token answer holds besides, whether refresh tokens rotate.
"""

import base64
import hashlib
import html
import secrets
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from tests.emulators.cloud import Account, Cloud

CLIENT_ID: Final = "gateway-test-client"
CLIENT_SECRET: Final = "gateway-test-secret"
CODE_LIFETIME_S: Final = 600


@dataclass
class Client:
    """
    A program that its operator registered with the provider.
    """

    secret: str
    redirect_uris: frozenset[str] | None = None
    """Where a browser may be sent back to, letter for letter; anywhere with None."""
    may_be_public: bool = False
    """Whether PKCE does in place of the secret."""


@dataclass
class Grant:
    """
    What a user allowed a client; it lives until someone revokes it.
    """

    account: Account
    scopes: frozenset[str]
    client_id: str = CLIENT_ID
    refresh_tokens: set[str] = field(default_factory=set)
    is_revoked: bool = False


@dataclass
class _Code:
    grant: Grant
    redirect_uri: str
    challenge: str | None
    expires_at: float
    asked: Mapping[str, str]


@dataclass
class _Access:
    grant: Grant
    expires_at: float


class _Unfollowed(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class _Refused(Exception):
    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status


class OAuthServer:
    """
    Issues the tokens of one pretend cloud.

    Attributes:
        clients: by id, the programs that may ask.
        requests: the parameters of all authorization requests that led to a consent page.
        rotates: whether a refresh answers with another refresh token.
        keeps_old: whether the refresh token before goes on working then.
        token_lifetime_s: of access tokens.
    """

    rotates = False
    keeps_old = True
    token_lifetime_s = 3600
    token_prefix = ""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.clients = {CLIENT_ID: Client(CLIENT_SECRET, may_be_public=True)}
        self.requests: list[dict[str, str]] = []
        self.grants: list[Grant] = []
        self._codes: dict[str, _Code] = {}
        self._access: dict[str, _Access] = {}

    # What a provider does in its own way

    def wants_refresh_token(self, asked: Mapping[str, str]) -> bool:
        """
        Whether the authorization request *asked* for a refresh token in this provider's way.
        """
        return True

    def granted_scopes(self, asked: Mapping[str, str], ticked: frozenset[str]) -> frozenset[str]:
        """
        Return what is granted when the user *ticked* these scopes.
        """
        return ticked

    def problem_with(self, request: web.Request, asked: Mapping[str, str]) -> str | None:
        """
        Return the error, RFC 6749 section 4.1.2.1, of an authorization request from a client that is known.
        """
        if asked.get("response_type") != "code":
            return "unsupported_response_type"
        if not asked.get("scope"):
            return "invalid_scope"
        if "code_challenge" in asked and asked.get("code_challenge_method") != "S256":
            return "invalid_request"
        return None

    def problem_with_account(self, request: web.Request, account: Account) -> str | None:
        """
        Return why *account* cannot be used here, in words for its owner.
        """
        return None

    def redirect_parameters(self, answer: dict[str, str]) -> dict[str, str]:
        """
        Return what the browser brings back to the client; *answer* has what RFC 6749 wants.
        """
        return answer

    def token_document(
        self, grant: Grant, asked: Mapping[str, str], tokens: dict[str, Any]
    ) -> dict[str, Any]:
        """
        Return the token endpoint's answer; *tokens* has what RFC 6749 wants.
        """
        return tokens

    def refusal(self, error: str, description: str, status: int) -> web.Response:
        """
        Return the token endpoint's answer to a request that it refuses.
        """
        return web.json_response({"error": error, "error_description": description}, status=status)

    # For tests

    def grant(self, account: Account, scopes: frozenset[str]) -> tuple[str, str]:
        """
        Let *account* grant *scopes* without a browser; return an access token and a refresh token.
        """
        grant = Grant(account, scopes)
        self.grants.append(grant)
        return self._new_access(grant), self._new_refresh(grant)

    def new_access_token(self, grant: Grant) -> str:
        """
        Return another access token of *grant*, as a refresh would.
        """
        return self._new_access(grant)

    def revoke(self, account: Account) -> None:
        """
        End what *account* granted, as its owner would on the provider's page.
        """
        for grant in self.grants:
            if grant.account is account:
                self._end(grant)

    def expire_access_tokens(self) -> None:
        """
        Let every access token run out now.
        """
        for access in self._access.values():
            access.expires_at = 0.0

    def approve(self, authorize_url: str, account: Account, *, scopes: frozenset[str] | None = None) -> str:
        """
        Open *authorize_url* as the user's browser would, consent as *account*, and return where that leads back to.

        *scopes* are those that the user leaves ticked; all without.
        """
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(authorize_url).query))
        ticked = frozenset(asked.get("scope", "").split()) if scopes is None else scopes
        fields = [("answer", "allow"), ("account", account.subject), *(("scope", scope) for scope in ticked)]
        return self._pressed(authorize_url, fields)

    def deny(self, authorize_url: str) -> str:
        """
        Open *authorize_url* as the user's browser would, refuse, and return where that leads back to.
        """
        return self._pressed(authorize_url, [("answer", "deny")])

    @property
    def issued(self) -> list[str]:
        """
        All access tokens that there were.
        """
        return list(self._access)

    # For the cloud's endpoints

    def grant_of(self, request: web.Request) -> Grant | None:
        """
        Return the grant whose access token the request bears; None if it bears none that is valid.
        """
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        access = self._access.get(token) if scheme.lower() == "bearer" else None
        if access is None or access.grant.is_revoked or access.expires_at <= self.cloud.clock.now():
            return None
        return access.grant

    def account_of(self, request: web.Request) -> tuple[Account, frozenset[str]] | None:
        """
        Return whose access token the request bears, and its scopes; None if it bears none that is valid.
        """
        grant = self.grant_of(request)
        return None if grant is None else (grant.account, grant.scopes)

    def is_expired(self, request: web.Request) -> bool:
        """
        Whether the request bears a token that was valid once and whose grant still lives.
        """
        access = self._access.get(request.headers.get("Authorization", "").partition(" ")[2])
        return access is not None and not access.grant.is_revoked

    def revoke_token(self, token: str) -> bool:
        """
        End the grant that an access or refresh token belongs to; False if it is not known.
        """
        access = self._access.get(token)
        for grant in self.grants:
            if not grant.is_revoked and (token in grant.refresh_tokens or (access and access.grant is grant)):
                self._end(grant)
                return True
        return False

    async def authorize(self, request: web.Request) -> web.StreamResponse:
        """
        Show the consent page, and take its answer.
        """
        asked = dict(request.query)
        problem = self._problem_with_client(request, asked)
        if problem is not None:
            return web.Response(status=400, text=f"Error 400: {problem}")
        error = self.problem_with(request, asked)
        if error is not None:
            raise web.HTTPFound(self._back_to_client(asked, {"error": error}))
        if request.method == "GET":
            self.requests.append(asked)
            return web.Response(text=self._consent_page(asked), content_type="text/html")
        form = await request.post()
        if form.get("answer") != "allow":
            raise web.HTTPFound(self._back_to_client(asked, {"error": "access_denied"}))
        account = self.cloud.accounts[str(form["account"])]
        problem = self.problem_with_account(request, account)
        if problem is not None:
            return web.Response(status=400, text=f"Error 400: {problem}")
        ticked = frozenset(str(scope) for scope in form.getall("scope", []))
        raise web.HTTPFound(self._approved(asked, account, ticked))

    async def token(self, request: web.Request) -> web.StreamResponse:
        """
        Exchange a code, or refresh.
        """
        form = {name: str(value) for name, value in (await request.post()).items()}
        try:
            client_id = self._check_client(request, form)
            match form.get("grant_type"):
                case "authorization_code":
                    document = self._exchanged(form, client_id)
                case "refresh_token":
                    document = self._refreshed(form, client_id)
                case other:
                    raise _Refused("unsupported_grant_type", f"{other} is not supported")
        except _Refused as refused:
            return self.refusal(refused.error, refused.description, refused.status)
        return web.json_response(document, headers={"Cache-Control": "no-store"})

    # Within

    def _pressed(self, authorize_url: str, fields: list[tuple[str, str]]) -> str:
        """
        Return where the consent page leads when its form is sent, or where opening it already leads.
        """
        # The certificate of a server on loopback is a browser's business, and this is none.
        https = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
        browser = urllib.request.build_opener(_Unfollowed, https)
        for body in (None, urllib.parse.urlencode(fields).encode()):
            try:
                browser.open(authorize_url, body, timeout=30).close()
            except urllib.error.HTTPError as answer:
                with answer:
                    if answer.code != 302:
                        raise
                    return answer.headers["Location"]
        raise AssertionError("the consent page did not lead back")

    def _problem_with_client(self, request: web.Request, asked: Mapping[str, str]) -> str | None:
        # Whoever this may be must not be sent anywhere.
        if len(request.query) != len(asked):
            return "invalid_request: a parameter is there twice"
        client = self.clients.get(asked.get("client_id", ""))
        if client is None:
            return "invalid_client"
        redirect_uri = asked.get("redirect_uri", "")
        if not redirect_uri or (
            client.redirect_uris is not None and redirect_uri not in client.redirect_uris
        ):
            return "redirect_uri_mismatch"
        return None

    def _approved(self, asked: Mapping[str, str], account: Account, ticked: frozenset[str]) -> str:
        code = secrets.token_urlsafe(24)
        grant = Grant(account, self.granted_scopes(asked, ticked), asked["client_id"])
        self.grants.append(grant)
        self._codes[code] = _Code(
            grant,
            asked["redirect_uri"],
            asked.get("code_challenge"),
            self.cloud.clock.now() + CODE_LIFETIME_S,
            dict(asked),
        )
        return self._back_to_client(asked, {"code": code, "scope": " ".join(sorted(grant.scopes))})

    def _back_to_client(self, asked: Mapping[str, str], answer: dict[str, str]) -> str:
        if "state" in asked:
            answer["state"] = asked["state"]
        separator = "&" if "?" in asked["redirect_uri"] else "?"
        return asked["redirect_uri"] + separator + urllib.parse.urlencode(self.redirect_parameters(answer))

    def _check_client(self, request: web.Request, form: Mapping[str, str]) -> str:
        """
        Return the id of the client, which has proven itself.
        """
        given = form.get("client_id", ""), form.get("client_secret", "")
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            name, _, secret = base64.b64decode(encoded).decode().partition(":")
            given = urllib.parse.unquote_plus(name), urllib.parse.unquote_plus(secret)
        client = self.clients.get(given[0])
        is_public = given[1] == "" and "code_verifier" in form
        if client is None or not (given[1] == client.secret or (is_public and client.may_be_public)):
            raise _Refused("invalid_client", "the client is unknown or its secret is wrong", 401)
        return given[0]

    def _exchanged(self, form: Mapping[str, str], client_id: str) -> dict[str, Any]:
        # Used up by the first try, whatever comes of it.
        code = self._codes.pop(form.get("code", ""), None)
        if code is None or code.expires_at <= self.cloud.clock.now() or code.grant.is_revoked:
            raise _Refused("invalid_grant", "the code is unknown, used or expired")
        if code.grant.client_id != client_id:
            raise _Refused("invalid_grant", "the code is another client's")
        if form.get("redirect_uri") != code.redirect_uri:
            raise _Refused("invalid_grant", "redirect_uri is not that of the authorization request")
        if code.challenge is None and "code_verifier" in form:
            raise _Refused("invalid_grant", "code_verifier came for a request without code_challenge")
        if code.challenge is not None:
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != code.challenge:
                raise _Refused("invalid_grant", "code_verifier does not fit code_challenge")
        refresh = self._new_refresh(code.grant) if self.wants_refresh_token(code.asked) else None
        return self._document(code.grant, code.asked, refresh)

    def _refreshed(self, form: Mapping[str, str], client_id: str) -> dict[str, Any]:
        token = form.get("refresh_token", "")
        for grant in self.grants:
            if token in grant.refresh_tokens and grant.client_id == client_id and not grant.is_revoked:
                refresh = None
                if self.rotates:
                    if not self.keeps_old:
                        grant.refresh_tokens.discard(token)
                    refresh = self._new_refresh(grant)
                return self._document(grant, form, refresh)
        raise _Refused("invalid_grant", "the refresh token is unknown, expired or revoked")

    def _document(self, grant: Grant, asked: Mapping[str, str], refresh: str | None) -> dict[str, Any]:
        tokens: dict[str, Any] = {
            "access_token": self._new_access(grant),
            "token_type": "Bearer",
            "expires_in": self.token_lifetime_s,
            "scope": " ".join(sorted(grant.scopes)),
        }
        if refresh is not None:
            tokens["refresh_token"] = refresh
        return self.token_document(grant, asked, tokens)

    def _new_access(self, grant: Grant) -> str:
        token = f"{self.token_prefix}access-{secrets.token_urlsafe(24)}"
        self._access[token] = _Access(grant, self.cloud.clock.now() + self.token_lifetime_s)
        return token

    def _new_refresh(self, grant: Grant) -> str:
        token = f"{self.token_prefix}refresh-{secrets.token_urlsafe(24)}"
        grant.refresh_tokens.add(token)
        return token

    def _end(self, grant: Grant) -> None:
        grant.is_revoked = True
        grant.refresh_tokens.clear()

    def _consent_page(self, asked: Mapping[str, str]) -> str:
        accounts = "".join(
            f'<label><input type="radio" name="account" value="{html.escape(account.subject)}"'
            f"{' checked' if number == 0 else ''}> {html.escape(account.email)}</label>"
            for number, account in enumerate(self.cloud.accounts.values())
        )
        scopes = "".join(
            f'<label><input type="checkbox" name="scope" value="{html.escape(scope)}" checked> '
            f"{html.escape(scope)}</label>"
            for scope in asked["scope"].split()
        )
        title = html.escape(self.cloud.title)
        return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{title} (pretend)</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:16px/1.5 system-ui;max-width:30rem;margin:3rem auto;padding:0 1rem}}label{{display:block}}
fieldset{{margin:1rem 0;border:1px solid #ccc;border-radius:8px}}button{{font:inherit;padding:.5rem 1rem}}</style>
<h1>{title}</h1><p>This is a pretend {title} for trying things out. A program wants to use your account.</p>
<form method="post"><fieldset><legend>As</legend>{accounts}</fieldset>
<fieldset><legend>It may</legend>{scopes}</fieldset>
<button name="answer" value="allow">Allow</button> <button name="answer" value="deny">Deny</button></form></html>"""
