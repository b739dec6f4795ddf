"""
What operators are, and what each of them may do: as little as his work needs. Nobody may hear a recording.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Role = Literal["support", "privacy", "operator"]
"""Whoever answers users, whoever answers for their data, whoever keeps the service running."""

Permission = Literal[
    "see-health",
    "see-counts",
    "see-jobs",
    "retry-jobs",
    "see-notices",
    "retry-notices",
    "find-users",
    "look-at-users",
    "erase-users",
    "see-holds",
    "change-holds",
    "see-retention",
    "approve-retention",
    "read-audit",
    "check-audit",
    "disclose",
]

MAY: Final[Mapping[Role, frozenset[Permission]]] = {
    "support": frozenset({"see-health", "see-counts", "see-jobs", "find-users"}),
    "operator": frozenset(
        {
            "see-health",
            "see-counts",
            "see-jobs",
            "retry-jobs",
            "see-notices",
            "retry-notices",
            "see-retention",
            "approve-retention",
            "read-audit",
            "check-audit",
        }
    ),
    "privacy": frozenset(
        {
            "see-health",
            "see-counts",
            "see-notices",
            "find-users",
            "look-at-users",
            "erase-users",
            "see-holds",
            "change-holds",
            "see-retention",
            "read-audit",
            "check-audit",
            "disclose",
        }
    ),
}
"""The least first: of an operator with several roles, the first that may do something did it."""

CONSOLE: Final = "console"
"""The role of whoever has a shell on the machine: he can do all that the commands can."""


@dataclass(frozen=True, slots=True)
class Actor:
    """
    Who does something, and as what: ``operator:`` and a random id, or ``console:`` and the name of a Unix user.
    """

    id: str
    role: str


def role_that_may(roles: Collection[str], permission: Permission) -> Role | None:
    """
    Return the least of *roles* that may do this, None if none may.
    """
    return next((role for role, may in MAY.items() if role in roles and permission in may), None)
