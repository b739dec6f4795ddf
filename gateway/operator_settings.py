"""
The settings for the people who run the service; tables of the settings file, as `gateway.settings` has the others.
"""

from typing import Annotated

import msgspec

_Positive = Annotated[int, msgspec.Meta(ge=1)]


class RoleMembers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Who has a role.
    """

    emails: list[str] = []
    """Addresses of people; one counts if the provider says that it is verified."""
    claims: list[str] = []
    """Values of the claim that is named by ``operators.roles_claim``, such as groups."""


class Operators(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    The pages for the people who run the service, and how these sign in.
    """

    issuer: str = ""
    """The organisation's OpenID provider, such as ``https://login.example.org``; empty: there are no such pages."""
    client_id: str = ""
    client_secret: str = ""
    client_secret_file: str = ""
    """A file that holds the secret, in place of ``client_secret``."""
    algorithms: list[str] = msgspec.field(default_factory=lambda: ["RS256"])
    """How the provider's ID tokens may be signed."""
    scopes: list[str] = msgspec.field(default_factory=lambda: ["openid", "email"])
    roles_claim: str = "groups"
    support: RoleMembers = RoleMembers()
    privacy: RoleMembers = RoleMembers()
    operator: RoleMembers = RoleMembers()
    session_lifetime_s: _Positive = 1800
    attempt_lifetime_s: _Positive = 600
    """How long somebody may take to sign in."""
    counts_interval_s: _Positive = 60
    """How often what was counted is brought into the catalog, by day."""


class Audit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    The record of what operators did.
    """

    sign_interval_s: _Positive = 60
    """How often it is signed how far it has come, if there is anything new."""
