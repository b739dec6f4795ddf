"""
Something for operators to do.
"""

from sqlalchemy import update

from gateway.base.ids import UserId
from gateway.catalog.jobs import claim_jobs, enqueue_job, find_due, park_job
from gateway.catalog.overview import stuck_jobs
from gateway.catalog.tables import notices
from gateway.services.holds import Cause
from tests.http.phone import Phone
from tests.support.actors import OPS
from tests.support.gateway import Served


class Scene:
    """
    A user of whom something is held, work that is stuck, and a notice of which a mail was given up.
    """

    def __init__(self, phone: Phone, hold: str, job: str, notice: str) -> None:
        self.phone = phone
        self.hold = hold
        self.job = job
        self.notice = notice

    @classmethod
    async def of(cls, served: Served) -> "Scene":
        phone = await Phone.of_new_user(served, "Ada Lovelace")
        await phone.record(b"a call")
        hold = await served.gateway.holds.place(
            phone.user_id, Cause(reason="case 12 of the court", placed_by="ops"), by=OPS
        )
        announcing = served.gateway.telling.announcing
        notice = await announcing.announce("breach", title="A breach", body="All.", to=[phone.user_id])
        await announcing.carry_on(notice)
        async with served.gateway.context.catalog.write() as connection:
            await connection.execute(update(notices).values(mail_state="given-up"))
            await enqueue_job(connection, "check", "00000000-0000-4000-8000-000000000000")
            due = await find_due(connection, ["check"])
            [job] = await claim_jobs(connection, due, holder="test", lease_ms=1000)
            await park_job(connection, job, error="it did not work")
        return cls(phone, hold, job.id, notice)

    def path(self, route: str) -> str:
        for part, known in (("/holds/", self.hold), ("/notices/", self.notice)):
            if part in route:
                return route.replace("{id}", known)
        return route.replace("{id}", self.phone.user_id)

    def fields(self) -> list[tuple[str, str]]:
        """
        Return what any of the forms may ask for.
        """
        return [
            ("reason", "he asked me to"),
            ("word", "erase"),
            ("basis", "abuse"),
            ("user", self.phone.user_id),
            ("job", self.job),
            ("recipient", "A court"),
            ("what", "His number"),
            ("why", "It asked for it"),
            ("recordings", "1"),
            ("stored_before", "2026-01-31"),
            ("accounts", "1"),
            ("unused_until", "2026-01-31"),
        ]

    async def state(self, served: Served) -> dict[str, object]:
        """
        Return all that a page might change.
        """
        context = served.gateway.context
        async with context.catalog.read() as connection:
            stuck = len(await stuck_jobs(connection, limit=10))
        holds = await served.gateway.holds.list_holds()
        facts = await context.operating.desk.facts_of(UserId(self.phone.user_id))
        return {
            "stuck": stuck,
            "holds": [(view.hold.id, view.is_active) for view in holds],
            "user": facts.state,
            "mails": (await served.gateway.telling.announcing.get(self.notice)).counts,
        }
