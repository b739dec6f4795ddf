"""
Retention: recordings expire, but not because a clock is wrong.

The rule, see docs/decisions/0020: a sweep believes a time only if it is no further ahead of the latest time that was
believed before than time can have passed, as this process' monotonic clock tells it, and a step that is allowed.
What it does not believe, and what is more than is usual, waits for an operator.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from gateway.base.clock import Clock
from gateway.catalog.expiries import count_overdue
from gateway.catalog.jobs import enqueue_job
from gateway.catalog.markers import move_marker, read_marker
from gateway.catalog.retention_stops import Stop, change_stop, has_recordings, insert_stop, open_stop
from gateway.database import Connection, Database
from gateway.services.audit import AuditLog
from gateway.services.errors import NotFound
from gateway.services.ranges import RangeErasure
from gateway.services.roles import Actor
from gateway.services.work import WorkBell
from gateway.settings import Retention as Limits

log = structlog.get_logger()

_BELIEVED: Final = "retention-time"
_SWEPT: Final = "retention-swept"
_ASKED: Final = "retention-asked"
_DAY_MS: Final = 24 * 3600 * 1000
_MARKS_IN_A_STEP: Final = 24
_ALL: Final = 2**31 - 1


class _Uncounted(Exception):
    """
    How much is overdue must be counted, up to *most*.
    """

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.most = most


@dataclass(frozen=True, slots=True)
class _Course:
    """
    A time, and when on this process' monotonic clock it was so: where the wall clock is bound to be later.
    """

    at_ms: int
    monotonic_s: float

    def expected(self, monotonic_s: float) -> int:
        return self.at_ms + round((monotonic_s - self.monotonic_s) * 1000)


@dataclass(frozen=True, slots=True)
class Go:
    """
    A sweep that may begin: of recordings stored before *stored_before*; *stop* is the one that was approved, if it waited.

    *at* is the time that is believed, Unix ms.
    """

    at: int
    stored_before: int
    stop: Stop | None


@dataclass(frozen=True, slots=True)
class RetentionState:
    """
    What an operator sees; times are Unix ms, 0 where there is none.
    """

    believed_at: int
    swept_at: int
    stop: Stop | None


class RetentionService:
    """
    Decides when to sweep, and sweeps.

    *database_now* tells the time of a database that has a clock of its own.
    *others* is what else is done at a time that is believed, which each is given.
    """

    def __init__(
        self,
        catalog_db: Database,
        ranges: RangeErasure,
        audit: AuditLog,
        clock: Clock,
        bell: WorkBell,
        limits: Limits,
        *,
        database_now: Callable[[], Awaitable[int]] | None = None,
        others: Sequence[Callable[[int], Awaitable[object]]] = (),
        on_expired: Callable[[int], None] = lambda count: None,
        on_stopped: Callable[[bool], None] = lambda is_stopped: None,
    ) -> None:
        self._catalog = catalog_db
        self._ranges = ranges
        self._audit = audit
        self._clock = clock
        self._bell = bell
        self._limits = limits
        self._database_now = database_now
        self._others = others
        self._on_expired = on_expired
        self._on_stopped = on_stopped
        self._step_ms = limits.max_clock_step_s * 1000
        self._believed: _Course | None = None
        self._doubted: _Course | None = None

    async def tick(self) -> None:
        """
        Look at the time; call for a sweep where one is due. Done every minute or so, on every node.
        """
        if self._is_on and await self._may_sweep() is not None:
            async with self._catalog.write() as connection:
                await enqueue_job(connection, "retention", "sweep")
            self._bell.ring()

    async def sweep(self) -> int:
        """
        Expire what is overdue, if that may be done now; return how many recordings.

        The job that this is carries a lease: one node at a time does it. Cut short, it is taken up where it was.
        """
        if not self._is_on or (go := await self._may_sweep()) is None:
            return 0
        expired = await self._bury_and_shred(go)
        for other in self._others:
            await other(go.at)
        async with self._catalog.write() as connection:
            await move_marker(connection, _SWEPT, self._clock.now_ms())
            if go.stop is not None:
                await change_stop(connection, go.stop.id, ended_at=self._clock.now_ms())
        self._on_stopped(False)
        if expired:
            log.info("retention.swept", recordings=expired, stored_before=go.stored_before)
        return expired

    @property
    def _is_on(self) -> bool:
        return bool(self._limits.recordings_days or self._limits.erase_unused_accounts)

    async def _bury_and_shred(self, go: Go) -> int:
        """
        Make tombstones of what is overdue, batch by batch; while one batch is shredded the next one is buried.
        """
        expired, since = 0, 0
        shredding: asyncio.Task[None] | None = None
        try:
            while True:
                buried = await self._ranges.bury(
                    stored_before=go.stored_before, since=since, limit=self._limits.batch
                )
                expired += buried.recordings
                self._on_expired(buried.recordings)
                if shredding is not None:
                    await shredding
                if not buried.expiries:
                    return expired
                shredding = asyncio.create_task(self._ranges.shred(buried.expiries))
                self._bell.ring()
                since = buried.oldest_at
        finally:
            if shredding is not None:
                # Cut short as well; what was buried has jobs that go on with it.
                shredding.cancel()
                await asyncio.wait([shredding])

    async def state(self) -> RetentionState:
        """
        Return how it stands.
        """
        async with self._catalog.read() as connection:
            return RetentionState(
                await read_marker(connection, _BELIEVED),
                await read_marker(connection, _SWEPT),
                await open_stop(connection),
            )

    async def approve(self, *, by: Actor, due: int, stored_before: int) -> None:
        """
        Say that the sweep that waits is meant: so many recordings, stored before that time.

        Raises:
            NotFound: no sweep waits, or another one does than is named.
        """
        facts = {"recordings": due, "stored_before_ms": stored_before}
        entry = await self._audit.draft(by, "retention.approved", facts=facts)
        async with self._catalog.write() as connection:
            stop = await open_stop(connection, lock=True)
            if stop is None or stop.approved_at is not None:
                raise NotFound("no sweep waits for approval")
            if (stop.due, stop.stored_before // _DAY_MS) != (due, stored_before // _DAY_MS):
                raise NotFound("the sweep that waits is another one; see `gateway retention show`")
            await change_stop(connection, stop.id, approved_at=self._clock.now_ms())
            if stop.reason != "too-many":
                await move_marker(connection, _BELIEVED, stop.clock_at)
            await self._audit.append(connection, replace(entry, subject=stop.id))
        log.warning("audit.retention_approved", stop=stop.id, reason=stop.reason, recordings=due)

    async def _may_sweep(self) -> Go | None:
        """
        Return the sweep that is due and may begin; where one must wait for an operator, see to it that he is asked.
        """
        now, monotonic = self._clock.now_ms(), self._clock.monotonic()
        if self._database_now is not None:
            database = await self._database_now()
            if abs(database - now) > self._step_ms:
                # No approval helps here: one of the two clocks must be set.
                log.error("retention.clocks_disagree", node_ms=now, database_ms=database)
                self._on_stopped(True)
                return None
            now = min(now, database)
        counts: dict[int, int] = {}
        while True:
            try:
                async with self._catalog.write() as connection:
                    return await self._judge(connection, now, monotonic, counts)
            except _Uncounted as wanted:
                # Outside: it may take seconds, for which nobody else could write.
                async with self._catalog.read() as connection:
                    counts[wanted.most] = await count_overdue(
                        connection, stored_before=self._stored_before(now), at=now, most=wanted.most
                    )

    def _stored_before(self, now: int) -> int:
        # Without a limit nothing is older than it.
        return now - self._limits.recordings_days * _DAY_MS if self._limits.recordings_days else 0

    async def _judge(
        self, connection: Connection, now: int, monotonic: float, counts: Mapping[int, int]
    ) -> Go | None:
        """
        Decide what `_may_sweep` returns; *counts* tells how much is overdue, up to each of its keys.

        Raises:
            _Uncounted: that must be known first, and this be asked again.
        """
        marker = await read_marker(connection, _BELIEVED)
        stop = await open_stop(connection, lock=True)
        stored_before = self._stored_before(now)
        if marker == 0 and not await has_recordings(connection):
            marker = now
            await move_marker(connection, _BELIEVED, marker)
        if marker == 0:
            await self._stopped(connection, stop, "first-sweep", now, monotonic, stored_before, counts)
            return None
        course = self._believed
        if course is None or marker > course.expected(monotonic) + self._step_ms:
            # After a start, an approval, or where another node has gone on.
            course = self._believed = _Course(marker, monotonic)
        if now > course.expected(monotonic) + self._step_ms:
            await self._stopped(connection, stop, "clock-step", now, monotonic, stored_before, counts)
            return None
        if now - marker >= self._step_ms // _MARKS_IN_A_STEP:
            await move_marker(connection, _BELIEVED, now)
        self._doubted = None
        if stop is not None and stop.approved_at is not None:
            return Go(now, min(stop.stored_before, stored_before), stop)
        if stop is not None and stop.reason != "too-many":
            # The clock was put right.
            await change_stop(connection, stop.id, ended_at=now)
            stop = None
        swept = await read_marker(connection, _SWEPT)
        accounts = await open_stop(connection, of_accounts=True)
        is_asked_for = accounts is not None and accounts.approved_at is not None
        if stop is None and not is_asked_for and now - swept < self._limits.sweep_interval_s * 1000:
            self._on_stopped(False)
            return None
        most = self._limits.max_per_sweep
        if most and _counted(counts, most + 1) > most:
            await self._stopped(connection, stop, "too-many", now, monotonic, stored_before, counts)
            return None
        return Go(now, stored_before, stop)

    async def _stopped(
        self,
        connection: Connection,
        stop: Stop | None,
        reason: str,
        now: int,
        monotonic: float,
        stored_before: int,
        counts: Mapping[int, int],
    ) -> None:
        """
        Have the sweep wait: as one that waits already, if it is the same, or as a new one.
        """
        self._on_stopped(True)
        if stop is not None and stop.reason == reason and stop.approved_at is None:
            if reason == "too-many":
                return
            doubted = self._doubted or _Course(stop.clock_at, monotonic)
            if abs(now - doubted.expected(monotonic)) <= self._step_ms:
                self._doubted = doubted
                if now - stop.clock_at >= self._step_ms // _MARKS_IN_A_STEP:
                    await change_stop(connection, stop.id, clock_at=now)
                return
        # Two nodes that find it at the same time ask once.
        await move_marker(connection, _ASKED, now)
        if stop is not None:
            await change_stop(connection, stop.id, ended_at=now)
        if await open_stop(connection) is not None:
            return
        due = _counted(counts, _ALL)
        new = Stop(id="", reason=reason, due=due, stored_before=stored_before, clock_at=now, stopped_at=now)
        new = await insert_stop(connection, new)
        self._doubted = _Course(now, monotonic)
        log.error("retention.stopped", stop=new.id, reason=reason, recordings=due, clock_ms=now)


def _counted(counts: Mapping[int, int], most: int) -> int:
    if most not in counts:
        raise _Uncounted(most)
    return counts[most]
