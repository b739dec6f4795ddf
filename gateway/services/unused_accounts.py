"""
Accounts that nobody uses end, after their users were told, see docs/decisions/0021.

Only at a time that the retention sweep believes, not where a hold lies, and never more in one sweep than an operator allowed.
Somebody who comes back keeps his account, up to the transaction that would have ended it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Literal

import structlog

from gateway.base.ids import UserId
from gateway.catalog import unused as catalog
from gateway.catalog import users
from gateway.catalog.holds import active_holds
from gateway.catalog.notices import Notice, latest_of
from gateway.catalog.retention_stops import TOO_MANY_ACCOUNTS, Stop, change_stop, insert_stop, open_stop
from gateway.catalog.unused import UNUSED, UnusedAccount
from gateway.database import Connection, Database
from gateway.services.accounts import AccountService
from gateway.services.audit import AuditLog
from gateway.services.erasure import ErasureService
from gateway.services.errors import Held, NotFound
from gateway.services.notices import Notices
from gateway.services.roles import Actor
from gateway.settings import Retention as Limits

log = structlog.get_logger()

_DAY_MS: Final = 24 * 3600 * 1000
_PAGE: Final = 100
_AGAIN_DAYS: Final = 7
"""Who could not be told is told again so often while his account waits."""

Reach = Literal["told", "unreachable", "untold"]


class UnusedAccounts:
    """
    Tells users that their accounts end, and ends them.
    """

    def __init__(
        self,
        catalog_db: Database,
        notices: Notices,
        accounts: AccountService,
        erasure: ErasureService,
        audit: AuditLog,
        limits: Limits,
        *,
        on_stopped: Callable[[bool], None] = lambda is_stopped: None,
    ) -> None:
        self._catalog = catalog_db
        self._notices = notices
        self._accounts = accounts
        self._erasure = erasure
        self._audit = audit
        self._limits = limits
        self._on_stopped = on_stopped
        self._notice_days = sorted(set(limits.unused_notice_days), reverse=True)

    async def sweep(self, believed_at: int) -> int:
        """
        Tell whoever has to be told, and end what is due, at a time that the caller vouches for; return how many ended.

        Cut short, it is taken up where it was: nobody is told the same twice.
        """
        if not self._limits.erase_unused_accounts:
            return 0
        async with self._catalog.write() as connection:
            await catalog.forget_used(connection)
        await self._begin(believed_at)
        for days in sorted(self._notice_days[1:]):
            await self._tell_again(believed_at, days)
        return await self._end(believed_at)

    async def approve(self, *, by: Actor, due: int, ends_before: int, at: int) -> None:
        """
        Say that so many accounts are meant to end, all those that were due at that time.

        Raises:
            NotFound: nothing waits, or something else does than is named.
        """
        facts = {"accounts": due, "unused_until_ms": ends_before}
        entry = await self._audit.draft(by, "retention.approved", facts=facts)
        async with self._catalog.write() as connection:
            stop = await open_stop(connection, of_accounts=True, lock=True)
            if stop is None or stop.approved_at is not None:
                raise NotFound("no accounts wait for approval")
            if (stop.due, stop.stored_before // _DAY_MS) != (due, ends_before // _DAY_MS):
                raise NotFound("what waits is something else; see `gateway retention show`")
            await change_stop(connection, stop.id, approved_at=at)
            await self._audit.append(connection, replace(entry, subject=stop.id))
        log.warning("audit.retention_approved", stop=stop.id, reason=stop.reason, accounts=due)

    async def waiting(self) -> Stop | None:
        """
        Return what waits for an operator.
        """
        async with self._catalog.read() as connection:
            return await open_stop(connection, of_accounts=True)

    async def _begin(self, now: int) -> None:
        """
        Note accounts whose time comes, and give their users the first notice: all of its days lie before the end.
        """
        first = self._notice_days[0]
        # A day more, so that sweeps of each day put nothing off.
        used_before = now - (self._limits.accounts_unused_days - first - 1) * _DAY_MS
        after = UserId("")
        while True:
            async with self._catalog.read() as connection:
                found = await catalog.newly_unused(
                    connection, used_before=used_before, after=after, limit=_PAGE
                )
            if not found:
                return
            after = found[-1]
            async with self._catalog.write() as connection:
                for user_id, used_at in (await self._free(connection, found, now)).items():
                    if used_at >= used_before:
                        continue
                    account = UnusedAccount(
                        user_id=user_id,
                        used_at=used_at,
                        ends_at=max(
                            used_at + self._limits.accounts_unused_days * _DAY_MS, now + first * _DAY_MS
                        ),
                        told_days=first,
                        told_at=now,
                    )
                    await catalog.insert_unused(connection, account)
                    await self._tell(connection, account, str(first))

    async def _tell_again(self, now: int, days: int) -> None:
        """
        Give the notice of so many days before to those who had none so late.
        """
        after = UserId("")
        while True:
            async with self._catalog.read() as connection:
                found = await catalog.ending(
                    connection,
                    ends_before=now + days * _DAY_MS,
                    told_days_over=days,
                    after=after,
                    limit=_PAGE,
                )
            if not found:
                return
            after = found[-1].user_id
            async with self._catalog.write() as connection:
                for account in await self._still_unused(connection, found, now):
                    await self._tell(connection, account, str(days))
                    await catalog.note_unused_told(connection, account.user_id, days=days, at=now)

    async def _free(self, connection: Connection, user_ids: Sequence[UserId], now: int) -> dict[UserId, int]:
        """
        Lock users; return when those were last here of whom nothing is held: what is held does not end.
        """
        active = await users.lock_active_users(connection, user_ids)
        held = {hold.user_id for hold in await active_holds(connection, active, at=now)}
        return await catalog.used_since(connection, active - held)

    async def _still_unused(
        self, connection: Connection, found: Sequence[UnusedAccount], now: int
    ) -> list[UnusedAccount]:
        """
        Lock the users of these accounts, and return those that still end; the others begin anew, if ever.
        """
        used = await self._free(connection, [account.user_id for account in found], now)
        still = [account for account in found if used.get(account.user_id) == account.used_at]
        others = {account.user_id for account in found} - {account.user_id for account in still}
        if others:
            await catalog.forget_unused(connection, others)
        return still

    async def _tell(self, connection: Connection, account: UnusedAccount, which: str) -> None:
        await self._notices.tell(
            connection,
            account.user_id,
            UNUSED,
            {
                "used_at": account.used_at,
                "ends_at": account.ends_at,
                "unused_days": self._limits.accounts_unused_days,
            },
            occasion=f"{account.used_at}-{account.ends_at}-{which}",
        )

    async def _end(self, now: int) -> int:
        stop = await self._allowed(now)
        if stop is False:
            return 0
        ends_before = now if stop is None else min(now, stop.stored_before)
        ended, after = 0, UserId("")
        while True:
            async with self._catalog.read() as connection:
                found = await catalog.ending(connection, ends_before=ends_before, after=after, limit=_PAGE)
            if not found:
                break
            after = found[-1].user_id
            for account in found:
                ended += await self._end_one(account, now)
        if stop is not None:
            async with self._catalog.write() as connection:
                await change_stop(connection, stop.id, ended_at=now)
        if ended:
            log.warning("retention.unused_accounts_erased", accounts=ended)
        return ended

    async def _allowed(self, now: int) -> Stop | Literal[False] | None:
        """
        Return the approval that counts now, None where none is needed, False where an operator has to be waited for.
        """
        most = self._limits.max_accounts_per_sweep
        async with self._catalog.write() as connection:
            stop = await open_stop(connection, of_accounts=True, lock=True)
            if stop is not None and stop.approved_at is not None:
                self._on_stopped(False)
                return stop
            due = await catalog.count_ending(connection, ends_before=now, most=2**31 - 1) if most else 0
            if due <= most:
                if stop is not None:
                    await change_stop(connection, stop.id, ended_at=now)
                self._on_stopped(False)
                return None
            self._on_stopped(True)
            if stop is None:
                stop = await insert_stop(
                    connection,
                    Stop(
                        id="",
                        reason=TOO_MANY_ACCOUNTS,
                        due=due,
                        stored_before=now,
                        clock_at=now,
                        stopped_at=now,
                    ),
                )
                log.error("retention.stopped", stop=stop.id, reason=stop.reason, accounts=due)
            return False

    async def _end_one(self, account: UnusedAccount, now: int) -> bool:
        reach = await self._reach(account, now)
        if reach == "untold" and now < account.ends_at + self._limits.unused_wait_days * _DAY_MS:
            if now - account.told_at >= _AGAIN_DAYS * _DAY_MS:
                async with self._catalog.write() as connection:
                    for still in await self._still_unused(connection, [account], now):
                        await self._tell(connection, still, f"again-{now // _DAY_MS}")
                        await catalog.note_unused_told(
                            connection, still.user_id, days=still.told_days, at=now
                        )
            log.error("retention.unused_account_waits", user=account.user_id, reason="he could not be told")
            return False
        try:
            await self._erasure.bury_account(account.user_id, unless_used_after=account.used_at)
        except Held:
            # He was told a day that is over by the time the hold is; so it begins anew then.
            async with self._catalog.write() as connection:
                await catalog.forget_unused(connection, [account.user_id])
            return False
        except NotFound:
            return False
        log.warning("audit.unused_account_erased", user=account.user_id, reach=reach)
        return True

    async def _reach(self, account: UnusedAccount, now: int) -> Reach:
        """
        Tell whether the user was reached in time, cannot be reached, or was not told for a reason that is not his.
        """
        async with self._catalog.read() as connection:
            user = await users.get_user(connection, account.user_id)
            told = await latest_of(connection, account.user_id, UNUSED, since=account.used_at)
        in_time = now - self._notice_days[-1] * _DAY_MS
        if any(notice.mail_state == "sent" and notice.mail_at <= in_time for notice in told):
            return "told"
        personal = None if user is None else await self._accounts.personal_of(user)
        if personal is None or not personal.email:
            return "unreachable"
        if told and all(map(_is_about_the_address, told)):
            return "unreachable"
        return "untold"


def _is_about_the_address(notice: Notice) -> bool:
    """
    Tell whether a notice was not sent because nothing can be, or was, delivered to its user's address.
    """
    reason = notice.mail_reason or ""
    if notice.mail_state in ("refused", "given-up"):
        return reason.startswith(("address-", "bad-address"))
    return notice.mail_state == "none" and reason in ("no-address", "unreadable")
