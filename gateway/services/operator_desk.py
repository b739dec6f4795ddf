"""
What operators do about users and their work, each of it written into the audit log.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.base.clock import Clock
from gateway.base.ids import UserId
from gateway.catalog.jobs import JobRow, count_jobs
from gateway.catalog.overview import UserFacts, count_links, facts_of_user, stuck_jobs
from gateway.database import Database
from gateway.services.accounts import AccountService, Personal
from gateway.services.audit import AuditLog, View
from gateway.services.devices import DeviceService, DeviceView
from gateway.services.disclosures import DisclosureRegister, DisclosureView
from gateway.services.errors import NotFound
from gateway.services.holds import HoldService, HoldView
from gateway.services.identities import IdentityService, IdentityView
from gateway.services.job_retries import retry_parked
from gateway.services.mail_retries import retry_given_up
from gateway.services.roles import Actor
from gateway.services.work import WorkBell

_MOST_STUCK = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """
    What is left to do: how many jobs of each (kind, state), and those that were set aside.
    """

    counts: dict[tuple[str, str], int]
    stuck: Sequence[JobRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """
    What is known about a user, for somebody who has said why he looks.
    """

    personal: Personal | None
    identities: Sequence[IdentityView]
    devices: Sequence[DeviceView]
    holds: Sequence[HoldView]
    disclosures: Sequence[DisclosureView]
    entries: Sequence[View]
    """What operators did that concerns him."""


class OperatorDesk:
    """
    Finds users, looks at them, tries work again.
    """

    def __init__(
        self,
        catalog_db: Database,
        accounts: AccountService,
        identities: IdentityService,
        devices: DeviceService,
        holds: HoldService,
        disclosures: DisclosureRegister,
        audit: AuditLog,
        clock: Clock,
        bell: WorkBell,
    ) -> None:
        self._catalog = catalog_db
        self._accounts = accounts
        self._identities = identities
        self._devices = devices
        self._holds = holds
        self._disclosures = disclosures
        self._audit = audit
        self._clock = clock
        self._bell = bell

    async def facts_of(self, user_id: UserId) -> UserFacts:
        """
        Return that there is a user, or was, and how much he has.

        Raises:
            NotFound: nobody ever had this id.
        """
        async with self._catalog.read() as connection:
            facts = await facts_of_user(connection, user_id, at=self._clock.now_ms())
        if facts is None:
            raise NotFound(f"there is no user {user_id}, and never was one")
        return facts

    async def look(self, user_id: UserId, *, by: Actor, reason: str) -> Look:
        """
        Return what is known about a user, once it is written down who looks, and why; he can read both.

        Raises:
            NotFound: there is no such user, or he was erased.
            InvalidField: the reason is empty or too long.
        """
        user = await self._accounts.get_user(user_id)
        await self._audit.note(by, "user.looked-at", user=user, reason=reason)
        return Look(
            personal=await self._accounts.personal_of(user),
            identities=await self._identities.list_of(user),
            devices=await self._devices.list_of(user),
            holds=await self._holds.causes_of(user),
            disclosures=await self._disclosures.of(user),
            entries=await self._audit.about(user),
        )

    async def work(self) -> Work:
        """
        Return what is left to do.
        """
        async with self._catalog.read() as connection:
            return Work(
                counts=await count_jobs(connection),
                stuck=await stuck_jobs(connection, limit=_MOST_STUCK),
            )

    async def retry(self, job_id: str | None, *, by: Actor) -> int:
        """
        Try a job again that was set aside, or all of them; return how many there were.
        """
        count = await retry_parked(self._catalog, self._audit, by, job_id)
        self._bell.ring()
        return count

    async def retry_mails(self, run_id: str, *, by: Actor) -> int:
        """
        Send the mails of a notice to many once more that were given up; return how many there were.
        """
        count = await retry_given_up(self._catalog, self._audit, self._clock, by, run_id)
        self._bell.ring()
        return count

    async def links(self) -> list[tuple[str, str, int]]:
        """
        Return how many linked accounts there are of each kind and state.
        """
        async with self._catalog.read() as connection:
            return await count_links(connection)
