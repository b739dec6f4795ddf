"""
Carrying out durable jobs.

A worker claims one job at a time under a lease, keeps the lease while it works, and decides by the error's disposition
whether to try again, to set the job aside, or to give it up for someone to look at.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

import structlog

from gateway.api.errors import BackendError, Disposition
from gateway.base.batches import Batches
from gateway.base.ids import RecordingId, UserId
from gateway.catalog.jobs import Job, claim_jobs, find_due, finish_jobs, park_job, renew_lease, retry_job
from gateway.crypto.errors import CryptoError
from gateway.database import Database, DatabaseUnavailable
from gateway.services.checking import CheckService
from gateway.services.copying import CopyService
from gateway.services.erasure import ErasureService
from gateway.services.export_making import ExportMaking
from gateway.services.exports import ExportService
from gateway.services.leaving import LeavingService
from gateway.services.look_up_replacement import LookUpReplacement
from gateway.services.moving import MoveService
from gateway.services.placement import PlacementService
from gateway.services.retention import RetentionService
from gateway.services.work import Courtesy, NotNow, WorkBell
from gateway.settings import Jobs as Limits

log = structlog.get_logger()

Handler = Callable[[str], Awaitable[None]]

_LONGEST_ERROR: Final = 500
_MOST_FINISHED: Final = 100
_NOTE_AGAIN_S: Final = 1.0
_WOKEN_BY_EACH: Final = 2
"""Workers that one wakes who found more than he takes: so many are soon at it, and those that come together claim together."""


def placing_handlers(placement: PlacementService) -> dict[str, Handler]:
    """
    Return who brings recordings home, for which nobody waits.
    """
    return {"place": _of_recording(placement.place)}


def job_handlers(
    erasure: ErasureService,
    retention: RetentionService,
    leaving: LeavingService,
    look_ups: LookUpReplacement,
) -> dict[str, Handler]:
    """
    Return who does the work that others wait for: shredding, above all.
    """

    async def sweep(_: str) -> None:
        await retention.sweep()

    async def replace_look_ups(_: str) -> None:
        await look_ups.carry_on()

    return {
        "erase": _of_recording(erasure.finish_recording),
        "discard": _of_recording(erasure.discard_upload),
        "expire": erasure.ranges.finish,
        "expire-uploads": erasure.ranges.finish_uploads,
        "retention": sweep,
        "erase-account": lambda subject_id: leaving.finish(UserId(subject_id)),
        "leave": lambda subject_id: leaving.leave(UserId(subject_id)),
        "look-ups": replace_look_ups,
    }


def copy_handlers(
    copies: CopyService, checks: CheckService, moves: MoveService, erasure: ErasureService
) -> dict[str, Handler]:
    """
    Return who does the work that depends on clouds, and so may take long.
    """

    async def check(recording_id: RecordingId) -> None:
        await checks.check(recording_id)

    return {
        "copy": copies.copy,
        "trim": _of_recording(copies.trim),
        "check": _of_recording(check),
        "move": moves.carry_on,
        "empty": moves.empty,
        "purge": _of_recording(erasure.purge_recording),
        "purge-expired": erasure.ranges.purge,
        "sweep-left": erasure.sweep_left,
    }


def export_handlers(making: ExportMaking, exports: ExportService) -> dict[str, Handler]:
    """
    Return who prepares exports, which may take hours each, and destroys their keys.
    """
    return {"export": making.carry_on, "end-export": exports.shred}


def _of_recording(handler: Callable[[RecordingId], Awaitable[None]]) -> Handler:
    return lambda subject_id: handler(RecordingId(uuid.UUID(subject_id)))


class JobDesk:
    """
    Where the workers of this process claim jobs of some kinds and hand them back done: all that come at once, together.
    """

    def __init__(self, catalog_db: Database, kinds: Sequence[str], limits: Limits, *, node: str) -> None:
        self._catalog = catalog_db
        self._kinds = kinds
        self._node = node
        self._lease_ms = limits.lease_s * 1000
        self._claims = Batches(self._claim_all, most=limits.workers + limits.copy_workers)
        self._done = Batches(self._finish_all, most=_MOST_FINISHED)
        self.has_more = False
        """Whether the last claim probably left jobs that are due."""
        self.waited_s = 0.0
        """For how long the longest due job had waited at the last claim; 0 if there was none."""

    async def claim(self) -> Job | None:
        """
        Take a job that is due, if there is one.
        """
        return await self._claims.submit(None)

    async def finish(self, job: Job) -> None:
        """
        Remove a job that is done, unless its lease was lost.
        """
        await self._done.submit(job)

    async def close(self) -> None:
        """
        Let what is being claimed and handed back come to its end.
        """
        await self._claims.close()
        await self._done.close()

    async def _claim_all(self, asked: Sequence[None]) -> list[Job | None]:
        async with self._catalog.read() as connection:
            due = await find_due(connection, self._kinds)
        self.has_more = False
        self.waited_s = max((each.waited_ms for each in due), default=0) / 1000
        if not due:
            return [None] * len(asked)
        async with self._catalog.write() as connection:
            claimed = await claim_jobs(
                connection, due, holder=self._node, lease_ms=self._lease_ms, limit=len(asked)
            )
        self.has_more = len(claimed) == len(asked)
        return [*claimed, *[None] * (len(asked) - len(claimed))]

    async def _finish_all(self, done: Sequence[Job]) -> list[None]:
        async with self._catalog.write() as connection:
            await finish_jobs(connection, done)
        return [None] * len(done)


class JobWorker:
    """
    Takes due jobs one after the other.
    """

    def __init__(
        self,
        catalog_db: Database,
        handlers: Mapping[str, Handler],
        bell: WorkBell,
        limits: Limits,
        *,
        node: str,
        desk: JobDesk | None = None,
        courtesy: Courtesy | None = None,
    ) -> None:
        self._catalog = catalog_db
        self._handlers = handlers
        self._bell = bell
        self._limits = limits
        self._courtesy = courtesy
        self._desk = desk or JobDesk(catalog_db, list(handlers), limits, node=node)

    async def run(self) -> None:
        """
        Work until cancelled.
        """
        while True:
            if self._courtesy is not None:
                await self._courtesy.let_pass(self._limits.courtesy_s - self._desk.waited_s)
            if not await self.run_one():
                await self._bell.wait(self._limits.poll_interval_s)

    async def run_one(self) -> bool:
        """
        Do the job that is due longest; False if none is.
        """
        job = await self._desk.claim()
        if job is None:
            return False
        if self._desk.has_more:
            self._bell.wake(_WOKEN_BY_EACH)
        work = asyncio.ensure_future(self._handlers[job.kind](job.subject_id))
        keeping = asyncio.create_task(self._keep_lease(job, work))
        try:
            await work
        except asyncio.CancelledError:
            if not work.cancelled() or _is_being_cancelled():
                work.cancel()
                raise
            log.warning("job.lease_lost", job=job.id, kind=job.kind)
        except NotNow as later:
            async with self._catalog.write() as connection:
                await retry_job(connection, job, delay_ms=later.delay_ms, error=str(later), is_failure=False)
        except Exception as error:  # noqa: BLE001 - a job that fails is put back or parked, whatever failed it
            await self._noted(partial(self._failed, job, error))
        else:
            await self._noted(partial(self._desk.finish, job))
        finally:
            keeping.cancel()
        return True

    async def _keep_lease(self, job: Job, work: "asyncio.Future[None]") -> None:
        """
        Renew the lease while the work goes on; without it the work must stop.
        """
        while True:
            await asyncio.sleep(self._limits.lease_s / 3)
            async with self._catalog.write() as connection:
                if not await renew_lease(connection, job, lease_ms=self._limits.lease_s * 1000):
                    work.cancel()
                    return

    async def _noted(self, note: Callable[[], Awaitable[None]]) -> None:
        """
        Note what came of a job, trying again while its lease may last: a database that was away for a moment would
        otherwise keep the job until the lease has run out.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._limits.lease_s
        while True:
            try:
                await note()
                return
            except DatabaseUnavailable as error:
                if loop.time() >= until:
                    raise
                # Whoever looks for what keeps work from being done finds it here before the lease has run out.
                log.warning("job.not_noted_yet", error=str(error))
            await asyncio.sleep(_NOTE_AGAIN_S)

    async def _failed(self, job: Job, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"[:_LONGEST_ERROR]
        parks = job.attempts >= self._limits.max_attempts or isinstance(error, CryptoError)
        if isinstance(error, BackendError):
            parks = parks or error.disposition is not Disposition.RETRY
        async with self._catalog.write() as connection:
            if parks:
                await park_job(connection, job, error=text)
            else:
                delay = min(
                    self._limits.backoff_base_ms * 2 ** (job.attempts - 1), self._limits.backoff_max_ms
                )
                await retry_job(connection, job, delay_ms=delay, error=text)
        log.error(
            "job.parked" if parks else "job.failed",
            job=job.id,
            kind=job.kind,
            subject=job.subject_id,
            attempts=job.attempts,
            error=text,
        )


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
