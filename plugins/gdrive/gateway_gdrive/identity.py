"""
Signing in with a Google account.
"""

from dataclasses import dataclass, field

from gateway.api import OpenIdProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleSignInSettings:
    """
    The OAuth client that people sign in to, and where Google is spoken to.
    """

    client_id: str

    client_secret: str = field(repr=False)

    authorize_url: str = "https://accounts.google.com/o/oauth2/v2/auth"
    """Like the other URLs it is Google's own unless somebody stands in for it, who may speak plain http."""

    token_url: str = "https://oauth2.googleapis.com/token"

    keys_url: str = "https://www.googleapis.com/oauth2/v3/certs"

    issuers: tuple[str, ...] = ("https://accounts.google.com", "accounts.google.com")
    """What Google's tokens say that they are from; they are written in both ways."""

    def __post_init__(self) -> None:
        if not self.client_id or not self.client_secret:
            raise ValueError("client_id and client_secret must not be empty")
        for name in ("authorize_url", "token_url", "keys_url"):
            if not getattr(self, name).startswith(("https://", "http://")):
                raise ValueError(f"{name} must be a URL that begins with https:// or http://")
        if not self.issuers or "" in self.issuers:
            raise ValueError("issuers must name at least one, and none that is empty")


def sign_in_profile(settings: GoogleSignInSettings) -> OpenIdProfile:
    """
    Return the facts about Google as an OpenID provider (its reference of OpenID Connect).
    """
    return OpenIdProfile(
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        authorize_url=settings.authorize_url,
        token_url=settings.token_url,
        keys_url=settings.keys_url,
        issuers=settings.issuers,
        names_issuer=True,
    )
