"""
The way in which Google differs from RFC 6749, and what it tells about the person behind a token.
"""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from tests.emulators.gdrive.refusals import unauthenticated
from tests.emulators.oauth import Grant, OAuthServer

DRIVE_FILE: Final = "https://www.googleapis.com/auth/drive.file"

_WORDS: Final = {
    "invalid_grant": "Token has been expired or revoked.",
    "invalid_client": "The OAuth client was not found.",
}


class GoogleOAuth(OAuthServer):
    """
    Refresh tokens do not rotate, and come only with a first consent or where one is asked for anew.
    """

    rotates = False
    token_prefix = "ya29."
    token_lifetime_s = 3599

    def wants_refresh_token(self, asked: Mapping[str, str]) -> bool:
        return asked.get("access_type") == "offline"

    def granted_scopes(self, asked: Mapping[str, str], ticked: frozenset[str]) -> frozenset[str]:
        return ticked & frozenset(asked["scope"].split())

    def token_document(
        self, grant: Grant, asked: Mapping[str, str], tokens: dict[str, Any]
    ) -> dict[str, Any]:
        earlier = [old for old in self.grants if old.account is grant.account and not old.is_revoked]
        if earlier[0] is not grant and "consent" not in asked.get("prompt", "").split():
            # At a consent that is not the first, only who asks for the page again gets another one.
            tokens.pop("refresh_token", None)
        return tokens

    def refusal(self, error: str, description: str, status: int) -> web.Response:
        return web.json_response(
            {"error": error, "error_description": _WORDS.get(error, description)},
            status=status,
            headers={"Cache-Control": "no-store"},
        )

    async def revoked(self, request: web.Request) -> web.StreamResponse:
        """
        End everything that the owner of the token has granted to this client's project, sign-in included.
        """
        form = {**request.query, **{name: str(value) for name, value in (await request.post()).items()}}
        token = form.get("token", "")
        for grant in self.grants:
            access = self._access.get(token)
            if not grant.is_revoked and (token in grant.refresh_tokens or (access and access.grant is grant)):
                self.revoke(grant.account)
                return web.json_response({})
        return web.json_response(
            {"error": "invalid_token", "error_description": "Token expired or revoked"}, status=400
        )

    async def userinfo(self, request: web.Request) -> web.StreamResponse:
        """
        Tell who it is, to tokens of a sign-in.
        """
        found = self.account_of(request)
        if found is None or not found[1] & {"openid", "email", "profile"}:
            return unauthenticated().response()
        account, scopes = found
        told: dict[str, Any] = {"sub": account.subject}
        if "email" in scopes:
            told |= {"email": account.email, "email_verified": True}
        if "profile" in scopes:
            told |= {"name": account.name}
        return web.json_response(told)
