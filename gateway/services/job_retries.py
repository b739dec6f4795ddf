"""
Trying again what was set aside.
"""

from dataclasses import replace

import msgspec

from gateway.catalog.jobs import retry_parked_jobs
from gateway.database import Database
from gateway.services.audit import AuditLog
from gateway.services.roles import Actor


async def retry_parked(catalog_db: Database, audit: AuditLog, by: Actor, job_id: str | None) -> int:
    """
    Make a parked job, or all of them, due again with a fresh count of attempts; return how many there were.
    """
    entry = await audit.draft(by, "job.retried", subject=job_id)
    async with catalog_db.write() as connection:
        count = await retry_parked_jobs(connection, job_id)
        if count:
            facts = msgspec.json.encode({"jobs": count}).decode()
            await audit.append(connection, replace(entry, facts=facts))
    return count
