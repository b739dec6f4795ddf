"""
The first 36 bytes of every blob: FORMAT §2.
"""

import struct
import uuid
from dataclasses import dataclass
from typing import Final, Self

from gateway.base.ids import KeySlot, LeafIndex
from gateway.crypto.errors import MalformedBlob

PREAMBLE_SIZE: Final = 36

_LAYOUT: Final = struct.Struct(">4sBBH16sQI")
_MAGIC: Final = b"RECG"
_VERSION: Final = 1
_SUITE: Final = 1
_FLAGS: Final = 0
_SLOTS: Final = 2**32
_LEAVES: Final = 2**32


@dataclass(frozen=True, slots=True)
class Preamble:
    """
    Says whose recording a blob is and which key opens it; nothing in it is secret.

    Its bytes are the context of the blob's message, so a blob under a changed preamble does not open.
    """

    recording_id: uuid.UUID
    key_slot: KeySlot
    leaf_index: LeafIndex

    def __post_init__(self) -> None:
        if not 0 <= self.key_slot < _SLOTS:
            raise ValueError(f"key slot {self.key_slot} is not below 2^32")
        if not 0 <= self.leaf_index < _LEAVES:
            raise ValueError(f"leaf index {self.leaf_index} is not below 2^32")

    def to_bytes(self) -> bytes:
        """
        Return the 36 bytes of FORMAT §2.2.
        """
        return _LAYOUT.pack(
            _MAGIC, _VERSION, _SUITE, _FLAGS, self.recording_id.bytes, self.key_slot, self.leaf_index
        )

    @classmethod
    def from_bytes(cls, preamble: bytes) -> Self:
        """
        Read the 36 bytes of FORMAT §2.2.

        What it says is a claim until the message has opened under it (FORMAT §2.5).

        Raises:
            MalformedBlob: a field is none that a writer of this version produces (FORMAT §2.3).
        """
        if len(preamble) != PREAMBLE_SIZE:
            raise MalformedBlob(f"a preamble has {PREAMBLE_SIZE} bytes, not {len(preamble)}")
        magic, version, suite, flags, recording_id, key_slot, leaf_index = _LAYOUT.unpack(preamble)
        if magic != _MAGIC:
            raise MalformedBlob("the magic is not RECG: this is no blob of ours")
        if version != _VERSION:
            raise MalformedBlob(f"version {version} is unknown")
        if suite != _SUITE:
            raise MalformedBlob(f"suite {suite} is unknown")
        if flags != _FLAGS:
            raise MalformedBlob(f"flags {flags:#06x} are unknown")
        if key_slot >= _SLOTS:
            raise MalformedBlob(f"key slot {key_slot} is not below 2^32")
        return cls(uuid.UUID(bytes=recording_id), KeySlot(key_slot), LeafIndex(leaf_index))
