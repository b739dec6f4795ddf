"""
Where a recording's blob lies, or is to lie.

A placement is *pending* until the blob is there, then *placed*.
It ends as *purged*, when the backend has acknowledged the blob's deletion, or as *left*, when the gateway can no longer
reach the account and the sealed blob stays behind.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Self

from sqlalchemy import BigInteger, Integer, Row, bindparam, func, select, update

from gateway.base.ids import RecordingId, UserId
from gateway.catalog.tables import placements, recordings
from gateway.database import Connection


@dataclass(frozen=True, slots=True)
class Placement:
    """
    The fact that a blob is, or is to be, at a backend under *blob_key*.
    """

    blob_key: str
    recording_id: RecordingId
    backend: str
    state: str
    locator: str | None
    sealed_size: int | None
    session: bytes | None = None
    digest: str | None = None
    purged_at: int | None = None
    recoverable_until: int | None = None
    """Until when the provider may bring a purged blob back; the time of the purge where it cannot; None: nobody knows."""

    @classmethod
    def from_row(cls, row: Row[tuple[object, ...]]) -> Self:
        return cls(
            blob_key=row.blob_key,
            recording_id=RecordingId(uuid.UUID(row.recording_id)),
            backend=row.backend,
            state=row.state,
            locator=row.locator,
            sealed_size=row.sealed_size,
            session=row.session,
            digest=row.digest,
            purged_at=row.purged_at,
            recoverable_until=row.recoverable_until,
        )


async def insert_placement(
    connection: Connection, recording_id: RecordingId, *, backend: str, blob_key: str, at: int
) -> None:
    """
    Note that the recording's blob is to go to *backend*.
    """
    await connection.execute(
        placements.insert().values(
            blob_key=blob_key, recording_id=str(recording_id), backend=backend, state="pending", created_at=at
        )
    )


async def get_placement(connection: Connection, blob_key: str) -> Placement | None:
    """
    Return the placement of that blob.
    """
    row = (
        await connection.execute(select(placements).where(placements.c.blob_key == blob_key))
    ).one_or_none()
    return None if row is None else Placement.from_row(row)


async def placements_of(connection: Connection, recording_id: RecordingId) -> list[Placement]:
    """
    Return all placements of the recording, ended ones too.
    """
    query = (
        select(placements)
        .where(placements.c.recording_id == str(recording_id))
        .order_by(placements.c.created_at, placements.c.blob_key)
    )
    return [Placement.from_row(row) for row in await connection.execute(query)]


# Made once: a statement remembers what it was compiled to.
_AMONG: Final = select(placements).where(placements.c.recording_id.in_(bindparam("ids", expanding=True)))
_PLACEMENTS: Final = _AMONG.order_by(placements.c.created_at, placements.c.blob_key)
# In one order, or two that lock several would wait for each other.
_LOCKED_PLACEMENTS: Final = _AMONG.order_by(placements.c.blob_key).with_for_update()


async def placements_of_all(
    connection: Connection, recording_ids: Collection[RecordingId], *, lock: bool = False
) -> dict[RecordingId, list[Placement]]:
    """
    Return all placements of each recording, as `placements_of` does.

    Args:
        lock: hold their rows until the transaction ends.
    """
    query = _LOCKED_PLACEMENTS if lock else _PLACEMENTS
    ids = {"ids": [str(recording_id) for recording_id in recording_ids]}
    found: dict[RecordingId, list[Placement]] = {recording_id: [] for recording_id in recording_ids}
    for row in await connection.execute(query, ids):
        placement = Placement.from_row(row)
        found[placement.recording_id].append(placement)
    return found


@dataclass(frozen=True, slots=True)
class PlaceEnd:
    """
    What became of some of a user's blobs at one place; the latest times among them.
    """

    backend: str
    state: str
    purged_at: int | None
    recoverable_until: int | None


async def ends_of_user(connection: Connection, user_id: UserId) -> list[PlaceEnd]:
    """
    Return what became of all blobs of a user, told together where it is the same.
    """
    is_unknown = placements.c.recoverable_until.is_(None)
    is_final = placements.c.recoverable_until == placements.c.purged_at
    query = (
        select(
            placements.c.backend,
            placements.c.state,
            func.max(placements.c.purged_at),
            func.max(placements.c.recoverable_until),
        )
        .join(recordings, recordings.c.id == placements.c.recording_id)
        .where(recordings.c.user_id == user_id)
        .group_by(placements.c.backend, placements.c.state, is_unknown, is_final)
    )
    return [PlaceEnd(*row) for row in await connection.execute(query)]


@dataclass(frozen=True, slots=True)
class Arrived:
    """
    What is noted of a blob that is where it was to go.
    """

    blob_key: str
    locator: str | None
    sealed_size: int
    digest: str | None


async def mark_placed(connection: Connection, arrived: Arrived, *, at: int) -> bool:
    """
    Note that the blob arrived; False if the placement is no longer pending.
    """
    result = await connection.execute(_PLACED, _placed_values(arrived, at))
    return result.rowcount == 1


async def mark_all_placed(connection: Connection, arrived: Sequence[Arrived], *, at: int) -> None:
    """
    Note that these blobs arrived; the caller holds the rows, and knows that they are pending.
    """
    await connection.execute(_PLACED, [_placed_values(one, at) for one in arrived])


_PLACED: Final = (
    update(placements)
    .where(placements.c.blob_key == bindparam("placed_key"), placements.c.state == "pending")
    .values(
        state="placed",
        locator=bindparam("placed_locator"),
        sealed_size=bindparam("placed_sealed_size"),
        digest=bindparam("placed_digest"),
        session=None,
        placed_at=bindparam("placed_time"),
        checked_at=bindparam("placed_time"),
    )
)


def _placed_values(arrived: Arrived, at: int) -> dict[str, object]:
    return {
        "placed_key": arrived.blob_key,
        "placed_locator": arrived.locator,
        "placed_sealed_size": arrived.sealed_size,
        "placed_digest": arrived.digest,
        "placed_time": at,
    }


async def keep_session(connection: Connection, blob_key: str, session: bytes | None) -> bool:
    """
    Note how far a put in parts has come, sealed; False if the placement is no longer pending.
    """
    result = await connection.execute(
        update(placements)
        .where(placements.c.blob_key == blob_key, placements.c.state == "pending")
        .values(session=session)
    )
    return result.rowcount == 1


async def place_anew(
    connection: Connection, placement: Placement, *, backend: str, blob_key: str, at: int
) -> bool:
    """
    Turn *placement* into a pending one under a fresh key, at the same backend or another; False if it changed meanwhile.
    """
    result = await connection.execute(
        update(placements)
        .where(placements.c.blob_key == placement.blob_key, placements.c.state == placement.state)
        .values(
            blob_key=blob_key,
            backend=backend,
            state="pending",
            locator=None,
            sealed_size=None,
            session=None,
            digest=None,
            created_at=at,
            placed_at=None,
            checked_at=None,
            purged_at=None,
            recoverable_until=None,
        )
    )
    return result.rowcount == 1


@dataclass(frozen=True, slots=True)
class Purged:
    """
    A blob whose deletion the backend acknowledged, and until when it may bring the blob back; times in Unix ms.
    """

    blob_key: str
    at: int
    recoverable_until: int | None


async def mark_placements_purged(connection: Connection, purged: Sequence[Purged]) -> None:
    """
    Note that these blobs were deleted.
    """
    # In one order, or two that change several would wait for each other.
    rows = [
        {"purged_key": one.blob_key, "purged_time": one.at, "purged_until": one.recoverable_until}
        for one in sorted(purged, key=lambda one: one.blob_key)
    ]
    await connection.execute(_PURGED, rows)


_PURGED: Final = (
    update(placements)
    .where(placements.c.blob_key == bindparam("purged_key"))
    .values(
        state="purged",
        session=None,
        purged_at=bindparam("purged_time"),
        recoverable_until=bindparam("purged_until"),
    )
)


async def mark_left(connection: Connection, blob_key: str, *, at: int) -> None:
    """
    Note that the blob stays where it is, out of our reach.
    """
    await connection.execute(
        update(placements)
        .where(placements.c.blob_key == blob_key)
        .values(state="left", session=None, purged_at=at, recoverable_until=None)
    )


async def mark_checked(connection: Connection, blob_key: str, *, at: int) -> None:
    """
    Note that the blob was found whole.
    """
    await connection.execute(
        update(placements).where(placements.c.blob_key == blob_key).values(checked_at=at)
    )


async def due_for_check(connection: Connection, *, checked_before: int, limit: int) -> list[RecordingId]:
    """
    Return recordings with a placed blob that was not looked at since *checked_before*, longest first.
    """
    found = list((await connection.execute(_NEVER_CHECKED, {"most": limit})).scalars())
    if len(found) < limit:
        values = {"before": checked_before, "most": limit - len(found)}
        found += (await connection.execute(_LONGEST_UNCHECKED, values)).scalars()
    return [RecordingId(uuid.UUID(recording_id)) for recording_id in dict.fromkeys(found)]


# Two statements, for each finds its rows in an index: with OR between them every row is looked at each time.
_NEVER_CHECKED: Final = (
    select(placements.c.recording_id)
    .where(placements.c.state == "placed", placements.c.checked_at.is_(None))
    .limit(bindparam("most", type_=Integer))
)
_LONGEST_UNCHECKED: Final = (
    select(placements.c.recording_id)
    .where(placements.c.state == "placed", placements.c.checked_at < bindparam("before", type_=BigInteger))
    .order_by(placements.c.checked_at)
    .limit(bindparam("most", type_=Integer))
)


async def placed_recordings(
    connection: Connection, *, after: RecordingId | None, limit: int
) -> list[RecordingId]:
    """
    Return some recordings that lie somewhere, in the order of their ids.
    """
    query = (
        select(placements.c.recording_id)
        .where(placements.c.state == "placed")
        .distinct()
        .order_by(placements.c.recording_id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(placements.c.recording_id > str(after))
    return [RecordingId(uuid.UUID(found)) for found in (await connection.execute(query)).scalars()]


async def live_recordings_at(
    connection: Connection, user_id: UserId, backend: str, *, after: str | None, limit: int
) -> list[RecordingId]:
    """
    Return some of the user's live recordings that lie, or are to lie, at *backend*, in the order of their ids.
    """
    query = (
        select(placements.c.recording_id)
        .join(recordings, recordings.c.id == placements.c.recording_id)
        .where(
            recordings.c.user_id == user_id,
            recordings.c.state == "live",
            placements.c.backend == backend,
            placements.c.state.in_(("pending", "placed")),
        )
        .order_by(placements.c.recording_id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(placements.c.recording_id > after)
    return [RecordingId(uuid.UUID(found)) for found in (await connection.execute(query)).scalars()]


async def count_live_at(connection: Connection, user_id: UserId, backend: str) -> int:
    """
    Return how many of the user's live recordings lie, or are to lie, at *backend*.
    """
    query = (
        select(func.count())
        .select_from(placements.join(recordings, recordings.c.id == placements.c.recording_id))
        .where(
            recordings.c.user_id == user_id,
            recordings.c.state == "live",
            placements.c.backend == backend,
            placements.c.state.in_(("pending", "placed")),
        )
    )
    return (await connection.execute(query)).scalar_one()


async def count_only_at(connection: Connection, user_id: UserId, backend: str) -> int:
    """
    Return how many of the user's live recordings lie at *backend* and nowhere else.
    """
    other = placements.alias()
    elsewhere = (
        select(other.c.blob_key)
        .where(
            other.c.recording_id == placements.c.recording_id,
            other.c.backend != backend,
            other.c.state == "placed",
        )
        .exists()
    )
    query = (
        select(func.count())
        .select_from(placements.join(recordings, recordings.c.id == placements.c.recording_id))
        .where(
            recordings.c.user_id == user_id,
            recordings.c.state == "live",
            placements.c.backend == backend,
            placements.c.state == "placed",
            ~elsewhere,
        )
    )
    return (await connection.execute(query)).scalar_one()


async def blobs_at(
    connection: Connection, backend: str, *, states: Sequence[str], limit: int
) -> list[Placement]:
    """
    Return some placements at *backend* that are in one of *states*.
    """
    query = (
        select(placements)
        .where(placements.c.backend == backend, placements.c.state.in_(states))
        .order_by(placements.c.blob_key)
        .limit(limit)
    )
    return [Placement.from_row(row) for row in await connection.execute(query)]


async def leave_all_at(connection: Connection, backend: str, *, at: int) -> int:
    """
    Note that every blob at *backend* stays there, out of our reach; return how many.
    """
    result = await connection.execute(
        update(placements)
        .where(placements.c.backend == backend, placements.c.state.in_(("pending", "placed")))
        .values(state="left", session=None, purged_at=at, recoverable_until=None)
    )
    return result.rowcount
