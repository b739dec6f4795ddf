"""
Dropbox's way with OAuth: a refresh token only when asked for, which never changes and lasts until it is revoked.
"""

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.emulators.oauth import CLIENT_ID, Grant, OAuthServer


class DropboxOAuth(OAuthServer):
    """
    Dropbox's authorization server.
    """

    rotates = False
    token_lifetime_s = 14_400
    token_prefix = "sl."

    def wants_refresh_token(self, asked: Mapping[str, str]) -> bool:
        return asked.get("token_access_type") == "offline"

    def token_document(
        self, grant: Grant, asked: Mapping[str, str], tokens: dict[str, Any]
    ) -> dict[str, Any]:
        document = {**tokens, "token_type": "bearer"}
        if asked.get("grant_type") == "refresh_token":
            # Said once, when the grant is new.
            del document["scope"]
            return document
        return {**document, "account_id": grant.account.subject, "uid": "1000001"}

    def refusal(self, error: str, description: str, status: int) -> web.Response:
        told = description
        if error == "invalid_grant":
            told = "refresh token is invalid or revoked"
            if "code" in description:
                told = "code doesn't exist or has expired"
        document = {"error": error, "error_description": told}
        return web.Response(
            status=status, body=json.dumps(document).encode(), content_type="application/json"
        )

    def _check_client(self, request: web.Request, form: Mapping[str, str]) -> str:
        is_bare = "client_secret" not in form and "Authorization" not in request.headers
        if is_bare and form.get("grant_type") == "refresh_token" and form.get("client_id") == CLIENT_ID:
            # An app without a secret refreshes with its key alone.
            return CLIENT_ID
        return super()._check_client(request, form)
