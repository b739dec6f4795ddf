"""
Signing in with a Dropbox account.
"""

from dataclasses import dataclass, field

from gateway.api import OpenIdProfile
from gateway_dropbox.settings import API_ROOT, WEB_ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class DropboxSignInSettings:
    """
    The app that people sign in to, and where Dropbox is spoken to.
    """

    client_id: str
    """The app's key."""

    client_secret: str = field(repr=False)
    """The app's secret."""

    api_root: str = API_ROOT
    """Where codes become tokens; another one than Dropbox's own for tests."""

    web_root: str = WEB_ROOT
    """Where people are asked, where the keys are, and what tokens say that they are from."""

    def __post_init__(self) -> None:
        if not self.client_id or not self.client_secret:
            raise ValueError("client_id and client_secret must not be empty")
        for name in ("api_root", "web_root"):
            root = getattr(self, name)
            if not root.startswith(("https://", "http://")) or root.endswith("/"):
                raise ValueError(f"{name} must begin with https:// or http:// and not end with a slash")


def sign_in_profile(settings: DropboxSignInSettings) -> OpenIdProfile:
    """
    Return the facts about Dropbox as an OpenID provider (its guide to OpenID Connect, and its discovery document).
    """
    return OpenIdProfile(
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        authorize_url=f"{settings.web_root}/oauth2/authorize",
        token_url=f"{settings.api_root}/oauth2/token",
        keys_url=f"{settings.web_root}/.well-known/jwks",
        issuers=(settings.web_root,),
        # In none of Dropbox's documents it says that an ID token repeats it.
        repeats_nonce=False,
    )
