"""
Accounts that nobody uses end after a time, once their users can be told beforehand.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from gateway.base.clock import Clock
from gateway.base.ids import UserId
from gateway.catalog.users import unused_since
from gateway.database import Database
from gateway.services.erasure import ErasureService
from gateway.services.errors import Held, NotFound
from gateway.settings import Retention as Limits

log = structlog.get_logger()

_DAY_MS: Final = 24 * 3600 * 1000
_PAGE: Final = 100


async def nobody_is_told(user_id: UserId) -> bool:
    """
    Say that the user was not told, so that his account stays.
    """
    return False


class UnusedAccounts:
    """
    Erases accounts that were not used for so long, off by default.

    *was_told* sends the user a notice and says whether he had it, and time enough; one who had not keeps his account.
    """

    def __init__(
        self,
        catalog_db: Database,
        erasure: ErasureService,
        clock: Clock,
        limits: Limits,
        *,
        was_told: Callable[[UserId], Awaitable[bool]] = nobody_is_told,
    ) -> None:
        self._catalog = catalog_db
        self._erasure = erasure
        self._clock = clock
        self._limits = limits
        self._was_told = was_told

    async def erase(self) -> int:
        """
        Begin to erase the accounts that are due and whose users were told; return how many.

        The caller vouches for the time. What is held stays, and is due again the next time.
        """
        if not self._limits.erase_unused_accounts:
            return 0
        before = self._clock.now_ms() - self._limits.accounts_unused_days * _DAY_MS
        erased, after = 0, UserId("")
        while True:
            async with self._catalog.read() as connection:
                found = await unused_since(connection, before, after=after, limit=_PAGE)
            if not found:
                return erased
            for user_id in found:
                erased += await self._erase(user_id)
            after = found[-1]

    async def _erase(self, user_id: UserId) -> bool:
        if not await self._was_told(user_id):
            return False
        try:
            await self._erasure.bury_account(user_id)
        except (Held, NotFound):
            return False
        log.warning("audit.unused_account_erased", user=user_id)
        return True
