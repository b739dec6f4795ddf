"""
Unfinished uploads have a deadline; after it they end, and their key and bytes go.
"""

from gateway.base.clock import Clock
from gateway.base.ids import RecordingId
from gateway.catalog import uploads as catalog
from gateway.catalog.jobs import enqueue_job
from gateway.database import Database
from gateway.services.holders import Holders
from gateway.services.work import WorkBell
from gateway.settings import Uploads as Limits


class UploadExpiry:
    """
    Ends overdue uploads, and forgets those that ended long ago.
    """

    def __init__(
        self, catalog_db: Database, holders: Holders, clock: Clock, bell: WorkBell, limits: Limits
    ) -> None:
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

    async def expire_overdue(self, *, limit: int = 100) -> int:
        """
        End unfinished uploads whose deadline has passed; return how many were due.
        """
        now = self._clock.now_ms()
        async with self._catalog.read() as connection:
            overdue = await catalog.overdue_uploads(connection, at=now, limit=limit)
        for upload_id in overdue:
            async with self._holders.hold(upload_id):
                async with self._catalog.read() as connection:
                    upload = await catalog.get_upload(connection, upload_id)
                # Whoever was writing has just let go, and may have moved the deadline.
                if upload is not None and upload.expires_at <= now:
                    await self.expire(upload_id)
        return len(overdue)

    async def forget_ended(self, *, limit: int = 1000) -> int:
        """
        Remove the resources of uploads that ended long enough ago; return how many.
        """
        async with self._catalog.write() as connection:
            return await catalog.forget_ended_uploads(connection, at=self._clock.now_ms(), limit=limit)
