"""
The puncturable tree of one user's keys: FORMAT §5.1 to §5.3.

A tree after Goldreich, Goldwasser and Micali: a seed yields its two children, and never the other way.
Keeping the largest subtrees that hold no punctured leaf keeps every other leaf, and nothing of the punctured ones.
"""

import hmac
import os
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from typing import Final, Self

from gateway.base.ids import LeafIndex
from gateway.base.secret import Secret
from gateway.crypto.errors import LeafPunctured, MalformedState
from gateway.crypto.keys import KEY_SIZE, key_bytes

DEPTH: Final = 32
LEAVES: Final = 2**DEPTH

_NODE: Final = struct.Struct(">BI32s")
NODE_SIZE: Final = _NODE.size

_CHILD_LABELS: Final = (b"ggm\x00", b"ggm\x01")
_prefix: Final = attrgetter("prefix")


@dataclass(frozen=True, slots=True)
class _Node:
    """
    A subtree: all leaves whose first *depth* bits are those of *prefix*, which is its first leaf.
    """

    depth: int
    prefix: int
    seed: Secret

    @property
    def last(self) -> int:
        return self.prefix | (LEAVES - 1 >> self.depth)

    def children(self) -> "tuple[_Node, _Node]":
        """
        Return the two halves of this subtree.
        """
        depth, seed = self.depth + 1, self.seed.reveal()
        left, right = self.prefix, self.prefix | (1 << DEPTH - depth)
        return _Node(depth, left, Secret(_child(seed, 0))), _Node(depth, right, Secret(_child(seed, 1)))


@dataclass(frozen=True, slots=True, repr=False)
class GgmState:
    """
    What is left of a user's tree: its nodes from left to right, none above another, no two that would make a whole.

    A state never changes; `puncture` returns another one.
    Puncturing is final only once every copy of the older state is gone, which is the key tree's business (FORMAT §6).
    """

    _nodes: tuple[_Node, ...]
    _walk: "_Walk" = field(default_factory=lambda: _Walk(), init=False, compare=False)  # noqa: PLW0108 - it is defined below
    """The way to the leaf that `leaf` gave last: the next one is mostly its neighbour. It goes with the state."""

    @classmethod
    def fresh(cls, seed: Secret | None = None) -> Self:
        """
        Return a whole tree; *seed* is for check values and is random otherwise.
        """
        if seed is None:
            seed = Secret(os.urandom(KEY_SIZE))
        return cls((_Node(0, 0, Secret(key_bytes(seed))),))

    @property
    def node_count(self) -> int:
        return len(self._nodes)

    def __repr__(self) -> str:
        return f"GgmState(<{self.node_count} nodes>)"

    def is_punctured(self, index: LeafIndex) -> bool:
        """
        Whether the leaf at *index* is gone.
        """
        return self._node_over(index) is None

    def leaf(self, index: LeafIndex) -> Secret:
        """
        Derive the leaf at *index*. FORMAT §5.1.

        Raises:
            LeafPunctured: it is gone.
        """
        over = self._node_over(index)
        if over is None:
            raise LeafPunctured(index)
        return self._walk.to(over, index)

    def leaves(self, indexes: Iterable[LeafIndex]) -> Iterator[tuple[LeafIndex, Secret | None]]:
        """
        Derive many leaves, in the order asked for; None stands for a punctured one.

        What the path to a leaf has in common with the path to the one before is not derived again,
        so consecutive leaves cost two HMACs each instead of 32.
        """
        walk = _Walk()
        for index in indexes:
            over = self._node_over(index)
            yield index, None if over is None else walk.to(over, index)

    def puncture(self, first: LeafIndex, last: LeafIndex | None = None) -> "GgmState":
        """
        Return the state without the leaves *first* to *last*, both included; without *first* alone if *last* is left out.

        Puncturing what is punctured changes nothing.
        """
        last = first if last is None else last
        if not 0 <= first <= last < LEAVES:
            raise ValueError(f"{first} to {last} is no range of leaf indexes")
        kept: list[_Node] = []
        for node in self._nodes:
            _keep_without(node, first, last, kept)
        return GgmState(tuple(kept))

    def to_bytes(self) -> bytes:
        """
        Return the nodes as FORMAT §5.3 has them; they are key material, to be sealed before they go anywhere.
        """
        return b"".join(_NODE.pack(node.depth, node.prefix, node.seed.reveal()) for node in self._nodes)

    @classmethod
    def from_bytes(cls, serialised: bytes) -> Self:
        """
        Read what `to_bytes` wrote.

        Raises:
            MalformedState: it is anything else.
        """
        if len(serialised) % NODE_SIZE:
            raise MalformedState(f"{len(serialised)} bytes are no whole number of nodes of {NODE_SIZE}")
        nodes = tuple(
            _Node(depth, prefix, Secret(seed)) for depth, prefix, seed in _NODE.iter_unpack(serialised)
        )
        for node in nodes:
            if node.depth > DEPTH:
                raise MalformedState(f"a node has depth {node.depth}")
            if node.prefix & (LEAVES - 1 >> node.depth):
                raise MalformedState(
                    f"a node of depth {node.depth} has a prefix of more than {node.depth} bits"
                )
        for left, right in pairwise(nodes):
            if right.prefix <= left.last:
                raise MalformedState("two nodes overlap or stand in the wrong order")
            if left.depth == right.depth and left.prefix ^ right.prefix == 1 << DEPTH - left.depth:
                raise MalformedState("two nodes are the halves of one that should stand there instead")
        return cls(nodes)

    def _node_over(self, index: LeafIndex) -> _Node | None:
        if not 0 <= index < LEAVES:
            raise ValueError(f"leaf index {index} is not below 2^32")
        position = bisect_right(self._nodes, index, key=_prefix)
        if position and index <= (node := self._nodes[position - 1]).last:
            return node
        return None


class _Walk:
    """
    The way to one leaf after the other; what the way to the next has in common with that to the one before is kept.
    """

    __slots__ = ("_before", "_node", "_path")

    def __init__(self) -> None:
        self._node: _Node | None = None
        self._path: list[bytes] = []  # The seeds from the node down to just above the leaf before.
        self._before = 0

    def to(self, node: _Node, index: int) -> Secret:
        """
        Return the leaf at *index*, which is below *node*.
        """
        path = self._path
        if node is self._node:
            shared_bits = DEPTH - (self._before ^ index).bit_length()
            del path[max(shared_bits - node.depth + 1, 1) :]
        else:
            self._node, self._path = node, [node.seed.reveal()]
            path = self._path
        for depth in range(node.depth + len(path), DEPTH):
            path.append(_child(path[-1], index >> DEPTH - depth & 1))
        self._before = index
        return Secret(path[-1] if node.depth == DEPTH else _child(path[-1], index & 1))


def _child(seed: bytes, bit: int) -> bytes:
    """
    HMAC-SHA256(*seed*, "ggm" ‖ *bit*). FORMAT §5.1.
    """
    return hmac.digest(seed, _CHILD_LABELS[bit], "sha256")


def _keep_without(node: _Node, first: int, last: int, kept: list[_Node]) -> None:
    """
    Append the largest subtrees of *node* that hold none of the leaves *first* to *last*, from left to right.
    """
    if node.last < first or last < node.prefix:
        kept.append(node)
    elif not first <= node.prefix <= node.last <= last:
        for child in node.children():
            _keep_without(child, first, last, kept)
