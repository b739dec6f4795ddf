"""
Opening a stretch of a sealed file, however its bytes are cut on the way.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.base.secret import Secret
from gateway.crypto.chunked import CHUNK_SIZE, SEALED_CHUNK_SIZE, Sealer
from gateway.crypto.errors import DamagedChunk
from gateway.crypto.preamble import PREAMBLE_SIZE
from gateway.services.opening import Stretch, open_stretch

KEY = Secret(bytes(32))
PREAMBLE = bytes(PREAMBLE_SIZE)
SIZE = 100 * CHUNK_SIZE + 5
CONTENT = random.Random(8).randbytes(SIZE)
CUTS = [1000, SEALED_CHUNK_SIZE, 262_144, 17 * SEALED_CHUNK_SIZE, 300_001, 1 << 20, 1 << 30]


def sealed_file() -> bytearray:
    sealer = Sealer(KEY, PREAMBLE)
    chunks = bytearray(100 * SEALED_CHUNK_SIZE)
    sealer.seal_into(CONTENT[: 100 * CHUNK_SIZE], chunks)
    return bytearray(PREAMBLE + sealer.header + chunks + sealer.finish(CONTENT[100 * CHUNK_SIZE :]))


class Cut:
    """
    A file whose bytes come in parts of so many bytes.
    """

    def __init__(self, file: bytes, size: int) -> None:
        self._file = file
        self._size = size

    @asynccontextmanager
    async def read(self, start: int, length: int) -> AsyncIterator[AsyncIterator[bytes]]:
        yield self._parts(self._file[start : start + length])

    async def _parts(self, wanted: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(wanted), self._size):
            yield wanted[at : at + self._size]


async def opened(file: bytearray, cut: int, start: int, end: int) -> bytes:
    stretch = Stretch(Cut(bytes(file), cut), 0, SIZE, is_ended=True)
    return b"".join([bytes(part) async for part in open_stretch(stretch, KEY, PREAMBLE, start, end)])


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(
    ("start", "end"),
    [(0, SIZE), (1, SIZE - 1), (16_383, 40 * CHUNK_SIZE), (CHUNK_SIZE, 65 * CHUNK_SIZE), (70_000, 1_400_001)],
)
async def test_the_same_bytes_come_out_wherever_the_parts_are_cut(cut: int, start: int, end: int) -> None:
    assert CONTENT[start:end] == await opened(sealed_file(), cut, start, end)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("chunk", [0, 15, 16, 63, 64, 99, 100])
async def test_a_damaged_chunk_is_named_wherever_the_parts_are_cut(cut: int, chunk: int) -> None:
    file = sealed_file()
    file[PREAMBLE_SIZE + 56 + chunk * SEALED_CHUNK_SIZE] ^= 1
    with pytest.raises(DamagedChunk) as damaged:
        await opened(file, cut, 0, SIZE)
    assert chunk == damaged.value.chunk
