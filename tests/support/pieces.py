"""
What the file of a piece holds, told from its size alone.
"""

from pathlib import Path
from typing import Final

from gateway.crypto.chunked import CHUNK_SIZE, MESSAGE_HEADER_SIZE, SEALED_CHUNK_SIZE
from gateway.crypto.preamble import PREAMBLE_SIZE

HEAD: Final = PREAMBLE_SIZE + MESSAGE_HEADER_SIZE
"""Bytes before the first chunk."""


def whole_chunks(piece: Path) -> int:
    """
    Return how many plaintext bytes there are in the chunks that reached the file whole.
    """
    return (piece.stat().st_size - HEAD) // SEALED_CHUNK_SIZE * CHUNK_SIZE
