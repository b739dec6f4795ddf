"""
Durable work: rows with a lease, a fence, attempts and a time.

A job is inserted in the transaction of the fact that calls for it.
Claiming one takes a lease that ends by database time; finishing, failing and renewing name the fence that the claim gave,
and a worker that slept through its lease finds that its fence no longer counts.
Arguments are ids, never keys or personal data.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, Select, and_, bindparam, delete, func, or_, select, update

from gateway.catalog.tables import jobs, moves, placements
from gateway.database import Connection, db_now_ms, insert_or_ignore


@dataclass(frozen=True, slots=True)
class Job:
    """
    A claimed job.
    """

    id: str
    kind: str
    subject_id: str
    attempts: int
    fence: int


async def enqueue_job(connection: Connection, kind: str, subject_id: str) -> None:
    """
    Add a job that is due now; one of the same kind and subject that is there already is left as it is.
    """
    await enqueue_jobs(connection, kind, [subject_id])


async def enqueue_jobs(connection: Connection, kind: str, subject_ids: Sequence[str]) -> None:
    """
    Add a job for each of the subjects, as `enqueue_job` does.
    """
    rows = [{"id": uuid.uuid4().hex, "kind": kind, "subject_id": subject} for subject in subject_ids]
    await connection.execute(_NEW[connection.dialect.name], rows)


# Made once, as those below: a statement remembers what it was compiled to.
_NEW: Final = {
    dialect: insert_or_ignore(jobs, dialect).values(
        id=bindparam("id"),
        kind=bindparam("kind"),
        subject_id=bindparam("subject_id"),
        state="ready",
        run_at=db_now_ms(),
        attempts=0,
        fence=0,
        created_at=db_now_ms(),
    )
    for dialect in ("sqlite", "postgresql")
}


@dataclass(frozen=True, slots=True)
class DueJobs:
    """
    Jobs of one kind that can be claimed; those of *state* "running" because their lease has run out.
    """

    kind: str
    state: str
    waited_ms: int
    """For how long the longest due one has been due, by the database's clock."""


async def find_due(connection: Connection, kinds: Sequence[str]) -> list[DueJobs]:
    """
    Return of which kinds there are jobs to claim, the kind with the job that is longest due first.

    What it costs does not depend on how many jobs there are, of these kinds and of others.
    """
    queues = [(kind, state) for kind in kinds for state in _DUE_SINCE]
    now, *since = (await connection.execute(_longest_due(tuple(kinds)))).one()
    due = [(at, number) for number, at in enumerate(since) if at is not None and at <= now]
    return [DueJobs(*queues[number], waited_ms=now - at) for at, number in sorted(due)]


async def claim_jobs(
    connection: Connection, due: Sequence[DueJobs], *, holder: str, lease_ms: int, limit: int = 1
) -> list[Job]:
    """
    Take up to *limit* of the jobs that `find_due` told of, as far as they are still there; of each kind the longest due.
    """
    job_ids: list[str] = []
    for jobs_of_kind in due:
        values = {"kind": jobs_of_kind.kind, "most": limit - len(job_ids)}
        job_ids += (await connection.execute(_DUE[jobs_of_kind.state], values)).scalars()
        if len(job_ids) == limit:
            break
    if not job_ids:
        return []
    taken = {"job_ids": job_ids, "holder": holder, "lease_ms": lease_ms}
    return [Job(*row) for row in await connection.execute(_CLAIMED, taken)]


_DUE_SINCE: Final = {"ready": jobs.c.run_at, "running": jobs.c.lease_until}
_DUE: Final = {
    state: select(jobs.c.id)
    .where(jobs.c.state == state, jobs.c.kind == bindparam("kind"), since <= db_now_ms())
    .order_by(since)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True)
    for state, since in _DUE_SINCE.items()
}


@cache
def _longest_due(kinds: tuple[str, ...]) -> Select[Any]:
    """
    Ask for the database's time, and since when the longest due job of each kind and state has been due.
    """
    # One look into the index for each: asked for all kinds at once, every job would be looked at.
    longest = [
        select(func.min(since)).where(jobs.c.state == state, jobs.c.kind == kind).scalar_subquery()
        for kind in kinds
        for state, since in _DUE_SINCE.items()
    ]
    return select(
        db_now_ms().label("now"), *(each.label(f"since_{number}") for number, each in enumerate(longest))
    )


_CLAIMED: Final = (
    update(jobs)
    .where(jobs.c.id.in_(bindparam("job_ids", expanding=True)))
    .values(
        state="running",
        attempts=jobs.c.attempts + 1,
        fence=jobs.c.fence + 1,
        lease_holder=bindparam("holder"),
        lease_until=db_now_ms() + bindparam("lease_ms", type_=BigInteger),
    )
    .returning(jobs.c.id, jobs.c.kind, jobs.c.subject_id, jobs.c.attempts, jobs.c.fence)
)


async def renew_lease(connection: Connection, job: Job, *, lease_ms: int) -> bool:
    """
    Prolong the lease; False if it was lost.
    """
    result = await connection.execute(
        update(jobs)
        .where(jobs.c.id == job.id, jobs.c.fence == job.fence, jobs.c.state == "running")
        .values(lease_until=db_now_ms() + lease_ms)
    )
    return result.rowcount == 1


async def finish_jobs(connection: Connection, done: Sequence[Job]) -> None:
    """
    Remove jobs that are done; one whose lease was lost stays, for whoever has it now.
    """
    await connection.execute(_FINISHED, [{"job_id": job.id, "job_fence": job.fence} for job in done])


_FINISHED: Final = delete(jobs).where(
    jobs.c.id == bindparam("job_id"), jobs.c.fence == bindparam("job_fence")
)


async def retry_job(
    connection: Connection, job: Job, *, delay_ms: int, error: str, is_failure: bool = True
) -> bool:
    """
    Put the job back for a later attempt; what was no failure is not counted as one.
    """
    result = await connection.execute(
        update(jobs)
        .where(jobs.c.id == job.id, jobs.c.fence == job.fence)
        .values(
            state="ready",
            run_at=db_now_ms() + delay_ms,
            attempts=jobs.c.attempts if is_failure else 0,
            last_error=error,
            lease_holder=None,
            lease_until=None,
        )
    )
    return result.rowcount == 1


async def park_job(connection: Connection, job: Job, *, error: str) -> bool:
    """
    Set the job aside until someone acts.
    """
    result = await connection.execute(
        update(jobs)
        .where(jobs.c.id == job.id, jobs.c.fence == job.fence)
        .values(state="parked", last_error=error, lease_holder=None, lease_until=None)
    )
    return result.rowcount == 1


async def release_leases(connection: Connection, *, holder_prefix: str) -> int:
    """
    Make jobs ready again whose holder is known to be gone; return how many.
    """
    result = await connection.execute(
        update(jobs)
        .where(jobs.c.state == "running", jobs.c.lease_holder.startswith(holder_prefix, autoescape=True))
        .values(state="ready", lease_holder=None, lease_until=None)
    )
    return result.rowcount


@dataclass(frozen=True, slots=True)
class JobRow:
    """
    A job as an operator sees it; times are Unix ms.
    """

    id: str
    kind: str
    subject_id: str
    state: str
    attempts: int
    run_at: int
    last_error: str | None


_ROW = (
    jobs.c.id,
    jobs.c.kind,
    jobs.c.subject_id,
    jobs.c.state,
    jobs.c.attempts,
    jobs.c.run_at,
    jobs.c.last_error,
)


async def list_jobs(connection: Connection) -> list[JobRow]:
    """
    Return every job, those that wait for someone first.
    """
    query = select(*_ROW).order_by(jobs.c.state != "parked", jobs.c.run_at, jobs.c.id)
    return [JobRow(*row) for row in await connection.execute(query)]


async def find_job(connection: Connection, kind: str, subject_id: str) -> JobRow | None:
    """
    Return the job of that kind and subject, if there is one.
    """
    query = select(*_ROW).where(jobs.c.kind == kind, jobs.c.subject_id == subject_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else JobRow(*row)


async def wake_jobs_of_place(connection: Connection, place: str) -> int:
    """
    Make everything due again that was set aside at *place*, with a fresh count of attempts; return how much it was.
    """
    copies = select(placements.c.blob_key).where(
        placements.c.backend == place, placements.c.state == "pending"
    )
    running = select(moves.c.id).where(
        or_(moves.c.source == place, moves.c.target == place), moves.c.state == "running"
    )
    result = await connection.execute(
        update(jobs)
        .where(
            jobs.c.state.in_(("parked", "ready")),
            or_(
                and_(jobs.c.kind == "copy", jobs.c.subject_id.in_(copies)),
                and_(jobs.c.kind == "move", jobs.c.subject_id.in_(running)),
                and_(jobs.c.kind == "empty", jobs.c.subject_id == place),
            ),
        )
        .values(state="ready", run_at=db_now_ms(), attempts=0)
    )
    return result.rowcount


async def retry_parked_jobs(connection: Connection, job_id: str | None) -> int:
    """
    Make a parked job, or all of them, due again with a fresh count of attempts; return how many.
    """
    change = (
        update(jobs).where(jobs.c.state == "parked").values(state="ready", run_at=db_now_ms(), attempts=0)
    )
    if job_id is not None:
        change = change.where(jobs.c.id == job_id)
    return (await connection.execute(change)).rowcount


async def parked_subjects(connection: Connection, kind: str) -> set[str]:
    """
    Return of which subjects jobs of that kind are set aside.
    """
    query = select(jobs.c.subject_id).where(jobs.c.state == "parked", jobs.c.kind == kind)
    return set((await connection.execute(query)).scalars())


async def count_jobs(connection: Connection) -> dict[tuple[str, str], int]:
    """
    Return how many jobs there are of each (kind, state).
    """
    query = select(jobs.c.kind, jobs.c.state, func.count()).group_by(jobs.c.kind, jobs.c.state)
    return {(kind, state): count for kind, state, count in await connection.execute(query)}
