import asyncio
import hashlib
import os
import struct
from pathlib import Path

import pytest

from gateway.base.ids import Epoch
from gateway.base.secret import Secret
from gateway.keyring.errors import (
    RootDamaged,
    RootExists,
    RootMissing,
    RootStoreFailed,
    RootStoreFull,
    RootStoreUnsafe,
)
from gateway.keyring.file_roots import FileRootStore

ONE, TWO, THREE = Epoch(1), Epoch(2), Epoch(3)
KEY, OTHER_KEY = Secret(bytes(range(32))), Secret(bytes(range(100, 132)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def file(folder: Path) -> Path:
    return folder / "slots"


@pytest.fixture
def store(folder: Path) -> FileRootStore:
    return FileRootStore(folder)


def damage(file: Path, slot: int) -> None:
    """
    Tear *slot*: its first half is new, its second half old, as after a power cut.
    """
    with file.open("r+b") as opened:
        opened.seek(slot * 4096 + 40)
        opened.write(bytes([0xEE]) * 20)


async def test_a_root_comes_back_as_it_was_put(store: FileRootStore) -> None:
    await store.put(ONE, KEY)
    await store.put(TWO, OTHER_KEY)
    assert KEY == await store.read(ONE)
    assert OTHER_KEY == await store.read(TWO)
    assert [ONE, TWO] == await store.epochs()


async def test_a_root_survives_its_store_object(store: FileRootStore, folder: Path) -> None:
    await store.put(ONE, KEY)
    assert KEY == await FileRootStore(folder).read(ONE)


async def test_an_empty_store_has_no_root_and_makes_no_file(store: FileRootStore, folder: Path) -> None:
    assert [] == await store.epochs()
    with pytest.raises(RootMissing):
        await store.read(ONE)
    await store.destroy(ONE)
    assert not folder.exists()


async def test_the_bytes_are_those_of_the_format(store: FileRootStore, file: Path) -> None:
    await store.put(Epoch(7), KEY)
    record = b"RGRS" + bytes.fromhex("01 000000") + struct.pack(">Q", 7) + KEY.reveal()
    expected = (record + hashlib.sha256(record).digest()).ljust(4096, b"\0") + bytes(4096)
    assert expected == file.read_bytes()


async def test_only_the_owner_may_read_it(store: FileRootStore, folder: Path, file: Path) -> None:
    await store.put(ONE, KEY)
    assert 0o700 == folder.stat().st_mode & 0o777
    assert 0o600 == file.stat().st_mode & 0o777


async def test_an_epoch_that_is_there_is_not_put_again(store: FileRootStore) -> None:
    await store.put(ONE, KEY)
    with pytest.raises(RootExists):
        await store.put(ONE, OTHER_KEY)
    assert KEY == await store.read(ONE)


async def test_a_third_root_finds_no_room(store: FileRootStore) -> None:
    await store.put(ONE, KEY)
    await store.put(TWO, KEY)
    with pytest.raises(RootStoreFull):
        await store.put(THREE, KEY)
    assert [ONE, TWO] == await store.epochs()


async def test_a_destroyed_root_leaves_no_byte_of_itself(store: FileRootStore, file: Path) -> None:
    await store.put(ONE, KEY)
    await store.put(TWO, OTHER_KEY)
    acknowledgement = await store.destroy(ONE)
    content = file.read_bytes()
    assert bytes(4096) == content[:4096]
    assert not any(KEY.reveal()[at : at + 4] in content for at in range(29))
    assert [("file", "destroyed")] == [(answer.holder, answer.outcome) for answer in acknowledgement.answers]
    assert "software-level erase" in acknowledgement.answers[0].label
    assert [TWO] == await store.epochs()


async def test_a_slot_is_written_in_place(store: FileRootStore, file: Path) -> None:
    await store.put(ONE, KEY)
    before = file.stat()
    await store.put(TWO, KEY)
    await store.destroy(ONE)
    await store.put(THREE, KEY)
    assert before.st_ino == file.stat().st_ino
    assert [file] == list(file.parent.iterdir())
    assert 8192 == file.stat().st_size


async def test_destroying_what_is_not_there_succeeds_and_says_so(store: FileRootStore) -> None:
    await store.put(ONE, KEY)
    acknowledgement = await store.destroy(TWO)
    assert ["absent"] == [answer.outcome for answer in acknowledgement.answers]
    assert KEY == await store.read(ONE)


async def test_a_torn_slot_is_no_root_and_is_named(store: FileRootStore, file: Path) -> None:
    await store.put(ONE, KEY)
    damage(file, 0)
    assert [] == await store.epochs()
    with pytest.raises(RootDamaged, match=r"slot 0 of .*slots is damaged"):
        await store.read(ONE)


@pytest.mark.parametrize("offset", [0, 4, 5, 8, 15, 16, 47, 48, 79, 80, 4095])
async def test_any_changed_byte_of_a_slot_shows(store: FileRootStore, file: Path, offset: int) -> None:
    await store.put(ONE, KEY)
    content = bytearray(file.read_bytes())
    content[offset] ^= 1
    file.write_bytes(content)
    with pytest.raises(RootDamaged):
        await store.read(ONE)


async def test_a_torn_slot_is_wiped_when_its_epoch_may_be_the_destroyed_one(
    store: FileRootStore, file: Path
) -> None:
    await store.put(ONE, KEY)
    await store.put(TWO, OTHER_KEY)
    damage(file, 0)
    await store.destroy(ONE)
    assert bytes(4096) == file.read_bytes()[:4096]
    assert OTHER_KEY == await store.read(TWO)


async def test_the_last_trace_of_the_only_root_is_not_wiped(store: FileRootStore, file: Path) -> None:
    await store.put(ONE, KEY)
    damage(file, 0)
    before = file.read_bytes()
    with pytest.raises(RootDamaged, match="slot 0"):
        await store.destroy(TWO)
    assert before == file.read_bytes()


async def test_a_torn_slot_is_not_written_over(store: FileRootStore, file: Path) -> None:
    await store.put(ONE, KEY)
    damage(file, 0)
    torn = file.read_bytes()[:4096]
    await store.put(TWO, KEY)
    assert torn == file.read_bytes()[:4096]
    with pytest.raises(RootStoreFull):
        await store.put(THREE, KEY)


@pytest.mark.parametrize("size", [0, 1, 4096, 5000])
async def test_a_file_that_was_cut_short_while_it_was_made_is_completed(
    store: FileRootStore, folder: Path, file: Path, size: int
) -> None:
    folder.mkdir(mode=0o700)
    file.touch(mode=0o600)
    file.write_bytes(bytes(size))
    assert [] == await store.epochs()
    await store.put(ONE, KEY)
    await store.put(TWO, OTHER_KEY)
    assert 8192 == file.stat().st_size
    assert [ONE, TWO] == await store.epochs()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
async def test_a_file_that_others_may_read_or_write_is_refused(
    store: FileRootStore, file: Path, mode: int
) -> None:
    await store.put(ONE, KEY)
    file.chmod(mode)
    with pytest.raises(RootStoreUnsafe, match=rf"slots.*mode 0{mode:o}.*chmod 600"):
        await store.read(ONE)
    with pytest.raises(RootStoreUnsafe):
        await store.put(TWO, KEY)


async def test_a_directory_that_others_may_enter_is_refused(store: FileRootStore, folder: Path) -> None:
    folder.mkdir(mode=0o755)
    with pytest.raises(RootStoreUnsafe, match="chmod 700"):
        await store.epochs()
    with pytest.raises(RootStoreUnsafe):
        await store.put(ONE, KEY)
    assert [] == list(folder.iterdir())


async def test_a_link_is_not_followed(store: FileRootStore, folder: Path, tmp_path: Path) -> None:
    folder.mkdir(mode=0o700)
    (tmp_path / "elsewhere").touch(mode=0o600)
    (folder / "slots").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RootStoreFailed):
        await store.put(ONE, KEY)


async def test_a_missing_parent_is_an_error_that_names_the_place(tmp_path: Path) -> None:
    with pytest.raises(RootStoreFailed, match="nowhere"):
        await FileRootStore(tmp_path / "nowhere" / "root").put(ONE, KEY)


async def test_a_key_of_another_length_is_not_put(store: FileRootStore) -> None:
    with pytest.raises(ValueError, match="32"):
        await store.put(ONE, Secret(bytes(16)))


async def test_what_is_written_is_synced_before_it_is_read_back(
    store: FileRootStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for name in ("pwrite", "fsync", "pread"):
        real = getattr(os, name)

        def spy(*arguments: object, _name: str = name, _real: object = real) -> object:
            done.append(_name)
            return _real(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(os, name, spy)
    await store.put(ONE, KEY)
    assert ["pwrite", "fsync", "pread"] == done[-3:]
    # The slots are allocated and synced, then the directory, then the directory above, before the first root.
    assert 4 == done.count("fsync")
    done.clear()
    await store.put(TWO, KEY)
    await store.destroy(ONE)
    assert ["pwrite", "fsync", "pread"] == done[-3:]


async def test_a_disk_error_is_the_store_s(store: FileRootStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.put(ONE, KEY)

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RootStoreFailed, match="Input/output error"):
        await store.put(TWO, KEY)


async def test_puts_at_once_never_share_a_slot(folder: Path) -> None:
    stores = [FileRootStore(folder) for _ in range(8)]
    outcomes = await asyncio.gather(
        *(store.put(Epoch(number), KEY) for number, store in enumerate(stores, 1)), return_exceptions=True
    )
    assert 2 == sum(outcome is None for outcome in outcomes)
    assert 2 == len(await stores[0].epochs())
    assert {RootStoreFull} == {type(outcome) for outcome in outcomes if outcome is not None}
