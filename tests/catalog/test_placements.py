"""
Which copies are looked at next.
"""

import uuid

from sqlalchemy import insert

from gateway.base.ids import RecordingId
from gateway.catalog.placements import due_for_check
from gateway.catalog.tables import placements, recordings, users
from gateway.database import Database


async def placed(database: Database, *checks: tuple[str, int | None]) -> list[RecordingId]:
    """
    Add a recording with one copy for each pair of the copy's state and the time of its last check.
    """
    ids = [uuid.uuid4() for _ in checks]
    common = {"size": 1, "stored_at": 0, "details_revision": 0, "state": "live"}
    async with database.write() as connection:
        user = {"id": "user", "key_slot": 1, "state": "active", "created_at": 0}
        await connection.execute(insert(users).values(**user))
        for index, (id_, (state, checked_at)) in enumerate(zip(ids, checks, strict=True)):
            row = {**common, "id": str(id_), "user_id": "user", "key_slot": 1, "leaf_index": index}
            await connection.execute(insert(recordings).values(**row))
            copy = {"blob_key": id_.hex, "backend": "home", "state": state, "created_at": 0}
            await connection.execute(
                insert(placements).values(**copy, recording_id=str(id_), checked_at=checked_at)
            )
    return [RecordingId(id_) for id_ in ids]


async def due(database: Database, *, checked_before: int, limit: int) -> list[RecordingId]:
    async with database.read() as connection:
        return await due_for_check(connection, checked_before=checked_before, limit=limit)


async def test_copies_are_looked_at_in_their_turn(catalog_database: Database) -> None:
    lately, never, long_ago, longest_ago, _ = await placed(
        catalog_database, ("placed", 30), ("placed", None), ("placed", 20), ("placed", 10), ("purged", 1)
    )
    assert [never, longest_ago, long_ago] == await due(catalog_database, checked_before=30, limit=9)
    assert [never, longest_ago] == await due(catalog_database, checked_before=30, limit=2)
    assert [never] == await due(catalog_database, checked_before=10, limit=9)
    assert lately in await due(catalog_database, checked_before=31, limit=9)
