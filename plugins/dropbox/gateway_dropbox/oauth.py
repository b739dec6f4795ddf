"""
How an account is linked to the app, whose it is, and how the link ends.

All of it in a few posts over the host's own HTTP client; Dropbox's library is for the files.
"""

import json
from functools import partial
from typing import Any, Final

import aiohttp

from gateway.api import AccountIdentity, AuthRevoked, BackendError, Misconfigured, OAuthProfile, Transient
from gateway_dropbox.errors import of_answer, tags_of
from gateway_dropbox.settings import DropboxSettings

SCOPES: Final = ("account_info.read", "files.content.read", "files.content.write", "files.metadata.read")


def profile(settings: DropboxSettings) -> OAuthProfile:
    """
    Return the facts about linking accounts to the operator's app.
    """
    return OAuthProfile(
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        authorize_url=f"{settings.web_root}/oauth2/authorize",
        token_url=f"{settings.api_root}/oauth2/token",
        scopes=SCOPES,
        needed_scopes=frozenset(SCOPES),
        # Else there is no refresh token.
        authorize_parameters={"token_access_type": "offline"},
        identify=partial(_identify, settings),
        revoke=partial(_revoke, settings),
        manage_url=f"{settings.web_root}/account/connected_apps",
    )


async def _identify(settings: DropboxSettings, http: aiohttp.ClientSession, token: str) -> AccountIdentity:
    account = await _call(settings, http, "users/get_current_account", token)
    # An address may change hands; the id never does.
    return AccountIdentity(subject=str(account["account_id"]), label=str(account["email"]))


async def _revoke(settings: DropboxSettings, http: aiohttp.ClientSession, token: str) -> None:
    """
    End the grant that *token* belongs to, be it a refresh token or an access token.

    Dropbox revokes access tokens alone, and with one of them its refresh token and all that came of that.
    So a refresh token is first exchanged for an access token; what cannot be exchanged is taken for one itself.
    """
    try:
        access = await _refreshed(settings, http, token)
    except AuthRevoked:
        access = token
    try:
        await _call(settings, http, "auth/token/revoke", access)
    except AuthRevoked:
        # Dead already.
        return
    except BackendError as error:
        # To something that is not of an access token's form it answers 400: a refresh token, and a dead one.
        if error.provider_code != "400":
            raise


async def _refreshed(settings: DropboxSettings, http: aiohttp.ClientSession, token: str) -> str:
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": settings.client_id}
    if settings.client_secret is not None:
        form["client_secret"] = settings.client_secret
    status, answer = await _post(http, f"{settings.api_root}/oauth2/token", data=form)
    if status == 200:
        return str(answer["access_token"])
    match answer.get("error") if isinstance(answer, dict) else None:
        case "invalid_grant":
            raise AuthRevoked("Dropbox does not know the grant any more.", provider_code="invalid_grant")
        case "invalid_client" | "unauthorized_client" as code:
            raise Misconfigured("Dropbox does not accept the app's key and secret.", provider_code=code)
        case _:
            raise of_answer(status, ())


async def _call(settings: DropboxSettings, http: aiohttp.ClientSession, route: str, token: str) -> Any:
    status, answer = await _post(
        http,
        f"{settings.api_root}/2/{route}",
        data=b"null",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    if status == 200:
        return answer
    error = answer.get("error") if isinstance(answer, dict) else None
    waits = error.get("retry_after") if isinstance(error, dict) else None
    raise of_answer(status, tags_of(error), retry_after_s=waits if isinstance(waits, int) else None)


async def _post(http: aiohttp.ClientSession, url: str, **options: Any) -> tuple[int, Any]:
    """
    Return the status, and the body if it is JSON.
    """
    try:
        async with http.post(url, allow_redirects=False, **options) as response:
            text = await response.text()
            status = response.status
    except (aiohttp.ClientError, TimeoutError, OSError) as exc:
        # Not as its cause: what the client says may hold what was sent.
        raise Transient(f"The connection to Dropbox failed: {type(exc).__name__}.") from None
    try:
        return status, json.loads(text)
    except ValueError:
        if status == 200:
            raise Transient("Dropbox's answer cannot be understood.") from None
        return status, None
