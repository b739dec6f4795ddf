"""
The operator's policy: its text is his, and what users are told, shown and asked about it is here.

A version never changes once it is published, so what somebody accepted can be read for as long as the catalog is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from markupsafe import Markup, escape

from gateway.base.clock import Clock
from gateway.catalog import policies as catalog
from gateway.catalog.policies import Policy, PolicyFormat
from gateway.catalog.users import User, lock_active_user
from gateway.database import Database
from gateway.services.announcing import Announcing
from gateway.services.errors import InvalidField, NotFound
from gateway.services.notice_texts import markdown_to_html

log = structlog.get_logger()

_LONGEST: Final = 1024 * 1024
_DAY_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Acceptance:
    """
    That a user accepted a version, and when; Unix ms.
    """

    version: int
    accepted_at: int


class PolicyService:
    """
    Publishes versions of the policy, and knows who accepted which.
    """

    def __init__(self, catalog_db: Database, announcing: Announcing, clock: Clock) -> None:
        self._catalog = catalog_db
        self._announcing = announcing
        self._clock = clock

    async def publish(self, body: str, *, format: PolicyFormat, effective_at: int) -> Policy:  # noqa: A002
        """
        Publish the next version, and have all users told of it, in one transaction.

        Args:
            effective_at: Unix ms; from then on it is in force.

        Raises:
            InvalidField: the text is empty or too long, the day is past, or before that of the version before.
        """
        if not body.strip():
            raise InvalidField("file", "is empty")
        if len(body) > _LONGEST:
            raise InvalidField("file", f"is longer than {_LONGEST} characters")
        now = self._clock.now_ms()
        if effective_at < now - now % _DAY_MS:
            raise InvalidField("effective", "is past: nobody could have known")
        async with self._catalog.write() as connection:
            before = await catalog.latest_policy(connection)
            if before is not None and effective_at < before.effective_at:
                raise InvalidField("effective", f"is before that of version {before.version}")
            policy = Policy(
                version=1 if before is None else before.version + 1,
                format=format,
                body=body,
                effective_at=effective_at,
                published_at=now,
            )
            if not await catalog.insert_policy(connection, policy):
                raise InvalidField("file", "another version was published just now; look at it first")
            await self._announcing.begin_for_all(
                connection, "policy", {"version": policy.version, "effective_at": effective_at}
            )
        log.warning("audit.policy_published", version=policy.version, effective_at=effective_at)
        return policy

    async def list_all(self) -> Sequence[Policy]:
        """
        Return every version, latest first.
        """
        async with self._catalog.read() as connection:
            return await catalog.list_policies(connection)

    async def count_acceptances(self) -> dict[int, int]:
        """
        Return how many users accepted each version.
        """
        async with self._catalog.read() as connection:
            return await catalog.count_acceptances(connection)

    async def in_force(self) -> Policy | None:
        """
        Return the version that is in force now; None if the operator has published none that is.
        """
        return self.in_force_of(await self.list_all())

    def in_force_of(self, versions: Sequence[Policy]) -> Policy | None:
        """
        Return which of the versions, latest first, is in force now.
        """
        now = self._clock.now_ms()
        return next((policy for policy in versions if policy.effective_at <= now), None)

    async def get(self, version: int) -> Policy:
        """
        Return a version.

        Raises:
            NotFound: there is none.
        """
        async with self._catalog.read() as connection:
            policy = await catalog.get_policy(connection, version)
        if policy is None:
            raise NotFound(f"there is no version {version} of the policy")
        return policy

    async def accept(self, user: User, version: int) -> Acceptance:
        """
        Note that the user accepts a version; accepted before, that stays as it was.

        Raises:
            NotFound: there is no such version, or he was erased.
        """
        async with self._catalog.write() as connection:
            if not await lock_active_user(connection, user.id):
                raise NotFound("there is no such user")
            if await catalog.get_policy(connection, version) is None:
                raise NotFound(f"there is no version {version} of the policy")
            await catalog.accept_policy(connection, user.id, version, at=self._clock.now_ms())
            accepted = await catalog.acceptances_of(connection, user.id)
        return Acceptance(version, accepted[version])

    async def acceptances_of(self, user: User) -> list[Acceptance]:
        """
        Return which versions the user accepted, latest first.
        """
        async with self._catalog.read() as connection:
            found = await catalog.acceptances_of(connection, user.id)
        return [Acceptance(version, at) for version, at in found.items()]


def policy_html(policy: Policy) -> Markup:
    """
    Return a version's text as HTML that is safe to show.
    """
    if policy.format == "markdown":
        return Markup(markdown_to_html(policy.body))  # noqa: S704 - HTML in it was shown as text
    paragraphs = (part.strip() for part in policy.body.replace("\r\n", "\n").split("\n\n"))
    return Markup("").join(
        Markup("<p>{}</p>").format(Markup("<br>").join(map(escape, part.split("\n"))))
        for part in paragraphs
        if part
    )
