"""
Telling users of recordings that expire soon: one notice for each user and sweep, whatever it is about.

Each recording is looked at once for each number of days: those who are not told are those of whose recordings none has come
so near. What a notice covers reaches some days further, so that somebody who records every day is not told every day.
"""

from collections.abc import Sequence
from typing import Final

import structlog

from gateway.base.ids import UserId
from gateway.catalog import expiring as catalog
from gateway.catalog.markers import move_marker, read_marker
from gateway.database import Connection, Database
from gateway.notice_settings import Notices as Batches
from gateway.services.notices import Notices
from gateway.settings import Retention as Limits

log = structlog.get_logger()

_DAY_MS: Final = 24 * 3600 * 1000
_LOOKED_AT: Final = 5000


class ExpiryNotices:
    """
    Tells users what expires.
    """

    def __init__(self, catalog_db: Database, notices: Notices, limits: Limits, batches: Batches) -> None:
        self._catalog = catalog_db
        self._notices = notices
        self._limits = limits
        self._batch = batches.batch

    async def tell(self, believed_at: int) -> int:
        """
        Tell all who have to be told at this time, which the caller vouches for; return how many.

        Cut short, it is taken up where it was.
        """
        if not self._limits.recordings_days:
            return 0
        told = 0
        for days in sorted(set(self._limits.notice_days)):
            told += await self._tell_before(believed_at, days)
        if told:
            log.info("retention.told_of_expiry", users=told)
        return told

    async def _tell_before(self, at: int, days: int) -> int:
        """
        Tell those of whose recordings one has come so near that it has not been looked at for that.
        """
        expired = at - self._limits.recordings_days * _DAY_MS
        before, marker = expired + days * _DAY_MS, f"expiry-notices-{days}"
        async with self._catalog.read() as connection:
            position = max(await read_marker(connection, marker), expired), ""
        told = 0
        while True:
            async with self._catalog.read() as connection:
                found = await catalog.stored_between(connection, position, before, limit=_LOOKED_AT)
            owners = sorted({one.user_id for one in found})
            for first in range(0, len(owners), self._batch):
                told += await self._tell_users(owners[first : first + self._batch], at, expired)
            if found:
                position = found[-1].stored_at, found[-1].id
            async with self._catalog.write() as connection:
                await move_marker(connection, marker, before if len(found) < _LOOKED_AT else position[0])
            if len(found) < _LOOKED_AT:
                return told

    async def _tell_users(self, user_ids: Sequence[UserId], at: int, expired: int) -> int:
        told = 0
        async with self._catalog.write() as connection:
            covered = await catalog.told_of(connection, user_ids)
            for user_id in user_ids:
                told += await self._tell_user(connection, user_id, at, expired, covered)
        return told

    async def _tell_user(
        self,
        connection: Connection,
        user_id: UserId,
        at: int,
        expired: int,
        covered: dict[tuple[UserId, int], int],
    ) -> bool:
        windows: list[dict[str, int]] = []
        oldest_at = 0
        for days in sorted(set(self._limits.notice_days)):
            near = expired + days * _DAY_MS
            since = max(expired, covered.get((user_id, days), 0))
            news = await catalog.count_expiring(connection, user_id, since=since, before=near, at=at)
            if not news.how_many:
                continue
            reach = near + self._limits.notice_spacing_days * _DAY_MS
            all_of = await catalog.count_expiring(connection, user_id, since=expired, before=reach, at=at)
            windows.append({"count": all_of.how_many, "until": at + reach - expired})
            oldest_at = all_of.oldest_at or expired
            await catalog.note_told_of(connection, user_id, days, stored_before=reach)
        if not windows:
            return False
        kept_days = self._limits.recordings_days
        return await self._notices.tell(
            connection,
            user_id,
            "expiring",
            {"windows": windows, "first": oldest_at + kept_days * _DAY_MS, "kept_days": kept_days},
            occasion=str(expired),
        )
