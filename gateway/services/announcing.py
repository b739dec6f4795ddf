"""
Telling many the same: a run goes through its users, a batch in each transaction, and goes on where it was cut.

What a run says is in clear, for it is the same for all; nothing personal belongs there.
"""

import uuid
from collections.abc import AsyncIterable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from gateway.base.clock import Clock
from gateway.base.ids import UserId
from gateway.catalog import notice_runs, users
from gateway.catalog import notices as catalog
from gateway.catalog.jobs import enqueue_job, enqueue_jobs, parked_subjects
from gateway.catalog.notice_runs import Audience, Run, RunState
from gateway.catalog.notices import MAIL_OF_RUN, Notice
from gateway.database import Connection, Database
from gateway.notice_settings import Notices as Limits
from gateway.services.errors import InvalidField, NotFound
from gateway.services.notice_texts import Facts
from gateway.services.notices import Notices
from gateway.services.work import NotNow

log = structlog.get_logger()

ANNOUNCE: Final = "announce"
"""The kind of the job that carries a run on; the subject is the run's id."""

SENT_BY_OPERATORS: Final = ("announcement", "breach", "transfer")
_LISTED_TOGETHER: Final = 500
_LONGEST_BODY: Final = 100_000
_BATCHES: Final = 20
"""Then others' jobs have their turn."""


@dataclass(frozen=True, slots=True)
class RunView:
    """
    A run, and how many of its notices are in which state.
    """

    run: Run
    counts: dict[str, int]


class Announcing:
    """
    Begins runs, and carries them through.
    """

    def __init__(self, catalog_db: Database, notices: Notices, clock: Clock, limits: Limits) -> None:
        self._catalog = catalog_db
        self._notices = notices
        self._clock = clock
        self._limits = limits

    async def announce(
        self,
        kind: str,
        *,
        title: str,
        body: str,
        is_promotional: bool = False,
        to: Iterable[UserId] | None = None,
    ) -> str:
        """
        Tell all users, or those that *to* names, something in the operator's own words; return the run's id.

        *body* is Markdown. Nobody is told before it is written down for whom it is.

        Raises:
            InvalidField: a value is empty or too long, the kind is none that an operator sends, or is never promotional.
            NotFound: there is no user of one of these ids; nobody is told.
        """
        if kind not in SENT_BY_OPERATORS:
            raise InvalidField("kind", f"is none of {', '.join(SENT_BY_OPERATORS)}")
        if is_promotional and kind != "announcement":
            raise InvalidField("promotional", f"does not go with {kind}, which everybody has to be told")
        if not title.strip() or not body.strip():
            raise InvalidField("template", "needs a line that begins with # as its title, and a text")
        if len(body) > _LONGEST_BODY or len(title) > 200:
            raise InvalidField(
                "template", f"is longer than {_LONGEST_BODY} characters, or its title than 200"
            )
        run = self._run(
            kind,
            {"title": title.strip(), "body": body.strip()},
            is_promotional=is_promotional,
            audience="all" if to is None else "listed",
            state="running" if to is None else "preparing",
        )
        async with self._catalog.write() as connection:
            await self._begin(connection, run)
        if to is not None:
            await self._list(run, to)
        log.warning("audit.notice_sent", run=run.id, kind=kind, audience=run.audience)
        return run.id

    async def begin_for_all(self, connection: Connection, kind: str, facts: Facts) -> str:
        """
        Tell all users something, from the caller's transaction on; return the run's id.
        """
        run = self._run(kind, facts, is_promotional=False, audience="all", state="running")
        await self._begin(connection, run)
        return run.id

    async def carry_on(self, run_id: str) -> None:
        """
        Tell the next users of a run.

        Raises:
            NotNow: there are more, and others' jobs have their turn first.
        """
        for _ in range(_BATCHES):
            if not await self._tell_batch(run_id):
                return
        raise NotNow("there are more to be told", delay_ms=0)

    async def list_runs(self, *, limit: int = 100) -> list[RunView]:
        """
        Return runs, latest first.
        """
        async with self._catalog.read() as connection:
            return [
                RunView(run, await catalog.count_by_mail_state(connection, run.id))
                for run in await notice_runs.list_runs(connection, limit=limit)
            ]

    async def get(self, run_id: str) -> RunView:
        """
        Return a run.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._catalog.read() as connection:
            run = await notice_runs.get_run(connection, run_id)
            if run is None:
                raise NotFound(f"there is no notice {run_id}")
            return RunView(run, await catalog.count_by_mail_state(connection, run_id))

    async def stuck_runs(self) -> set[str]:
        """
        Return the ids of runs that somebody has to act upon before they go on.
        """
        async with self._catalog.read() as connection:
            return await parked_subjects(connection, ANNOUNCE)

    async def told_by(self, run_id: str) -> AsyncIterable[Notice]:
        """
        Yield who was told by a run, and when.
        """
        after = UserId("")
        while True:
            async with self._catalog.read() as connection:
                found = await catalog.notices_of_run(connection, run_id, after=after, limit=_LISTED_TOGETHER)
            if not found:
                return
            for notice in found:
                yield notice
            after = found[-1].user_id

    def _run(
        self, kind: str, facts: Facts, *, is_promotional: bool, audience: Audience, state: RunState
    ) -> Run:
        return Run(
            id=str(uuid.uuid4()),
            kind=kind,
            is_promotional=is_promotional,
            facts=dict(facts),
            audience=audience,
            state=state,
            position=UserId(""),
            created_at=self._clock.now_ms(),
        )

    async def _begin(self, connection: Connection, run: Run) -> None:
        await notice_runs.insert_run(connection, run)
        if run.state == "running":
            await enqueue_job(connection, ANNOUNCE, run.id)

    async def _list(self, run: Run, to: Iterable[UserId]) -> None:
        """
        Write down for whom a run is, and begin it.
        """
        batch: list[UserId] = []
        for user_id in to:
            batch.append(user_id)
            if len(batch) == _LISTED_TOGETHER:
                await self._add(run, batch)
                batch = []
        await self._add(run, batch)
        async with self._catalog.write() as connection:
            await notice_runs.start_run(connection, run.id)
            await enqueue_job(connection, ANNOUNCE, run.id)

    async def _add(self, run: Run, batch: Sequence[UserId]) -> None:
        async with self._catalog.write() as connection:
            unknown = await notice_runs.add_to_audience(connection, run.id, batch) if batch else ()
        if unknown:
            raise NotFound(f"there is no user {unknown[0]}; nobody was told")

    async def _tell_batch(self, run_id: str) -> bool:
        """
        Tell the next batch; False if there is nobody left.
        """
        async with self._catalog.write() as connection:
            # Two that carry it on at once would tell nobody twice, but wait for each other at the users.
            run = await notice_runs.get_run(connection, run_id, lock=True)
            if run is None or run.state != "running":
                return False
            found = await notice_runs.next_users(connection, run, limit=self._limits.batch)
            if not found:
                await notice_runs.end_run(connection, run_id, at=self._clock.now_ms())
                return False
            active = await users.lock_active_users(connection, found)
            wanted = await catalog.promotional_wanted(connection, active) if run.is_promotional else active
            told = [self._notice(run, user_id, by_mail=user_id in wanted) for user_id in sorted(active)]
            if told:
                await catalog.insert_notices(connection, told)
            if queued := [notice.id for notice in told if notice.mail_state == "queued"]:
                await enqueue_jobs(connection, MAIL_OF_RUN, queued)
            await notice_runs.move_run(connection, run_id, found[-1])
        return True

    def _notice(self, run: Run, user_id: UserId, *, by_mail: bool) -> Notice:
        # Its id is made of both, so that one that is there already is not queued again.
        notice_id = str(uuid.uuid5(uuid.UUID(run.id), user_id))
        notice = self._notices.notice(notice_id, user_id, run.kind, occasion=run.id, run_id=run.id)
        if by_mail or notice.mail_state == "none":
            return notice
        return replace(notice, mail_state="none", mail_reason="opted-out")
