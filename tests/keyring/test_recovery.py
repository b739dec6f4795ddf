"""
Opening an installation that something happened to: which are served, which are refused, and with what advice.
"""

from pathlib import Path

import pytest

from gateway.base.errors import RefusesToServe
from gateway.base.ids import Epoch, KeySlot, LeafIndex
from gateway.base.secret import Secret
from gateway.keyring import Keyring
from gateway.keyring.errors import RootStoreFailed
from gateway.keyring.recovery import refuse_mismatch
from tests.keyring.world import Fault, FaultyRoots, World

LEAF = LeafIndex(0)


def epochs(*numbers: int) -> list[Epoch]:
    return [Epoch(number) for number in numbers]


@pytest.mark.parametrize(
    ("head", "roots"),
    [
        (None, []),
        (0, []),
        (0, [1]),
        (1, [1]),
        (5, [5]),
        (5, [5, 6]),
        (5, [4, 5]),
        (5, [3, 5]),
        (5, [4, 5, 6]),
    ],
)
def test_what_belongs_together_is_served(head: int | None, roots: list[int]) -> None:
    refuse_mismatch(None if head is None else Epoch(head), epochs(*roots))


@pytest.mark.parametrize(
    ("head", "roots", "reason", "advice"),
    [
        (None, [1], "key database is empty", "bring back its key database"),
        (None, [4, 5], "key database is empty", "bring back its key database"),
        (0, [2], "founded but never used", "bring back its key database"),
        (0, [1, 2], "founded but never used", "bring back its key database"),
        (5, [], "root store is empty", "Bring back the root store"),
        (5, [6], "older than the root store", "Bring back the key database"),
        (5, [9], "older than the root store", "Bring back the key database"),
        (5, [6, 7], "older than the root store", "Bring back the key database"),
        (5, [5, 7], "older than the root store", "Bring back the key database"),
        (5, [4, 9], "older than the root store", "Bring back the key database"),
        (5, [4], "newer than the root store", "Bring back the root store"),
        (5, [3, 4], "newer than the root store", "Bring back the root store"),
        (5, [4, 6], "newer than the root store", "Bring back the root store"),
    ],
)
def test_what_does_not_belong_together_is_refused_with_advice(
    head: int | None, roots: list[int], reason: str, advice: str
) -> None:
    with pytest.raises(RefusesToServe, match=reason) as refused:
        refuse_mismatch(None if head is None else Epoch(head), epochs(*roots))
    assert advice in refused.value.advice
    if roots:
        assert ", ".join(map(str, roots)) in str(refused.value)


@pytest.fixture
async def used(world: World) -> tuple[Keyring, KeySlot]:
    """
    An installation with a user, whose leaf 0 was shredded.
    """
    keyring = await world.open()
    slot = await keyring.add_slot()
    await keyring.shred(world.recording(slot, LEAF))
    return keyring, slot


def root_file(world: World) -> Path:
    return world.folder / "root" / "slots"


async def test_an_old_key_database_is_refused(world: World, used: tuple[Keyring, KeySlot]) -> None:
    keyring, slot = used
    backup = await world.copy_tables()
    await keyring.shred(world.recording(slot, 1))
    await keyring.close()
    await world.put_back(backup)
    roots = root_file(world).read_bytes()
    with pytest.raises(RefusesToServe, match="older than the root store") as refused:
        await world.open()
    assert "standby" in refused.value.advice
    assert roots == root_file(world).read_bytes()
    with pytest.raises(RefusesToServe, match="older than the root store"):
        await world.attach()


async def test_an_older_key_database_beside_an_interrupted_round_is_refused(
    world: World, used: tuple[Keyring, KeySlot]
) -> None:
    """
    Head e-1 with roots e and e+1: the lowest root is above the head, whatever the next one is.
    """
    keyring, slot = used
    backup = await world.copy_tables()
    await keyring.shred(world.recording(slot, 1))
    world.steps.fail_at("1-root-put", Fault())
    with pytest.raises(Fault):
        await keyring.shred(world.recording(slot, 2))
    await world.put_back(backup)
    with pytest.raises(RefusesToServe, match="older than the root store"):
        await world.open()
    assert 2 == len(await world.roots.epochs())


async def test_a_key_database_of_the_epoch_before_an_unfinished_round_is_served(
    world: World, used: tuple[Keyring, KeySlot]
) -> None:
    """
    Head e with roots e and e+1, where e+1 had been committed: no receipt was given, and the round can be repeated.
    """
    keyring, slot = used
    backup = await world.copy_tables()
    request = world.recording(slot, 1)
    world.steps.fail_at("2-committed", Fault())
    with pytest.raises(Fault):
        await keyring.shred(request)
    assert [] == await keyring.receipts_of(request.subject_id)
    await world.put_back(backup)
    keyring = await world.open()
    assert [2] == await world.roots.epochs()
    assert 32 == len(await keyring.leaf(slot, LeafIndex(1)))
    assert [] == await keyring.receipts_of(request.subject_id)
    await keyring.shred(request)
    assert not world.attacker.can_derive(slot, 1)


async def test_an_old_root_store_is_refused(world: World, used: tuple[Keyring, KeySlot]) -> None:
    keyring, slot = used
    backup = root_file(world).read_bytes()
    await keyring.shred(world.recording(slot, 1))
    root_file(world).write_bytes(backup)
    with pytest.raises(RefusesToServe, match="newer than the root store") as refused:
        await world.open()
    assert "old backup does not help" in refused.value.advice
    assert backup == root_file(world).read_bytes()
    with pytest.raises(RefusesToServe, match="newer than the root store"):
        await world.attach()


async def test_a_lost_root_store_is_refused_and_never_replaced(
    world: World, used: tuple[Keyring, KeySlot]
) -> None:
    root_file(world).unlink()
    for _ in range(2):
        with pytest.raises(RefusesToServe, match="root store is empty") as refused:
            await world.open()
        assert "never drawn over keys that exist" in refused.value.advice
    assert not root_file(world).exists()
    with pytest.raises(RefusesToServe, match="root store is empty"):
        await world.attach()


async def test_a_lost_key_database_is_refused_and_never_replaced(
    world: World, used: tuple[Keyring, KeySlot]
) -> None:
    roots = root_file(world).read_bytes()
    for table in await world.copy_tables():
        await world.sql(f"DELETE FROM {table}")
    with pytest.raises(RefusesToServe, match="key database is empty"):
        await world.open()
    assert roots == root_file(world).read_bytes()
    assert [] == await world.sql("SELECT * FROM tree_head")


async def test_a_damaged_root_is_named(world: World, used: tuple[Keyring, KeySlot]) -> None:
    content = bytearray(root_file(world).read_bytes())
    [at] = [start for start in (0, 4096) if any(content[start : start + 4096])]
    content[at + 20] ^= 1
    root_file(world).write_bytes(content)
    for opening in (world.open, world.attach):
        with pytest.raises(RefusesToServe, match=f"slot {at // 4096} of .*slots is damaged"):
            await opening()
    assert bytes(content) == root_file(world).read_bytes()


async def test_a_damaged_root_beside_an_empty_key_database_is_not_taken_for_a_new_installation(
    world: World,
) -> None:
    await world.roots.put(Epoch(1), Secret(bytes(32)))
    content = bytearray(root_file(world).read_bytes())
    content[20] ^= 1
    root_file(world).write_bytes(content)
    with pytest.raises(RefusesToServe, match=r"slot 0 of .*slots is damaged"):
        await world.open()
    assert bytes(content) == root_file(world).read_bytes()


async def test_a_root_of_another_installation_is_refused(world: World, used: tuple[Keyring, KeySlot]) -> None:
    root_file(world).unlink()
    await world.roots.put(Epoch(2), Secret(bytes(32)))
    for opening in (world.open, world.attach):
        with pytest.raises(RefusesToServe, match="does not open") as refused:
            await opening()
        assert "not of one installation" in refused.value.advice


async def test_a_root_that_others_may_read_is_refused(world: World, used: tuple[Keyring, KeySlot]) -> None:
    root_file(world).chmod(0o644)
    for opening in (world.open, world.attach):
        with pytest.raises(RefusesToServe, match="chmod 600"):
            await opening()


async def test_a_service_slot_that_does_not_open_is_refused(
    world: World, used: tuple[Keyring, KeySlot]
) -> None:
    await world.sql("DELETE FROM tree_states WHERE slot = 0")
    with pytest.raises(RefusesToServe, match="state 4/0"):
        await world.open()


async def test_a_torn_pending_root_is_cleared_away(world: World, used: tuple[Keyring, KeySlot]) -> None:
    """
    The power went while the pending root was being written: its slot is damaged, the active one is whole.
    """
    keyring, slot = used
    world.steps.fail_at("1-root-put", Fault())
    with pytest.raises(Fault):
        await keyring.shred(world.recording(slot, 1))
    content = bytearray(root_file(world).read_bytes())
    [pending] = [at for at in (0, 4096) if int.from_bytes(content[at + 8 : at + 16], "big") == 3]
    content[pending + 30 : pending + 100] = bytes(70)
    root_file(world).write_bytes(content)
    keyring = await world.open()
    assert bytes(4096) == root_file(world).read_bytes()[pending : pending + 4096]
    await keyring.shred(world.recording(slot, 2))
    assert not world.attacker.can_derive(slot, 2)


async def test_nothing_is_destroyed_when_the_new_tree_does_not_open(
    world: World, used: tuple[Keyring, KeySlot]
) -> None:
    keyring, slot = used
    request = world.recording(slot, 1)
    world.steps.fail_at("2-committed", Fault())
    with pytest.raises(Fault):
        await keyring.shred(request)
    both = root_file(world).read_bytes()
    await world.sql("DELETE FROM tree_pages WHERE depth = 2 AND first_slot = 0")
    with pytest.raises(RefusesToServe, match="page 2/0"):
        await world.open()
    assert both == root_file(world).read_bytes()


async def test_recovery_that_fails_may_be_repeated(world: World, used: tuple[Keyring, KeySlot]) -> None:
    keyring, slot = used
    request = world.recording(slot, 1)
    world.steps.fail_at("3-read-back", Fault())
    with pytest.raises(Fault):
        await keyring.shred(request)

    async def fail(epoch: Epoch) -> None:
        raise RootStoreFailed("the disk is gone")

    working = world.roots
    faulty = FaultyRoots(working)
    faulty.before["destroy"] = fail
    world.roots = faulty
    with pytest.raises(RefusesToServe, match="the disk is gone"):
        await world.open()
    world.roots = working
    keyring = await world.open()
    assert ["shredded"] == [
        receipt.document["statement"] for receipt in await keyring.receipts_of(request.subject_id)
    ]
