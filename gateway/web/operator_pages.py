"""
The operators' pages about the service: how it is, what work is stuck, what retention waits for.
"""

from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from gateway.http.context import context_of
from gateway.http.health import check
from gateway.services.errors import InvalidField, NotFound
from gateway.web.forms import Form, own_form
from gateway.web.operator_gate import PATH, Desk, Gate, operating_of
from gateway.web.rendering import see_other

_JOBS: Final = f"{PATH}/jobs"
_RETENTION: Final = f"{PATH}/retention"


class OperatorPages:
    """
    Health, work, retention.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def add_to(self, app: web.Application) -> None:
        """
        Add the addresses.
        """
        gate = self._gate
        app.router.add_get(PATH, gate.open_to("see-health", self.health))
        app.router.add_get(_JOBS, gate.open_to("see-jobs", self.jobs))
        app.router.add_post(f"{_JOBS}/retry", gate.open_to("retry-jobs", self.retry))
        app.router.add_get(_RETENTION, gate.open_to("see-retention", self.retention))
        app.router.add_post(f"{_RETENTION}/approve", gate.open_to("approve-retention", self.approve))
        app.router.add_post(
            f"{_RETENTION}/approve-accounts", gate.open_to("approve-retention", self.approve_accounts)
        )

    async def health(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Show how the service is.
        """
        context = context_of(request)
        backends = [
            (kind, outcomes.pop("ok", 0), sum(outcomes.values()), sorted(outcomes.items()))
            for kind, outcomes in sorted(context.metrics.backend_outcomes().items())
        ]
        work = await context.operating.desk.work()
        state = await context.operating.retention.state()
        return self._gate.page(
            "operator_health.html",
            desk,
            problems=await check(context),
            backends=backends,
            linked=await context.operating.desk.links(),
            stuck=len(work.stuck),
            waits=any(
                stop is not None and stop.approved_at is None
                for stop in (state.stop, await context.operating.unused.waiting())
            ),
        )

    async def jobs(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Show what is left to do, and what of it is stuck.
        """
        work = await operating_of(request).desk.work()
        told = request.query.get("retried", "")
        return self._gate.page(
            "operator_jobs.html",
            desk,
            here="/jobs",
            counts=sorted((kind, state, count) for (kind, state), count in work.counts.items()),
            stuck=work.stuck,
            may_retry=desk.operator.may("retry-jobs"),
            retried=int(told) if told.isascii() and told.isdigit() and len(told) < 10 else None,
        )

    async def retry(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Try a job again that was set aside, or all of them.
        """
        form = await own_form(request, desk)
        job_id = form.text("job")
        if not job_id and not form.is_ticked("all"):
            raise InvalidField("job", "is missing")
        count = await operating_of(request).desk.retry(job_id or None, by=desk.actor)
        if not count and job_id:
            raise NotFound(f"no job {job_id} is set aside")
        return see_other(f"{_JOBS}?retried={count}")

    async def retention(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Show how expiry stands, and what it waits for.
        """
        context = context_of(request)
        return self._gate.page(
            "operator_retention.html",
            desk,
            here="/retention",
            state=await context.operating.retention.state(),
            accounts=await context.operating.unused.waiting(),
            days=context.settings.retention.recordings_days,
            may_approve=desk.operator.may("approve-retention"),
        )

    async def approve(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Let a sweep go on that waits, if it is the one that was shown.
        """
        form = await own_form(request, desk)
        due, stored_before = _number(form, "recordings"), _day(form, "stored_before")
        await operating_of(request).retention.approve(by=desk.actor, due=due, stored_before=stored_before)
        return see_other(_RETENTION)

    async def approve_accounts(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Let accounts end that nobody uses, if they are those that were shown.
        """
        form = await own_form(request, desk)
        context = context_of(request)
        await context.operating.unused.approve(
            by=desk.actor,
            due=_number(form, "accounts"),
            ends_before=_day(form, "unused_until"),
            at=context.people.clock.now_ms(),
        )
        return see_other(_RETENTION)


def _number(form: Form, name: str) -> int:
    text = form.text(name)
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise InvalidField(name, "is no whole number")
    return int(text)


def _day(form: Form, name: str) -> int:
    try:
        day = datetime.strptime(form.text(name), "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidField(name, "is no day such as 2026-01-31") from None
    return int(day.timestamp()) * 1000
