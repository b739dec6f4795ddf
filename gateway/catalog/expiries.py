"""
Recordings and unfinished uploads whose time is over: which they are, and the ranges of leaves in which their keys go.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Integer, bindparam, func, literal_column, select, update

from gateway.base.ids import KeySlot, LeafIndex, RecordingId, UserId
from gateway.catalog.holds import is_held
from gateway.catalog.tables import expiries, recordings, uploads
from gateway.database import Connection, insert_or_ignore


class Overdue(NamedTuple):
    """
    A recording whose time is over.
    """

    id: str
    user_id: UserId
    key_slot: KeySlot
    leaf_index: LeafIndex


@dataclass(frozen=True, slots=True)
class Expiry:
    """
    Leaves of one user, one after the other without a gap, each of an upload, or of a recording, that is overdue or erased.
    """

    user_id: UserId
    key_slot: KeySlot
    first: LeafIndex
    last: LeafIndex
    revoked_at: int

    @property
    def id(self) -> str:
        """
        Names the leaves: what its receipts are about. FORMAT §6.6.
        """
        return expiry_id(self.key_slot, self.first, self.last)


def expiry_id(slot: KeySlot, first: LeafIndex, last: LeafIndex) -> str:
    """
    Return what the expiry of these leaves is called.
    """
    return f"leaves-{slot}-{first}-{last}"


# Written out: only then do databases see that the index on the age of live recordings serves.
_IS_LIVE: Final = recordings.c.state == literal_column("'live'")
_IS_DUE: Final = (
    _IS_LIVE,
    recordings.c.stored_at < bindparam("before", type_=BigInteger),
    ~is_held(bindparam("time", type_=BigInteger)),
)
_COUNT: Final = select(func.count()).select_from(
    select(recordings.c.id).where(*_IS_DUE).limit(bindparam("most", type_=Integer)).subquery()
)
_OLDEST_ROWS: Final = (
    select(recordings.c.stored_at, recordings.c.user_id)
    .where(*_IS_DUE, recordings.c.stored_at >= bindparam("since", type_=BigInteger))
    .order_by(recordings.c.stored_at)
    .limit(bindparam("most_recordings", type_=Integer))
    .subquery()
)
_OLDEST: Final = (
    select(func.min(_OLDEST_ROWS.c.stored_at).label("oldest"), _OLDEST_ROWS.c.user_id)
    .group_by(_OLDEST_ROWS.c.user_id)
    .order_by("oldest")
    .limit(bindparam("most_owners", type_=Integer))
)
_OF_USERS: Final = (
    select(recordings.c.id, recordings.c.user_id, recordings.c.key_slot, recordings.c.leaf_index)
    .where(
        recordings.c.user_id.in_(bindparam("user_ids", expanding=True)),
        recordings.c.state == "live",
        recordings.c.stored_at < bindparam("before", type_=BigInteger),
    )
    .order_by(recordings.c.user_id, recordings.c.stored_at)
    .limit(bindparam("most", type_=Integer))
    # Whoever waited here for someone who deletes many would make him wait as well; what is busy is left for later.
    .with_for_update(skip_locked=True)
)
_IN_RANGE: Final = (
    recordings.c.key_slot == bindparam("slot", type_=BigInteger),
    recordings.c.leaf_index.between(
        bindparam("first", type_=BigInteger), bindparam("last", type_=BigInteger)
    ),
)
_GONE: Final = select(recordings.c.leaf_index).where(*_IN_RANGE, recordings.c.state == "erased")
_BURIAL: Final = (
    update(recordings)
    .where(*_IN_RANGE, recordings.c.state == "live")
    .values(
        state="erased",
        details=None,
        revoked_at=bindparam("time", type_=BigInteger),
        expiry_id=bindparam("expiry"),
    )
)
_UPLOADS: Final = (
    update(uploads)
    .where(
        uploads.c.key_slot == bindparam("slot", type_=BigInteger),
        uploads.c.leaf_index.between(
            bindparam("first", type_=BigInteger), bindparam("last", type_=BigInteger)
        ),
        uploads.c.state == "complete",
    )
    .values(state="terminated", idempotency_hash=None)
)
_NEW: Final = {
    dialect: insert_or_ignore(expiries, dialect).values(
        id=bindparam("id"),
        user_id=bindparam("user_id"),
        key_slot=bindparam("slot"),
        first_leaf=bindparam("first"),
        last_leaf=bindparam("last"),
        revoked_at=bindparam("time"),
    )
    for dialect in ("sqlite", "postgresql")
}


async def count_overdue(connection: Connection, *, stored_before: int, at: int, most: int) -> int:
    """
    Return how many live recordings that nobody holds are older than *stored_before*, up to *most*.
    """
    values = {"before": stored_before, "time": at, "most": most}
    return (await connection.execute(_COUNT, values)).scalar_one()


async def owners_of_oldest(
    connection: Connection, *, stored_before: int, since: int, at: int, limit: int, most_owners: int
) -> tuple[int, list[UserId]]:
    """
    Return when the oldest overdue recording from *since* on was stored, and whose the *limit* oldest are.
    """
    values = {
        "before": stored_before,
        "time": at,
        "since": since,
        "most_recordings": limit,
        "most_owners": most_owners,
    }
    found = (await connection.execute(_OLDEST, values)).all()
    return (found[0][0] if found else since), [UserId(user_id) for _, user_id in found]


async def lock_overdue_of(
    connection: Connection, user_ids: Collection[UserId], *, stored_before: int, limit: int
) -> list[Overdue]:
    """
    Return up to *limit* overdue recordings of these users, held ones too, and keep others from changing them.

    Those that someone else is changing just now are left out.
    """
    values = {"user_ids": list(user_ids), "before": stored_before, "most": limit}
    return [Overdue(*row) for row in await connection.execute(_OF_USERS, values)]


async def gone_leaves(
    connection: Connection, slot: KeySlot, first: LeafIndex, last: LeafIndex
) -> set[LeafIndex]:
    """
    Return the leaves of erased recordings from *first* to *last*.
    """
    values = {"slot": slot, "first": first, "last": last}
    return {LeafIndex(leaf) for leaf in (await connection.execute(_GONE, values)).scalars()}


async def insert_expiries(connection: Connection, expired: Sequence[Expiry]) -> None:
    """
    Note that these leaves expired together; what is noted already stays as it is.
    """
    rows = [
        {
            "id": expiry.id,
            "user_id": expiry.user_id,
            "slot": expiry.key_slot,
            "first": expiry.first,
            "last": expiry.last,
            "time": expiry.revoked_at,
        }
        for expiry in expired
    ]
    await connection.execute(_NEW[connection.dialect.name], rows)


async def bury_expired(connection: Connection, expired: Sequence[Expiry]) -> None:
    """
    Turn the live recordings of these ranges into tombstones.

    The caller has locked them with `lock_overdue_of`: whatever lives in the ranges is overdue.
    """
    await insert_expiries(connection, expired)
    leaves = [{"slot": each.key_slot, "first": each.first, "last": each.last} for each in expired]
    await connection.execute(
        _BURIAL,
        [
            {**one, "time": each.revoked_at, "expiry": each.id}
            for one, each in zip(leaves, expired, strict=True)
        ],
    )
    await connection.execute(_UPLOADS, leaves)


async def get_expiries(connection: Connection, ids: Collection[str]) -> list[Expiry]:
    """
    Return the expiries of these ids.
    """
    rows = await connection.execute(select(expiries).where(expiries.c.id.in_(list(ids))))
    return [
        Expiry(
            UserId(row.user_id),
            KeySlot(row.key_slot),
            LeafIndex(row.first_leaf),
            LeafIndex(row.last_leaf),
            row.revoked_at,
        )
        for row in rows
    ]


async def expiry_ids_of(connection: Connection, user_id: UserId, *, after: str, limit: int) -> list[str]:
    """
    Return some expiries of the user's recordings, in the order of their ids, behind *after*.
    """
    query = (
        select(expiries.c.id)
        .where(expiries.c.user_id == user_id, expiries.c.id > after)
        .order_by(expiries.c.id)
        .limit(limit)
    )
    return list((await connection.execute(query)).scalars())


async def unpurged_in(connection: Connection, expiry: Expiry, *, limit: int) -> list[RecordingId]:
    """
    Return some tombstones that this expiry made and whose blobs may still lie somewhere.
    """
    query = (
        select(recordings.c.id)
        .where(
            recordings.c.key_slot == expiry.key_slot,
            recordings.c.leaf_index.between(expiry.first, expiry.last),
            recordings.c.expiry_id == expiry.id,
            recordings.c.purged_at.is_(None),
        )
        .limit(limit)
    )
    return [RecordingId(uuid.UUID(found)) for found in (await connection.execute(query)).scalars()]


async def recordings_in(connection: Connection, expiry: Expiry) -> list[RecordingId]:
    """
    Return the recordings that this expiry made tombstones of.
    """
    query = select(recordings.c.id).where(
        recordings.c.key_slot == expiry.key_slot,
        recordings.c.leaf_index.between(expiry.first, expiry.last),
        recordings.c.expiry_id == expiry.id,
    )
    return [RecordingId(uuid.UUID(found)) for found in (await connection.execute(query)).scalars()]


async def mark_expiry_purged(connection: Connection, expiry: Expiry, *, at: int) -> None:
    """
    Note that no backend holds a blob of these any more.
    """
    await connection.execute(update(expiries).where(expiries.c.id == expiry.id).values(purged_at=at))


def ranges_of(leaves: Sequence[LeafIndex], gone: Collection[LeafIndex]) -> list[tuple[LeafIndex, LeafIndex]]:
    """
    Return the ranges of leaves, first and last, that hold all of *leaves*, sorted, and otherwise only *gone* ones.

    A leaf of which nothing is known parts two ranges: it may have been given to an upload that is still coming.
    """
    found: list[tuple[LeafIndex, LeafIndex]] = []
    for leaf in leaves:
        if found and all(LeafIndex(between) in gone for between in range(found[-1][1] + 1, leaf)):
            found[-1] = (found[-1][0], leaf)
        else:
            found.append((leaf, leaf))
    return found
