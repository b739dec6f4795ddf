"""
Recordings: finished uploads, and the tombstones of erased ones.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from sqlalchemy import Row, and_, bindparam, or_, select, update

from gateway.base.ids import KeySlot, LeafIndex, RecordingId, UserId
from gateway.catalog.tables import recordings
from gateway.database import Connection


@dataclass(frozen=True, slots=True)
class RecordingRow:
    """
    What the catalog knows of a recording: nothing that says who called whom about what.
    """

    id: RecordingId
    user_id: UserId
    key_slot: KeySlot
    leaf_index: LeafIndex
    state: str
    size: int
    stored_at: int
    details: bytes | None
    details_revision: int
    commitment: bytes | None = None
    revoked_at: int | None = None
    purged_at: int | None = None
    expiry_id: str | None = None
    """What it expired with, which is what the receipt is about."""

    @property
    def is_live(self) -> bool:
        return self.state == "live"

    @classmethod
    def from_row(cls, row: Row[tuple[object, ...]]) -> Self:
        return cls(
            id=RecordingId(uuid.UUID(row.id)),
            user_id=UserId(row.user_id),
            key_slot=KeySlot(row.key_slot),
            leaf_index=LeafIndex(row.leaf_index),
            state=row.state,
            size=row.size,
            stored_at=row.stored_at,
            details=row.details,
            details_revision=row.details_revision,
            commitment=row.commitment,
            revoked_at=row.revoked_at,
            purged_at=row.purged_at,
            expiry_id=row.expiry_id,
        )


@dataclass(frozen=True, slots=True)
class ListPosition:
    """
    A place in the list, newest first: right behind the recording it names.
    """

    stored_at: int
    id: str


def recording_values(recording: RecordingRow) -> dict[str, object]:
    """
    Return the row of a new *recording*.
    """
    return {
        "id": str(recording.id),
        "user_id": recording.user_id,
        "key_slot": recording.key_slot,
        "leaf_index": recording.leaf_index,
        "state": recording.state,
        "size": recording.size,
        "stored_at": recording.stored_at,
        "details": recording.details,
        "details_revision": recording.details_revision,
        "commitment": recording.commitment,
    }


async def insert_recording(connection: Connection, recording: RecordingRow) -> None:
    """
    Add a recording.
    """
    await connection.execute(recordings.insert().values(**recording_values(recording)))


async def get_recording(connection: Connection, recording_id: RecordingId) -> RecordingRow | None:
    """
    Return the recording or its tombstone, whoever owns it.
    """
    row = (
        await connection.execute(select(recordings).where(recordings.c.id == str(recording_id)))
    ).one_or_none()
    return None if row is None else RecordingRow.from_row(row)


# Made once: a statement remembers what it was compiled to.
_RECORDINGS: Final = select(recordings).where(recordings.c.id.in_(bindparam("ids", expanding=True)))


async def get_recordings(
    connection: Connection, recording_ids: Collection[RecordingId]
) -> dict[RecordingId, RecordingRow]:
    """
    Return those of the recordings, or their tombstones, that there are.
    """
    ids = {"ids": [str(wanted) for wanted in recording_ids]}
    rows = [RecordingRow.from_row(row) for row in await connection.execute(_RECORDINGS, ids)]
    return {row.id: row for row in rows}


async def find_live_by_leaves(
    connection: Connection, slot: KeySlot, first: LeafIndex, last: LeafIndex
) -> list[RecordingId]:
    """
    Return the live recordings whose keys are these leaves, both ends included.
    """
    query = select(recordings.c.id).where(
        recordings.c.key_slot == slot,
        recordings.c.leaf_index.between(first, last),
        recordings.c.state == "live",
    )
    return [RecordingId(uuid.UUID(found)) for found in (await connection.execute(query)).scalars()]


async def list_recordings(
    connection: Connection,
    user_id: UserId,
    *,
    after: ListPosition | None,
    stored_from: int | None,
    stored_before: int | None,
    limit: int,
) -> list[RecordingRow]:
    """
    Return the user's live recordings, newest first.

    Args:
        after: go on behind this place.
        stored_from, stored_before: Unix ms, from inclusive to exclusive.
    """
    query = (
        select(recordings)
        .where(recordings.c.user_id == user_id, recordings.c.state == "live")
        .order_by(recordings.c.stored_at.desc(), recordings.c.id.desc())
        .limit(limit)
    )
    if after is not None:
        query = query.where(
            recordings.c.stored_at <= after.stored_at,
            or_(
                recordings.c.stored_at < after.stored_at,
                and_(recordings.c.stored_at == after.stored_at, recordings.c.id < after.id),
            ),
        )
    if stored_from is not None:
        query = query.where(recordings.c.stored_at >= stored_from)
    if stored_before is not None:
        query = query.where(recordings.c.stored_at < stored_before)
    return [RecordingRow.from_row(row) for row in await connection.execute(query)]


async def list_erased(
    connection: Connection, user_id: UserId, *, after: ListPosition | None, limit: int
) -> list[RecordingRow]:
    """
    Return tombstones of the user's, the oldest recording first; *after* goes on behind this place.
    """
    query = (
        select(recordings)
        .where(recordings.c.user_id == user_id, recordings.c.state == "erased")
        .order_by(recordings.c.stored_at, recordings.c.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(
            recordings.c.stored_at >= after.stored_at,
            or_(recordings.c.stored_at > after.stored_at, recordings.c.id > after.id),
        )
    return [RecordingRow.from_row(row) for row in await connection.execute(query)]


async def replace_details(
    connection: Connection, recording_id: RecordingId, details: bytes, *, expected_revision: int
) -> bool:
    """
    Store newly sealed details; False if somebody else did meanwhile or the recording is gone.
    """
    result = await connection.execute(
        update(recordings)
        .where(
            recordings.c.id == str(recording_id),
            recordings.c.state == "live",
            recordings.c.details_revision == expected_revision,
        )
        .values(details=details, details_revision=expected_revision + 1)
    )
    return result.rowcount == 1


async def set_commitment(connection: Connection, recording_id: RecordingId, commitment: bytes) -> bool:
    """
    Note the key commitment of the recording's blob; False if it is erased.

    Holds the recording's row until the transaction ends, so that what follows in it is one attempt's alone.
    """
    result = await connection.execute(
        update(recordings)
        .where(recordings.c.id == str(recording_id), recordings.c.state == "live")
        .values(commitment=commitment)
    )
    return result.rowcount == 1


async def set_commitments(connection: Connection, commitments: Mapping[RecordingId, bytes]) -> None:
    """
    Note the key commitments of recordings' blobs; those that are erased have no use for one.
    """
    rows = [
        {"recording_id": str(recording_id), "new_commitment": commitment}
        for recording_id, commitment in sorted(commitments.items(), key=lambda item: str(item[0]))
    ]
    await connection.execute(_COMMITTED, rows)


_COMMITTED: Final = (
    update(recordings)
    .where(recordings.c.id == bindparam("recording_id"), recordings.c.state == "live")
    .values(commitment=bindparam("new_commitment"))
)


async def bury_recordings(connection: Connection, recording_ids: Collection[RecordingId], *, at: int) -> None:
    """
    Turn live recordings into their tombstones; those that are tombstones already stay as they are.
    """
    await connection.execute(
        _BURIAL, {"ids": [str(recording_id) for recording_id in recording_ids], "time": at}
    )


_BURIAL: Final = (
    update(recordings)
    .where(recordings.c.id.in_(bindparam("ids", expanding=True)), recordings.c.state == "live")
    .values(state="erased", details=None, revoked_at=bindparam("time"))
)


async def bury_recordings_of(connection: Connection, user_id: UserId, *, at: int) -> int:
    """
    Turn all of a user's live recordings into tombstones; return how many there were.
    """
    result = await connection.execute(
        update(recordings)
        .where(recordings.c.user_id == user_id, recordings.c.state == "live")
        .values(state="erased", details=None, revoked_at=at)
    )
    return result.rowcount


async def mark_purged(connection: Connection, recording_ids: Sequence[RecordingId], *, at: int) -> None:
    """
    Note that no backend holds a blob of these any more.
    """
    # In one order, or two that change several would wait for each other.
    rows = [{"purged_id": each, "purged_time": at} for each in sorted(map(str, recording_ids))]
    if rows:
        await connection.execute(_PURGED, rows)


_PURGED: Final = (
    update(recordings)
    .where(recordings.c.id == bindparam("purged_id"))
    .values(purged_at=bindparam("purged_time"))
)


async def unpurged_of(connection: Connection, user_id: UserId, *, limit: int) -> list[RecordingId]:
    """
    Return some tombstones of the user whose blobs may still lie somewhere.
    """
    query = (
        select(recordings.c.id)
        .where(
            recordings.c.user_id == user_id, recordings.c.state == "erased", recordings.c.purged_at.is_(None)
        )
        .limit(limit)
    )
    return [RecordingId(uuid.UUID(found)) for found in (await connection.execute(query)).scalars()]
