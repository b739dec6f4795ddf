"""
A body that a thread takes from its source, seals and writes, while the disk writes what it has written before.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.crypto.chunked import CHUNK_SIZE
from gateway.spool import PieceWriter, SettledPiece, Spool, SpoolFull, StoredPiece
from gateway.spool import writer as writer_module
from gateway.spool.files import SLAB
from gateway.spool.sealed_file import _STRETCH
from tests.http.phone import speech
from tests.spool.test_pieces import ID, IDENTITY, KEY, names, read_back, spool_in

SIZES = [1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, SLAB - 1, SLAB, SLAB + 1, 5 * SLAB + 12_345]


class Tap:
    """
    A source that gives *content* in parts of *step* bytes, with a pause after every third of them.
    """

    def __init__(self, content: bytes, *, step: int = 70_001, missing: int | None = None) -> None:
        self._content = memoryview(content)
        self._step = step
        self._parts = 0
        self.missing = len(content) if missing is None else missing

    def read_into(self, buffer: memoryview) -> int | None:
        self._parts += 1
        if self._parts % 4 == 0:
            return None
        size = min(len(buffer), self._step, len(self._content))
        buffer[:size] = self._content[:size]
        self._content = self._content[size:]
        self.missing -= size
        return size

    def wait(self, seconds: float) -> bool:
        return self._parts % 8 == 0


async def taken(writer: PieceWriter, tap: Tap) -> None:
    """
    Take all that is missing.
    """
    while tap.missing:
        await writer.take(tap)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with spool_in(tmp_path / "spool") as opened:
        yield opened


@pytest.mark.parametrize("early", [0, 1, CHUNK_SIZE, SLAB + 7])
@pytest.mark.parametrize("size", SIZES)
async def test_what_was_taken_is_what_was_given(spool: Spool, size: int, early: int) -> None:
    content = speech(early + size)
    writer = spool.begin_piece(IDENTITY, 1, KEY)
    writer.is_long = True
    if early:
        await writer.write(content[:early])
    tap = Tap(content[early:])
    while tap.missing:
        assert not await writer.take(tap)
    settled = await writer.finish()

    commitment = await spool.commitment_of(ID, 1)
    assert SettledPiece(len(content), is_ended=True, commitment=commitment) == settled
    assert content == await read_back(spool, StoredPiece(1, len(content), is_ended=True))


async def test_each_byte_is_shown_once_and_in_order(spool: Spool) -> None:
    content = speech(3 * SLAB)
    shown = bytearray()
    writer = spool.begin_piece(IDENTITY, 1, KEY)
    tap = Tap(content)
    while tap.missing:
        await writer.take(tap, on_bytes=shown.extend)

    assert content == shown
    await writer.discard()


async def test_a_source_that_is_over_leaves_what_came(spool: Spool) -> None:
    content = speech(2 * SLAB + 100)
    writer = spool.begin_piece(IDENTITY, 1, KEY)
    writer.is_long = True
    tap = Tap(content, missing=3 * SLAB)
    while not await writer.take(tap):
        pass
    settled = await writer.finish()

    commitment = await spool.commitment_of(ID, 1)
    assert SettledPiece(len(content), is_ended=True, commitment=commitment) == settled
    assert content == await read_back(spool, StoredPiece(1, len(content), is_ended=True))


async def test_no_thread_keeps_plaintext(spool: Spool) -> None:
    writer = spool.begin_piece(IDENTITY, 1, KEY)
    tap = Tap(speech(2 * SLAB + 100))
    while tap.missing:
        await writer.take(tap)

    def buffer() -> bytes:
        with writer_module._plain_slab.lent() as lent:
            return bytes(lent)

    for _ in range(8):
        assert not any(await spool._run(buffer))
    await writer.discard()


async def test_of_a_disk_that_fills_up_the_whole_chunks_are_kept(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = speech(5 * SLAB)
    write = os.write
    writer = spool.begin_piece(IDENTITY, 1, KEY)
    tap = Tap(content)

    def full(fd: int, data: memoryview) -> int:
        if os.fstat(fd).st_size > 3 * SLAB:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(SpoolFull):
            await taken(writer, tap)
        kept = await writer.salvage()

    assert kept is not None
    assert 3 * SLAB - CHUNK_SIZE <= kept.length <= 4 * SLAB
    assert 0 == kept.length % CHUNK_SIZE
    piece = StoredPiece(1, kept.length, is_ended=False)
    assert content[: kept.length] == await read_back(spool, piece)


async def test_the_disk_writes_while_more_comes(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is written is sent on its way by stretches, each once, and leaves memory some stretches later.
    """
    told: list[tuple[int, int]] = []
    advise = os.posix_fadvise

    def watched(fd: int, start: int, length: int, advice: int) -> None:
        assert os.POSIX_FADV_DONTNEED == advice
        assert start + length <= os.fstat(fd).st_size
        told.append((start, length))
        advise(fd, start, length, advice)

    monkeypatch.setattr(os, "posix_fadvise", watched)
    content = speech(6 * _STRETCH)
    writer = spool.begin_piece(IDENTITY, 1, KEY)
    await taken(writer, Tap(content))
    assert told
    await writer.finish()

    starts = [0, 1, 2, 3, 4, 0, 5, 1]
    assert [(start * _STRETCH, _STRETCH) for start in starts] == told
    assert content == await read_back(spool, StoredPiece(1, len(content), is_ended=True))
    assert [f"{ID}.1"] == names(spool)


async def test_where_no_advice_is_taken_the_end_makes_everything_durable(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(fd: int, start: int, length: int, advice: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "posix_fadvise", refused)
    content = speech(_STRETCH + 5)
    writer = spool.begin_piece(IDENTITY, 1, KEY)
    await taken(writer, Tap(content))
    await writer.finish()
    assert content == await read_back(spool, StoredPiece(1, len(content), is_ended=True))
