"""
The root store of the embedded default: one file with two slots, overwritten in place.

    file   = slot 0 ‖ slot 1                                    each 4096 bytes, allocated once and never moved
    slot   = "RGRS" ‖ version 01 ‖ 000000 ‖ epoch (u64 BE) ‖ key (32) ‖ SHA-256 of the 48 bytes before ‖ zeros
    free   = 4096 zeros                                         anything else is damaged

There is no rename and no second file: replacing a file would leave the old one's blocks, key and all, to the file system.
What overwriting is worth depends on the disk, and the label says so.
"""

import asyncio
import fcntl
import hashlib
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
from gateway.keyring.roots import Acknowledgement, HolderAnswer

SLOT_SIZE: Final = 4096
SLOT_COUNT: Final = 2
FILE_SIZE: Final = SLOT_SIZE * SLOT_COUNT

_RECORD = struct.Struct(">4sB3xQ32s")
_MAGIC = b"RGRS"
_VERSION = 1
_ZEROS = bytes(SLOT_SIZE)


@dataclass(frozen=True, slots=True)
class _Free:
    number: int


@dataclass(frozen=True, slots=True)
class _Held:
    number: int
    epoch: Epoch
    key: Secret


@dataclass(frozen=True, slots=True)
class _Damaged:
    number: int


_Slot = _Free | _Held | _Damaged


class FileRootStore:
    """
    Keeps roots in the file ``slots`` of *directory*, readable by its owner alone.

    The directory and the file are made by the first put.
    Several processes may use it at once; a lock on the file keeps them apart.
    """

    label: Final = (
        "file: software-level erase; the slot was overwritten in place and synced to the disk, "
        "which is no promise about remnants in flash memory, copy-on-write file systems or disk snapshots"
    )

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "slots"

    async def put(self, epoch: Epoch, key: Secret) -> None:
        """
        Keep *key* in a free slot, synced and read back.

        Raises:
            RootExists: a slot holds this epoch.
            RootStoreFull: both slots are taken or damaged.
        """
        await asyncio.to_thread(self._put, epoch, key)

    async def read(self, epoch: Epoch) -> Secret:
        """
        Return the root of *epoch*.

        Raises:
            RootMissing: no slot holds it; `RootDamaged` if a damaged slot, which is named, may have.
        """
        return await asyncio.to_thread(self._read, epoch)

    async def destroy(self, epoch: Epoch) -> Acknowledgement:
        """
        Overwrite every slot that holds *epoch*, sync, and read the zeros back.

        A damaged slot may be what is left of it, so it is overwritten too, provided that the other slot holds a
        readable root of another epoch: the last trace of the only root is not ours to wipe.

        Raises:
            RootDamaged: a slot is damaged and no other root is readable.
        """
        outcome = await asyncio.to_thread(self._destroy, epoch)
        return Acknowledgement((HolderAnswer("file", self.label, "destroyed" if outcome else "absent"),))

    async def epochs(self) -> list[Epoch]:
        """
        Return the epochs in readable slots, lowest first.
        """
        return await asyncio.to_thread(self._epochs)

    def _put(self, epoch: Epoch, key: Secret) -> None:
        if len(key) != 32:
            raise ValueError("a root key has 32 bytes")
        self._create()
        with self._locked(fcntl.LOCK_EX) as fd:
            slots = self._slots(fd)
            if any(isinstance(slot, _Held) and slot.epoch == epoch for slot in slots):
                raise RootExists(epoch, str(self._path))
            free = next((slot.number for slot in slots if isinstance(slot, _Free)), None)
            if free is None:
                raise RootStoreFull(f"both slots of {self._path} are taken")
            record = _RECORD.pack(_MAGIC, _VERSION, epoch, key.reveal())
            self._overwrite(fd, free, (record + hashlib.sha256(record).digest()).ljust(SLOT_SIZE, b"\0"))

    def _read(self, epoch: Epoch) -> Secret:
        with self._locked(fcntl.LOCK_SH) as fd:
            slots = self._slots(fd)
        for slot in slots:
            if isinstance(slot, _Held) and slot.epoch == epoch:
                return slot.key
        for slot in slots:
            if isinstance(slot, _Damaged):
                raise RootDamaged(epoch, f"slot {slot.number} of {self._path}")
        raise RootMissing(epoch, str(self._path))

    def _destroy(self, epoch: Epoch) -> bool:
        with self._locked(fcntl.LOCK_EX) as fd:
            slots = self._slots(fd)
            another_is_readable = any(isinstance(slot, _Held) and slot.epoch != epoch for slot in slots)
            wiped = False
            for slot in slots:
                if isinstance(slot, _Held) and slot.epoch == epoch:
                    self._overwrite(fd, slot.number, _ZEROS)
                    wiped = True
                elif isinstance(slot, _Damaged):
                    if not another_is_readable:
                        raise RootDamaged(epoch, f"slot {slot.number} of {self._path}")
                    self._overwrite(fd, slot.number, _ZEROS)
                    wiped = True
            return wiped

    def _epochs(self) -> list[Epoch]:
        with self._locked(fcntl.LOCK_SH) as fd:
            return sorted(slot.epoch for slot in self._slots(fd) if isinstance(slot, _Held))

    def _slots(self, fd: int | None) -> list[_Slot]:
        if fd is None:
            return []
        return [_parse(number, os.pread(fd, SLOT_SIZE, number * SLOT_SIZE)) for number in range(SLOT_COUNT)]

    def _overwrite(self, fd: int | None, number: int, content: bytes) -> None:
        assert fd is not None
        offset = number * SLOT_SIZE
        if os.pwrite(fd, content, offset) != SLOT_SIZE:
            raise RootStoreFailed(f"slot {number} of {self._path} was not written whole")
        os.fsync(fd)
        if os.pread(fd, SLOT_SIZE, offset) != content:
            raise RootStoreFailed(f"slot {number} of {self._path} does not read back as it was written")

    def _create(self) -> None:
        """
        Make the directory and the file with both slots allocated, durably; a creation that was cut short is completed.
        """
        try:
            # Another process may be making it at the same moment.
            self._directory.mkdir(mode=0o700, exist_ok=True)
            _refuse_open_to_others(self._directory, self._directory.stat().st_mode)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                # Only ever lengthened, with zeros: what is in the file already is not touched.
                missing = FILE_SIZE - os.fstat(fd).st_size
                if missing > 0:
                    os.pwrite(fd, bytes(missing), FILE_SIZE - missing)
                    os.fsync(fd)
                    _sync_directory(self._directory)
                    _sync_directory(self._directory.parent)
            finally:
                os.close(fd)
        except OSError as error:
            raise RootStoreFailed(f"{self._path}: {error.strerror}") from error

    @contextmanager
    def _locked(self, mode: int) -> Iterator[int | None]:
        """
        Open and lock the file, after checking that it is its owner's alone; None if there is no file yet.
        """
        try:
            _refuse_open_to_others(self._directory, self._directory.stat().st_mode)
            fd = os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            raise RootStoreFailed(f"{self._path}: {error.strerror}") from error
        try:
            fcntl.flock(fd, mode)
            _refuse_open_to_others(self._path, os.fstat(fd).st_mode)
            yield fd
        except OSError as error:
            raise RootStoreFailed(f"{self._path}: {error.strerror}") from error
        finally:
            os.close(fd)


def _parse(number: int, content: bytes) -> _Slot:
    # A file that was cut short while it was being made reads as zeros that are not there yet.
    if content == _ZEROS[: len(content)]:
        return _Free(number)
    record, checksum = content[: _RECORD.size], content[_RECORD.size : _RECORD.size + 32]
    if (
        hashlib.sha256(record).digest() != checksum
        or content[_RECORD.size + 32 :] != _ZEROS[_RECORD.size + 32 :]
    ):
        return _Damaged(number)
    magic, version, epoch, key = _RECORD.unpack(record)
    if magic != _MAGIC or version != _VERSION:
        return _Damaged(number)
    return _Held(number, Epoch(epoch), Secret(key))


def _refuse_open_to_others(path: Path, mode: int) -> None:
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        wanted = "700" if stat.S_ISDIR(mode) else "600"
        raise RootStoreUnsafe(
            f"{path} is open to others than its owner (mode {stat.S_IMODE(mode):04o}): "
            f"find out who read it, then chmod {wanted}"
        )


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
