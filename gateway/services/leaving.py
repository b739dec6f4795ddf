"""
Leaving: a user asks to be erased, has time to change his mind, and is erased.

That time is counted, not read off a clock: it passes while the gateway runs, as fast as this process' monotonic clock and
its wall clock both say, and not while the gateway is down, for then nobody can sign in to take it back. A clock that jumps
ahead erases nobody, and one that is put right afterwards keeps nobody waiting.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.account_settings import Leaving as Limits
from gateway.base.clock import Clock
from gateway.base.ids import UserId
from gateway.catalog import users
from gateway.catalog.devices import end_devices
from gateway.catalog.jobs import enqueue_jobs
from gateway.catalog.markers import lock_marker, move_marker, read_marker
from gateway.catalog.users import User
from gateway.database import Connection, Database
from gateway.keyring import Keyring, Receipt
from gateway.services.erasure import Erasure, ErasureService
from gateway.services.errors import Held, NotFound
from gateway.services.holds import HoldService
from gateway.services.look_ups import key_name
from gateway.services.notices import Notices
from gateway.services.work import WorkBell

log = structlog.get_logger()

_COUNTED: Final = "leaving-counted"
"""How much time has been counted, ms."""
_LOOKED: Final = "leaving-looked"
"""The wall clock's time up to which it was counted, Unix ms."""
_MOST_TOGETHER: Final = 100
_DAY_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """
    Somebody who is about to be erased; times are Unix ms.
    """

    since: int
    erased_after: int
    """When, if the gateway runs all the time until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Farewell:
    """
    What became of an account that was erased.
    """

    erasure: Erasure
    look_up_key: str
    """The newest key by which its numbers and accounts were ever found."""
    look_ups_receipt: Receipt | None
    """That this key is shredded: nobody can compare numbers with old catalogs any more. None until then."""


@dataclass(frozen=True, slots=True)
class _Finishing:
    task: "asyncio.Task[None]"
    shredded: asyncio.Event


class LeavingService:
    """
    Lets users leave, and stay after all.
    """

    def __init__(
        self,
        catalog_db: Database,
        keyring: Keyring,
        erasure: ErasureService,
        holds: HoldService,
        notices: Notices,
        clock: Clock,
        bell: WorkBell,
        limits: Limits,
    ) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._erasure = erasure
        self._holds = holds
        self._notices = notices
        self._clock = clock
        self._bell = bell
        self._limits = limits
        self._counted_at_s: float | None = None
        self._finishing: dict[UserId, _Finishing] = {}

    @property
    def has_cooling_off(self) -> bool:
        """
        Whether somebody who asks to be erased may change his mind.
        """
        return self._limits.cooling_off_s > 0

    async def close(self) -> None:
        """
        Leave what is not done to the jobs of the next process.
        """
        tasks = [finishing.task for finishing in self._finishing.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(self, user: User) -> tuple[Leaving, bytes]:
        """
        Have the user erased when the time to change his mind is over; return when, and the salt of his receipt.

        He is signed out everywhere. Asked again, that time does not begin anew.

        Raises:
            NotFound: he was erased meanwhile.
            Held: he, or one of his recordings, must stay.
        """
        salt = await self._erasure.salt_of_account(user)
        now = self._clock.now_ms()
        async with self._catalog.write() as connection:
            if not await users.lock_active_user(connection, user.id):
                raise NotFound("there is no such user")
            await self._holds.refuse_held(connection, user)
            counted = await self._count(connection)
            leaves_at = counted + self._limits.cooling_off_s * 1000
            is_new = await users.begin_leaving(connection, user.id, since=now, leaves_at=leaves_at)
            if is_new:
                await self._tell(
                    connection, user.id, since=now, left=leaves_at - counted, occasion=f"asked-{now}"
                )
            await end_devices(connection, user.id, reason="signed-out", at=now)
        if is_new:
            log.info("user.leaving", user=user.id)
        leaving = await self.leaving_of(user.id)
        if leaving is None:
            raise NotFound("there is no such user")
        return leaving, salt

    async def stay(self, user: User) -> None:
        """
        Let a user who is about to be erased stay. One who is not stays anyway.

        Raises:
            NotFound: he was erased meanwhile.
        """
        async with self._catalog.write() as connection:
            if not await users.lock_active_user(connection, user.id):
                raise NotFound("there is no such user")
            is_new = await users.end_leaving(connection, user.id)
            if is_new:
                await self._notices.tell(connection, user.id, "staying")
        if is_new:
            log.info("user.stays", user=user.id)

    async def erase_now(self, user_id: UserId, *, wait_s: float) -> Farewell:
        """
        Erase the user at once; waits up to *wait_s* for his keys to be shredded, which goes on after that.

        Raises:
            NotFound: there is no such user.
            Held: he, or one of his recordings, must stay.
        """
        salt = await self._erasure.bury_account(user_id)
        finishing = self._finish(user_id)
        shredded = asyncio.ensure_future(finishing.shredded.wait())
        await asyncio.wait({shredded, finishing.task}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        shredded.cancel()
        return await self.farewell_of(user_id, salt=salt)

    async def finish(self, user_id: UserId) -> None:
        """
        Carry an account's erasure to its end; whoever asks while that is being done waits for it.
        """
        # Not cancelled with whoever waits: its keys may be gone already, and with them what reaches its clouds.
        await asyncio.shield(self._finish(user_id).task)

    def _finish(self, user_id: UserId) -> _Finishing:
        finishing = self._finishing.get(user_id)
        if finishing is None:
            shredded = asyncio.Event()
            task = asyncio.create_task(self._erasure.finish_account(user_id, on_shredded=shredded.set))
            finishing = self._finishing[user_id] = _Finishing(task, shredded)

            def forget(done: "asyncio.Task[None]") -> None:
                del self._finishing[user_id]
                # What it failed of is the job's to report.
                if not done.cancelled():
                    done.exception()

            task.add_done_callback(forget)
        return finishing

    async def leaving_of(self, user_id: UserId) -> Leaving | None:
        """
        Return when the user is erased, None if he stays.
        """
        async with self._catalog.read() as connection:
            user = await users.get_user(connection, user_id)
            counted = await read_marker(connection, _COUNTED)
            looked_at = await read_marker(connection, _LOOKED)
        if user is None or not user.is_leaving or user.leaves_at is None or user.leaving_since is None:
            return None
        left = user.leaves_at - counted - self._passed(looked_at)
        return Leaving(since=user.leaving_since, erased_after=self._clock.now_ms() + max(0, left))

    async def farewell_of(self, user_id: UserId, *, salt: bytes | None = None) -> Farewell:
        """
        Tell what became of an account.

        Raises:
            NotFound: there never was one of this id, or it is not erased.
        """
        async with self._catalog.read() as connection:
            user = await users.get_user(connection, user_id)
        if user is None or user.is_active:
            raise NotFound("there is no account of this id that was erased")
        name = key_name(user.look_up_generation or 1)
        receipts = await self._keyring.receipts_of(name)
        return Farewell(
            erasure=await self._erasure.account_erasure_of(user_id, salt=salt),
            look_up_key=name,
            look_ups_receipt=receipts[0] if receipts else None,
        )

    async def tick(self) -> None:
        """
        Count the time that has passed, and have those erased whose time is over. Done every minute or so, on every node.
        """
        async with self._catalog.read() as connection:
            first = await users.first_to_leave(connection)
        if first is None:
            self._counted_at_s = self._clock.monotonic()
            return
        async with self._catalog.write() as connection:
            counted = await self._count(connection)
            due = await users.users_who_leave(connection, at=counted, limit=_MOST_TOGETHER)
            if due:
                await enqueue_jobs(connection, "leave", due)
        await self._tell_of_last_day(counted)
        if due:
            self._bell.ring()

    async def leave(self, user_id: UserId) -> None:
        """
        Erase a user whose time to change his mind is over; one who changed it stays.
        """
        async with self._catalog.read() as connection:
            counted = await read_marker(connection, _COUNTED)
        try:
            await self._erasure.bury_account(user_id, left_by=counted)
        except NotFound:
            return
        except Held:
            # Looked at again with the next tick, until the hold ends.
            log.info("user.leaving_held", user=user_id)
            return
        log.info("user.left", user=user_id)

    async def _tell_of_last_day(self, counted: int) -> None:
        """
        Tell those once more whose last day has begun, each in a transaction of his own.
        """
        async with self._catalog.read() as connection:
            last = await users.users_who_leave(connection, at=counted + _DAY_MS, after=counted)
        for user_id in last:
            async with self._catalog.write() as connection:
                if not await users.lock_active_user(connection, user_id):
                    continue
                user = await users.get_user(connection, user_id)
                if user is None or user.leaves_at is None or user.leaving_since is None:
                    continue
                # Of whoever has but a day in all, this is what he was told at first.
                if self._limits.cooling_off_s * 1000 > _DAY_MS:
                    await self._tell(
                        connection,
                        user_id,
                        since=user.leaving_since,
                        left=user.leaves_at - counted,
                        occasion=f"last-day-{user.leaving_since}",
                    )

    async def _tell(
        self, connection: Connection, user_id: UserId, *, since: int, left: int, occasion: str
    ) -> None:
        facts = {"since": since, "erased_after": self._clock.now_ms() + left, "account": user_id}
        await self._notices.tell(connection, user_id, "leaving", facts, occasion=occasion)

    async def _count(self, connection: Connection) -> int:
        """
        Count the time since it was last counted; return how much that is in all, ms.
        """
        # Another node that counts waits here, and neither counts what the other has.
        counted = await lock_marker(connection, _COUNTED)
        counted += self._passed(await read_marker(connection, _LOOKED))
        await move_marker(connection, _COUNTED, counted)
        await move_marker(connection, _LOOKED, self._clock.now_ms())
        self._counted_at_s = self._clock.monotonic()
        return counted

    def _passed(self, looked_at: int) -> int:
        """
        Return how much time has passed since it was *looked_at*, as far as that is believed; ms.
        """
        if self._counted_at_s is None:
            return 0
        ran = round((self._clock.monotonic() - self._counted_at_s) * 1000)
        return max(0, min(self._clock.now_ms() - looked_at, ran))
