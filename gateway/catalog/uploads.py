"""
Uploads that are not recordings yet, and the pieces they are made of.

An upload's *fence* is its guard.
`begin_append` raises it and remembers that an append is under way; every later write names the fence it was given,
and one that lost its fence to a newcomer changes nothing.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Self

from sqlalchemy import BigInteger, Row, bindparam, delete, func, select, update

from gateway.base.ids import KeySlot, LeafIndex, RecordingId, UserId
from gateway.catalog.export_tables import exports
from gateway.catalog.tables import pieces, recordings, uploads
from gateway.database import Connection

FIRST_FENCE: Final = 1
"""The fence of an upload's first append; one that brought everything has no other."""


@dataclass(frozen=True, slots=True)
class Upload:
    """
    A tus resource.

    *received* counts plaintext bytes that are durable; *unsettled_fence* names an append that began and was never recorded.
    """

    id: RecordingId
    user_id: UserId
    key_slot: KeySlot
    leaf_index: LeafIndex
    state: str
    length: int | None
    received: int
    details: bytes | None
    created_at: int
    expires_at: int
    fence: int = 0
    unsettled_fence: int | None = None
    unsettled_is_atomic: bool = False

    @property
    def is_open(self) -> bool:
        return self.state == "open"

    @classmethod
    def from_row(cls, row: Row[tuple[object, ...]]) -> Self:
        return cls(
            id=RecordingId(uuid.UUID(row.id)),
            user_id=UserId(row.user_id),
            key_slot=KeySlot(row.key_slot),
            leaf_index=LeafIndex(row.leaf_index),
            state=row.state,
            length=row.length,
            received=row.received,
            details=row.details,
            created_at=row.created_at,
            expires_at=row.expires_at,
            fence=row.fence,
            unsettled_fence=row.unsettled_fence,
            unsettled_is_atomic=row.unsettled_is_atomic,
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """
    One unbroken append, sealed as a message of its own in the spool file that *fence* names.
    """

    fence: int
    start: int
    length: int
    is_ended: bool


def upload_values(upload: Upload, *, idempotency_hash: bytes | None = None) -> dict[str, object]:
    """
    Return the row of *upload*.
    """
    return {
        "id": str(upload.id),
        "user_id": upload.user_id,
        "key_slot": upload.key_slot,
        "leaf_index": upload.leaf_index,
        "state": upload.state,
        "length": upload.length,
        "received": upload.received,
        "details": upload.details,
        "idempotency_hash": idempotency_hash,
        "created_at": upload.created_at,
        "expires_at": upload.expires_at,
        "fence": upload.fence,
        "unsettled_fence": upload.unsettled_fence,
        "unsettled_is_atomic": upload.unsettled_is_atomic,
    }


async def insert_upload(connection: Connection, upload: Upload, *, idempotency_hash: bytes | None) -> None:
    """
    Add *upload*.
    """
    await connection.execute(
        uploads.insert().values(**upload_values(upload, idempotency_hash=idempotency_hash))
    )


async def get_upload(connection: Connection, upload_id: RecordingId) -> Upload | None:
    """
    Return the upload, whoever owns it.
    """
    row = (await connection.execute(select(uploads).where(uploads.c.id == str(upload_id)))).one_or_none()
    return None if row is None else Upload.from_row(row)


async def find_upload(connection: Connection, user_id: UserId, idempotency_hash: bytes) -> Upload | None:
    """
    Return the upload that the user's client began under this idempotency key.
    """
    query = select(uploads).where(
        uploads.c.user_id == user_id, uploads.c.idempotency_hash == idempotency_hash
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Upload.from_row(row)


async def find_open_by_leaves(
    connection: Connection, slot: KeySlot, first: LeafIndex, last: LeafIndex
) -> list[RecordingId]:
    """
    Return the unfinished uploads whose keys are these leaves, both ends included.
    """
    query = select(uploads.c.id).where(
        uploads.c.key_slot == slot, uploads.c.leaf_index.between(first, last), uploads.c.state == "open"
    )
    return [RecordingId(uuid.UUID(found)) for found in (await connection.execute(query)).scalars()]


async def leaf_is_taken(connection: Connection, slot: KeySlot, index: LeafIndex) -> bool:
    """
    Tell whether an upload, a recording or an export, live or not, has this leaf already.
    """
    of_upload = select(uploads.c.id).where(uploads.c.key_slot == slot, uploads.c.leaf_index == index)
    of_recording = select(recordings.c.id).where(
        recordings.c.key_slot == slot, recordings.c.leaf_index == index
    )
    of_export = select(exports.c.id).where(exports.c.key_slot == slot, exports.c.leaf_index == index)
    taken = of_upload.union_all(of_recording, of_export).limit(1)
    return (await connection.execute(taken)).first() is not None


async def highest_leaf(connection: Connection, slot: KeySlot) -> int:
    """
    Return the highest leaf index that an upload, a recording or an export of *slot* has, -1 if there is none.
    """
    of_uploads = select(func.max(uploads.c.leaf_index)).where(uploads.c.key_slot == slot)
    of_recordings = select(func.max(recordings.c.leaf_index)).where(recordings.c.key_slot == slot)
    of_exports = select(func.max(exports.c.leaf_index)).where(exports.c.key_slot == slot)
    found = (await connection.execute(of_uploads.union_all(of_recordings, of_exports))).scalars()
    return max((index for index in found if index is not None), default=-1)


async def count_open_uploads(connection: Connection, user_id: UserId) -> int:
    """
    Return how many uploads the user has begun and not finished.
    """
    query = select(func.count()).where(uploads.c.user_id == user_id, uploads.c.state == "open")
    return (await connection.execute(query)).scalar_one()


async def begin_append(
    connection: Connection,
    upload_id: RecordingId,
    *,
    expected_fence: int,
    is_atomic: bool,
    length: int | None,
) -> bool:
    """
    Raise the fence to *expected_fence* + 1 and note that an append is under way.

    Args:
        length: the upload's length if this request is the one that declares it, else None.

    Returns:
        False if the upload is no longer open or somebody else has raised the fence.
    """
    values: dict[str, object] = {
        "fence": expected_fence + 1,
        "unsettled_fence": expected_fence + 1,
        "unsettled_is_atomic": is_atomic,
    }
    if length is not None:
        values["length"] = length
    result = await connection.execute(
        update(uploads)
        .where(
            uploads.c.id == str(upload_id),
            uploads.c.state == "open",
            uploads.c.fence == expected_fence,
            uploads.c.unsettled_fence.is_(None),
        )
        .values(**values)
    )
    return result.rowcount == 1


async def settle_append(
    connection: Connection,
    upload_id: RecordingId,
    piece: Piece | None,
    *,
    fence: int,
    expires_at: int,
    length: int | None = None,
) -> bool:
    """
    Record what the append under *fence* brought (None: nothing) and move the upload offset.

    Args:
        length: the upload's length if the append declared it and counts wholly or not at all, else None.

    Returns:
        False if the fence is no longer the upload's, and then nothing has changed.
    """
    values: dict[str, object] = {
        "received": uploads.c.received + (0 if piece is None else piece.length),
        "unsettled_fence": None,
        "unsettled_is_atomic": False,
        "expires_at": expires_at,
    }
    if length is not None:
        values["length"] = length
    result = await connection.execute(
        update(uploads)
        .where(
            uploads.c.id == str(upload_id),
            uploads.c.state == "open",
            uploads.c.fence == fence,
            uploads.c.unsettled_fence == fence,
        )
        .values(**values)
    )
    if result.rowcount != 1:
        return False
    if piece is not None:
        await insert_piece(connection, upload_id, piece)
    return True


async def end_upload(connection: Connection, upload_id: RecordingId, state: str, *, expires_at: int) -> bool:
    """
    Take an open upload to *state* (complete, terminated, expired); tell whether this call did it.

    The details leave the row: a complete one's are the recording's from now on, those of others go with their key.
    Only a complete one keeps its idempotency key: after the others, the same key begins a new upload.
    """
    values = {"state": state, "expires_at": expires_at, "details": None, "unsettled_fence": None}
    if state != "complete":
        values["idempotency_hash"] = None
    result = await connection.execute(
        update(uploads).where(uploads.c.id == str(upload_id), uploads.c.state == "open").values(**values)
    )
    return result.rowcount == 1


async def expire_uploads(
    connection: Connection, upload_ids: Collection[RecordingId], *, overdue_at: int, expires_at: int
) -> list[tuple[UserId, KeySlot, LeafIndex]]:
    """
    End those of the uploads that are open and whose deadline has passed at *overdue_at*; return whose leaves they had.

    They end as `end_upload` ends one, and are remembered until *expires_at*.
    """
    ids = {"ids": [str(upload_id) for upload_id in upload_ids]}
    overdue = [
        row
        for row in await connection.execute(_LOCKED, ids)
        if row.state == "open" and row.expires_at <= overdue_at
    ]
    if overdue:
        values = {"ids": [row.id for row in overdue], "remembered_until": expires_at}
        await connection.execute(_EXPIRED, values)
    return [(UserId(row.user_id), KeySlot(row.key_slot), LeafIndex(row.leaf_index)) for row in overdue]


# By their ids alone: told the state as well, SQLite would go through all that are overdue.
_LOCKED: Final = (
    select(
        uploads.c.id,
        uploads.c.user_id,
        uploads.c.key_slot,
        uploads.c.leaf_index,
        uploads.c.state,
        uploads.c.expires_at,
    )
    .where(uploads.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(uploads.c.id)
    .with_for_update()
)
_EXPIRED: Final = (
    update(uploads)
    .where(uploads.c.id.in_(bindparam("ids", expanding=True)))
    .values(
        state="expired",
        expires_at=bindparam("remembered_until", type_=BigInteger),
        details=None,
        unsettled_fence=None,
        idempotency_hash=None,
    )
)


async def expired_by_leaves(
    connection: Connection, slot: KeySlot, first: LeafIndex, last: LeafIndex
) -> list[RecordingId]:
    """
    Return the expired uploads, as far as they are remembered, whose keys were these leaves, both ends included.
    """
    values = {"slot": slot, "first": first, "last": last}
    return [RecordingId(uuid.UUID(found)) for found in (await connection.execute(_GONE, values)).scalars()]


_GONE: Final = select(uploads.c.id).where(
    uploads.c.key_slot == bindparam("slot", type_=BigInteger),
    uploads.c.leaf_index.between(bindparam("first", type_=BigInteger), bindparam("last", type_=BigInteger)),
    uploads.c.state == "expired",
)


async def bury_finished_uploads(connection: Connection, upload_ids: Collection[RecordingId]) -> None:
    """
    End the resources of finished uploads whose recordings are being erased.
    """
    await connection.execute(_BURIAL, {"ids": [str(upload_id) for upload_id in upload_ids]})


_BURIAL: Final = (
    update(uploads)
    .where(uploads.c.id.in_(bindparam("ids", expanding=True)), uploads.c.state == "complete")
    .values(state="terminated", idempotency_hash=None)
)


async def bury_finished_uploads_of(connection: Connection, user_id: UserId) -> None:
    """
    End the resources of all of a user's finished uploads.
    """
    await connection.execute(
        update(uploads)
        .where(uploads.c.user_id == user_id, uploads.c.state == "complete")
        .values(state="terminated", idempotency_hash=None)
    )


async def overdue_uploads(connection: Connection, *, at: int, limit: int) -> list[RecordingId]:
    """
    Return unfinished uploads whose deadline has passed.
    """
    query = (
        select(uploads.c.id)
        .where(uploads.c.state == "open", uploads.c.expires_at <= at)
        .order_by(uploads.c.expires_at)
        .limit(limit)
    )
    return [RecordingId(uuid.UUID(upload_id)) for upload_id in (await connection.execute(query)).scalars()]


async def open_uploads_of(connection: Connection, user_id: UserId) -> list[RecordingId]:
    """
    Return the user's unfinished uploads.
    """
    query = select(uploads.c.id).where(uploads.c.user_id == user_id, uploads.c.state == "open")
    return [RecordingId(uuid.UUID(upload_id)) for upload_id in (await connection.execute(query)).scalars()]


async def forget_ended_uploads(connection: Connection, *, at: int, limit: int) -> int:
    """
    Remove upload resources that ended and have outlived their time; return how many.
    """
    due = select(uploads.c.id).where(uploads.c.state != "open", uploads.c.expires_at <= at).limit(limit)
    result = await connection.execute(delete(uploads).where(uploads.c.id.in_(due)))
    return result.rowcount


async def pieces_of(connection: Connection, recording_id: RecordingId) -> list[Piece]:
    """
    Return the pieces in the spool, in the order of their plaintext.
    """
    query = (
        select(pieces)
        .where(pieces.c.recording_id == str(recording_id))
        .order_by(pieces.c.start, pieces.c.fence)
    )
    return [Piece(row.fence, row.start, row.length, row.is_ended) for row in await connection.execute(query)]


# Made once: a statement remembers what it was compiled to.
_PIECES: Final = (
    select(pieces)
    .where(pieces.c.recording_id.in_(bindparam("ids", expanding=True)))
    .order_by(pieces.c.start, pieces.c.fence)
)


async def pieces_of_all(
    connection: Connection, recording_ids: Collection[RecordingId]
) -> dict[RecordingId, list[Piece]]:
    """
    Return the pieces of each recording, as `pieces_of` does.
    """
    ids = {"ids": [str(wanted) for wanted in recording_ids]}
    found: dict[RecordingId, list[Piece]] = {recording_id: [] for recording_id in recording_ids}
    for row in await connection.execute(_PIECES, ids):
        piece = Piece(row.fence, row.start, row.length, row.is_ended)
        found[RecordingId(uuid.UUID(row.recording_id))].append(piece)
    return found


def piece_values(recording_id: RecordingId, piece: Piece) -> dict[str, object]:
    """
    Return the row of *piece*.
    """
    return {
        "recording_id": str(recording_id),
        "fence": piece.fence,
        "start": piece.start,
        "length": piece.length,
        "is_ended": piece.is_ended,
    }


async def insert_piece(connection: Connection, recording_id: RecordingId, piece: Piece) -> None:
    """
    Add a piece.
    """
    await connection.execute(pieces.insert().values(**piece_values(recording_id, piece)))


async def delete_pieces(connection: Connection, *recording_ids: RecordingId) -> None:
    """
    Forget every piece of these recordings; their files are the spool's to remove, afterwards.
    """
    ids = {"ids": [str(recording_id) for recording_id in recording_ids]}
    await connection.execute(_DELETED_PIECES, ids)


_DELETED_PIECES: Final = delete(pieces).where(pieces.c.recording_id.in_(bindparam("ids", expanding=True)))


async def spooled_ids(connection: Connection, candidates: list[str]) -> set[str]:
    """
    Return those of the ids that still own something in the spool: a piece, or an append under way.
    """
    with_pieces = select(pieces.c.recording_id).where(pieces.c.recording_id.in_(candidates))
    under_way = select(uploads.c.id).where(
        uploads.c.id.in_(candidates), uploads.c.state == "open", uploads.c.unsettled_fence.is_not(None)
    )
    found = set((await connection.execute(with_pieces)).scalars())
    return found | set((await connection.execute(under_way)).scalars())
