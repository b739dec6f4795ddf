import pytest

from gateway.base.errors import RefusesToServe
from gateway.base.ids import SERVICE_SLOT, USER_LEAF
from gateway.keyring.errors import RoundOvertaken
from gateway.keyring.tree import Tree
from tests.keyring.world import Fault, World


async def test_a_new_installation_gets_its_first_tree_and_root(world: World) -> None:
    keyring = await world.open()
    assert [1] == await world.roots.epochs()
    assert 1 == await world.epoch()
    assert 1 == await keyring.add_slot()


async def test_opening_again_changes_nothing(world: World) -> None:
    keyring = await world.open()
    keys = await keyring.public_keys()
    tables, roots = await world.copy_tables(), await world.roots.read(1)  # type: ignore[arg-type]
    await keyring.close()
    keyring = await world.open()
    assert tables == await world.copy_tables()
    assert roots == await world.roots.read(1)  # type: ignore[arg-type]
    assert keys == await keyring.public_keys()


@pytest.mark.parametrize("step", ["0-head-founded", "1-root-put", "2-before-commit", "2-committed"])
async def test_a_founding_that_was_cut_short_begins_again(world: World, step: str) -> None:
    world.steps.fail_at(step, Fault())
    with pytest.raises(Fault):
        await world.open()
    keyring = await world.open()
    assert [1] == await world.roots.epochs()
    slot = await keyring.add_slot()
    leaf = await keyring.leaf(slot, USER_LEAF)
    assert leaf.reveal() == world.attacker.leaf(slot, USER_LEAF)


async def test_the_root_of_an_aborted_founding_is_not_used_again(world: World) -> None:
    world.steps.fail_at("2-before-commit", Fault())
    with pytest.raises(Fault):
        await world.open()
    aborted = await world.roots.read(1)  # type: ignore[arg-type]
    await world.open()
    assert aborted != await world.roots.read(1)  # type: ignore[arg-type]


async def test_a_first_root_that_another_process_put_is_not_taken_for_ours(world: World) -> None:
    """
    Two daemons that start at once on new data; the lock on the data directory should not let it come to this.
    """

    async def overtake() -> None:
        await world.open()

    world.steps.at("1-root-put", overtake)
    with pytest.raises(RoundOvertaken):
        await world.open()
    keyring = await world.open()
    assert 1 == await world.epoch()
    assert 32 == len(await keyring.leaf(await keyring.add_slot(), USER_LEAF))


async def test_attaching_founds_nothing(world: World) -> None:
    with pytest.raises(RefusesToServe, match="no key tree yet") as refused:
        await world.attach()
    assert "Start the daemon" in refused.value.advice
    assert [] == await world.roots.epochs()
    world.steps.fail_at("0-head-founded", Fault())
    with pytest.raises(Fault):
        await world.open()
    with pytest.raises(RefusesToServe, match="no key tree yet"):
        await world.attach()


async def test_the_service_s_slot_lies_in_the_tree_from_the_first(world: World) -> None:
    await world.open()
    state = await Tree(world.database, world.roots, cached_nodes=10).state(SERVICE_SLOT)
    assert 1 == state.node_count
