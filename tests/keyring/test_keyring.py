"""
Slots, leaves and what is cached of them.
"""

import asyncio
from typing import Any

import pytest
from sqlalchemy import event

from gateway.base.ids import SERVICE_SLOT, USER_LEAF, Epoch, KeySlot, LeafIndex
from gateway.keyring.errors import (
    LeafShredded,
    RootMissing,
    RoundOvertaken,
    ShredRefused,
    SlotsExhausted,
    SlotShredded,
    TreeDamaged,
    UnknownSlot,
)
from tests.keyring.world import FaultyRoots, World


def leaves(*numbers: int) -> list[LeafIndex]:
    return [LeafIndex(number) for number in numbers]


async def test_slots_count_up_and_have_keys_of_their_own(world: World) -> None:
    keyring = await world.open()
    slots = [await keyring.add_slot() for _ in range(3)]
    assert [1, 2, 3] == slots
    keys = [(await keyring.leaf(slot, LeafIndex(0))).reveal() for slot in slots]
    assert 3 == len(set(keys))


async def test_leaves_are_the_same_after_a_restart(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    before = [await keyring.leaf(slot, index) for index in leaves(0, 5, USER_LEAF)]
    await keyring.close()
    keyring = await world.open()
    assert before == [await keyring.leaf(slot, index) for index in leaves(0, 5, USER_LEAF)]


async def test_many_leaves_at_once_are_those_of_one_at_a_time(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    asked = leaves(9, 3, 4, USER_LEAF)
    expected = {index: await keyring.leaf(slot, index) for index in asked}
    assert expected == await keyring.leaves(slot, asked)


async def test_shredded_leaves_are_absent_among_many(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    await keyring.shred(world.recording(slot, 4, 6))
    assert leaves(3, 7) == list(await keyring.leaves(slot, leaves(3, 4, 5, 6, 7)))


async def test_a_slot_that_was_never_given_out_is_unknown(world: World) -> None:
    keyring = await world.open()
    for slot in (KeySlot(1), KeySlot(2**32 - 1)):
        with pytest.raises(UnknownSlot, match=str(slot)):
            await keyring.leaf(slot, LeafIndex(0))
        with pytest.raises(UnknownSlot):
            await keyring.leaves(slot, leaves(0))
        with pytest.raises(UnknownSlot):
            await keyring.shred(world.recording(slot, 0))


async def test_a_shredded_slot_says_so(world: World) -> None:
    keyring = await world.open()
    slot, other = await keyring.add_slot(), await keyring.add_slot()
    await keyring.shred(world.account(slot))
    with pytest.raises(SlotShredded):
        await keyring.leaf(slot, USER_LEAF)
    with pytest.raises(SlotShredded):
        await keyring.leaves(slot, leaves(0))
    assert 32 == len(await keyring.leaf(other, LeafIndex(0)))


async def test_a_shredded_account_leaves_no_row_behind(world: World) -> None:
    keyring = await world.open()
    slot, other = await keyring.add_slot(), await keyring.add_slot()
    await keyring.shred(world.account(slot))
    for table in ("tree_states", "index_marks"):
        assert [(0,), (other,)] == await world.sql(f"SELECT slot FROM {table} ORDER BY slot")


async def test_a_shredded_slot_is_never_given_out_again(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    await keyring.shred(world.account(slot))
    assert slot < await keyring.add_slot()
    await keyring.close()
    keyring = await world.open()
    assert slot + 2 == await keyring.add_slot()


async def test_slots_fill_page_after_page(world: World) -> None:
    keyring = await world.open()
    await world.sql("UPDATE tree_head SET next_slot = 254")
    slots = [await keyring.add_slot() for _ in range(4)]
    await world.sql("UPDATE tree_head SET next_slot = 16777215")
    slots += [await keyring.add_slot() for _ in range(3)]
    assert [254, 255, 256, 257, 16777215, 16777216, 16777217] == slots
    expected = [(await keyring.leaf(slot, LeafIndex(0))).reveal() for slot in slots]
    assert len(slots) == len(set(expected))
    await keyring.shred(world.account(KeySlot(256)))
    del slots[2], expected[2]
    assert expected == [(await keyring.leaf(slot, LeafIndex(0))).reveal() for slot in slots]


async def test_the_last_slot_is_given_out_and_then_none(world: World) -> None:
    keyring = await world.open()
    await world.sql("UPDATE tree_head SET next_slot = 4294967295")
    slot = await keyring.add_slot()
    assert 2**32 - 1 == slot
    assert 32 == len(await keyring.leaf(slot, LeafIndex(0)))
    with pytest.raises(SlotsExhausted):
        await keyring.add_slot()


async def test_slots_added_at_once_by_two_processes_all_live(world: World) -> None:
    keyring = await world.open()
    beside = await world.attach()
    slots = await asyncio.gather(*(who.add_slot() for _ in range(10) for who in (keyring, beside)))
    assert list(range(1, 21)) == sorted(slots)
    keys = [(await keyring.leaf(slot, LeafIndex(0))).reveal() for slot in slots]
    assert keys == [(await beside.leaf(slot, LeafIndex(0))).reveal() for slot in slots]
    assert 20 == len(set(keys))


async def test_a_slot_added_beside_is_found_in_spite_of_cached_pages(world: World) -> None:
    keyring = await world.open()
    beside = await world.attach()
    slot = await keyring.add_slot()
    await keyring.leaf(slot, LeafIndex(0))
    added = await beside.add_slot()
    assert 32 == len(await keyring.leaf(added, LeafIndex(0)))


async def test_a_cached_leaf_costs_one_query_at_most_and_no_look_at_the_root(world: World) -> None:
    """
    None where the database tells by itself that nobody has shredded anything since.
    """
    world.roots = roots = FaultyRoots(world.roots)
    keyring = await world.open()
    slot = await keyring.add_slot()
    await keyring.leaf(slot, LeafIndex(0))
    roots.calls.clear()
    queries: list[str] = []

    @event.listens_for(world.database.sync_engine, "before_cursor_execute")
    def note(
        connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        queries.append(statement)

    await keyring.leaf(slot, LeafIndex(1))
    expected = [] if world.database.dialect == "sqlite" else ["SELECT tree_head.epoch"]
    assert expected == [query.split("\n")[0].strip() for query in queries if "SELECT" in query]
    assert [] == roots.calls


async def test_a_shred_by_another_process_reaches_a_warm_cache(world: World) -> None:
    keyring = await world.open()
    beside = await world.attach()
    slot = await keyring.add_slot()
    survivor = await beside.leaf(slot, LeafIndex(1))
    await beside.leaf(slot, LeafIndex(0))
    await keyring.shred(world.recording(slot, 0))
    with pytest.raises(LeafShredded, match="leaf 0 of key slot 1"):
        await beside.leaf(slot, LeafIndex(0))
    assert survivor == await beside.leaf(slot, LeafIndex(1))
    await keyring.shred(world.account(slot))
    with pytest.raises(SlotShredded):
        await beside.leaf(slot, LeafIndex(1))


async def test_the_cache_stays_within_its_bound(world: World) -> None:
    keyring = await world.open(cached_nodes=6)
    slots = [await keyring.add_slot() for _ in range(20)]
    for slot in slots:
        await keyring.leaf(slot, LeafIndex(0))
    assert 6 == len(keyring._tree._cache)


async def test_nothing_is_cached_after_closing(world: World) -> None:
    keyring = await world.open()
    await keyring.leaf(await keyring.add_slot(), LeafIndex(0))
    await keyring.close()
    assert 0 == len(keyring._tree._cache)


async def test_a_stale_process_cannot_save_what_it_remembers(world: World) -> None:
    """
    A user is added by a process that opened the page before the shred: the shredded leaf must not come back with it.
    """
    keyring = await world.open()
    slot = await keyring.add_slot()
    beside = await world.attach()
    assert 32 == len(await beside.leaf(slot, LeafIndex(0)))
    await keyring.shred(world.recording(slot, 0))
    added = await beside.add_slot()
    assert not world.attacker.can_derive(slot, 0)
    assert world.attacker.can_derive(slot, 1)
    assert world.attacker.can_derive(added, 0)
    for who in (keyring, beside):
        with pytest.raises(LeafShredded):
            await who.leaf(slot, LeafIndex(0))
        assert 32 == len(await who.leaf(added, LeafIndex(0)))


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_round_while_a_slot_is_added_is_noticed(world: World, when: str) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    roots = FaultyRoots(world.roots)
    world.roots = roots
    beside = await world.attach()

    async def shred_meanwhile(epoch: Epoch) -> None:
        await keyring.shred(world.recording(slot, 0))

    getattr(roots, when)["read"] = shred_meanwhile
    added = await beside.add_slot()
    assert [added] == [row[0] for row in await world.sql("SELECT slot FROM tree_states WHERE slot > 1")]
    assert 32 == len(await keyring.leaf(added, LeafIndex(0)))
    assert not world.attacker.can_derive(slot, 0)


async def test_a_round_while_a_leaf_is_read_is_waited_for(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    expected = await keyring.leaf(slot, LeafIndex(1))
    roots = FaultyRoots(world.roots)
    world.roots = roots
    beside = await world.attach()
    beside._tree.forget()

    async def shred_meanwhile(epoch: Epoch) -> None:
        await keyring.shred(world.recording(slot, 0))

    roots.before["read"] = shred_meanwhile
    assert expected == await beside.leaf(slot, LeafIndex(1))


async def test_a_root_that_is_really_gone_is_an_error_at_once(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    (world.folder / "root" / "slots").unlink()
    with pytest.raises(RootMissing, match="epoch 1"):
        await keyring.leaf(slot, LeafIndex(0))
    with pytest.raises(RootMissing):
        await keyring.add_slot()


async def test_a_tree_that_never_stands_still_is_given_up_in_the_end(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    roots = FaultyRoots(world.roots)
    world.roots = roots
    beside = await world.attach()
    beside._tree.forget()
    indexes = iter(range(100))

    async def shred_meanwhile(epoch: Epoch) -> None:
        roots.before["read"] = shred_meanwhile
        await keyring.shred(world.recording(slot, next(indexes)))

    roots.before["read"] = shred_meanwhile
    with pytest.raises(RoundOvertaken):
        await beside.leaf(slot, LeafIndex(99))


async def test_an_attached_keyring_does_not_shred(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    beside = await world.attach()
    with pytest.raises(ShredRefused):
        await beside.shred(world.recording(slot, 0))
    assert 32 == len(await keyring.leaf(slot, LeafIndex(0)))


async def test_an_attached_keyring_leaves_an_interrupted_round_alone(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    request = world.recording(slot, 0)

    async def attach_meanwhile() -> None:
        beside = await world.attach()
        assert 32 == len(await beside.leaf(slot, LeafIndex(0)))
        await beside.close()

    world.steps.at("1-root-put", attach_meanwhile)
    await keyring.shred(request)
    assert [2] == await world.roots.epochs()


async def test_a_service_key_is_the_same_for_ever_and_for_its_purpose_alone(world: World) -> None:
    keyring = await world.open()
    look_up = await keyring.service_key("look-up")
    assert look_up == await keyring.service_key("look-up")
    assert look_up != await keyring.service_key("something-else")
    slot = await keyring.add_slot()
    await keyring.shred(world.recording(slot, 0))
    await keyring.close()
    keyring = await world.open()
    assert look_up == await keyring.service_key("look-up")
    assert look_up == await (await world.attach()).service_key("look-up")


async def test_processes_that_need_a_new_service_key_at_once_agree(world: World) -> None:
    keyring = await world.open()
    others = [keyring, *[await world.attach() for _ in range(4)]]
    keys = await asyncio.gather(*(who.service_key("look-up") for who in others))
    assert 1 == len({key.reveal() for key in keys})


async def test_service_keys_are_leaves_of_slot_0(world: World) -> None:
    keyring = await world.open()
    key = await keyring.service_key("look-up")
    [[index]] = await world.sql("SELECT leaf_index FROM service_keys WHERE purpose = 'look-up'")
    assert key == await keyring.leaf(SERVICE_SLOT, LeafIndex(index))


async def test_a_damaged_row_is_an_error_that_names_its_place(world: World) -> None:
    keyring = await world.open()
    slot, other = await keyring.add_slot(), await keyring.add_slot()
    await world.sql(
        "UPDATE tree_states SET sealed = (SELECT sealed FROM tree_states WHERE slot = 2) WHERE slot = 1"
    )
    with pytest.raises(TreeDamaged, match="state 4/1"):
        await keyring.leaf(slot, LeafIndex(0))
    assert 32 == len(await keyring.leaf(other, LeafIndex(0)))
