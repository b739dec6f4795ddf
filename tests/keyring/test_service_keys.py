"""
Keys of the service's own that are shredded: the leaf is gone for everybody, and the others stay.
"""

import pytest

from gateway.base.ids import SERVICE_SLOT, USER_LEAF, LeafIndex
from gateway.keyring import verify_receipt
from gateway.keyring.errors import LeafShredded
from gateway.keyring.receipts import SERVICE_KEY_SALT
from tests.keyring.world import STEPS, Fault, World

COMMITTED = STEPS[STEPS.index("2-committed") :]


async def test_a_shredded_service_key_is_gone_and_the_others_stay(world: World) -> None:
    keyring = await world.open()
    signing = await keyring.public_keys()
    old, new = await keyring.service_key("look-up-1"), await keyring.service_key("look-up-2")
    slot = await keyring.add_slot()
    users_own = await keyring.leaf(slot, USER_LEAF)
    index = LeafIndex(1)
    assert old.reveal() == world.attacker.leaf(SERVICE_SLOT, index)

    receipt = await keyring.shred_service_key("look-up-1")

    assert not world.attacker.can_derive(SERVICE_SLOT, index)
    with pytest.raises(LeafShredded):
        await keyring.service_key("look-up-1")
    assert (new, signing) == (await keyring.service_key("look-up-2"), await keyring.public_keys())
    assert users_own == await keyring.leaf(slot, USER_LEAF)
    verify_receipt(receipt.document, signing, subject_id="look-up-1", salt=SERVICE_KEY_SALT)
    assert ("service-key", 1) == (receipt.document["subject"]["kind"], receipt.document["leaves"])
    await keyring.close()
    keyring = await world.open()
    with pytest.raises(LeafShredded):
        await keyring.service_key("look-up-1")
    assert receipt == await keyring.shred_service_key("look-up-1")
    assert new == await keyring.service_key("look-up-2")


async def test_with_the_root_of_before_a_service_key_would_come_back(world: World) -> None:
    keyring = await world.open()
    await keyring.service_key("look-up-1")
    world.attacker.steal_roots()
    await keyring.shred_service_key("look-up-1")
    assert world.attacker.can_derive(SERVICE_SLOT, 1, with_stolen_roots=True)


async def test_another_process_notices_that_a_service_key_is_gone(world: World) -> None:
    keyring, beside = await world.open(), await world.attach()
    assert await beside.service_key("look-up-1") == await keyring.service_key("look-up-1")
    await keyring.shred_service_key("look-up-1")
    with pytest.raises(LeafShredded):
        await beside.service_key("look-up-1")


@pytest.mark.parametrize("step", STEPS)
async def test_the_shredding_of_a_service_key_that_was_cut_short_is_finished_or_forgotten(
    world: World, step: str
) -> None:
    keyring = await world.open()
    old, new = await keyring.service_key("look-up-1"), await keyring.service_key("look-up-2")
    world.steps.fail_at(step, Fault())
    with pytest.raises(Fault):
        await keyring.shred_service_key("look-up-1")

    keyring = await world.open()

    if step in COMMITTED:
        assert 1 == len(await keyring.receipts_of("look-up-1"))
    else:
        assert old == await keyring.service_key("look-up-1")
    await keyring.shred_service_key("look-up-1")
    assert not world.attacker.can_derive(SERVICE_SLOT, 1)
    assert new == await keyring.service_key("look-up-2")
    [line] = await keyring.shredded_since(0, 10)
    assert ("look-up-1", "service-key", SERVICE_SLOT, 1, 1) == (
        line.subject_id,
        line.kind,
        line.slot,
        line.first,
        line.last,
    )


async def test_the_key_that_signs_receipts_is_not_shredded(world: World) -> None:
    keyring = await world.open()
    with pytest.raises(ValueError, match="signs receipts"):
        await keyring.shred_service_key("receipts")
