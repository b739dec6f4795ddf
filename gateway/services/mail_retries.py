"""
Sending again what no mail server took for so long that it was given up.
"""

from dataclasses import replace
from typing import Final

import msgspec

from gateway.base.clock import Clock
from gateway.catalog.jobs import enqueue_jobs
from gateway.catalog.notices import MAIL_OF_RUN, count_by_mail_state, queue_given_up
from gateway.database import Database
from gateway.services.audit import AuditLog
from gateway.services.roles import Actor

_BATCH: Final = 500


async def retry_given_up(catalog_db: Database, audit: AuditLog, clock: Clock, by: Actor, run_id: str) -> int:
    """
    Queue every mail of a run once more that was given up; return how many there were.

    What a server has refused is not sent again: it would say the same.
    """
    entry = await audit.draft(by, "notice.retried", subject=run_id)
    # All were given up before it is written down how many; whatever is given up meanwhile is not sent yet another time.
    wanted, done = 1, 0
    while done < wanted:
        async with catalog_db.write() as connection:
            if not done:
                wanted = (await count_by_mail_state(connection, run_id)).get("given-up", 0)
            queued = await queue_given_up(
                connection, run_id, at=clock.now_ms(), limit=min(_BATCH, wanted - done)
            )
            if not queued:
                break
            await enqueue_jobs(connection, MAIL_OF_RUN, queued)
            if not done:
                facts = msgspec.json.encode({"mails": wanted}).decode()
                await audit.append(connection, replace(entry, facts=facts))
        done += len(queued)
    return done
