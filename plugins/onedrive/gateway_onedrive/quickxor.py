"""
QuickXorHash, the only hash that every OneDrive tells.

A ring of 160 bits, into which byte i is XORed at bit 11 i; at the end the length is XORed into its last 64 bits.
It guards against accidents and not against an attacker; against him every chunk is sealed.
"""

from typing import Final

_RING_BITS: Final = 160
_RING: Final = (1 << _RING_BITS) - 1
_ROW: Final = 160
"""After so many bytes the ring has come round: 160 times 11 bits."""


class QuickXor:
    """
    A hash that is being worked out; *ring* and *length* go on from another.
    """

    def __init__(self, ring: int = 0, length: int = 0) -> None:
        self.ring = ring
        self.length = length

    def update(self, piece: bytes) -> None:
        """
        Take the next bytes in.
        """
        # Bytes that are whole rows apart go to the same place: so halves are laid over each other until one row is left.
        behind = self.length % _ROW
        folded = int.from_bytes(piece, "little") << (8 * behind)
        rows = -(-(behind + len(piece)) // _ROW)
        while rows > 1:
            rows = (rows + 1) // 2
            half = rows * _ROW * 8
            folded = (folded >> half) ^ (folded & ((1 << half) - 1))
        for index, byte in enumerate(folded.to_bytes(_ROW, "little")):
            turned = byte << (index * 11 % _RING_BITS)
            self.ring ^= (turned & _RING) ^ (turned >> _RING_BITS)
        self.length += len(piece)

    def hexdigest(self) -> str:
        """
        Return the hash of what was taken in.
        """
        return (self.ring ^ (self.length << 96)).to_bytes(20, "little").hex()
