"""
Looking after links: the ill ones are tried now and then, idle grants are kept alive, and ends are told of beforehand.
"""

import asyncio
from typing import Final

import structlog

from gateway.api import BackendError, QuotaExceeded, Transient
from gateway.base.clock import Clock
from gateway.base.errors import GatewayError
from gateway.catalog import links as catalog
from gateway.catalog.links import LinkRow
from gateway.database import Database
from gateway.services.link_notes import LinkNotes
from gateway.services.link_notices import LinkNotices
from gateway.services.linked_places import LinkedPlaces
from gateway.settings import Links as Limits

log = structlog.get_logger()

_CHECK_S: Final = 60
_BATCH: Final = 20
_MOST_IDLE: Final = 500


class LinkHealth:
    """
    Looks at links, one after the other.
    """

    def __init__(
        self,
        catalog_db: Database,
        places: LinkedPlaces,
        notes: LinkNotes,
        notices: LinkNotices,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._catalog = catalog_db
        self._places = places
        self._notes = notes
        self._notices = notices
        self._clock = clock
        self._limits = limits

    async def run(self) -> None:
        """
        Look after all links until cancelled.
        """
        while True:
            await self.sweep()
            await asyncio.sleep(self._limits.check_interval_s)

    async def sweep(self) -> None:
        """
        Do once what is due.
        """
        now = self._clock.now_ms()
        async with self._catalog.write() as connection:
            await catalog.sweep_attempts(connection, at=now)
            await catalog.tell_expiring(connection, ends_before=now + self._limits.expiring_s * 1000)
        await self._check_due(now)
        await self._refresh_idle(now)
        await self._notices.tell(now)

    async def check(self, link: LinkRow) -> None:
        """
        Try the account now; what comes of it is noted in the link's row.

        Raises:
            BackendError: it does not work, or cannot be tried right now (`Transient`).
        """
        try:
            async with asyncio.timeout(_CHECK_S):
                async with self._places.at(link.id, even_if_revoked=True) as backend:
                    quota = await backend.quota()
                    if quota is not None and quota.free == 0:
                        full = QuotaExceeded("The account is full.")
                        await self._notes.failed(link, full)
                        raise full
                    await backend.probe()
                await self._notes.succeeded(link, even_if_revoked=True)
        except TimeoutError:
            raise Transient("The provider takes too long to answer.") from None
        finally:
            async with self._catalog.write() as connection:
                await catalog.touch_checked(connection, link.id, at=self._clock.now_ms())

    async def _check_due(self, now: int) -> None:
        while True:
            async with self._catalog.write() as connection:
                due = await catalog.take_due_for_check(
                    connection,
                    checked_before=now - self._limits.check_interval_s * 1000,
                    at=now,
                    limit=_BATCH,
                )
            for link in due:
                try:
                    await self.check(link)
                except BackendError as exc:
                    log.info("link.still_ill", link=link.id, kind=link.kind, code=exc.code)
                except GatewayError as exc:
                    log.error("link.not_checked", link=link.id, kind=link.kind, code=exc.code)
            if len(due) < _BATCH:
                return

    async def _refresh_idle(self, now: int) -> None:
        async with self._catalog.read() as connection:
            idle = await catalog.idle_links(
                connection, refreshed_before=now - self._limits.refresh_idle_s * 1000, limit=_MOST_IDLE
            )
        for link in idle:
            try:
                tokens = await self._places.tokens_of(link)
                if tokens is not None:
                    await tokens.refreshed()
            except GatewayError as exc:
                # What is dead was noted as such; what was merely not reached is tried again at the next sweep.
                log.info("link.not_refreshed", link=link.id, kind=link.kind, code=exc.code)
