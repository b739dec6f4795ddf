"""
What there is of a piece, and reading it back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.base.secret import Secret
from gateway.crypto.chunked import CHUNK_SIZE, MESSAGE_HEADER_SIZE, SEALED_CHUNK_SIZE, Buffer, Opener
from gateway.crypto.errors import Truncated
from gateway.crypto.preamble import PREAMBLE_SIZE
from gateway.spool.files import SLAB, read_slabs

SEALED_SLAB: Final = SLAB // CHUNK_SIZE * SEALED_CHUNK_SIZE


@dataclass(frozen=True, slots=True)
class SettledPiece:
    """
    Plaintext bytes that are durable in a piece, and whether it ends with its own last chunk.

    *commitment* is the key commitment of its message, where this process has just written it to its end.
    """

    length: int
    is_ended: bool
    commitment: bytes | None = None


@dataclass(frozen=True, slots=True)
class StoredPiece:
    """
    A piece that the catalog knows: its file's number, and what it holds.
    """

    fence: int
    length: int
    is_ended: bool


def open_piece(path: Path, key: Secret) -> tuple[Opener, bytes]:
    """
    Return the opener of the message in *path*, and the preamble it is bound to. Blocks.
    """
    with path.open("rb", buffering=0) as file:
        head = file.read(PREAMBLE_SIZE + MESSAGE_HEADER_SIZE)
    preamble = head[:PREAMBLE_SIZE]
    return Opener(key, preamble, head[PREAMBLE_SIZE:]), preamble


def read_plaintext(path: Path, key: Secret, piece: StoredPiece) -> Iterator[Buffer]:
    """
    Yield the piece's plaintext in slabs, each verified. Blocks.

    Raises:
        CryptoError: the file is not what was written.
    """
    opener, _ = open_piece(path, key)
    chunk = 0
    left = piece.length
    is_open = piece.is_ended
    for slab in read_slabs(path, PREAMBLE_SIZE + MESSAGE_HEADER_SIZE, SEALED_SLAB):
        if not left and not piece.is_ended:
            break
        ends = piece.is_ended and len(slab) < SEALED_SLAB
        sealed = slab if piece.is_ended else slab[: -(-left // CHUNK_SIZE) * SEALED_CHUNK_SIZE]
        plaintext = opener.open_chunks(chunk, sealed, ends_message=ends)
        chunk += len(sealed) // SEALED_CHUNK_SIZE
        left -= len(plaintext)
        is_open = is_open and not ends
        if plaintext:
            yield plaintext
    if is_open:
        raise Truncated("the piece has lost its last chunk")
    if left:
        raise Truncated(f"{left} bytes of the piece are missing")
