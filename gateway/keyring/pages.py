"""
The key tree's bytes: pages, places, and how a node is sealed at its place.

Pure functions of bytes; no rows, no root store.
FORMAT §6.2 and §6.3 give the same in words.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, Self

from gateway.base.ids import Epoch
from gateway.base.secret import Secret
from gateway.crypto.errors import MalformedState, SealBroken
from gateway.crypto.ggm import GgmState
from gateway.crypto.wrap import open_record, seal_record
from gateway.keyring.errors import TreeDamaged

STATE_DEPTH: Final = 4
"""Pages lie at depths 0 to 3; below them, at 4, the users' states."""

_KEY_SIZE = 32
_ENTRY_SIZE = 1 + _KEY_SIZE


class Place(NamedTuple):
    """
    Where a node lies: its depth, and the first slot below it.
    """

    depth: int
    first_slot: int

    @classmethod
    def above(cls, slot: int, depth: int) -> Self:
        """
        Return the place at *depth* on the path to *slot*.
        """
        return cls(depth, slot & ~(0xFFFFFFFF >> (8 * depth)) & 0xFFFFFFFF)

    def entry_number(self, slot: int) -> int:
        """
        Return which entry of this page leads on to *slot*.
        """
        return (slot >> (8 * (STATE_DEPTH - 1 - self.depth))) & 0xFF

    def __str__(self) -> str:
        kind = "state" if self.depth == STATE_DEPTH else "page"
        return f"{kind} {self.depth}/{self.first_slot}"


TOP: Final = Place(0, 0)


def page_path(slot: int) -> list[Place]:
    """
    Return the places of the four pages above *slot*, top first.
    """
    return [Place.above(slot, depth) for depth in range(STATE_DEPTH)]


def state_place(slot: int) -> Place:
    """
    Return the place of *slot*'s state.
    """
    return Place(STATE_DEPTH, slot)


def associated_data(tree_id: bytes, place: Place, epoch: Epoch) -> bytes:
    """
    Return what a node is bound to: tree id ‖ kind ‖ depth ‖ first slot ‖ epoch of writing, 30 bytes.

    A row that was moved, or kept from another epoch or tree, fails to open instead of answering for another.
    """
    kind = b"S" if place.depth == STATE_DEPTH else b"P"
    return (
        tree_id
        + kind
        + place.depth.to_bytes(1, "big")
        + place.first_slot.to_bytes(4, "big")
        + epoch.to_bytes(8, "big")
    )


def fresh_key() -> Secret:
    """
    Return 32 new random bytes.
    """
    return Secret(os.urandom(_KEY_SIZE))


class Page:
    """
    Up to 256 numbered keys, immutable; its repr shows none.

    Kept as the bytes that were sealed: entries in ascending order, each its number (u8) and its key (32).
    """

    __slots__ = ("_content", "_numbers")

    def __init__(self, content: bytes) -> None:
        numbers = content[::_ENTRY_SIZE]
        if len(content) % _ENTRY_SIZE or numbers != bytes(sorted(set(numbers))):
            raise TreeDamaged("a page of the key tree is malformed")
        self._content = content
        self._numbers = numbers

    @classmethod
    def of(cls, entries: Iterable[tuple[int, Secret]]) -> Self:
        """
        Make a page of *entries*.
        """
        return cls(
            b"".join(bytes([number]) + key.reveal() for number, key in sorted(entries, key=lambda e: e[0]))
        )

    def key_of(self, number: int) -> Secret | None:
        """
        Return the key at *number*, or None if the page leads nowhere there.
        """
        position = self._numbers.find(number)
        if position < 0:
            return None
        start = position * _ENTRY_SIZE + 1
        return Secret(self._content[start : start + _KEY_SIZE])

    def changed(self, changes: Mapping[int, Secret | None]) -> "Page":
        """
        Return this page with other keys at these numbers, which it has; None takes the entry out.
        """
        content = bytearray(self._content)
        for number in sorted(changes, reverse=True):
            start = self._numbers.index(number) * _ENTRY_SIZE
            key = changes[number]
            content[start : start + _ENTRY_SIZE] = b"" if key is None else bytes([number]) + key.reveal()
        return Page(bytes(content))

    def entries(self) -> Iterator[tuple[int, Secret]]:
        """
        Yield number and key of each entry, in order.
        """
        for position, number in enumerate(self._numbers):
            start = position * _ENTRY_SIZE + 1
            yield number, Secret(self._content[start : start + _KEY_SIZE])

    def to_secret(self) -> Secret:
        """
        Return the page's content, as it is sealed.
        """
        return Secret(self._content)

    def __len__(self) -> int:
        return len(self._numbers)

    def __repr__(self) -> str:
        return f"Page(<{len(self)} entries>)"


class SealedNode(NamedTuple):
    """
    A row of the key tree: a page or a state, sealed at its place.
    """

    place: Place
    epoch: Epoch
    """The epoch in which it was written."""
    sealed: bytes


def seal_node(
    node: Page | GgmState, key: Secret, *, tree_id: bytes, place: Place, epoch: Epoch
) -> SealedNode:
    """
    Seal a page or state under *key*, at *place*, as of *epoch*; each time with a fresh nonce.
    """
    content = node.to_secret().reveal() if isinstance(node, Page) else node.to_bytes()
    return SealedNode(place, epoch, seal_record(key, content, associated_data(tree_id, place, epoch)))


def open_page(row: SealedNode | None, key: Secret, *, tree_id: bytes, place: Place) -> Page:
    """
    Open the page at *place*.

    Raises:
        TreeDamaged: the row is missing, or does not open there under *key*.
    """
    return Page(_open(row, key, tree_id, place))


def open_state(row: SealedNode | None, key: Secret, *, tree_id: bytes, place: Place) -> GgmState:
    """
    Open the user's state at *place*.

    Raises:
        TreeDamaged: the row is missing, or does not open there under *key*.
    """
    try:
        return GgmState.from_bytes(_open(row, key, tree_id, place))
    except MalformedState as error:
        raise TreeDamaged(f"{place} of the key tree is malformed: {error}") from error


def _open(row: SealedNode | None, key: Secret, tree_id: bytes, place: Place) -> bytes:
    if row is None:
        raise TreeDamaged(f"the row of {place} of the key tree is missing")
    try:
        return open_record(key, row.sealed, associated_data(tree_id, place, row.epoch))
    except SealBroken as error:
        raise TreeDamaged(f"{place} of the key tree does not open under the key that leads to it") from error
