"""
Properties of a user's tree, against a model that knows only sets of punctured leaves and a derivation spelt out.
"""

import hashlib
import hmac
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.base.ids import LeafIndex
from gateway.base.secret import Secret
from gateway.crypto.errors import LeafPunctured, MalformedState
from gateway.crypto.ggm import DEPTH, LEAVES, NODE_SIZE, GgmState

SEED = bytes(range(32))
FRESH = GgmState.fresh(Secret(SEED))
LAST = LEAVES - 1

# Mostly leaves that are near each other or near an end, as those of a real user are.
indexes = st.one_of(st.integers(0, 40), st.integers(LAST - 10, LAST), st.integers(0, LAST)).map(LeafIndex)
ranges = st.tuples(indexes, indexes).map(lambda pair: (min(pair), max(pair))) | indexes.map(lambda i: (i, i))
punctures = st.lists(ranges, max_size=12)


def _leaf_by_hand(index: int) -> bytes:
    seed = SEED
    for bit in f"{index:032b}":
        seed = hmac.new(seed, b"ggm" + bytes([int(bit)]), hashlib.sha256).digest()
    return seed


def _punctured(ranges: list[tuple[LeafIndex, LeafIndex]]) -> GgmState:
    state = FRESH
    for first, last in ranges:
        state = state.puncture(first, last)
    return state


def _nodes(state: GgmState) -> list[tuple[int, int, bytes]]:
    serialised = state.to_bytes()
    nodes = [serialised[start : start + NODE_SIZE] for start in range(0, len(serialised), NODE_SIZE)]
    return [(node[0], int.from_bytes(node[1:5], "big"), node[5:]) for node in nodes]


@given(indexes)
def test_a_leaf_is_derived_along_its_bits(index: LeafIndex) -> None:
    assert _leaf_by_hand(index) == FRESH.leaf(index).reveal()


@given(punctures, st.lists(indexes, max_size=20))
def test_punctured_leaves_are_gone_and_all_others_unchanged(
    ranges: list[tuple[LeafIndex, LeafIndex]], asked: list[LeafIndex]
) -> None:
    state = _punctured(ranges)
    # The leaves beside each range are where a mistake would be.
    beside = [edge + step for pair in ranges for edge in pair for step in (-1, 0, 1)]
    for index in [*asked, *(LeafIndex(i) for i in beside if 0 <= i <= LAST)]:
        is_gone = any(first <= index <= last for first, last in ranges)
        assert is_gone == state.is_punctured(index)
        if is_gone:
            with pytest.raises(LeafPunctured):
                state.leaf(index)
        else:
            assert FRESH.leaf(index) == state.leaf(index)


@given(punctures)
def test_no_node_that_is_left_is_above_a_punctured_leaf(ranges: list[tuple[LeafIndex, LeafIndex]]) -> None:
    """
    The claim that matters: from the bytes of a state, nothing that was punctured can be derived.
    """
    for depth, prefix, _ in _nodes(_punctured(ranges)):
        last_below = prefix + 2 ** (DEPTH - depth) - 1
        assert all(last_below < first or last < prefix for first, last in ranges)


@given(punctures)
def test_no_seed_of_a_punctured_path_is_left(ranges: list[tuple[LeafIndex, LeafIndex]]) -> None:
    """
    The same, told from the seeds themselves and not from where a node says that it stands.
    """
    left = {seed for _, _, seed in _nodes(_punctured(ranges))}
    for index in {edge for pair in ranges for edge in pair}:
        seed = SEED
        assert seed not in left
        for bit in f"{index:032b}":
            seed = hmac.new(seed, b"ggm" + bytes([int(bit)]), hashlib.sha256).digest()
            assert seed not in left


@given(punctures, st.randoms(use_true_random=False))
def test_the_order_of_puncturing_makes_no_difference(
    ranges: list[tuple[LeafIndex, LeafIndex]], chance: random.Random
) -> None:
    other = list(ranges)
    chance.shuffle(other)
    assert _punctured(ranges) == _punctured(other)
    assert _punctured(ranges) == _punctured(ranges + ranges)


@given(st.sets(indexes, max_size=30))
def test_a_state_has_no_more_nodes_than_there_are_paths_to_punctured_leaves(leaves: set[LeafIndex]) -> None:
    state = _punctured([(index, index) for index in leaves])
    if not leaves:
        assert 1 == state.node_count
    else:
        assert state.node_count <= len(leaves) * (DEPTH - len(leaves).bit_length() + 1)


@given(indexes, indexes)
def test_a_state_without_its_oldest_leaves_has_at_most_32_nodes(one: LeafIndex, other: LeafIndex) -> None:
    oldest = FRESH.puncture(LeafIndex(0), min(one, other))
    assert oldest.node_count <= 32
    assert oldest.puncture(LeafIndex(0), max(one, other)).node_count <= 32


@given(punctures)
def test_what_is_serialised_is_read_back(ranges: list[tuple[LeafIndex, LeafIndex]]) -> None:
    state = _punctured(ranges)
    assert state == GgmState.from_bytes(state.to_bytes())


@given(punctures, st.lists(indexes, max_size=40))
def test_many_leaves_at_once_are_the_same_as_one_by_one(
    ranges: list[tuple[LeafIndex, LeafIndex]], asked: list[LeafIndex]
) -> None:
    state = _punctured(ranges)
    expected = [(i, None if state.is_punctured(i) else state.leaf(i)) for i in asked]
    assert expected == list(state.leaves(asked))


@given(st.lists(st.tuples(st.integers(30, 33), st.integers(0, 12)), max_size=6))
@example([(32, 4), (32, 5)])
@example([(31, 4), (32, 5)])
def test_only_a_state_that_puncturing_can_reach_is_read(nodes: list[tuple[int, int]]) -> None:
    serialised = b"".join(bytes([depth]) + prefix.to_bytes(4, "big") + SEED for depth, prefix in nodes)
    try:
        state = GgmState.from_bytes(serialised)
    except MalformedState:
        return
    assert serialised == state.to_bytes()

    # What its nodes leave out, punctured from a whole tree, gives nodes at the same places.
    covered = sorted((prefix, prefix + 2 ** (DEPTH - depth) - 1) for depth, prefix in nodes)
    starts = [0, *(last + 1 for _, last in covered)]
    stops = [*(first - 1 for first, _ in covered), LAST]
    gaps = [(LeafIndex(a), LeafIndex(b)) for a, b in zip(starts, stops, strict=True) if a <= b]
    assert nodes == [(depth, prefix) for depth, prefix, _ in _nodes(_punctured(gaps))]


@given(punctures, st.data())
def test_a_state_that_was_cut_or_lengthened_is_refused(
    ranges: list[tuple[LeafIndex, LeafIndex]], data: st.DataObject
) -> None:
    serialised = _punctured(ranges).to_bytes()
    step = data.draw(st.integers(1, NODE_SIZE - 1), "step")
    for malformed in (
        serialised + bytes(step),
        serialised[: len(serialised) - step] if serialised else b"\0",
    ):
        with pytest.raises(MalformedState):
            GgmState.from_bytes(malformed)
