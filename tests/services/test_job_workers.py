"""
Workers: what becomes of a job, by what becomes of its work.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import select, update

from gateway.api.errors import AuthRevoked, Transient
from gateway.catalog import jobs as catalog
from gateway.catalog.tables import jobs
from gateway.crypto.errors import DamagedChunk
from gateway.database import Database, db_now_ms
from gateway.services.work import Courtesy, WorkBell
from gateway.settings import Jobs
from gateway.workers.jobs import JobDesk, JobWorker
from tests.support.waiting import until

Handler = Callable[[str], Awaitable[None]]


def worker(database: Database, handler: Handler, *, node: str = "node") -> JobWorker:
    return JobWorker(database, {"place": handler}, WorkBell(), Jobs(lease_s=1), node=node)


async def enqueued(database: Database, subject: str = "a") -> None:
    async with database.write() as connection:
        await catalog.enqueue_job(connection, "place", subject)


async def states(database: Database) -> list[tuple[str, int, str | None]]:
    async with database.read() as connection:
        return [(job.state, job.attempts, job.last_error) for job in await catalog.list_jobs(connection)]


async def test_work_that_is_done_is_gone(catalog_database: Database) -> None:
    done = []

    async def handler(subject: str) -> None:
        done.append(subject)

    await enqueued(catalog_database)

    assert await worker(catalog_database, handler).run_one()
    assert not await worker(catalog_database, handler).run_one()

    assert (["a"], []) == (done, await states(catalog_database))


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (Transient("down"), "ready"),
        (OSError("odd"), "ready"),
        (AuthRevoked("the grant is gone"), "parked"),
        (DamagedChunk(3), "parked"),
    ],
    ids=["transient", "unknown", "for good", "damage"],
)
async def test_an_error_decides_by_its_kind(catalog_database: Database, fault: Exception, state: str) -> None:
    async def handler(subject: str) -> None:
        raise fault

    await enqueued(catalog_database)

    await worker(catalog_database, handler).run_one()

    assert [(state, 1, f"{type(fault).__name__}: {fault}")] == await states(catalog_database)


async def test_a_long_error_is_kept_short(catalog_database: Database) -> None:
    async def handler(subject: str) -> None:
        raise Transient("x" * 100_000)

    await enqueued(catalog_database)
    await worker(catalog_database, handler).run_one()

    [(_, _, error)] = await states(catalog_database)
    assert error is not None
    assert len(error) <= 500


async def test_work_stops_when_its_lease_is_lost_and_changes_nothing(catalog_database: Database) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(subject: str) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    await enqueued(catalog_database)
    late = asyncio.create_task(worker(catalog_database, handler).run_one())
    await started.wait()
    async with catalog_database.write() as connection:
        await connection.execute(update(jobs).values(lease_until=db_now_ms() - 1))
        due = await catalog.find_due(connection, ["place"])
        [successor] = await catalog.claim_jobs(connection, due, holder="other", lease_ms=60_000)

    async with asyncio.timeout(10):
        assert await late
        await cancelled.wait()

    assert 2 == successor.fence
    async with catalog_database.read() as connection:
        row = (await connection.execute(select(jobs))).one()
    assert ("running", 2, "other", None) == (row.state, row.fence, row.lease_holder, row.last_error)


async def test_a_lease_lasts_as_long_as_the_work(catalog_database: Database) -> None:
    renewed = asyncio.Event()
    may_end = asyncio.Event()

    async def handler(subject: str) -> None:
        async with catalog_database.write() as connection:
            # All but over, as after a stall of the whole process.
            await connection.execute(update(jobs).values(lease_until=1))
        renewed.set()
        await may_end.wait()

    await enqueued(catalog_database)
    working = asyncio.create_task(worker(catalog_database, handler).run_one())
    await renewed.wait()

    async def is_renewed() -> bool:
        async with catalog_database.read() as connection:
            return bool((await connection.execute(select(jobs.c.lease_until > db_now_ms()))).scalar_one())

    await until(is_renewed)

    assert not await worker(catalog_database, handler, node="other").run_one()
    may_end.set()
    assert await working
    assert [] == await states(catalog_database)


async def test_a_worker_that_is_stopped_leaves_its_job_to_the_next_start(catalog_database: Database) -> None:
    started = asyncio.Event()

    async def handler(subject: str) -> None:
        started.set()
        await asyncio.Event().wait()

    await enqueued(catalog_database)
    stopped = asyncio.create_task(worker(catalog_database, handler).run())
    await started.wait()
    stopped.cancel()
    await asyncio.gather(stopped, return_exceptions=True)
    assert [("running", 1, None)] == await states(catalog_database)

    async with catalog_database.write() as connection:
        assert 1 == await catalog.release_leases(connection, holder_prefix="node")
    done = []

    async def finishing(subject: str) -> None:
        done.append(subject)

    assert await worker(catalog_database, finishing).run_one()
    assert (["a"], []) == (done, await states(catalog_database))


async def test_a_worker_who_finds_more_than_he_takes_wakes_others(catalog_database: Database) -> None:
    crew = 5
    together = asyncio.Barrier(crew)

    async def handler(subject: str) -> None:
        await together.wait()

    for number in range(crew):
        await enqueued(catalog_database, str(number))
    bell = WorkBell()
    limits = Jobs(poll_interval_s=1000)
    desk = JobDesk(catalog_database, ["place"], limits, node="node")
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        workers = [
            group.create_task(
                JobWorker(catalog_database, {"place": handler}, bell, limits, node="node", desk=desk).run()
            )
            for _ in range(crew)
        ]
        # Each of them has looked once; what comes now is told by one ring.
        await until(lambda: _is_empty(catalog_database))
        for number in range(crew):
            await enqueued(catalog_database, str(number))
        bell.ring()
        await until(lambda: _is_empty(catalog_database))
        for each in workers:
            each.cancel()


async def test_work_that_may_wait_lets_others_pass(catalog_database: Database) -> None:
    looks = 0
    is_busy = True

    def busy() -> bool:
        nonlocal looks
        looks += 1
        return is_busy

    done: list[str] = []

    async def handler(subject: str) -> None:
        done.append(subject)

    await enqueued(catalog_database)
    patient = JobWorker(
        catalog_database, {"place": handler}, WorkBell(), Jobs(), node="node", courtesy=Courtesy(busy)
    )
    async with asyncio.timeout(20):
        running = asyncio.create_task(patient.run())
        await until(lambda: looks >= 2)
        assert [] == done
        is_busy = False
        await until(lambda: bool(done))
    running.cancel()
    # Or a connection that it holds would be left to the garbage collector.
    await asyncio.wait([running])


async def test_work_that_has_waited_long_enough_lets_nobody_pass(catalog_database: Database) -> None:
    done: list[str] = []

    async def handler(subject: str) -> None:
        done.append(subject)

    await enqueued(catalog_database, "a")
    await enqueued(catalog_database, "b")
    async with catalog_database.write() as connection:
        await connection.execute(update(jobs).values(run_at=db_now_ms() - 100_000))
    limits = Jobs(courtesy_s=50)
    desk = JobDesk(catalog_database, ["place"], limits, node="node")
    assert await desk.claim() is not None
    assert 100 <= desk.waited_s < 200

    courtesy = Courtesy(lambda: True)
    impatient = JobWorker(
        catalog_database, {"place": handler}, WorkBell(), limits, node="node", desk=desk, courtesy=courtesy
    )
    async with asyncio.timeout(20):
        running = asyncio.create_task(impatient.run())
        await until(lambda: bool(done))
    running.cancel()
    # Or a connection that it holds would be left to the garbage collector.
    await asyncio.wait([running])


async def _is_empty(database: Database) -> bool:
    return not await states(database)
