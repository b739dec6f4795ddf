"""
Sign in with Microsoft: the Microsoft identity platform, v2.0, with its tenants.
"""

import base64
import hashlib
import secrets
import uuid
from typing import Any, Final

from aiohttp import web

from tests.emulators.cloud import Account
from tests.emulators.oauth import Grant
from tests.emulators.oidc.keys import SigningKey, SigningKeys, encoded
from tests.emulators.oidc.server import OpenIdServer
from tests.emulators.oidc.sign_in import SignIn
from tests.emulators.onedrive.identity import PERSONAL_TENANT, MicrosoftIdentity

__all__ = ["PERSONAL_TENANT", "MicrosoftSignIn"]

_PATHS: Final = {
    "discovery": "/{tenant}/v2.0/.well-known/openid-configuration",
    "keys": "/{tenant}/discovery/v2.0/keys",
    "consent": "/{tenant}/oauth2/v2.0/authorize",
    "token": "/{tenant}/oauth2/v2.0/token",
}
_OF_MANY: Final = {"common", "organizations"}
_TEMPLATE: Final = "{tenantid}"


class MicrosoftSignIn(SignIn):
    """
    Accounts of persons, in the tenant that all of them are in, and accounts of work, in their organizations' tenants.

    Attributes:
        tenant: what the client asks at: ``common``, ``organizations``, ``consumers`` or a tenant's id.
    """

    kind = "microsoft"
    title = "Microsoft"
    oauth: "MicrosoftAccounts"

    def __init__(self, *, tenant: str = "common", **options: Any) -> None:
        super().__init__(**options)
        self.tenant = tenant
        self.tenants = {PERSONAL_TENANT}
        self.oauth = MicrosoftAccounts(self)

    @property
    def issuer(self) -> str:
        """
        The address that ``/.well-known/openid-configuration`` is put behind; for many tenants no token's issuer.
        """
        return f"{self.url}/{self.tenant}/v2.0"

    def new_tenant(self) -> str:
        """
        Found an organization; return its tenant's id.
        """
        tenant = str(uuid.uuid4())
        self.tenants.add(tenant)
        return tenant

    def new_account(
        self, name: str = "Ada", *, quota: int | None = 15 << 30, tenant: str = PERSONAL_TENANT
    ) -> Account:
        account = super().new_account(name, quota=quota)
        del self.accounts[account.subject]
        account.subject = str(uuid.uuid4())
        account.facts["tid"] = tenant
        self.accounts[account.subject] = account
        return account

    def add_routes(self, app: web.Application) -> None:
        self.add_endpoints(app, _PATHS)
        app.router.add_route("*", "/oidc/userinfo", self.served("identity", self.oauth.userinfo))


class MicrosoftAccounts(OpenIdServer, MicrosoftIdentity):
    """
    The sign-in; of whoever signs in, the ID token tells the issuer of the account's own tenant.
    """

    cloud: MicrosoftSignIn

    def new_keys(self) -> SigningKeys:
        return _Keys()

    def published(self, key: SigningKey) -> dict[str, str]:
        # Whose tokens it is good for; a key may be for one tenant alone.
        return {"issuer": f"{self.cloud.url}/{_TEMPLATE}/v2.0"} | key.jwk

    def issuer_of(self, account: Account | None) -> str:
        tenant = self.cloud.tenant if account is None else self.tenant_of(account)
        return f"{self.cloud.url}/{tenant}/v2.0"

    def problem_with_account(self, request: web.Request, account: Account) -> str | None:
        asked, own = request.match_info["tenant"], self.tenant_of(account)
        is_personal = own == PERSONAL_TENANT
        fits = {"common": True, "organizations": not is_personal, "consumers": is_personal}
        if fits.get(asked, asked == own):
            return None
        return f"AADSTS50020: User account {account.email} does not exist in tenant {asked}"

    async def authorize(self, request: web.Request) -> web.StreamResponse:
        return self._wrong_tenant(request) or await super().authorize(request)

    async def token(self, request: web.Request) -> web.StreamResponse:
        return self._wrong_tenant(request) or await super().token(request)

    async def discovery(self, request: web.Request) -> web.StreamResponse:
        return self._wrong_tenant(request) or await super().discovery(request)

    async def jwks(self, request: web.Request) -> web.StreamResponse:
        return self._wrong_tenant(request) or await super().jwks(request)

    def claims(self, grant: Grant, access_token: str) -> dict[str, Any]:
        now = int(self.cloud.clock.now())
        account, scopes = grant.account, grant.scopes
        told: dict[str, Any] = {
            "nbf": now,
            "aio": secrets.token_urlsafe(40),
            "rh": f"1.{secrets.token_urlsafe(40)}.",
            "sub": self._pairwise(account, grant.client_id),
            "tid": self.tenant_of(account),
            "uti": secrets.token_urlsafe(16),
            "ver": "2.0",
        }
        if "profile" in scopes:
            told |= {
                "name": account.name,
                "oid": account.subject,
                "preferred_username": account.email,
            }
        if "email" in scopes:
            # Whether it is the owner's, Microsoft does not say.
            told["email"] = account.email
        return told

    def userinfo_claims(self, grant: Grant) -> dict[str, Any]:
        account = grant.account
        told: dict[str, Any] = {"sub": self._pairwise(account, grant.client_id)}
        if "profile" in grant.scopes:
            given, _, family = account.name.partition(" ")
            told |= {"name": account.name, "given_name": given, "family_name": family}
        if "email" in grant.scopes:
            told["email"] = account.email
        return told

    def metadata(self, request: web.Request) -> dict[str, Any]:
        tenant = request.match_info["tenant"]
        root = f"{self.cloud.url}/{tenant}"
        issuing = {"consumers": PERSONAL_TENANT}.get(tenant, _TEMPLATE if tenant in _OF_MANY else tenant)
        return {
            "token_endpoint": f"{root}/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "jwks_uri": f"{root}/discovery/v2.0/keys",
            "response_modes_supported": ["query"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": f"{self.cloud.url}/{issuing}/v2.0",
            "request_uri_parameter_supported": False,
            "userinfo_endpoint": f"{self.cloud.url}/oidc/userinfo",
            "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
            "claims_supported": [
                "sub",
                "iss",
                "aud",
                "exp",
                "iat",
                "nonce",
                "preferred_username",
                "name",
                "tid",
                "ver",
                "email",
            ],
            "tenant_region_scope": None,
        }

    def _wrong_tenant(self, request: web.Request) -> web.Response | None:
        tenant = request.match_info["tenant"]
        if tenant in {*_OF_MANY, "consumers", *self.cloud.tenants}:
            return None
        return self.refusal("invalid_tenant", f"Tenant '{tenant}' not found", 400)

    def _pairwise(self, account: Account, client_id: str) -> str:
        return encoded(hashlib.sha256(f"{client_id} {account.subject}".encode()).digest())


class _Keys(SigningKeys):
    def members_of(self, key: SigningKey) -> dict[str, str]:
        kid = base64.urlsafe_b64encode(key.thumbprint[:20]).rstrip(b"=").decode()
        return {"kid": kid, "x5t": kid}
