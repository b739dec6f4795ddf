"""
Recordings that expire soon, and who was told of them.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Integer, Text, bindparam, func, literal_column, or_, select, update

from gateway.base.ids import UserId
from gateway.catalog.holds import is_held
from gateway.catalog.tables import expiry_notices, recordings
from gateway.database import Connection, insert_or_ignore


class Stored(NamedTuple):
    """
    A recording, when it was stored, and whose it is.
    """

    stored_at: int
    id: str
    user_id: UserId


class Expiring(NamedTuple):
    """
    How many recordings expire, and when the oldest of them was stored; None if there are none.
    """

    how_many: int
    oldest_at: int | None


# Written out: only then do databases see that the index on the age of live recordings serves.
_IS_LIVE: Final = recordings.c.state == literal_column("'live'")
_SINCE: Final = bindparam("since", type_=BigInteger)
_BEFORE: Final = bindparam("before", type_=BigInteger)
_BETWEEN: Final = (
    select(recordings.c.stored_at, recordings.c.id, recordings.c.user_id)
    .where(
        _IS_LIVE,
        recordings.c.stored_at >= _SINCE,
        recordings.c.stored_at < _BEFORE,
        or_(recordings.c.stored_at > _SINCE, recordings.c.id > bindparam("since_id", type_=Text)),
    )
    .order_by(recordings.c.stored_at, recordings.c.id)
    .limit(bindparam("most", type_=Integer))
)
_COUNTED: Final = select(func.count(), func.min(recordings.c.stored_at)).where(
    recordings.c.user_id == bindparam("user_id"),
    recordings.c.state == "live",
    recordings.c.stored_at >= _SINCE,
    recordings.c.stored_at < _BEFORE,
    ~is_held(bindparam("time", type_=BigInteger)),
)


async def stored_between(
    connection: Connection, since: tuple[int, str], before: int, *, limit: int
) -> list[Stored]:
    """
    Return live recordings in the order in which they were stored: from *since* on, a time and an id, and before *before*.
    """
    values = {"since": since[0], "since_id": since[1], "before": before, "most": limit}
    return [Stored(row[0], row[1], UserId(row[2])) for row in await connection.execute(_BETWEEN, values)]


async def count_expiring(
    connection: Connection, user_id: UserId, *, since: int, before: int, at: int
) -> Expiring:
    """
    Return how many of a user's live recordings that nobody holds were stored from *since* on and before *before*.
    """
    values = {"user_id": user_id, "since": since, "before": before, "time": at}
    row = (await connection.execute(_COUNTED, values)).one()
    return Expiring(row[0], row[1])


async def told_of(connection: Connection, user_ids: Collection[UserId]) -> dict[tuple[UserId, int], int]:
    """
    Return what these users were told of, by user and days before: all that was stored before that time.
    """
    query = select(expiry_notices).where(expiry_notices.c.user_id.in_(list(user_ids)))
    return {(UserId(row.user_id), row.days): row.stored_before for row in await connection.execute(query)}


async def note_told_of(connection: Connection, user_id: UserId, days: int, *, stored_before: int) -> None:
    """
    Note that a user was told, so many days before, of what was stored before that time.
    """
    await connection.execute(
        insert_or_ignore(expiry_notices, connection.dialect.name).values(
            user_id=user_id, days=days, stored_before=stored_before
        )
    )
    await connection.execute(
        update(expiry_notices)
        .where(expiry_notices.c.user_id == user_id, expiry_notices.c.days == days)
        .values(stored_before=stored_before)
    )
