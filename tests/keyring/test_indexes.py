import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.base.ids import SERVICE_SLOT, USER_LEAF, KeySlot
from gateway.keyring import Keyring
from gateway.keyring.errors import IndexesExhausted, SlotShredded, UnknownSlot
from gateway.keyring.file_roots import FileRootStore
from gateway.keyring.indexes import IndexBlocks
from tests.keyring.world import World, open_sqlite
from tests.support.clock import FakeClock


async def test_indexes_count_up_from_nought(world: World) -> None:
    keyring = await world.open(block_size=4)
    slot = await keyring.add_slot()
    assert list(range(10)) == [await keyring.next_index(slot) for _ in range(10)]


async def test_each_user_has_indexes_of_his_own(world: World) -> None:
    keyring = await world.open(block_size=4)
    one, two = await keyring.add_slot(), await keyring.add_slot()
    assert [0, 0, 1, 1] == [await keyring.next_index(slot) for slot in (one, two, one, two)]


async def test_the_mark_is_durable_before_an_index_is_handed_out(world: World) -> None:
    keyring = await world.open(block_size=4)
    slot = await keyring.add_slot()
    for _ in range(9):
        index = await keyring.next_index(slot)
        [[mark]] = await world.sql("SELECT next_index FROM index_marks WHERE slot = 1")
        assert mark > index
    assert 12 == mark


async def test_what_is_left_of_a_block_is_burnt_at_a_restart(world: World) -> None:
    keyring = await world.open(block_size=4)
    slot = await keyring.add_slot()
    assert 0 == await keyring.next_index(slot)
    keyring = await world.open(block_size=4)
    assert 4 == await keyring.next_index(slot)


async def test_no_index_is_handed_out_twice_at_once(world: World) -> None:
    keyring = await world.open(block_size=8)
    beside = await world.attach(block_size=8)
    slot = await keyring.add_slot()
    handed_out = await asyncio.gather(*(who.next_index(slot) for _ in range(50) for who in (keyring, beside)))
    assert 100 == len(set(handed_out))


async def test_a_crowd_shares_one_block(world: World) -> None:
    keyring = await world.open(block_size=100)
    slot = await keyring.add_slot()
    handed_out = await asyncio.gather(*(keyring.next_index(slot) for _ in range(100)))
    assert list(range(100)) == sorted(handed_out)


async def test_the_user_s_own_leaf_is_never_handed_out(world: World) -> None:
    keyring = await world.open(block_size=8)
    slot = await keyring.add_slot()
    await world.sql(f"UPDATE index_marks SET next_index = {USER_LEAF - 3} WHERE slot = 1")
    assert [USER_LEAF - 3, USER_LEAF - 2, USER_LEAF - 1] == [await keyring.next_index(slot) for _ in range(3)]
    for _ in range(2):
        with pytest.raises(IndexesExhausted, match="key slot 1"):
            await keyring.next_index(slot)
    assert [(USER_LEAF,)] == await world.sql("SELECT next_index FROM index_marks WHERE slot = 1")


async def test_only_users_have_indexes(world: World) -> None:
    keyring = await world.open(block_size=8)
    slot, other = await keyring.add_slot(), await keyring.add_slot()
    with pytest.raises(UnknownSlot):
        await keyring.next_index(KeySlot(3))
    await keyring.next_index(slot)
    await keyring.shred(world.account(slot))
    await keyring.shred(world.account(other))
    for shredded in (slot, other):
        with pytest.raises(SlotShredded):
            await keyring.next_index(shredded)


async def test_a_recording_never_gets_the_index_of_a_service_key(world: World) -> None:
    keyring = await world.open(block_size=2)
    await keyring.service_key("look-up")
    taken = {row[0] for row in await world.sql("SELECT leaf_index FROM service_keys")}
    assert 2 == len(taken)
    assert not taken & {await keyring.next_index(SERVICE_SLOT) for _ in range(4)}


async def test_blocks_that_were_not_used_lately_are_burnt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.keyring.indexes._KEPT_BLOCKS", 2)
    keyring = await world.open(block_size=4)
    one, two, three = [await keyring.add_slot() for _ in range(3)]
    for slot in (one, two, one, three):
        await keyring.next_index(slot)
    assert 2 == await keyring.next_index(one)
    assert 4 == await keyring.next_index(two)


def test_a_block_has_at_least_one_index() -> None:
    with pytest.raises(ValueError, match="at least one"):
        IndexBlocks(None, 0)  # type: ignore[arg-type]


HANDS_OUT = """
import asyncio, sys
from pathlib import Path
from tests.keyring.world import FakeClock, FileRootStore, Keyring, open_sqlite

async def main():
    folder = Path(sys.argv[1])
    database = await open_sqlite(folder)
    keyring = await Keyring.attach(database, FileRootStore(folder / "root"), FakeClock(), block_size=5)
    while True:
        print(await keyring.next_index(1), flush=True)

asyncio.run(main())
"""


async def test_no_index_is_handed_out_twice_by_processes_that_are_killed(tmp_path: Path) -> None:
    database = await open_sqlite(tmp_path)
    keyring = await Keyring.open(database, FileRootStore(tmp_path / "root"), FakeClock(), block_size=5)
    slot = await keyring.add_slot()
    handed_out: list[int] = []
    for _ in range(2):
        processes = [
            subprocess.Popen([sys.executable, "-c", HANDS_OUT, str(tmp_path)], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        for process in processes:
            assert process.stdout is not None
            handed_out += [int(process.stdout.readline()) for _ in range(13)]
        handed_out.append(await keyring.next_index(slot))
        for process in processes:
            os.kill(process.pid, signal.SIGKILL)
            rest, _ = process.communicate()
            # The last line may have been cut.
            handed_out += [int(line) for line in rest.split(b"\n")[:-1]]
    assert len(handed_out) == len(set(handed_out))
    await database.close()
