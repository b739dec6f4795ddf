"""
Signing in with a Microsoft account, of a person's own or of work.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from gateway.api import OpenIdProfile

PERSONAL_TENANT: Final = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The one tenant that all accounts of persons are in."""

_OF_MANY: Final = ("common", "organizations", "consumers")
_TENANT: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class MicrosoftSignInSettings:
    """
    The app that people sign in to, whose accounts are let in, and where Microsoft is spoken to.
    """

    client_id: str

    client_secret: str = field(repr=False)

    tenant: str = "common"
    """
    Whose accounts are let in: ``common`` for personal and work accounts, ``consumers``, ``organizations``,
    or the id (not the domain) of one organisation.
    """

    login_url: str = "https://login.microsoftonline.com"
    """Another one for a national cloud, or a test."""

    def __post_init__(self) -> None:
        if not self.client_id or not self.client_secret:
            raise ValueError("client_id and client_secret must not be empty")
        if self.tenant not in _OF_MANY and _TENANT.fullmatch(self.tenant) is None:
            raise ValueError(
                f"tenant must be {', '.join(_OF_MANY)} or an organisation's id in small letters, not {self.tenant!r}"
            )
        if not self.login_url.startswith(("https://", "http://")) or self.login_url.endswith("/"):
            raise ValueError("login_url must be a URL that begins with https:// and ends without a slash")


def sign_in_profile(settings: MicrosoftSignInSettings) -> OpenIdProfile:
    """
    Return the facts about Microsoft as an OpenID provider (Microsoft identity platform, v2.0).
    """
    root = f"{settings.login_url}/{settings.tenant}"
    tenants = {"consumers": PERSONAL_TENANT}.get(settings.tenant, settings.tenant)
    return OpenIdProfile(
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        authorize_url=f"{root}/oauth2/v2.0/authorize",
        token_url=f"{root}/oauth2/v2.0/token",
        keys_url=f"{root}/discovery/v2.0/keys",
        issuers=(f"{settings.login_url}/{{tid}}/v2.0",),
        tenants=None if tenants in _OF_MANY else frozenset({tenants}),
        # Without profile there is no oid.
        scopes=("openid", "profile", "email"),
        # An account for good, within its tenant. An e-mail address passes from one person to another, and any organisation may
        # write any address into its own. sub would do, but it is of one client_id: an app that is registered anew
        # would know nobody any more.
        subject_claims=("tid", "oid"),
        label_claims=("email", "preferred_username"),
    )
