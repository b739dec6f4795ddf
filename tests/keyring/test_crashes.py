"""
Rounds that are cut short, by an error or by SIGKILL, at every step; and what is true after the next start.
"""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.base.ids import Epoch, KeySlot, LeafIndex
from gateway.keyring import Keyring, verify_receipt
from gateway.keyring.requests import ShredRequest
from tests.conftest import DatabaseUrls
from tests.keyring.world import SALT, STEPS, Fault, World

COMMITTED = STEPS[STEPS.index("2-committed") :]


async def cut_short(world: World, step: str, requests: list[ShredRequest]) -> None:
    """
    Start a round and end it at *step*; the keyring is left behind as it is.
    """
    keyring = await world.open()
    world.steps.fail_at(step, Fault(step))
    with pytest.raises(Fault):
        await keyring._rounds.shred(requests)


async def check_chain(world: World, keyring: Keyring) -> list[str]:
    """
    Check every receipt there is, and return the subjects that have one.
    """
    keys = await keyring.public_keys()
    previous = None
    subjects = []
    for entry in await keyring.shredded_since(0, 1000):
        [receipt] = await keyring.receipts_of(entry.subject_id)
        verify_receipt(receipt.document, keys, subject_id=entry.subject_id, salt=SALT, previous=previous)
        previous = receipt.document
        subjects.append(entry.subject_id)
    return subjects


@pytest.mark.parametrize("step", STEPS)
async def test_a_round_that_was_cut_short_is_finished_or_forgotten_whole(world: World, step: str) -> None:
    keyring = await world.open()
    slots = [await keyring.add_slot() for _ in range(3)]
    requests = [world.recording(slots[0], 0), world.account(slots[1])]
    survivor = await keyring.leaf(slots[0], LeafIndex(1))
    await cut_short(world, step, requests)

    keyring = await world.open()
    assert [await world.epoch()] == await world.roots.epochs()
    receipted = await check_chain(world, keyring)
    if step in COMMITTED:
        assert [request.subject_id for request in requests] == receipted
        assert not world.attacker.can_derive(slots[0], 0)
        assert not world.attacker.can_derive(slots[1], 0)
    else:
        assert [] == receipted
        assert 32 == len(await keyring.leaf(slots[0], LeafIndex(0)))
        assert 32 == len(await keyring.leaf(slots[1], LeafIndex(0)))
    assert survivor == await keyring.leaf(slots[0], LeafIndex(1))
    assert world.attacker.can_derive(slots[2], 0)

    for request in requests:
        await keyring.shred(request)
    assert [request.subject_id for request in requests] == await check_chain(world, keyring)
    assert not world.attacker.can_derive(slots[0], 0)
    assert not world.attacker.can_derive(slots[1], 0)
    assert survivor == await keyring.leaf(slots[0], LeafIndex(1))


@pytest.mark.parametrize("step", STEPS)
async def test_the_same_process_goes_on_after_a_round_that_failed(world: World, step: str) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    first, second = world.recording(slot, 0), world.recording(slot, 1)
    world.steps.fail_at(step, Fault(step))
    if step == "5-shredded":
        # The round was final already, only its news was lost.
        with pytest.raises(Fault):
            await keyring.shred(first)
    else:
        with pytest.raises(Fault, match=step):
            await keyring.shred(first)
    await keyring.shred(second)
    assert not world.attacker.can_derive(slot, 1)
    assert world.attacker.can_derive(slot, 2)
    assert (step not in COMMITTED) == world.attacker.can_derive(slot, 0)
    await keyring.shred(first)
    assert not world.attacker.can_derive(slot, 0)
    assert 2 == len(await check_chain(world, keyring))
    assert [await world.epoch()] == await world.roots.epochs()


@pytest.mark.parametrize("step", ["1-root-put", "2-before-commit"])
async def test_a_pending_root_is_never_used_again(world: World, step: str) -> None:
    """
    The rows of the round that failed are written down somewhere, sealed under its pending root.

    They hold the keys of everybody whom that round did not touch; under a root that is used again, whoever is shredded
    next would be found there.
    """
    keyring = await world.open()
    slot, other = await keyring.add_slot(), await keyring.add_slot()
    world.steps.fail_at(step, Fault())
    with pytest.raises(Fault):
        await keyring.shred(world.recording(slot, 0))
    pending = await world.roots.read(Epoch(2))
    keyring = await world.open()
    await keyring.shred(world.recording(other, 0))
    assert pending != await world.roots.read(Epoch(2))
    assert not world.attacker.can_derive(other, 0)


async def test_the_attacker_would_have_found_a_pending_root_that_is_used_again(world: World) -> None:
    """
    The positive control for the test above.
    """
    keyring = await world.open()
    slot, other = await keyring.add_slot(), await keyring.add_slot()
    world.steps.fail_at("2-before-commit", Fault())
    with pytest.raises(Fault):
        await keyring.shred(world.recording(slot, 0))
    world.attacker.steal_roots()
    keyring = await world.open()
    await keyring.shred(world.recording(other, 0))
    assert world.attacker.can_derive(other, 0, with_stolen_roots=True)


@pytest.mark.parametrize("first", COMMITTED[:-1])
@pytest.mark.parametrize("second", ["0-pending-cleared", *COMMITTED[1:]])
async def test_a_recovery_that_is_cut_short_is_recovered(world: World, first: str, second: str) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    request = world.recording(slot, 0)
    await cut_short(world, first, [request])
    world.steps.fail_at(second, Fault())
    with pytest.raises(Fault):
        await world.open()
    keyring = await world.open()
    assert [request.subject_id] == await check_chain(world, keyring)
    assert not world.attacker.can_derive(slot, 0)
    assert 32 == len(await keyring.leaf(slot, LeafIndex(1)))


async def test_a_receipt_after_recovery_says_that_the_root_was_gone_already(world: World) -> None:
    keyring = await world.open()
    request = world.recording(await keyring.add_slot(), 0)
    await cut_short(world, "4-destroyed", [request])
    world.clock.advance(3600)
    keyring = await world.open()
    [receipt] = await keyring.receipts_of(request.subject_id)
    assert ["absent"] == [holder["outcome"] for holder in receipt.document["root_store"]["holders"]]
    assert world.clock.now_ms() == receipt.document["shredded_at_ms"]


async def test_a_user_added_between_a_crash_and_the_recovery_lives(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    for step in ("1-root-put", "2-committed", "4-destroyed"):
        await cut_short(world, step, [world.recording(slot, STEPS.index(step))])
        beside = await world.attach()
        added = await beside.add_slot()
        leaf = await beside.leaf(added, LeafIndex(0))
        keyring = await world.open()
        assert leaf == await keyring.leaf(added, LeafIndex(0))


@pytest.mark.parametrize("seed", range(6))
async def test_random_programs_with_crashes_leave_nothing_reachable(world: World, seed: int) -> None:
    chance = random.Random(seed)
    keyring = await world.open(block_size=4)
    slots: list[KeySlot] = [await keyring.add_slot()]
    gone: set[KeySlot] = set()
    indexes: dict[KeySlot, int] = {slots[0]: 0}
    asked: list[ShredRequest] = []
    for _ in range(14):
        match chance.choice(["user", "shred", "shred", "account", "crash", "crash", "again", "restart"]):
            case "user":
                slots.append(await keyring.add_slot())
                indexes[slots[-1]] = 0
            case "shred":
                slot = chance.choice(slots)
                asked.append(world.recording(slot, indexes[slot], indexes[slot] + chance.randrange(3)))
                indexes[slot] += 4
                await keyring.shred(asked[-1])
            case "account" if len(slots) > len(gone) + 1:
                gone.add(slot := chance.choice([slot for slot in slots if slot not in gone]))
                asked.append(world.account(slot))
                await keyring.shred(asked[-1])
            case "crash":
                slot = chance.choice(slots)
                asked.append(world.recording(slot, indexes[slot]))
                indexes[slot] += 4
                step = chance.choice(STEPS)
                world.steps.fail_at(step, Fault(step))
                with pytest.raises(Fault):
                    await keyring.shred(asked[-1])
                if chance.random() < 0.5:
                    keyring = await world.open(block_size=4)
            case "again" if asked:
                await keyring.shred(chance.choice(asked))
            case _:
                keyring = await world.open(block_size=4)
        states = world.attacker.reachable_states()
        reachable = {slot for slot, _ in states}
        for entry in await keyring.shredded_since(0, 1000):
            if entry.kind == "account":
                assert entry.slot not in reachable
            elif entry.first is not None:
                assert not world.attacker.can_derive(entry.slot, entry.first)
        assert set(slots) - gone <= reachable
    keyring = await world.open()
    for request in asked:
        await keyring.shred(request)
    assert len(asked) == len(await check_chain(world, keyring))
    for slot in slots:
        if slot not in gone:
            assert 32 == len(await keyring.leaf(slot, LeafIndex(indexes[slot])))
            assert world.attacker.leaf(slot, 3) == (await keyring.leaf(slot, LeafIndex(3))).reveal()


DIES = """
import asyncio, os, signal, sys
from pathlib import Path
from gateway.database import Database
from tests.keyring.world import FakeClock, World

url, folder, step, opening = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4] == "opening"

async def die():
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    world = World(await Database.connect(url, schema="keys"), folder, FakeClock())
    if opening:
        world.steps.at(step, die)
    keyring = await world.open()
    world.steps.at(step, die)
    await asyncio.gather(
        keyring.shred(world.recording(1, 0, subject_id="first")),
        keyring.shred(world.account(2, subject_id="second")),
    )

asyncio.run(main())
"""


def run_until_killed(url: str, folder: Path, step: str, *, opening: bool = False) -> None:
    process = subprocess.run(
        [sys.executable, "-c", DIES, url, str(folder), step, "opening" if opening else "shredding"],
        check=False,
        timeout=60,
    )
    assert -signal.SIGKILL == process.returncode


@pytest.mark.parametrize("step", STEPS)
async def test_a_process_killed_in_a_round_leaves_nothing_half_done(
    world: World, database_urls: DatabaseUrls, step: str
) -> None:
    keyring = await world.open()
    slots = [await keyring.add_slot() for _ in range(3)]
    survivors = [await keyring.leaf(slots[0], LeafIndex(1)), await keyring.leaf(slots[2], LeafIndex(0))]
    await keyring.close()
    run_until_killed(database_urls.keys, world.folder, step)
    world.attacker.read_notebook()

    keyring = await world.open()
    receipted = await check_chain(world, keyring)
    if "first" in receipted:
        assert not world.attacker.can_derive(slots[0], 0)
    if "second" in receipted:
        assert not world.attacker.can_derive(slots[1], 0)
    assert bool(receipted) == (step in COMMITTED)
    await keyring.shred(world.recording(slots[0], 0, subject_id="first"))
    await keyring.shred(world.account(slots[1], subject_id="second"))
    assert {"first", "second"} == set(await check_chain(world, keyring))
    assert not world.attacker.can_derive(slots[0], 0)
    assert not world.attacker.can_derive(slots[1], 0)
    assert survivors == [
        await keyring.leaf(slots[0], LeafIndex(1)),
        await keyring.leaf(slots[2], LeafIndex(0)),
    ]


async def test_processes_killed_one_after_the_other_in_recovery_lose_nothing(
    world: World, database_urls: DatabaseUrls
) -> None:
    keyring = await world.open()
    slots = [await keyring.add_slot() for _ in range(3)]
    await keyring.close()
    run_until_killed(database_urls.keys, world.folder, "2-committed")
    for step in ("0-pending-cleared", "3-read-back", "4-destroyed", "5-before-commit"):
        run_until_killed(database_urls.keys, world.folder, step, opening=True)
    world.attacker.read_notebook()
    keyring = await world.open()
    assert await check_chain(world, keyring)
    assert not world.attacker.can_derive(slots[0], 0)
    assert 32 == len(await keyring.leaf(slots[2], LeafIndex(0)))


@pytest.mark.parametrize("step", ["0-head-founded", "1-root-put", "2-before-commit", "2-committed"])
async def test_a_process_killed_while_founding_is_followed_by_one_that_founds(
    world: World, database_urls: DatabaseUrls, step: str
) -> None:
    run_until_killed(database_urls.keys, world.folder, step, opening=True)
    keyring = await world.open()
    assert [1] == await world.roots.epochs()
    assert 32 == len(await keyring.leaf(await keyring.add_slot(), LeafIndex(0)))
