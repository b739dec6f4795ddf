"""
What a user does to his files by hand, and what an earlier trouble may have left there.
"""

import hashlib

import pytest
from gateway_gdrive.backend import DriveBackend

from gateway.api import (
    BlobRef,
    IntegrityMismatch,
    NotFound,
    Transient,
    new_blob_key,
)
from gateway.testing.conformance import PIECE, listed, read_all
from gateway.testing.sources import BytesSource
from plugins.gdrive.tests.drives import LARGE, SMALL, Connected, folders
from tests.emulators.cloud import Account
from tests.emulators.faults import Effect
from tests.emulators.gdrive import DriveEmulator
from tests.emulators.gdrive.drive import FOLDER


def made_by_hand(cloud: DriveEmulator, account: Account, name: str, content: bytes) -> str:
    """
    Put a file of that name beside what there is, and return its id.
    """
    stored = cloud.new_content()
    stored.append(content)
    return cloud.drive(account).create({"name": name}, stored).id


# Nothing twice


async def test_a_delete_removes_every_file_of_the_key(
    cloud: DriveEmulator, account: Account, backend: DriveBackend
) -> None:
    key = new_blob_key()
    ref = await backend.put(key, BytesSource(SMALL))
    made_by_hand(cloud, account, key, SMALL)
    made_by_hand(cloud, account, f"{key}.incoming", SMALL)
    kept = made_by_hand(cloud, account, "holiday.jpg", SMALL)
    await backend.delete(ref)
    assert {kept} == {stored.id for stored in account.files.values() if stored.extra["mimeType"] != FOLDER}


async def test_a_file_that_another_connection_deleted_is_not_found_though_searches_still_show_it(
    cloud: DriveEmulator, connected: Connected
) -> None:
    cloud.listing_lag_s = 300
    key = new_blob_key()
    async with connected() as first, connected() as second:
        ref = await first.put(key, BytesSource(SMALL))
        cloud.clock.advance(300)
        assert ref == await second.find(key)
        await first.delete(ref)
        assert await second.find(key) is None
        with pytest.raises(NotFound):
            await second.stat(BlobRef(key))


async def test_two_connections_that_made_a_folder_each_see_all_blobs(
    cloud: DriveEmulator, account: Account, connected: Connected
) -> None:
    cloud.listing_lag_s = 300
    async with connected() as first, connected() as second:
        refs = {await backend.put(new_blob_key(), BytesSource(SMALL)) for backend in (first, second)}
        cloud.clock.advance(300)
        assert refs == {blob.ref for blob in await listed(first)}
    assert len(folders(account)) == 2


async def test_a_folder_whose_answer_is_lost_is_made_once(
    cloud: DriveEmulator, account: Account, backend: DriveBackend
) -> None:
    cloud.listing_lag_s = 300
    cloud.faults.order("folder", Effect.LOSE_ANSWER)
    with pytest.raises(Transient):
        await backend.put(new_blob_key(), BytesSource(SMALL))
    await backend.put(new_blob_key(), BytesSource(SMALL))
    assert len(folders(account)) == 1


# What a user does by hand


async def test_a_blob_that_was_deleted_by_hand_is_not_found_and_deleting_it_succeeds(
    cloud: DriveEmulator, account: Account, backend: DriveBackend
) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(SMALL))
    cloud.delete_by_hand(account, ref.key)
    assert await backend.find(ref.key) is None
    with pytest.raises(NotFound):
        await backend.stat(ref)
    await backend.delete(ref)


async def test_a_blob_in_the_trash_is_no_blob_and_is_deleted_for_good(
    cloud: DriveEmulator, account: Account, backend: DriveBackend
) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(SMALL))
    assert ref.locator is not None
    cloud.drive(account).update(ref.locator, {"trashed": True})
    assert (await backend.find(ref.key), await listed(backend)) == (None, [])
    with pytest.raises(NotFound):
        await read_all(backend, ref)
    await backend.delete(BlobRef(ref.key, ref.locator))
    assert ref.locator not in account.files


@pytest.mark.parametrize("content", [SMALL, LARGE])
@pytest.mark.parametrize("is_for_good", [True, False])
async def test_a_folder_that_was_removed_by_hand_is_made_anew(
    cloud: DriveEmulator, account: Account, backend: DriveBackend, content: bytes, is_for_good: bool
) -> None:
    key = new_blob_key()
    await backend.put(new_blob_key(), BytesSource(SMALL))
    [folder] = [stored for stored in account.files.values() if stored.extra["mimeType"] == FOLDER]
    if is_for_good:
        cloud.remove(account, folder)
    else:
        cloud.drive(account).update(folder.id, {"trashed": True})
    with pytest.raises(Transient):
        await backend.put(key, BytesSource(content))
    ref = await backend.put(key, BytesSource(content))
    assert [ref] == [blob.ref for blob in await listed(backend)]
    assert content == await read_all(backend, ref)


async def test_a_blob_that_was_renamed_and_moved_by_hand_is_still_the_one_of_its_reference(
    cloud: DriveEmulator, account: Account, backend: DriveBackend
) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(SMALL))
    assert ref.locator is not None
    cloud.drive(account).update(ref.locator, {"name": "call.bin", "parents": [cloud.drive(account).root]})
    assert SMALL == await read_all(backend, ref)
    await backend.delete(ref)
    assert ref.locator not in account.files


@pytest.mark.parametrize("name", ["It's here", "back\\slash", "'", "a\\' or name = 'b"])
async def test_a_folder_may_have_any_name(
    cloud: DriveEmulator, account: Account, connected: Connected, name: str
) -> None:
    async with connected(folder=name) as first:
        ref = await first.put(new_blob_key(), BytesSource(SMALL))
    async with connected(folder=name) as second:
        await second.put(new_blob_key(), BytesSource(SMALL))
        assert 2 == len(await listed(second))
    assert [name] == folders(account)
    assert cloud.blob_bytes(account, ref.key) == SMALL


async def test_a_blob_that_became_shorter_while_it_was_read_is_told(
    account: Account, backend: DriveBackend
) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(LARGE))
    assert ref.locator is not None
    content = account.files[ref.locator].content
    async with backend.read(ref) as pieces:
        assert PIECE == len(await anext(pieces))
        content.truncate(PIECE + 5)
        with pytest.raises(IntegrityMismatch):
            await anext(pieces)


async def test_the_hash_of_a_blob_and_the_room_are_told_without_reading(
    cloud: DriveEmulator, account: Account, backend: DriveBackend
) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(SMALL))
    assert hashlib.sha256(SMALL).hexdigest() == (await backend.stat(ref)).digest
    cloud.damage(account, ref.key)
    assert hashlib.sha256(SMALL).hexdigest() != (await backend.stat(ref)).digest
    quota = await backend.quota()
    assert quota is not None
    assert (len(SMALL), 15 << 30) == (quota.used, quota.limit)
    account.quota = None
    quota = await backend.quota()
    assert quota is not None
    assert quota.limit is None
    assert 0 == cloud.faults.requests["read"]
