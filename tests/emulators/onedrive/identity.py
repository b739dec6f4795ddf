"""
The token endpoints of the Microsoft identity platform, v2.0, as far as a confidential web client meets them.
"""

import base64
import datetime as dt
import json
import uuid
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from tests.emulators.cloud import Account
from tests.emulators.oauth import CLIENT_ID, Grant, OAuthServer

PERSONAL_TENANT: Final = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""Of all accounts that are no organization's."""

_CODES: Final = {
    "invalid_grant": 70000,
    "invalid_client": 7000215,
    "invalid_request": 900144,
    "invalid_tenant": 90002,
    "unsupported_grant_type": 70003,
}


class MicrosoftIdentity(OAuthServer):
    """
    Every refresh answers with another refresh token, and the one before goes on working.
    """

    rotates = True
    keeps_old = True
    token_prefix = "EwB"

    def tenant_of(self, account: Account) -> str:
        """
        Return the id of the tenant that *account* is in.
        """
        return account.facts.get("tid", PERSONAL_TENANT)

    def wants_refresh_token(self, asked: Mapping[str, str]) -> bool:
        return "offline_access" in asked.get("scope", "").split()

    def granted_scopes(self, asked: Mapping[str, str], ticked: frozenset[str]) -> frozenset[str]:
        # It is granted and never told.
        return ticked - {"offline_access"}

    def token_document(
        self, grant: Grant, asked: Mapping[str, str], tokens: dict[str, Any]
    ) -> dict[str, Any]:
        tenant = self.tenant_of(grant.account)
        claims = {
            "ver": "2.0",
            "iss": f"https://login.microsoftonline.com/{tenant}/v2.0",
            "aud": CLIENT_ID,
            "sub": f"pairwise-{grant.account.subject}",
            "oid": grant.account.subject,
            "tid": tenant,
            "name": grant.account.name,
            "preferred_username": grant.account.email,
            "exp": int(self.cloud.clock.now()) + self.token_lifetime_s,
        }
        if "nonce" in asked:
            claims["nonce"] = asked["nonce"]
        header = {"typ": "JWT", "alg": "none"}
        more: dict[str, Any] = {"ext_expires_in": self.token_lifetime_s}
        if "openid" in asked.get("scope", "").split():
            more["id_token"] = f"{_encoded(header)}.{_encoded(claims)}."
        more["client_info"] = _encoded({"uid": grant.account.subject, "utid": tenant})
        return tokens | more

    def refusal(self, error: str, description: str, status: int) -> web.Response:
        code = _CODES.get(error, 90000)
        now = dt.datetime.fromtimestamp(self.cloud.clock.now(), dt.UTC)
        timestamp = now.strftime("%Y-%m-%d %H:%M:%SZ")
        trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
        text = f"AADSTS{code}: {description}. Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}"
        return web.json_response(
            {
                "error": error,
                "error_description": text,
                "error_codes": [code],
                "timestamp": timestamp,
                "trace_id": trace,
                "correlation_id": correlation,
                "error_uri": f"https://login.microsoftonline.com/error?code={code}",
            },
            status=status,
        )

    async def discovery(self, request: web.Request) -> web.StreamResponse:
        """
        Answer where the endpoints of a tenant are; as at Microsoft each begins with https, whatever is spoken here.
        """
        tenant = request.match_info["tenant"]
        root = f"https://{request.host}/{tenant}"
        return web.json_response(
            {
                "issuer": f"https://{request.host}/{{tenantid}}/v2.0",
                "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
                "token_endpoint": f"{root}/oauth2/v2.0/token",
                "jwks_uri": f"{root}/discovery/v2.0/keys",
                "response_types_supported": ["code"],
                "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            }
        )


def _encoded(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()
