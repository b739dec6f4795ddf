"""
Which roles an operator has: what the settings say about what his provider says of him.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.operator_settings import Operators as Settings
from gateway.operator_settings import RoleMembers
from gateway.services.roles import Role

_MOST_CLAIMS: Final = 500


class Standing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What a provider said of somebody when he signed in, as far as roles may follow from it.
    """

    name: str
    """What he is called here."""
    email: str | None = None
    """Verified, by the provider's word."""
    claims: tuple[str, ...] = ()

    @classmethod
    def from_claims(cls, told: Mapping[str, Any], roles_claim: str) -> "Standing":
        """
        Read the claims of an ID token that was checked.
        """
        email = told.get("email")
        is_verified = isinstance(email, str) and told.get("email_verified") is True
        values = told.get(roles_claim, ())
        if isinstance(values, str):
            values = (values,)
        kept = (
            [value for value in values if isinstance(value, str)] if isinstance(values, list | tuple) else []
        )
        name = email if isinstance(email, str) else told.get("name")
        return cls(
            name=str(name or told["sub"])[:200],
            email=email if is_verified else None,
            claims=tuple(kept[:_MOST_CLAIMS]),
        )


def roles_of(standing: Standing, settings: Settings) -> frozenset[Role]:
    """
    Return the roles that the settings of now give somebody.
    """
    members: Mapping[Role, RoleMembers] = {
        "support": settings.support,
        "privacy": settings.privacy,
        "operator": settings.operator,
    }
    return frozenset(role for role, who in members.items() if _is_among(standing, who))


def _is_among(standing: Standing, who: RoleMembers) -> bool:
    if standing.email is not None and standing.email.casefold() in {email.casefold() for email in who.emails}:
        return True
    return not set(who.claims).isdisjoint(standing.claims)
