"""
A way of signing in: the accounts of one company, at its own OpenID provider.
"""

from dataclasses import dataclass, field

from gateway.api import API_VERSION, IdentityKind, OpenIdProfile, hookimpl


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanySettings:
    """
    The client that the company's provider knows the gateway as, and where that provider is.
    """

    client_id: str

    client_secret: str = field(repr=False)

    issuer: str
    """As its tokens have it in ``iss``, such as ``https://login.example.org/realms/staff``."""

    authorize_url: str

    token_url: str

    keys_url: str

    def __post_init__(self) -> None:
        for name in ("client_id", "client_secret", "issuer"):
            if not getattr(self, name):
                raise ValueError(f"{name} must not be empty")
        for name in ("authorize_url", "token_url", "keys_url"):
            if not getattr(self, name).startswith(("https://", "http://")):
                raise ValueError(f"{name} must be a URL that begins with https:// or http://")


def sign_in_profile(settings: CompanySettings) -> OpenIdProfile:
    """
    Return the facts about the company's provider.
    """
    return OpenIdProfile(
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        authorize_url=settings.authorize_url,
        token_url=settings.token_url,
        keys_url=settings.keys_url,
        issuers=(settings.issuer,),
        subject_claims=("sub",),
        label_claims=("preferred_username", "email"),
    )


@hookimpl
def gateway_register_identities() -> list[IdentityKind[CompanySettings]]:
    """
    Return the one kind that there is here.
    """
    return [
        IdentityKind(
            name="company",
            space="company",
            title="Your company account",
            api_version=API_VERSION,
            settings_type=CompanySettings,
            profile=sign_in_profile,
            secret_settings=frozenset({"client_secret"}),
        )
    ]
