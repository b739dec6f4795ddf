"""
How a Google account is linked.

The only scope is ``drive.file``: the files that this program made, and no others of the user's.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp

from gateway.api import AccountIdentity, OAuthProfile, translated
from gateway_gdrive.errors import classify, of_answer
from gateway_gdrive.settings import GDriveSettings

DRIVE_FILE: Final = "https://www.googleapis.com/auth/drive.file"


def oauth_profile(settings: GDriveSettings) -> OAuthProfile:
    """
    Return the facts about Google's OAuth.
    """
    return OAuthProfile(
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        authorize_url=settings.authorize_url,
        token_url=settings.token_url,
        scopes=(DRIVE_FILE,),
        needed_scopes=frozenset({DRIVE_FILE}),
        # Without the second, a user who links for the second time would bring no refresh token.
        authorize_parameters={"access_type": "offline", "prompt": "consent"},
        identify=_identify(settings.api_url),
        revoke=_revoke(settings.revoke_url) if settings.revoke_on_unlink else None,
        manage_url=settings.manage_url,
    )


def _identify(api_url: str) -> Callable[[aiohttp.ClientSession, str], Awaitable[AccountIdentity]]:
    async def identify(session: aiohttp.ClientSession, access_token: str) -> AccountIdentity:
        # Drive tells it under the scope that we have anyway; Google's sign-in would need another.
        with translated(classify):
            async with session.get(
                f"{api_url}drive/v3/about",
                params={"fields": "user(permissionId,emailAddress,displayName)"},
                headers={"Authorization": f"Bearer {access_token}"},
                allow_redirects=False,
            ) as response:
                body = await response.read()
                if response.status != 200:
                    raise of_answer(response.status, body, response.headers)
                user = (await response.json())["user"]
                subject = str(user["permissionId"])
                return AccountIdentity(
                    subject=subject,
                    label=str(user.get("emailAddress") or user.get("displayName") or subject),
                )

    return identify


def _revoke(revoke_url: str) -> Callable[[aiohttp.ClientSession, str], Awaitable[None]]:
    async def revoke(session: aiohttp.ClientSession, token: str) -> None:
        with translated(classify):
            async with session.post(revoke_url, data={"token": token}, allow_redirects=False) as response:
                body = await response.read()
                # 400: it was dead already.
                if response.status not in {200, 400}:
                    raise of_answer(response.status, body, response.headers)

    return revoke
