"""
Sealed pieces of uploads, on local disk, until their blob is placed.

Every file is ``preamble ‖ message``, as FORMAT has it; nothing here is ever plaintext.
The catalog says which files count; a file that it does not know is left over from a crash.
"""

from gateway.spool.errors import PieceMissing, SpoolFailed, SpoolFull
from gateway.spool.pieces import SettledPiece, StoredPiece
from gateway.spool.spool import Spool, SpoolBlob
from gateway.spool.writer import PieceWriter, Source

__all__ = [
    "PieceMissing",
    "PieceWriter",
    "SettledPiece",
    "Source",
    "Spool",
    "SpoolBlob",
    "SpoolFailed",
    "SpoolFull",
    "StoredPiece",
]
