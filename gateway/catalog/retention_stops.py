"""
Sweeps that wait for an operator.
"""

import uuid
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import select, update

from gateway.catalog.tables import recordings, retention_stops
from gateway.database import Connection

TOO_MANY_ACCOUNTS: Final = "too-many-accounts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """
    A sweep that waits, or did, for someone to say that it is meant; times are Unix ms.

    Of accounts, *due* counts these, and *stored_before* is the time before which they end.
    """

    id: str
    reason: str
    """clock-step, first-sweep or too-many; too-many-accounts of accounts that nobody uses, and these alone."""
    due: int
    """How many recordings it would have erased, when it stopped."""
    stored_before: int
    clock_at: int
    """The time that is doubted; it goes on while the stop stands."""
    stopped_at: int
    approved_at: int | None = None
    ended_at: int | None = None


async def open_stop(connection: Connection, *, of_accounts: bool = False, lock: bool = False) -> Stop | None:
    """
    Return the stop of recordings, or else of accounts, that has not ended, if there is one.
    """
    is_of_accounts = retention_stops.c.reason == TOO_MANY_ACCOUNTS
    query = (
        select(retention_stops)
        .where(retention_stops.c.ended_at.is_(None), is_of_accounts if of_accounts else ~is_of_accounts)
        .limit(1)
    )
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return None if row is None else Stop(**dict(zip(row._fields, row, strict=True)))


async def insert_stop(connection: Connection, stop: Stop) -> Stop:
    """
    Add *stop* under an id of its own.
    """
    stop = replace(stop, id=uuid.uuid4().hex)
    await connection.execute(
        retention_stops.insert().values({name: getattr(stop, name) for name in Stop.__dataclass_fields__})
    )
    return stop


async def change_stop(connection: Connection, stop_id: str, **values: int) -> bool:
    """
    Set columns of a stop that has not ended; tell whether it was there.
    """
    result = await connection.execute(
        update(retention_stops)
        .where(retention_stops.c.id == stop_id, retention_stops.c.ended_at.is_(None))
        .values(**values)
    )
    return result.rowcount == 1


async def has_recordings(connection: Connection) -> bool:
    """
    Tell whether anything was ever stored here.
    """
    return (await connection.execute(select(recordings.c.id).limit(1))).first() is not None
