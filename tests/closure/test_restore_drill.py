"""
What an operator may restore, and what he may not.

t0 is when the copies were made; since then recordings and an account were erased, and others came.
"""

import shutil
from dataclasses import dataclass

import pytest

from gateway.base.errors import RefusesToServe
from gateway.catalog.recordings import get_recording
from gateway.services.errors import NotFound
from tests.closure.world import Call, Owner, World


@dataclass(frozen=True)
class Story:
    """
    What was there at t0, and what came after.
    """

    left: Owner
    erased: Call
    of_erased_account: Call
    edited: Call
    kept: Call
    later: Call
    unfinished: Call
    finished_later: Call


async def tell(world: World, *, purged: bool) -> Story:
    """
    Copy everything, then let things happen; the blobs of what is erased then are removed only where *purged*.
    """
    stays, leaves = await world.add_owner(), await world.add_owner()
    erased = await world.upload(stays, 20000, pieces=2)
    of_erased_account = await world.upload(leaves, 700)
    edited = await world.upload(stays, 700)
    kept = await world.upload(stays, 0)
    unfinished, finished_later = await world.begin(stays, 700), await world.begin(stays, 700)
    await world.send(unfinished, 300)
    await world.send(finished_later, 300)
    await world.gateway.do_due_jobs()
    await world.copy_catalog()
    await world.copy_keys()

    await world.erase(erased)
    await world.edit(edited, "another note")
    await world.erase_account(leaves)
    await world.send(finished_later, 400)
    later = await world.upload(stays, 1)
    if purged:
        await world.gateway.do_due_jobs()
    return Story(leaves, erased, of_erased_account, edited, kept, later, unfinished, finished_later)


async def state_of(world: World, call: Call) -> str | None:
    async with world.context.catalog.read() as connection:
        row = await get_recording(connection, call.id)
    return None if row is None else row.state


def blobs_of(world: World, *calls: Call) -> int:
    files = [path for path in (world.data_dir / "blobs").rglob("*") if path.is_file()]
    return sum(path.read_bytes()[8:24] in {call.id.bytes for call in calls} for path in files)


@pytest.mark.parametrize("purged", [False, True], ids=["blobs still there", "blobs gone"])
async def test_an_old_catalog_beside_the_keys_of_now(either: World, purged: bool) -> None:
    story = await tell(either, purged=purged)
    keyring = either.context.keyring
    receipts = [r.to_json() for r in await keyring.receipts_of(str(story.erased.id))]
    assert (1 + purged) == len(receipts)
    assert (0 if purged else 2) == blobs_of(either, story.erased, story.of_erased_account)

    await either.put_old_catalog_back()
    # Before anything else is done, what the old catalog says of them is corrected.
    assert "erased" == await state_of(either, story.erased)
    assert "erased" == await state_of(either, story.of_erased_account)
    assert "live" == await state_of(either, story.kept)
    with pytest.raises(NotFound):
        await either.user(story.left.id)
    with pytest.raises(NotFound):
        await either.context.recordings.get(await either.user(story.erased.owner), story.erased.id)

    await either.gateway.do_due_jobs()
    assert 0 == blobs_of(either, story.erased, story.of_erased_account)
    receipts_now = [r.to_json() for r in await either.context.keyring.receipts_of(str(story.erased.id))]
    assert receipts == receipts_now[: len(receipts)]
    assert "purged" == (await either.context.erasure.erasure_of(story.erased.owner, story.erased.id)).state
    # New ones get keys of their own, though the old catalog does not know which were used since.
    await either.upload(either.promises.owners[story.kept.owner], 700)
    await either.check(exhaustive=True)
    assert {"live"} == {call.state for call in (story.edited, story.kept)}
    assert None is await state_of(either, story.later)


async def test_an_old_catalog_may_come_back_twice(either: World) -> None:
    story = await tell(either, purged=True)
    await either.put_old_catalog_back()
    await either.gateway.do_due_jobs()
    await either.erase(story.edited)
    await either.put_old_catalog_back()
    assert "erased" == await state_of(either, story.edited)
    await either.check()


async def test_the_key_tree_of_then_is_refused_with_advice(either: World) -> None:
    await tell(either, purged=False)
    await either.close()
    await either.store.copy("keys", "now")
    await either.store.put_back("keys", "old")
    roots = either.live_files()
    with pytest.raises(RefusesToServe, match="older than the root store") as refusal:
        await either.open()
    assert "a standby or another live copy" in refusal.value.advice
    assert "The catalog may be restored freely" in refusal.value.advice
    assert roots == either.live_files()

    await either.store.put_back("keys", "now")
    await either.open()
    await either.check()


async def test_the_root_store_of_then_is_refused_with_advice(either: World) -> None:
    slots = either.data_dir / "root" / "slots"
    copy = either.data_dir.with_name("slots-of-then")
    await either.restart()
    shutil.copy(slots, copy)
    await tell(either, purged=False)
    await either.close()
    now = slots.read_bytes()
    slots.write_bytes(copy.read_bytes())
    with pytest.raises(RefusesToServe, match="newer than the root store") as refusal:
        await either.open()
    assert "an old backup does not help" in refusal.value.advice

    slots.write_bytes(now)
    await either.open()
    await either.check()


async def test_a_snapshot_of_the_root_store_opens_what_was_erased_since(either: World) -> None:
    """
    This is why the root store must not be in a backup or a snapshot: nothing can be promised against it.
    """
    slots = either.data_dir / "root" / "slots"
    owner = await either.add_owner()
    call = await either.upload(owner, 700)
    await either.gateway.do_due_jobs()
    then = slots.read_bytes()
    await either.erase(call)
    assert [] == either.ways_to(either.attack(), str(call.id))
    either.witness.tell_files()
    stolen = either.attacker.attack({"a snapshot": then})
    assert call.head in stolen.audio[call.id]
