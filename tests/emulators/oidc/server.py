"""
OpenID Connect Core 1.0 and Discovery 1.0 over `OAuthServer`, as far as a confidential web client meets them.

What a provider does in its own way is in its subclass: its claims, its addresses, what it tells of itself.
Only answers in the query are given: where a provider has other response modes, they are refused here.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from tests.emulators.cloud import Account, Cloud
from tests.emulators.oauth import Grant, OAuthServer
from tests.emulators.oidc.forgeries import Forger, Forgery, Token
from tests.emulators.oidc.keys import SigningKey, SigningKeys

FORGED_KEYS: Final = "/forged/keys"
ID_TOKEN_LIFETIME_S: Final = 3600


class OpenIdServer(OAuthServer):
    """
    Signs people in to the programs that are registered.

    Attributes:
        keys: what ID tokens are signed with.
        tells_issuer: whether answers of the authorization endpoint name the issuer, RFC 9207.
        echoes_nonce: whether an ID token repeats the request's nonce.
        refreshes_identity: whether a refresh brings another ID token.
        metadata_changes: what the discovery document says otherwise than it should; None leaves a member out.
        userinfo_changes: likewise of userinfo.
    """

    tells_issuer = False
    refreshes_identity = True

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self.clients.clear()
        self.keys = self.new_keys()
        self.echoes_nonce = True
        self.metadata_changes: dict[str, Any] = {}
        self.userinfo_changes: dict[str, Any] = {}
        self._forged_key = self.keys.new()
        self._wrong: deque[Forgery | dict[str, Any]] = deque()
        self._other_issuers: deque[str | None] = deque()

    # What a provider does in its own way

    def new_keys(self) -> SigningKeys:
        return SigningKeys()

    def published(self, key: SigningKey) -> dict[str, str]:
        """
        Return *key* as the JWK set has it.
        """
        return key.jwk

    def issuer_of(self, account: Account | None) -> str:
        """
        Return the issuer of *account*'s ID tokens, or that of the provider.
        """
        return self.cloud.url

    def claims(self, grant: Grant, access_token: str) -> dict[str, Any]:
        """
        Return the claims about who *grant* is of; what all providers have is added.
        """
        raise NotImplementedError  # the subclass's

    def userinfo_claims(self, grant: Grant) -> dict[str, Any]:
        """
        Return what userinfo tells.
        """
        raise NotImplementedError  # the subclass's

    def metadata(self, request: web.Request) -> dict[str, Any]:
        """
        Return the discovery document.
        """
        raise NotImplementedError  # the subclass's

    # For tests

    def forge(self, forgery: Forgery, *, times: int = 1) -> None:
        """
        Have that wrong with the next *times* ID tokens.
        """
        self._wrong.extend([forgery] * times)

    def change_claims(self, **claims: Any) -> None:
        """
        Have the next ID token, properly signed, say this; None leaves a claim out.
        """
        self._wrong.append(claims)

    def mix_up(self, issuer: str | None) -> None:
        """
        Have the next answer of the authorization endpoint name that issuer, or none.
        """
        self._other_issuers.append(issuer)

    # What `OAuthServer` asks for

    def problem_with(self, request: web.Request, asked: Mapping[str, str]) -> str | None:
        error = super().problem_with(request, asked)
        if error is not None:
            return error
        if asked.get("response_mode", "query") != "query":
            return "invalid_request"
        if "none" in asked.get("prompt", "").split():
            # Nobody has been here before.
            return "login_required"
        return None

    def redirect_parameters(self, answer: dict[str, str]) -> dict[str, str]:
        issuer: str | None = self.issuer_of(None) if self.tells_issuer else None
        if self._other_issuers:
            issuer = self._other_issuers.popleft()
        if issuer is not None:
            answer["iss"] = issuer
        return super().redirect_parameters(answer)

    def token_document(
        self, grant: Grant, asked: Mapping[str, str], tokens: dict[str, Any]
    ) -> dict[str, Any]:
        document = super().token_document(grant, asked, tokens)
        document.pop("id_token", None)
        is_refresh = asked.get("grant_type") == "refresh_token"
        if "openid" in grant.scopes and (self.refreshes_identity or not is_refresh):
            id_token = self._id_token(grant, asked, str(tokens["access_token"]))
            if id_token is not None:
                document["id_token"] = id_token
        return document

    def _id_token(self, grant: Grant, asked: Mapping[str, str], access_token: str) -> str | None:
        now = int(self.cloud.clock.now())
        claims = {
            "iss": self.issuer_of(grant.account),
            "aud": grant.client_id,
            "iat": now,
            "exp": now + ID_TOKEN_LIFETIME_S,
            **self.claims(grant, access_token),
        }
        if "nonce" in asked and self.echoes_nonce:
            claims["nonce"] = asked["nonce"]
        token = Token(claims, self.keys.current)
        wrong = self._wrong.popleft() if self._wrong else {}
        if isinstance(wrong, Forgery):
            secret = self.clients[grant.client_id].secret
            return Forger(self._forged_key, self.cloud.url + FORGED_KEYS, secret).forged(token, wrong)
        token.claims = _changed(token.claims, wrong)
        return str(token)

    # For endpoints

    async def discovery(self, request: web.Request) -> web.StreamResponse:
        """
        Tell where everything is.
        """
        document = _changed(self.metadata(request), self.metadata_changes)
        return web.json_response(document, headers={"Cache-Control": "public, max-age=3600"})

    async def jwks(self, request: web.Request) -> web.StreamResponse:
        """
        Tell the public keys.
        """
        published = [self.published(key) for key in self.keys.published]
        return web.json_response(
            {"keys": [*self.keys.others, *published]}, headers={"Cache-Control": "public, max-age=19800"}
        )

    async def forged_jwks(self, request: web.Request) -> web.StreamResponse:
        """
        Tell the key that `Forgery.KEY_ADDRESS` signs with.
        """
        return web.json_response({"keys": [self._forged_key.jwk]})

    async def userinfo(self, request: web.Request) -> web.StreamResponse:
        """
        Tell who it is, to access tokens of a sign-in; RFC 6750.
        """
        grant = self.grant_of(request)
        if grant is None or "openid" not in grant.scopes:
            error, status = ("invalid_token", 401) if grant is None else ("insufficient_scope", 403)
            headers = {"WWW-Authenticate": f'Bearer error="{error}"'}
            return web.json_response({"error": error}, status=status, headers=headers)
        return web.json_response(_changed(self.userinfo_claims(grant), self.userinfo_changes))


def _changed(document: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = document | dict(changes)
    return {name: value for name, value in merged.items() if value is not None or name not in changes}
