"""
Pieces in the spool: written, cut, looked at after a crash, merged, removed.
"""

import errno
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.base.ids import KeySlot, LeafIndex, RecordingId
from gateway.base.secret import Secret
from gateway.crypto.chunked import CHUNK_SIZE, SEALED_CHUNK_SIZE, sealed_size
from gateway.crypto.errors import CryptoError, DamagedChunk, Truncated, WrongKey
from gateway.crypto.preamble import PREAMBLE_SIZE, Preamble
from gateway.spool import (
    PieceMissing,
    PieceWriter,
    SettledPiece,
    Spool,
    SpoolBlob,
    SpoolFailed,
    SpoolFull,
    StoredPiece,
)
from gateway.spool.files import SLAB
from tests.http.phone import speech
from tests.support.pieces import HEAD

ID = RecordingId(uuid.UUID(int=7))
IDENTITY = Preamble(ID, KeySlot(3), LeafIndex(5))
KEY = Secret(bytes(range(32)))
SIZES = [1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, SLAB - 1, SLAB, SLAB + 1, 2 * SLAB, 2 * SLAB + 5]


@contextmanager
def spool_in(folder: Path, *, min_free_bytes: int = 0, max_bytes: int = 0) -> Iterator[Spool]:
    spool = Spool.open(folder, min_free_bytes=min_free_bytes, max_bytes=max_bytes, threads=2)
    yield spool
    spool.close()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with spool_in(tmp_path / "spool") as opened:
        yield opened


def names(spool: Spool) -> list[str]:
    return sorted(path.name for path in spool._directory.iterdir())


async def written(spool: Spool, content: bytes, fence: int = 1, *, step: int = 70_001) -> StoredPiece:
    """
    Write a piece to its end.
    """
    writer = spool.begin_piece(IDENTITY, fence, KEY)
    for start in range(0, len(content), step):
        await writer.write(content[start : start + step])
    settled = await writer.finish()
    assert settled is not None
    return StoredPiece(fence, settled.length, settled.is_ended)


async def read_back(spool: Spool, *pieces: StoredPiece) -> bytes:
    """
    Merge the pieces and open the result with nothing but its file.
    """
    from gateway.crypto.chunked import Opener

    merged = await spool.merge_pieces(IDENTITY, KEY, list(pieces), into=99)
    blob = spool.path_of(ID, merged.fence).read_bytes()
    spool.path_of(ID, 99).unlink()
    opener = Opener(KEY, blob[:PREAMBLE_SIZE], blob[PREAMBLE_SIZE:HEAD])
    return opener.open_chunks(0, blob[HEAD:], ends_message=True)


@pytest.mark.parametrize("size", SIZES)
async def test_what_was_written_is_a_blob_of_the_format(spool: Spool, size: int) -> None:
    piece = await written(spool, speech(size))

    assert StoredPiece(1, size, is_ended=True) == piece
    assert PREAMBLE_SIZE + sealed_size(size) == spool.path_of(ID, 1).stat().st_size
    assert 0o600 == spool.path_of(ID, 1).stat().st_mode & 0o777
    assert speech(size) == await read_back(spool, piece)
    assert await spool.verify_piece(IDENTITY, KEY, piece) == await spool.commitment_of(ID, 1)


async def test_nothing_written_is_no_file(spool: Spool) -> None:
    writer = spool.begin_piece(IDENTITY, 1, KEY)

    assert await writer.finish() is None
    assert [] == names(spool)


async def test_a_discarded_piece_leaves_no_file(spool: Spool) -> None:
    for size in (0, 10, SLAB + 10):
        writer = spool.begin_piece(IDENTITY, 1, KEY)
        await writer.write(speech(size))
        await writer.discard()
        assert [] == names(spool)


async def test_two_pieces_never_share_a_salt_or_a_file(spool: Spool) -> None:
    await written(spool, speech(100), 1)
    await written(spool, speech(100), 2)

    one, other = (spool.path_of(ID, fence).read_bytes() for fence in (1, 2))
    assert one[:PREAMBLE_SIZE] == other[:PREAMBLE_SIZE]
    assert one[PREAMBLE_SIZE:] != other[PREAMBLE_SIZE:]
    with pytest.raises(SpoolFailed):
        await written(spool, speech(100), 2)


async def test_no_plaintext_reaches_the_disk(spool: Spool) -> None:
    content = speech(300_000)
    await written(spool, content)

    sealed = spool.path_of(ID, 1).read_bytes()
    assert not any(content[at : at + 16] in sealed for at in range(0, len(content), 4096))


@pytest.mark.parametrize("size", [0, 1, HEAD - 1, HEAD, HEAD + 1, HEAD + SEALED_CHUNK_SIZE - 1])
async def test_a_crash_before_the_first_whole_chunk_left_nothing(spool: Spool, size: int) -> None:
    await written(spool, speech(100_000))
    os.truncate(spool.path_of(ID, 1), size)

    assert await spool.settle_piece(IDENTITY, 1, KEY, is_atomic=False) is None
    assert [] == names(spool)


@pytest.mark.parametrize("extra", [0, 1, 15, 16, 17, SEALED_CHUNK_SIZE - 1])
@pytest.mark.parametrize("chunks", [1, 2, 16, 17])
async def test_a_crash_left_the_whole_chunks(spool: Spool, chunks: int, extra: int) -> None:
    content = speech(400_000)
    await written(spool, content)
    os.truncate(spool.path_of(ID, 1), HEAD + chunks * SEALED_CHUNK_SIZE + extra)

    left = await spool.settle_piece(IDENTITY, 1, KEY, is_atomic=False)

    assert SettledPiece(chunks * CHUNK_SIZE, is_ended=False) == left
    piece = StoredPiece(1, chunks * CHUNK_SIZE, is_ended=False)
    rest = await written(spool, content[chunks * CHUNK_SIZE :], 2)
    assert content == await read_back(spool, piece, rest)


@pytest.mark.parametrize("size", SIZES)
async def test_a_crash_after_the_end_left_everything(spool: Spool, size: int) -> None:
    await written(spool, speech(size))

    assert SettledPiece(size, is_ended=True) == await spool.settle_piece(IDENTITY, 1, KEY, is_atomic=False)


async def test_of_an_append_with_a_checksum_a_crash_left_nothing(spool: Spool) -> None:
    await written(spool, speech(100_000))

    assert await spool.settle_piece(IDENTITY, 1, KEY, is_atomic=True) is None
    assert [] == names(spool)


async def test_a_piece_that_was_never_begun_left_nothing(spool: Spool) -> None:
    assert await spool.settle_piece(IDENTITY, 1, KEY, is_atomic=False) is None


@pytest.mark.parametrize("position", [0, 30, PREAMBLE_SIZE, PREAMBLE_SIZE + 30])
async def test_a_head_that_a_crash_tore_left_nothing(spool: Spool, position: int) -> None:
    await written(spool, speech(100_000))
    flip(spool.path_of(ID, 1), position)

    assert await spool.settle_piece(IDENTITY, 1, KEY, is_atomic=False) is None


async def test_a_chunk_that_a_crash_tore_ends_what_counts(spool: Spool) -> None:
    await written(spool, speech(100_000))
    flip(spool.path_of(ID, 1), HEAD + 3 * SEALED_CHUNK_SIZE + 9)

    left = await spool.settle_piece(IDENTITY, 1, KEY, is_atomic=False)

    assert SettledPiece(3 * CHUNK_SIZE, is_ended=False) == left


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


async def test_pieces_are_merged_in_their_order(spool: Spool) -> None:
    parts = [speech(size, seed) for seed, size in enumerate([1, CHUNK_SIZE, SLAB, 5, SLAB + 1, 100_000])]
    pieces = [await written(spool, part, fence) for fence, part in enumerate(parts, start=1)]

    assert b"".join(parts) == await read_back(spool, *pieces)


async def test_pieces_of_nothing_are_merged_into_a_blob_of_nothing(spool: Spool) -> None:
    assert b"" == await read_back(spool)


@pytest.mark.parametrize(
    ("position", "fault"),
    [
        (3, WrongKey),
        (PREAMBLE_SIZE + 1, WrongKey),
        (PREAMBLE_SIZE + 40, WrongKey),
        (HEAD, DamagedChunk),
        (-1, DamagedChunk),
    ],
)
async def test_a_damaged_piece_is_not_merged_and_leaves_nothing(
    spool: Spool, position: int, fault: type[CryptoError]
) -> None:
    pieces = [await written(spool, speech(100_000, seed), seed) for seed in (1, 2, 3)]
    flip(spool.path_of(ID, 2), position)

    with pytest.raises(fault):
        await spool.merge_pieces(IDENTITY, KEY, pieces, into=4)
    with pytest.raises(fault):
        await spool.verify_piece(IDENTITY, KEY, pieces[1])

    assert [f"{ID}.1", f"{ID}.2", f"{ID}.3"] == names(spool)


@pytest.mark.parametrize("size", [100_000, CHUNK_SIZE, SLAB, 2 * SLAB])
@pytest.mark.parametrize("lost", [1, 16, 17, SEALED_CHUNK_SIZE])
async def test_a_piece_that_lost_its_end_is_damaged(spool: Spool, size: int, lost: int) -> None:
    piece = await written(spool, speech(size))
    path = spool.path_of(ID, 1)
    os.truncate(path, path.stat().st_size - lost)

    with pytest.raises((DamagedChunk, Truncated)):
        await spool.verify_piece(IDENTITY, KEY, piece)


async def test_a_piece_that_is_gone_is_missing(spool: Spool) -> None:
    piece = await written(spool, speech(100))
    assert await spool.has_all(ID, [1])
    spool.path_of(ID, 1).unlink()

    assert not await spool.has_all(ID, [1])
    for call in (
        spool.merge_pieces(IDENTITY, KEY, [piece], into=2),
        spool.verify_piece(IDENTITY, KEY, piece),
        spool.digest_of(ID, 1),
        spool.commitment_of(ID, 1),
    ):
        with pytest.raises(PieceMissing):
            await call
    with pytest.raises(PieceMissing):
        async with spool.read(ID, 1, start=0, length=1):
            pass
    with pytest.raises(PieceMissing):
        SpoolBlob(spool, ID, 1)
    await spool.remove(ID, [1])


async def test_a_file_that_is_removed_while_it_is_read_is_read_to_its_end(spool: Spool) -> None:
    await written(spool, speech(1_000_000))
    whole = spool.path_of(ID, 1).read_bytes()

    async with SpoolBlob(spool, ID, 1).open(5) as slabs:
        received = await anext(slabs)
        await spool.remove_all_of(ID)
        received += b"".join([slab async for slab in slabs])

    assert whole[5:] == received
    assert [] == names(spool)


async def test_everything_of_one_recording_is_removed_and_nothing_of_others(spool: Spool) -> None:
    for fence in (1, 2, 3):
        await written(spool, speech(10), fence)
    for leftover in (f"{ID}.4.abcd", f"{ID}x.1", "another.1"):
        (spool._directory / leftover).touch()

    await spool.remove_all_of(ID)

    assert [f"{ID}x.1", "another.1"] == names(spool)


async def write_slabs(writer: PieceWriter, content: bytes) -> None:
    """
    Write *content* slab by slab, and end it.
    """
    for start in range(0, len(content), SLAB):
        await writer.write(content[start : start + SLAB])
    await writer.finish()


async def test_with_too_little_free_space_nothing_is_begun(tmp_path: Path) -> None:
    with spool_in(tmp_path / "spool", min_free_bytes=2**60) as spool:
        with pytest.raises(SpoolFull):
            spool.check_room()
        writer = spool.begin_piece(IDENTITY, 1, KEY)
        await writer.write(speech(SLAB))
        with pytest.raises(SpoolFull):
            await writer.finish()
        assert await writer.salvage() is None
        await writer.discard()
        assert [] == names(spool)


async def test_a_spool_that_is_full_keeps_the_chunks_before(tmp_path: Path) -> None:
    content = speech(4 * SLAB)
    with spool_in(tmp_path / "spool", max_bytes=3 * SLAB) as spool:
        writer = spool.begin_piece(IDENTITY, 1, KEY)
        with pytest.raises(SpoolFull):
            await write_slabs(writer, content)
        kept = await writer.salvage()
        assert SettledPiece(2 * SLAB, is_ended=False) == kept
        with pytest.raises(RuntimeError):
            await writer.write(b"more")
        with pytest.raises(RuntimeError):
            await writer.finish()
        spool._max_bytes = 0
        piece = StoredPiece(1, 2 * SLAB, is_ended=False)
        rest = await written(spool, content[2 * SLAB :], 2)
        assert content == await read_back(spool, piece, rest)


@pytest.mark.parametrize(
    ("number", "fault"),
    [
        (errno.ENOSPC, SpoolFull),
        (errno.EDQUOT, SpoolFull),
        (errno.EFBIG, SpoolFull),
        (errno.EIO, SpoolFailed),
    ],
    ids=["no space", "quota", "too big", "broken"],
)
async def test_of_a_write_that_fails_half_way_the_whole_chunks_count(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, number: int, fault: type[Exception]
) -> None:
    content = speech(3 * SLAB)
    write = os.write

    def half(fd: int, data: memoryview) -> int:
        size = os.fstat(fd).st_size
        if size > SLAB + SLAB // 2:
            raise OSError(number, os.strerror(number))
        return write(fd, data[: len(data) // 2 + 5] if size > SLAB else data)

    writer = spool.begin_piece(IDENTITY, 1, KEY)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", half)
        with pytest.raises(fault):
            await write_slabs(writer, content)

    kept = SLAB + SLAB // 2
    assert SettledPiece(kept, is_ended=False) == await writer.salvage()
    rest = await written(spool, content[kept:], 2)
    assert content == await read_back(spool, StoredPiece(1, kept, is_ended=False), rest)


async def test_a_merge_that_finds_no_room_leaves_the_pieces(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [await written(spool, speech(SLAB, seed), seed) for seed in (1, 2)]

    def full(fd: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(SpoolFull):
            await spool.merge_pieces(IDENTITY, KEY, pieces, into=3)

    assert [f"{ID}.1", f"{ID}.2"] == names(spool)
    assert speech(SLAB, 1) + speech(SLAB, 2) == await read_back(spool, *pieces)


async def test_a_cancelled_call_ends_before_its_caller_goes_on(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Files are not left half-written behind a request that was given up.
    """
    import asyncio

    may_go_on = threading.Event()
    write = PieceWriter._write_slab

    def slow(writer: PieceWriter, gathered: list[bytes]) -> None:
        may_go_on.wait(30)
        write(writer, gathered)

    monkeypatch.setattr(PieceWriter, "_write_slab", slow)
    writer = spool.begin_piece(IDENTITY, 1, KEY)
    await writer.write(speech(SLAB))
    # The second waits for the first to be written.
    writing = asyncio.create_task(writer.write(speech(SLAB)))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    salvaging = asyncio.create_task(writer.salvage())
    await asyncio.sleep(0)
    assert not salvaging.done()
    may_go_on.set()
    assert SettledPiece(SLAB, is_ended=False) == await salvaging

    assert HEAD + SLAB // CHUNK_SIZE * SEALED_CHUNK_SIZE == spool.path_of(ID, 1).stat().st_size
    await writer.discard()


async def test_a_directory_that_others_can_read_is_made_only_for_its_owner(tmp_path: Path) -> None:
    with spool_in(tmp_path / "new" / "spool") as spool:
        assert 0o700 == spool._directory.stat().st_mode & 0o777
