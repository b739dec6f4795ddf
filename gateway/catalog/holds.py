"""
Legal holds: what must not be erased, until when.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Self

from sqlalchemy import BigInteger, ColumnElement, Row, bindparam, delete, exists, or_, select, update

from gateway.base.ids import RecordingId, UserId
from gateway.catalog.recordings import RecordingRow
from gateway.catalog.tables import holds, recordings
from gateway.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """
    A hold on one recording of a user, or on all that he has and will have.

    *sealed* is why, and who placed it.
    """

    id: str
    user_id: UserId
    recording_id: RecordingId | None
    """None: all of the user's."""
    sealed: bytes
    tells_user: bool
    created_at: int
    ends_at: int | None
    lifted_at: int | None = None

    def covers(self, recording_id: RecordingId) -> bool:
        """
        Tell whether a recording of the hold's user is held by it.
        """
        return self.recording_id is None or self.recording_id == recording_id

    def is_active(self, at: int) -> bool:
        """
        Tell whether it is neither lifted nor ended.
        """
        return self.lifted_at is None and (self.ends_at is None or self.ends_at > at)

    @classmethod
    def from_row(cls, row: Row[tuple[object, ...]]) -> Self:
        return cls(
            id=row.id,
            user_id=UserId(row.user_id),
            recording_id=None if row.recording_id is None else RecordingId(uuid.UUID(row.recording_id)),
            sealed=row.sealed,
            tells_user=row.tells_user,
            created_at=row.created_at,
            ends_at=row.ends_at,
            lifted_at=row.lifted_at,
        )


def _is_active(at: ColumnElement[int]) -> ColumnElement[bool]:
    return holds.c.lifted_at.is_(None) & or_(holds.c.ends_at.is_(None), holds.c.ends_at > at)


_ACTIVE: Final = select(holds).where(
    holds.c.user_id.in_(bindparam("user_ids", expanding=True)),
    _is_active(bindparam("time", type_=BigInteger)),
)


async def insert_hold(connection: Connection, hold: Hold) -> None:
    """
    Add *hold*.
    """
    await connection.execute(
        holds.insert().values(
            id=hold.id,
            user_id=hold.user_id,
            recording_id=None if hold.recording_id is None else str(hold.recording_id),
            sealed=hold.sealed,
            tells_user=hold.tells_user,
            created_at=hold.created_at,
            ends_at=hold.ends_at,
        )
    )


async def active_holds(connection: Connection, user_ids: Collection[UserId], *, at: int) -> Sequence[Hold]:
    """
    Return the holds on these users, and on recordings of theirs, that are neither lifted nor ended.

    Whoever erases asks this after `users.share_users`, in the same transaction: then no hold comes in between.
    """
    rows = await connection.execute(_ACTIVE, {"user_ids": list(user_ids), "time": at})
    return [Hold.from_row(row) for row in rows]


async def lock_with_holds(
    connection: Connection, recording_ids: Collection[RecordingId], *, at: int
) -> dict[RecordingId, tuple[RecordingRow, bool]]:
    """
    Return those of the recordings, or their tombstones, that there are, each with whether it is held; locked.

    Whoever erases asks this after `users.share_users`, in the same transaction: then no hold comes in between.
    """
    values = {"ids": [str(recording_id) for recording_id in recording_ids], "time": at}
    rows = [
        (RecordingRow.from_row(row), row.is_held) for row in await connection.execute(_WITH_HOLDS, values)
    ]
    return {recording.id: (recording, bool(held)) for recording, held in rows}


async def get_hold(connection: Connection, hold_id: str) -> Hold | None:
    """
    Return the hold, lifted or not.
    """
    row = (await connection.execute(select(holds).where(holds.c.id == hold_id))).one_or_none()
    return None if row is None else Hold.from_row(row)


async def list_holds(connection: Connection, *, user_id: UserId | None = None) -> list[Hold]:
    """
    Return every hold, or every one on a user, lifted and ended ones too, oldest first.
    """
    query = select(holds).order_by(holds.c.created_at, holds.c.id)
    if user_id is not None:
        query = query.where(holds.c.user_id == user_id)
    rows = await connection.execute(query)
    return [Hold.from_row(row) for row in rows]


async def lift_hold(connection: Connection, hold_id: str, *, at: int) -> bool:
    """
    Lift a hold; False if there is none of this id, or it was lifted before.
    """
    result = await connection.execute(
        update(holds).where(holds.c.id == hold_id, holds.c.lifted_at.is_(None)).values(lifted_at=at)
    )
    return result.rowcount == 1


async def delete_holds_of(connection: Connection, user_id: UserId) -> None:
    """
    Forget the holds that there were on a user.
    """
    await connection.execute(delete(holds).where(holds.c.user_id == user_id))


def is_held(at: ColumnElement[int]) -> ColumnElement[bool]:
    """
    Return the condition that a row of `recordings` is held.
    """
    return exists().where(
        holds.c.user_id == recordings.c.user_id,
        or_(holds.c.recording_id.is_(None), holds.c.recording_id == recordings.c.id),
        _is_active(at),
    )


_WITH_HOLDS: Final = (
    select(recordings, is_held(bindparam("time", type_=BigInteger)).label("is_held"))
    .where(recordings.c.id.in_(bindparam("ids", expanding=True)))
    # In one order, or two that lock several would wait for each other.
    .order_by(recordings.c.id)
    .with_for_update(of=recordings)
)
