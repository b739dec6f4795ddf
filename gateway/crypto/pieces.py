"""
What counts of a piece that may have been cut short: FORMAT §4.4.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.crypto.chunked import (
    CHUNK_SIZE,
    MESSAGE_HEADER_SIZE,
    SEALED_CHUNK_SIZE,
    TAG_SIZE,
    Buffer,
    Opener,
    sealed_size,
)
from gateway.crypto.errors import DamagedChunk


@dataclass(frozen=True, slots=True)
class PieceExtent:
    """
    How far a piece is whole.
    """

    plaintext_size: int
    """How many bytes of plaintext count."""
    message_size: int
    """How many bytes of the message hold them, its header included; what follows does not count."""
    is_ended: bool
    """Whether the piece has its own last chunk."""


def measure_piece(opener: Opener, slabs: Iterable[Buffer]) -> PieceExtent:
    """
    Open a piece from its first chunk on and say how much of it counts: up to its last whole, verified chunk.

    *slabs* is the message after its header, in order, cut anywhere.
    A short chunk at the very end that verifies as the last one ends the piece; any other rest does not count.
    Damage is no error here: a crash may leave anything behind what was durable.
    Whoever knows how much was acknowledged compares.
    """
    chunks = 0
    pending = bytearray()
    for slab in slabs:
        pending += slab
        whole = len(pending) - len(pending) % SEALED_CHUNK_SIZE
        try:
            opener.open_chunks(chunks, pending[:whole], ends_message=False)
        except DamagedChunk as damaged:
            return _cut_extent(damaged.chunk)
        chunks += whole // SEALED_CHUNK_SIZE
        del pending[:whole]
    if len(pending) < TAG_SIZE:
        return _cut_extent(chunks)
    try:
        last = opener.open_chunks(chunks, pending, ends_message=True)
    except DamagedChunk:
        return _cut_extent(chunks)
    size = chunks * CHUNK_SIZE + len(last)
    return PieceExtent(size, sealed_size(size), is_ended=True)


def _cut_extent(chunks: int) -> PieceExtent:
    return PieceExtent(chunks * CHUNK_SIZE, MESSAGE_HEADER_SIZE + chunks * SEALED_CHUNK_SIZE, is_ended=False)
