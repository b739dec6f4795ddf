from collections.abc import Iterator

import pytest

from gateway.base.secret import Secret
from gateway.crypto.chunked import CHUNK_SIZE, MESSAGE_HEADER_SIZE, SEALED_CHUNK_SIZE, Opener
from gateway.crypto.pieces import PieceExtent, measure_piece
from tests.unit.crypto.blobs import seal_message

KEY = Secret(bytes(range(32)))
SIZE = 3 * CHUNK_SIZE + 100
MESSAGE = seal_message(KEY, b"", bytes(SIZE))
WHOLE_CHUNKS = MESSAGE_HEADER_SIZE + 3 * SEALED_CHUNK_SIZE


def _measure(message: bytes, slab: int = 10_000) -> PieceExtent:
    def slabs() -> Iterator[bytes]:
        for start in range(MESSAGE_HEADER_SIZE, len(message), slab):
            yield message[start : start + slab]

    return measure_piece(Opener(KEY, b"", message[:MESSAGE_HEADER_SIZE]), slabs())


@pytest.mark.parametrize("slab", [1_000, SEALED_CHUNK_SIZE, 2 * SEALED_CHUNK_SIZE, 1_000_000])
def test_a_whole_piece_counts_to_its_end_however_it_is_read(slab: int) -> None:
    assert PieceExtent(SIZE, len(MESSAGE), is_ended=True) == _measure(MESSAGE, slab)


@pytest.mark.parametrize("size", [0, CHUNK_SIZE - 1, CHUNK_SIZE, 2 * CHUNK_SIZE])
def test_a_piece_may_be_of_any_size(size: int) -> None:
    message = seal_message(KEY, b"", bytes(size))
    assert PieceExtent(size, len(message), is_ended=True) == _measure(message)


@pytest.mark.parametrize("cut", [1, 16, 100, 115, 116])
def test_a_piece_cut_in_its_last_chunk_counts_up_to_the_whole_chunks(cut: int) -> None:
    assert PieceExtent(3 * CHUNK_SIZE, WHOLE_CHUNKS, is_ended=False) == _measure(
        MESSAGE[: len(MESSAGE) - cut]
    )


@pytest.mark.parametrize(
    ("kept", "chunks"),
    [(0, 0), (1, 0), (SEALED_CHUNK_SIZE - 1, 0), (SEALED_CHUNK_SIZE, 1), (SEALED_CHUNK_SIZE + 16, 1)],
)
def test_a_piece_cut_earlier_counts_less(kept: int, chunks: int) -> None:
    extent = PieceExtent(
        chunks * CHUNK_SIZE, MESSAGE_HEADER_SIZE + chunks * SEALED_CHUNK_SIZE, is_ended=False
    )
    assert extent == _measure(MESSAGE[: MESSAGE_HEADER_SIZE + kept])


@pytest.mark.parametrize("slab", [10_000, 1_000_000])
def test_zeros_that_a_crash_left_behind_do_not_count(slab: int) -> None:
    """
    A file's new length can be durable before the bytes in it are.
    """
    torn = MESSAGE[: MESSAGE_HEADER_SIZE + SEALED_CHUNK_SIZE + 5_000]
    assert PieceExtent(CHUNK_SIZE, MESSAGE_HEADER_SIZE + SEALED_CHUNK_SIZE, is_ended=False) == _measure(
        torn + bytes(2 * SEALED_CHUNK_SIZE), slab
    )


def test_nothing_counts_behind_damage() -> None:
    damaged = bytearray(MESSAGE)
    damaged[MESSAGE_HEADER_SIZE + SEALED_CHUNK_SIZE] ^= 1
    assert PieceExtent(CHUNK_SIZE, MESSAGE_HEADER_SIZE + SEALED_CHUNK_SIZE, is_ended=False) == _measure(
        bytes(damaged)
    )


def test_bytes_behind_the_last_chunk_take_its_ending_away() -> None:
    assert PieceExtent(3 * CHUNK_SIZE, WHOLE_CHUNKS, is_ended=False) == _measure(MESSAGE + b"\0")
