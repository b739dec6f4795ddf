"""
Unfinished uploads have a deadline; after it they end, and their keys and bytes go.

Those of one user that are overdue together have one receipt for each range of their leaves, as recordings have that expire.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack

import structlog

from gateway.base.clock import Clock
from gateway.base.ids import RecordingId
from gateway.catalog import uploads as catalog
from gateway.catalog.jobs import enqueue_job
from gateway.database import Database
from gateway.keyring.errors import KeyringError
from gateway.services.holders import Holders
from gateway.services.ranges import RangeErasure
from gateway.services.work import WorkBell
from gateway.settings import Uploads as Limits

log = structlog.get_logger()


class UploadExpiry:
    """
    Ends overdue uploads, and forgets those that ended long ago.
    """

    def __init__(
        self,
        catalog_db: Database,
        ranges: RangeErasure,
        holders: Holders,
        clock: Clock,
        bell: WorkBell,
        limits: Limits,
    ) -> None:
        self._ranges = ranges
        self._catalog = catalog_db
        self._holders = holders
        self._clock = clock
        self._bell = bell
        self._limits = limits

    async def expire(self, upload_id: RecordingId) -> None:
        """
        End an unfinished upload that the caller holds; a job shreds its leaf and removes its bytes.
        """
        deadline = self._clock.now_ms() + self._limits.ended_memory_s * 1000
        async with self._catalog.write() as connection:
            if await catalog.end_upload(connection, upload_id, "expired", expires_at=deadline):
                await enqueue_job(connection, "discard", str(upload_id))
        self._bell.ring()

    async def expire_overdue(self, *, limit: int = 1000) -> int:
        """
        End unfinished uploads whose deadline has passed, and shred their keys; return how many were due.
        """
        now = self._clock.now_ms()
        async with self._catalog.read() as connection:
            overdue = await catalog.overdue_uploads(connection, at=now, limit=limit)
        busy = [upload_id for upload_id in overdue if upload_id in self._holders]
        if idle := [upload_id for upload_id in overdue if upload_id not in self._holders]:
            await self._expire_all(idle, overdue_at=now)
        for upload_id in busy:
            async with self._holders.hold(upload_id):
                # Whoever was writing has just let go, and may have moved the deadline.
                await self._expire_all([upload_id], overdue_at=now)
        return len(overdue)

    async def _expire_all(self, upload_ids: Sequence[RecordingId], *, overdue_at: int) -> None:
        async with AsyncExitStack() as stack:
            for upload_id in upload_ids:
                if upload_id not in self._holders:
                    await stack.enter_async_context(self._holders.hold(upload_id))
            expired = await self._ranges.end_uploads(
                upload_ids,
                overdue_at=overdue_at,
                remembered_until=self._clock.now_ms() + self._limits.ended_memory_s * 1000,
            )
        if not expired:
            return
        try:
            await self._ranges.shred(expired)
        except KeyringError as error:
            # The others need not wait for it; its job goes on with it.
            log.warning("uploads.not_shredded_yet", error=str(error))

    async def forget_ended(self, *, limit: int = 1000) -> int:
        """
        Remove the resources of uploads that ended long enough ago; return how many.
        """
        async with self._catalog.write() as connection:
            return await catalog.forget_ended_uploads(connection, at=self._clock.now_ms(), limit=limit)
