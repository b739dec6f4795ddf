"""
The fence of an upload: what was begun before somebody else began does not count any more.
"""

import uuid

from gateway.base.ids import KeySlot, LeafIndex, RecordingId, UserId
from gateway.catalog import uploads as catalog
from gateway.catalog.uploads import Piece, Upload
from gateway.catalog.users import User, insert_user
from gateway.database import Database

USER = User(UserId("u"), KeySlot(1), "active", 0, None)


async def inserted(database: Database, length: int | None = 100) -> Upload:
    upload = Upload(
        id=RecordingId(uuid.uuid4()),
        user_id=USER.id,
        key_slot=USER.key_slot,
        leaf_index=LeafIndex(5),
        state="open",
        length=length,
        received=0,
        details=b"sealed",
        created_at=0,
        expires_at=1000,
    )
    async with database.write() as connection:
        await insert_user(connection, USER)
        await catalog.insert_upload(connection, upload, idempotency_hash=b"key")
    return upload


async def row_of(database: Database, upload: Upload) -> Upload:
    async with database.read() as connection:
        row = await catalog.get_upload(connection, upload.id)
    assert row is not None
    return row


async def began(database: Database, upload: Upload, fence: int, length: int | None = None) -> bool:
    async with database.write() as connection:
        return await catalog.begin_append(
            connection, upload.id, expected_fence=fence, is_atomic=False, length=length
        )


async def settled(
    database: Database, upload: Upload, fence: int, size: int, length: int | None = None
) -> bool:
    piece = Piece(fence, 0, size, is_ended=True) if size else None
    async with database.write() as connection:
        return await catalog.settle_append(
            connection, upload.id, piece, fence=fence, expires_at=2000, length=length
        )


async def test_an_append_is_begun_once_under_each_fence(catalog_database: Database) -> None:
    upload = await inserted(catalog_database)

    assert await began(catalog_database, upload, 0)
    assert not await began(catalog_database, upload, 0)
    assert not await began(catalog_database, upload, 1)

    row = await row_of(catalog_database, upload)
    assert (1, 1) == (row.fence, row.unsettled_fence)


async def test_an_append_is_recorded_once(catalog_database: Database) -> None:
    upload = await inserted(catalog_database)
    await began(catalog_database, upload, 0)

    assert not await settled(catalog_database, upload, 2, 10)
    assert await settled(catalog_database, upload, 1, 10)
    assert not await settled(catalog_database, upload, 1, 10)

    row = await row_of(catalog_database, upload)
    assert (10, None, 2000) == (row.received, row.unsettled_fence, row.expires_at)
    async with catalog_database.read() as connection:
        assert [Piece(1, 0, 10, is_ended=True)] == await catalog.pieces_of(connection, upload.id)


async def test_a_late_word_changes_nothing(catalog_database: Database) -> None:
    upload = await inserted(catalog_database)
    await began(catalog_database, upload, 0)
    await settled(catalog_database, upload, 1, 0)
    await began(catalog_database, upload, 1)

    assert not await settled(catalog_database, upload, 1, 10)
    assert await settled(catalog_database, upload, 2, 20)

    assert 20 == (await row_of(catalog_database, upload)).received


async def test_nothing_begins_or_is_recorded_after_the_end(catalog_database: Database) -> None:
    upload = await inserted(catalog_database)
    await began(catalog_database, upload, 0)
    async with catalog_database.write() as connection:
        assert await catalog.end_upload(connection, upload.id, "terminated", expires_at=3000)
        assert not await catalog.end_upload(connection, upload.id, "expired", expires_at=3000)

    assert not await settled(catalog_database, upload, 1, 10)
    assert not await began(catalog_database, upload, 1)

    row = await row_of(catalog_database, upload)
    assert ("terminated", 0, None, 3000) == (row.state, row.received, row.details, row.expires_at)
    async with catalog_database.read() as connection:
        assert await catalog.find_upload(connection, USER.id, b"key") is None


async def test_a_length_is_declared_at_the_beginning_or_with_the_record(catalog_database: Database) -> None:
    upload = await inserted(catalog_database, length=None)

    await began(catalog_database, upload, 0)
    assert (await row_of(catalog_database, upload)).length is None
    await settled(catalog_database, upload, 1, 10, length=50)
    assert 50 == (await row_of(catalog_database, upload)).length
    await began(catalog_database, upload, 1, length=60)

    assert 60 == (await row_of(catalog_database, upload)).length


async def test_only_a_finished_upload_keeps_its_idempotency_key(catalog_database: Database) -> None:
    upload = await inserted(catalog_database)
    async with catalog_database.write() as connection:
        await catalog.end_upload(connection, upload.id, "complete", expires_at=3000)
        found = await catalog.find_upload(connection, USER.id, b"key")
        assert found is not None
        await catalog.bury_finished_uploads(connection, [upload.id])
        assert await catalog.find_upload(connection, USER.id, b"key") is None
