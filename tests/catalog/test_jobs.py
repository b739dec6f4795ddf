"""
Durable work: who may do it, and whose word about it counts.
"""

import asyncio

import pytest
from sqlalchemy import select, update

from gateway.catalog import jobs as catalog
from gateway.catalog.jobs import DueJobs, Job
from gateway.catalog.tables import jobs
from gateway.database import Database, db_now_ms

KINDS = ["place", "erase"]


async def enqueued(database: Database, *subjects: str, kind: str = "place") -> None:
    async with database.write() as connection:
        for subject in subjects:
            await catalog.enqueue_job(connection, kind, subject)


async def due_now(database: Database) -> list[DueJobs]:
    async with database.read() as connection:
        return await catalog.find_due(connection, KINDS)


async def queues_due(database: Database) -> list[tuple[str, str]]:
    return [(due.kind, due.state) for due in await due_now(database)]


async def claimed_at_once(
    database: Database, holder: str = "one", lease_ms: int = 60_000, limit: int = 1
) -> list[Job]:
    async with database.write() as connection:
        due = await catalog.find_due(connection, KINDS)
        return await catalog.claim_jobs(connection, due, holder=holder, lease_ms=lease_ms, limit=limit)


async def claimed(database: Database, holder: str = "one", lease_ms: int = 60_000) -> Job | None:
    jobs = await claimed_at_once(database, holder, lease_ms)
    return jobs[0] if jobs else None


async def sure(database: Database, holder: str = "one") -> Job:
    job = await claimed(database, holder)
    assert job is not None
    return job


async def changed(database: Database, **values: object) -> None:
    """
    Set columns of every job, as time or an operator would.
    """
    async with database.write() as connection:
        await connection.execute(update(jobs).values(**values))


async def lease_ended(database: Database) -> None:
    await changed(database, lease_until=db_now_ms() - 1)


async def test_a_job_is_done_by_one(catalog_database: Database) -> None:
    await enqueued(catalog_database, "a")

    first, second = await claimed(catalog_database), await claimed(catalog_database, "two")

    assert first is not None
    assert ("a", "place", 1, 1) == (first.subject_id, first.kind, first.attempts, first.fence)
    assert second is None


async def test_claims_at_once_get_different_jobs(catalog_database: Database) -> None:
    await enqueued(catalog_database, *"abcdefgh")

    found = await asyncio.gather(*(claimed(catalog_database, str(number)) for number in range(10)))

    assert list("abcdefgh") == sorted(job.subject_id for job in found if job is not None)


async def test_the_longest_due_comes_first_and_what_is_not_due_waits(catalog_database: Database) -> None:
    await enqueued(catalog_database, "later", "sooner", "not yet")
    async with catalog_database.write() as connection:
        for subject, delay in (("later", -1000), ("sooner", -2000), ("not yet", 60_000)):
            await connection.execute(
                update(jobs).where(jobs.c.subject_id == subject).values(run_at=db_now_ms() + delay)
            )

    found = [await claimed(catalog_database) for _ in range(3)]

    assert ["sooner", "later", None] == [job and job.subject_id for job in found]


async def test_the_kind_with_the_longest_due_job_comes_first(catalog_database: Database) -> None:
    await enqueued(catalog_database, "a", "b")
    await enqueued(catalog_database, "c", kind="erase")
    delays = {"a": -1000, "b": -3000, "c": -2000}
    async with catalog_database.write() as connection:
        for subject, delay in delays.items():
            await connection.execute(
                update(jobs).where(jobs.c.subject_id == subject).values(run_at=db_now_ms() + delay)
            )
    place, erase = ("place", "ready"), ("erase", "ready")
    assert [place, erase] == await queues_due(catalog_database)
    assert 3000 <= (await due_now(catalog_database))[0].waited_ms < 60_000

    assert "b" == (await sure(catalog_database)).subject_id
    assert [erase, place] == await queues_due(catalog_database)

    # Its lease has run out, and it is due since then.
    await changed(catalog_database, lease_until=db_now_ms() - 1500)
    assert [erase, ("place", "running"), place] == await queues_due(catalog_database)
    found = [(await sure(catalog_database)).subject_id for _ in range(3)]
    assert ["c", "b", "a"] == found
    assert [] == await due_now(catalog_database)


async def test_only_the_kinds_that_are_asked_for_are_claimed(catalog_database: Database) -> None:
    await enqueued(catalog_database, "a", kind="something else")

    assert await claimed(catalog_database) is None


async def test_the_same_work_is_there_once(catalog_database: Database) -> None:
    await enqueued(catalog_database, "a", "a")
    await enqueued(catalog_database, "a", kind="erase")

    async with catalog_database.read() as connection:
        assert {("place", "ready"): 1, ("erase", "ready"): 1} == await catalog.count_jobs(connection)


async def test_after_its_end_a_lease_is_another_s(catalog_database: Database) -> None:
    await enqueued(catalog_database, "a")
    first = await sure(catalog_database)
    assert await claimed(catalog_database, "two") is None
    await lease_ended(catalog_database)

    second = await sure(catalog_database, "two")

    assert (first.id, 2, 2) == (second.id, second.attempts, second.fence)


async def test_a_lease_that_is_renewed_does_not_end(catalog_database: Database) -> None:
    await enqueued(catalog_database, "a")
    job = await sure(catalog_database)
    await lease_ended(catalog_database)

    async with catalog_database.write() as connection:
        assert await catalog.renew_lease(connection, job, lease_ms=60_000)

    assert await claimed(catalog_database, "two") is None


@pytest.mark.parametrize("word", ["renew", "finish", "retry", "park"])
async def test_the_word_of_a_worker_that_came_too_late_does_not_count(
    catalog_database: Database, word: str
) -> None:
    await enqueued(catalog_database, "a")
    late = await sure(catalog_database)
    await lease_ended(catalog_database)
    job = await sure(catalog_database, "two")

    async with catalog_database.write() as connection:
        counted = {
            "renew": catalog.renew_lease(connection, late, lease_ms=60_000),
            "finish": catalog.finish_jobs(connection, [late]),
            "retry": catalog.retry_job(connection, late, delay_ms=0, error="x"),
            "park": catalog.park_job(connection, late, error="x"),
        }
        results = {name: await call if name == word else call.close() for name, call in counted.items()}
    assert not results[word]

    async with catalog_database.read() as connection:
        row = (await connection.execute(select(jobs))).one()
    assert ("running", 2, "two", None) == (row.state, row.fence, row.lease_holder, row.last_error)
    async with catalog_database.write() as connection:
        await catalog.finish_jobs(connection, [late, job])
    assert await claimed(catalog_database) is None
    async with catalog_database.read() as connection:
        assert [] == (await connection.execute(select(jobs))).all()


async def test_a_job_that_is_put_back_waits_its_time(catalog_database: Database) -> None:
    await enqueued(catalog_database, "a")
    job = await sure(catalog_database)

    async with catalog_database.write() as connection:
        assert await catalog.retry_job(connection, job, delay_ms=60_000, error="Transient: try later")

    assert await claimed(catalog_database) is None
    await changed(catalog_database, run_at=db_now_ms())
    again = await sure(catalog_database)
    assert (2, 2) == (again.attempts, again.fence)
    async with catalog_database.read() as connection:
        [row] = await catalog.list_jobs(connection)
    assert "Transient: try later" == row.last_error


async def test_a_parked_job_waits_for_someone(catalog_database: Database) -> None:
    await enqueued(catalog_database, "a", "b")
    job = await sure(catalog_database)
    async with catalog_database.write() as connection:
        assert await catalog.park_job(connection, job, error="Damaged")
    await lease_ended(catalog_database)
    assert {"a", "b"} == {job.subject_id, (await sure(catalog_database)).subject_id}
    assert await claimed(catalog_database) is None

    async with catalog_database.write() as connection:
        assert 1 == await catalog.retry_parked_jobs(connection, job.id)
        assert 0 == await catalog.retry_parked_jobs(connection, None)

    again = await sure(catalog_database)
    assert (job.id, 1) == (again.id, again.attempts)
    assert again.fence > job.fence


async def test_the_leases_of_a_node_that_is_gone_are_given_back(catalog_database: Database) -> None:
    await enqueued(catalog_database, "a", "b", "c")
    holders = [await sure(catalog_database, holder) for holder in ("node_1", "node_1", "nodeX1")]

    async with catalog_database.write() as connection:
        assert 2 == await catalog.release_leases(connection, holder_prefix="node_1")

    freed = {(await sure(catalog_database)).subject_id for _ in range(2)}
    assert {job.subject_id for job in holders[:2]} == freed
    assert await claimed(catalog_database) is None


async def test_several_are_claimed_at_once_each_of_them_once(catalog_database: Database) -> None:
    await enqueued(catalog_database, *"abcde")
    first, second, third = [
        await claimed_at_once(catalog_database, holder, limit=3) for holder in ("one", "two", "three")
    ]
    assert [] == third
    assert (3, 2) == (len(first), len(second))
    assert sorted("abcde") == sorted(job.subject_id for job in first + second)
