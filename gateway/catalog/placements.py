"""
Where a recording's blob lies, or is to lie.
"""

import uuid
from dataclasses import dataclass
from typing import Self

from sqlalchemy import Row, select, update

from gateway.base.ids import RecordingId
from gateway.catalog.tables import placements
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

    @classmethod
    def from_row(cls, row: Row[tuple[object, ...]]) -> Self:
        return cls(
            blob_key=row.blob_key,
            recording_id=RecordingId(uuid.UUID(row.recording_id)),
            backend=row.backend,
            state=row.state,
            locator=row.locator,
            sealed_size=row.sealed_size,
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


async def placements_of(connection: Connection, recording_id: RecordingId) -> list[Placement]:
    """
    Return all placements of the recording, purged ones too.
    """
    query = (
        select(placements)
        .where(placements.c.recording_id == str(recording_id))
        .order_by(placements.c.created_at, placements.c.blob_key)
    )
    return [Placement.from_row(row) for row in await connection.execute(query)]


async def mark_placed(
    connection: Connection, blob_key: str, *, locator: str | None, sealed_size: int, at: int
) -> bool:
    """
    Note that the blob arrived; False if the placement is no longer pending.
    """
    result = await connection.execute(
        update(placements)
        .where(placements.c.blob_key == blob_key, placements.c.state == "pending")
        .values(state="placed", locator=locator, sealed_size=sealed_size, placed_at=at)
    )
    return result.rowcount == 1


async def mark_placement_purged(connection: Connection, blob_key: str, *, at: int) -> None:
    """
    Note that the backend acknowledged the blob's deletion.
    """
    await connection.execute(
        update(placements).where(placements.c.blob_key == blob_key).values(state="purged", purged_at=at)
    )
