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

from sqlalchemy import and_, delete, func, or_, select, update

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
    await connection.execute(
        insert_or_ignore(jobs, connection.dialect.name).values(
            id=uuid.uuid4().hex,
            kind=kind,
            subject_id=subject_id,
            state="ready",
            run_at=db_now_ms(),
            attempts=0,
            fence=0,
            created_at=db_now_ms(),
        )
    )


async def claim_job(
    connection: Connection, kinds: Sequence[str], *, holder: str, lease_ms: int
) -> Job | None:
    """
    Take the longest-due job of these kinds, or one whose lease has run out.
    """
    now = db_now_ms()
    due = (
        select(jobs.c.id)
        .where(
            jobs.c.kind.in_(kinds),
            or_(
                and_(jobs.c.state == "ready", jobs.c.run_at <= now),
                and_(jobs.c.state == "running", jobs.c.lease_until <= now),
            ),
        )
        .order_by(jobs.c.run_at, jobs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    job_id = (await connection.execute(due)).scalar_one_or_none()
    if job_id is None:
        return None
    claimed = (
        await connection.execute(
            update(jobs)
            .where(jobs.c.id == job_id)
            .values(
                state="running",
                attempts=jobs.c.attempts + 1,
                fence=jobs.c.fence + 1,
                lease_holder=holder,
                lease_until=now + lease_ms,
            )
            .returning(jobs.c.id, jobs.c.kind, jobs.c.subject_id, jobs.c.attempts, jobs.c.fence)
        )
    ).one()
    return Job(claimed.id, claimed.kind, claimed.subject_id, claimed.attempts, claimed.fence)


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


async def finish_job(connection: Connection, job: Job) -> bool:
    """
    Remove the job, which is done; False if its lease was lost.
    """
    result = await connection.execute(delete(jobs).where(jobs.c.id == job.id, jobs.c.fence == job.fence))
    return result.rowcount == 1


async def retry_job(connection: Connection, job: Job, *, delay_ms: int, error: str) -> bool:
    """
    Put the job back for a later attempt.
    """
    result = await connection.execute(
        update(jobs)
        .where(jobs.c.id == job.id, jobs.c.fence == job.fence)
        .values(
            state="ready",
            run_at=db_now_ms() + delay_ms,
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


async def count_jobs(connection: Connection) -> dict[tuple[str, str], int]:
    """
    Return how many jobs there are of each (kind, state).
    """
    query = select(jobs.c.kind, jobs.c.state, func.count()).group_by(jobs.c.kind, jobs.c.state)
    return {(kind, state): count for kind, state, count in await connection.execute(query)}
