"""
Taking leave of the accounts of somebody who is erased, as far as that can be done before his keys go.

What ends a grant is sealed under those keys. While they are there, whoever comes after a process that died goes on with it;
afterwards only the process can that has it in memory. So what lies at an account is deleted and its grant is ended first,
where there is not much and the provider answers; everything else comes after the keys, which wait for nobody for long.
"""

import asyncio
from typing import Final

import structlog

from gateway.api import BackendError
from gateway.base.clock import Clock
from gateway.base.ids import UserId
from gateway.catalog.jobs import find_job
from gateway.catalog.links import end_link
from gateway.catalog.placements import blobs_at
from gateway.database import Database
from gateway.services.places import Grants
from gateway.services.purging import PurgeService

log = structlog.get_logger()

_MOST_BLOBS: Final = 200
"""That are deleted at an account before the keys go."""
_MOST_TRIES: Final = 3
"""Of the job; a process that dies of it again and again must not keep the keys for ever."""


class Parting:
    """
    Deletes and revokes at accounts that may hold the keys up for a moment.
    """

    def __init__(self, catalog_db: Database, purging: PurgeService, clock: Clock) -> None:
        self._catalog = catalog_db
        self._purging = purging
        self._clock = clock

    async def part(self, user_id: UserId, grants: Grants, *, until: float) -> None:
        """
        Do what can be done until then, in the loop's time; a provider that fails or is slow is left for later.
        """
        if not grants.link_ids:
            return
        async with self._catalog.read() as connection:
            job = await find_job(connection, "erase-account", user_id)
        if job is not None and job.attempts > _MOST_TRIES:
            return
        try:
            async with asyncio.timeout_at(until):
                parted = await asyncio.gather(
                    *(self._part_from(grants, link_id) for link_id in grants.link_ids), return_exceptions=True
                )
        except TimeoutError:
            log.warning("link.parting_too_slow", user=user_id)
            return
        for failure in parted:
            if isinstance(failure, BaseException):
                raise failure

    async def _part_from(self, grants: Grants, link_id: str) -> None:
        async with self._catalog.read() as connection:
            there = await blobs_at(connection, link_id, states=("pending", "placed"), limit=_MOST_BLOBS + 1)
        if len(there) > _MOST_BLOBS:
            return
        removed = await asyncio.gather(*map(self._purging.remove_copy, there), return_exceptions=True)
        for failure in removed:
            if isinstance(failure, BackendError):
                # Whoever deletes them later needs what was allowed.
                log.info("link.parting_later", link=link_id, code=failure.code)
                return
            if isinstance(failure, BaseException):
                raise failure
        if await grants.revoke(link_id):
            async with self._catalog.write() as connection:
                await end_link(connection, link_id, at=self._clock.now_ms())
