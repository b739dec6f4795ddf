"""
Sign in with Google, by its OpenID Connect reference.
"""

import secrets
from typing import Any, Final

from aiohttp import web

from tests.emulators.cloud import Account
from tests.emulators.gdrive.oauth import GoogleOAuth
from tests.emulators.oauth import Grant
from tests.emulators.oidc.forgeries import access_token_hash
from tests.emulators.oidc.keys import SigningKey, SigningKeys
from tests.emulators.oidc.server import OpenIdServer
from tests.emulators.oidc.sign_in import SignIn

_PATHS: Final = {
    "discovery": "/.well-known/openid-configuration",
    "keys": "/oauth2/v3/certs",
    "consent": "/o/oauth2/v2/auth",
    "token": "/token",
}


class GoogleSignIn(SignIn):
    """
    What are four hosts at Google is one here.
    """

    kind = "google"
    title = "Google"
    oauth: "GoogleAccounts"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.oauth = GoogleAccounts(self)

    def new_account(
        self, name: str = "Ada", *, quota: int | None = 15 << 30, hosted_domain: str | None = None
    ) -> Account:
        account = super().new_account(name, quota=quota)
        del self.accounts[account.subject]
        account.subject = "1" + "".join(secrets.choice("0123456789") for _ in range(20))
        if hosted_domain is not None:
            account.facts["hd"] = hosted_domain
        self.accounts[account.subject] = account
        return account

    def add_routes(self, app: web.Application) -> None:
        self.add_endpoints(app, _PATHS)
        app.router.add_get("/v1/userinfo", self.served("identity", self.oauth.userinfo))
        app.router.add_post("/revoke", self.served("revoke", self.oauth.revoked))


class GoogleAccounts(OpenIdServer, GoogleOAuth):
    """
    Google's sign-in.

    Attributes:
        names_issuer_bare: whether ``iss`` lacks the scheme, as Google's tokens may.
    """

    tells_issuer = True
    names_issuer_bare = False

    def new_keys(self) -> SigningKeys:
        return _Keys()

    def issuer_of(self, account: Account | None) -> str:
        is_bare = account is not None and self.names_issuer_bare
        return self.cloud.url.partition("://")[2] if is_bare else self.cloud.url

    def claims(self, grant: Grant, access_token: str) -> dict[str, Any]:
        told = self.userinfo_claims(grant)
        if "email" in grant.scopes:
            told |= {name: grant.account.facts[name] for name in grant.account.facts if name == "hd"}
        return told | {"azp": grant.client_id, "at_hash": access_token_hash(access_token)}

    def userinfo_claims(self, grant: Grant) -> dict[str, Any]:
        account = grant.account
        told: dict[str, Any] = {"sub": account.subject}
        if "email" in grant.scopes:
            told |= {"email": account.email, "email_verified": account.is_email_verified}
        if "profile" in grant.scopes:
            given, _, family = account.name.partition(" ")
            told |= {"name": account.name, "given_name": given, "picture": f"{self.cloud.url}/picture"}
            if family:
                told["family_name"] = family
        return told

    def metadata(self, request: web.Request) -> dict[str, Any]:
        root = self.cloud.url
        return {
            "issuer": root,
            "authorization_endpoint": root + _PATHS["consent"],
            "token_endpoint": root + _PATHS["token"],
            "userinfo_endpoint": f"{root}/v1/userinfo",
            "revocation_endpoint": f"{root}/revoke",
            "jwks_uri": root + _PATHS["keys"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "authorization_response_iss_parameter_supported": self.tells_issuer,
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "email", "profile"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "claims_supported": [
                "aud",
                "email",
                "email_verified",
                "exp",
                "family_name",
                "given_name",
                "iat",
                "iss",
                "name",
                "picture",
                "sub",
            ],
            "code_challenge_methods_supported": ["plain", "S256"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
        }


class _Keys(SigningKeys):
    def members_of(self, key: SigningKey) -> dict[str, str]:
        # 40 hexadecimal digits.
        return {"kid": key.thumbprint.hex()[:40], "alg": "RS256"}
