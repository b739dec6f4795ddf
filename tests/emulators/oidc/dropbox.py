"""
Sign in with Dropbox, by its OpenID Connect guide, its discovery document and the route of its own library.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from dropbox import openid

from tests.emulators.cloud import Account
from tests.emulators.dropbox import wire
from tests.emulators.dropbox.oauth import DropboxOAuth
from tests.emulators.dropbox.wire import BadInput, Call, Route, RouteError
from tests.emulators.oauth import Grant
from tests.emulators.oidc.keys import SigningKey, SigningKeys
from tests.emulators.oidc.server import OpenIdServer
from tests.emulators.oidc.sign_in import SignIn

_PATHS: Final = {
    "discovery": "/.well-known/openid-configuration",
    "keys": "/.well-known/jwks",
    "consent": "/oauth2/authorize",
    "token": "/oauth2/token",
}


class DropboxSignIn(SignIn):
    """
    What are two hosts at Dropbox is one here.
    """

    kind = "dropbox"
    title = "Dropbox"
    oauth: "DropboxAccounts"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.oauth = DropboxAccounts(self)

    def new_account(
        self, name: str = "Ada", *, quota: int | None = 15 << 30, team_id: str | None = None
    ) -> Account:
        account = super().new_account(name, quota=quota)
        del self.accounts[account.subject]
        account.subject = f"dbid:{account.subject.rjust(35, 'A')}"
        if team_id is not None:
            account.facts["dropbox:team_id"] = team_id
        self.accounts[account.subject] = account
        return account

    def add_routes(self, app: web.Application) -> None:
        self.add_endpoints(app, _PATHS)
        app.router.add_post("/2/openid/userinfo", self.served("identity", self.oauth.userinfo))


class DropboxAccounts(OpenIdServer, DropboxOAuth):
    """
    Dropbox's sign-in. Its discovery document tells no userinfo and nothing of PKCE, which it takes all the same.

    Whether an ID token repeats the nonce is in none of Dropbox's documents; see `echoes_nonce`.
    """

    refreshes_identity = False

    def __init__(self, cloud: DropboxSignIn) -> None:
        super().__init__(cloud)
        self._route = Route("identity", "openid", openid.ROUTES["userinfo"], "openid", self._told)

    def new_keys(self) -> SigningKeys:
        return _Keys()

    def claims(self, grant: Grant, access_token: str) -> dict[str, Any]:
        now = int(self.cloud.clock.now())
        return {
            "sub": grant.account.subject,
            "auth_time": now,
            **self._profile(grant.account, grant.scopes),
            **grant.account.facts,
        }

    def problem_with(self, request: web.Request, asked: Mapping[str, str]) -> str | None:
        scopes = set(asked.get("scope", "").split())
        if "openid" in scopes and not scopes & {"email", "profile"}:
            # One of them must come with it.
            return "invalid_scope"
        return super().problem_with(request, asked)

    async def userinfo(self, request: web.Request) -> web.StreamResponse:
        """
        Tell who it is, by a call of Dropbox's API.
        """
        body = await request.read()
        grant = self.grant_of(request)
        if grant is None:
            return wire.error_answer(401, {".tag": "invalid_access_token"})
        if "openid" not in grant.scopes:
            return wire.error_answer(401, {".tag": "missing_scope", "required_scope": "openid"})
        try:
            call = Call(request, grant.account, wire.argument(self._route, request, body), None)
            return wire.result_answer(self._route, await self._route.handler(call))
        except BadInput as bad:
            return web.Response(status=400, text=f'Error in call to API function "userinfo": {bad}')
        except RouteError as refused:
            return wire.error_of_route(self._route, refused.error)

    async def _told(self, call: Call) -> Any:
        grant = self.grant_of(call.request)
        assert grant is not None
        told = self._profile(call.account, grant.scopes)
        told |= {"iss": self.issuer_of(call.account), "sub": call.account.subject}
        return openid.UserInfoResult(**(told | self.userinfo_changes))

    def _profile(self, account: Account, scopes: frozenset[str]) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if "email" in scopes:
            told |= {"email": account.email, "email_verified": account.is_email_verified}
        if "profile" in scopes:
            given, _, family = account.name.partition(" ")
            told |= {"given_name": given, "family_name": family}
        return told

    def metadata(self, request: web.Request) -> dict[str, Any]:
        root = self.cloud.url
        return {
            "issuer": root,
            "authorization_endpoint": root + _PATHS["consent"],
            "token_endpoint": root + _PATHS["token"],
            "jwks_uri": root + _PATHS["keys"],
            "scopes_supported": ["openid", "profile", "email"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "claim_types_supported": ["normal"],
            "claims_supported": ["email", "email_verified", "family_name", "given_name"],
            "claims_parameter_supported": False,
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
        }


class _Keys(SigningKeys):
    def members_of(self, key: SigningKey) -> dict[str, str]:
        # Base64url with its padding.
        return {"kid": base64.urlsafe_b64encode(key.thumbprint).decode(), "alg": "RS256"}
