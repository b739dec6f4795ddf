import random
import struct
from collections.abc import Sequence
from unittest import mock

import pytest

from gateway.base.ids import LeafIndex
from gateway.base.secret import Secret
from gateway.crypto import ggm
from gateway.crypto.errors import LeafPunctured, MalformedState
from gateway.crypto.ggm import LEAVES, NODE_SIZE, GgmState

SEED = bytes(range(32))
FRESH = GgmState.fresh(Secret(SEED))
ALL_BUT_THE_LAST = (LeafIndex(0), LeafIndex(LEAVES - 2))


def _node(depth: int, prefix: int, seed: bytes = SEED) -> bytes:
    return struct.pack(">BI", depth, prefix) + seed


def _hmacs(state: GgmState, indexes: Sequence[int]) -> int:
    with mock.patch.object(ggm, "_child", wraps=ggm._child) as child:
        assert len(indexes) == len(list(state.leaves(map(LeafIndex, indexes))))
    return child.call_count


class TestFresh:
    def test_is_one_random_node(self) -> None:
        assert 1 == GgmState.fresh().node_count
        assert GgmState.fresh() != GgmState.fresh()

    @pytest.mark.parametrize("size", [0, 31, 33])
    def test_takes_a_seed_of_32_bytes(self, size: int) -> None:
        with pytest.raises(ValueError, match="32 bytes"):
            GgmState.fresh(Secret(bytes(size)))


class TestPuncture:
    def test_takes_a_leaf_away_for_good(self) -> None:
        state = FRESH.puncture(LeafIndex(5))
        assert state.is_punctured(LeafIndex(5))
        with pytest.raises(LeafPunctured) as caught:
            state.leaf(LeafIndex(5))
        assert 5 == caught.value.index

    def test_leaves_the_older_state_as_it_is(self) -> None:
        FRESH.puncture(LeafIndex(5))
        assert not FRESH.is_punctured(LeafIndex(5))

    def test_of_what_is_punctured_changes_nothing(self) -> None:
        state = FRESH.puncture(LeafIndex(3), LeafIndex(9))
        assert state == state.puncture(LeafIndex(3), LeafIndex(9)) == state.puncture(LeafIndex(5))

    def test_of_everything_leaves_nothing(self) -> None:
        state = FRESH.puncture(LeafIndex(0), LeafIndex(LEAVES - 1))
        assert (0, b"") == (state.node_count, state.to_bytes())
        assert state == GgmState.from_bytes(b"")

    def test_ends_at_the_last_leaf(self) -> None:
        state = FRESH.puncture(*ALL_BUT_THE_LAST)
        assert 1 == state.node_count
        assert FRESH.leaf(LeafIndex(LEAVES - 1)) == state.leaf(LeafIndex(LEAVES - 1))

    @pytest.mark.parametrize(("first", "last"), [(-1, 5), (5, 4), (0, LEAVES), (LEAVES, None)])
    def test_of_no_range_is_a_mistake(self, first: int, last: int | None) -> None:
        with pytest.raises(ValueError, match="no range"):
            FRESH.puncture(LeafIndex(first), None if last is None else LeafIndex(last))

    @pytest.mark.parametrize("index", [-1, LEAVES])
    def test_indexes_outside_are_a_mistake(self, index: int) -> None:
        with pytest.raises(ValueError, match="2\\^32"):
            FRESH.leaf(LeafIndex(index))


class TestNodeCount:
    def test_of_one_lone_puncture_is_the_depth(self) -> None:
        assert 32 == FRESH.puncture(LeafIndex(12_345)).node_count

    def test_of_a_sweep_in_order_stays_within_the_depth(self) -> None:
        state = FRESH
        for index in range(2_000):
            state = state.puncture(LeafIndex(index))
            assert state.node_count <= 32

    @pytest.mark.parametrize("oldest", [0, 4_096, 9_000])
    def test_of_a_steady_window_with_early_deletes_stays_below_24_kb(self, oldest: int) -> None:
        """
        3,000 recordings are kept; each tenth is deleted early, at a moment that is as likely as any other.
        So the older one is, the likelier it is gone, up to one in ten.
        """
        chance = random.Random(7)
        state = FRESH.puncture(LeafIndex(0), LeafIndex(oldest - 1)) if oldest else FRESH
        for age in range(3_000):
            if chance.random() < 0.1 * age / 3_000:
                state = state.puncture(LeafIndex(oldest + 3_000 - age))
        assert len(state.to_bytes()) < 24 * 1024


class TestLeaves:
    def test_come_in_the_order_asked_for_with_none_for_the_punctured(self) -> None:
        state = FRESH.puncture(LeafIndex(6), LeafIndex(7))
        asked = [LeafIndex(index) for index in (9, 6, 8, 8, 0, 7, LEAVES - 1)]
        expected = [(i, None if i in {6, 7} else FRESH.leaf(i)) for i in asked]
        assert expected == list(state.leaves(asked))

    def test_in_a_row_cost_two_hmacs_each(self) -> None:
        assert _hmacs(FRESH, range(1024)) <= 2 * 1024 + 32
        assert _hmacs(FRESH.puncture(LeafIndex(0)), range(1, 1024)) <= 2 * 1024 + 32

    def test_that_repeat_cost_one_step_each(self) -> None:
        # What is kept of the way ends above the leaf.
        assert 32 + 1 + 1 == _hmacs(FRESH, [5, 5, 5])

    def test_below_a_deeper_node_cost_less(self) -> None:
        assert 0 == _hmacs(FRESH.puncture(*ALL_BUT_THE_LAST), [LEAVES - 1])

    def test_that_are_punctured_cost_nothing(self) -> None:
        assert 0 == _hmacs(FRESH.puncture(LeafIndex(0), LeafIndex(99)), range(100))


class TestSerialisation:
    def test_gives_the_same_state_back(self) -> None:
        state = FRESH.puncture(LeafIndex(5), LeafIndex(5_000_000))
        assert state == GgmState.from_bytes(state.to_bytes())
        assert NODE_SIZE * state.node_count == len(state.to_bytes())

    @pytest.mark.parametrize(
        ("malformed", "fault"),
        [
            pytest.param(_node(0, 0)[:-1], "whole number", id="cut"),
            pytest.param(_node(0, 0) + b"\0", "whole number", id="too long"),
            pytest.param(b"\0", "whole number", id="one byte"),
            pytest.param(_node(33, 0), "depth 33", id="too deep"),
            pytest.param(_node(255, 0), "depth 255", id="far too deep"),
            pytest.param(_node(0, 1), "prefix", id="a prefix for the top"),
            pytest.param(_node(31, 1), "prefix", id="a prefix beyond the depth"),
            pytest.param(_node(32, 5) + _node(32, 5), "overlap", id="twice the same"),
            pytest.param(_node(32, 6) + _node(32, 4), "order", id="right before left"),
            pytest.param(_node(31, 4) + _node(32, 5), "overlap", id="a node and its child"),
            pytest.param(_node(32, 4) + _node(31, 4), "overlap", id="a child and its node"),
            pytest.param(_node(0, 0) + _node(1, 0x8000_0000), "overlap", id="everything and its half"),
            pytest.param(_node(32, 4) + _node(32, 5), "halves", id="two halves of a pair"),
            pytest.param(_node(1, 0) + _node(1, 0x8000_0000), "halves", id="two halves of everything"),
        ],
    )
    def test_refuses_what_was_never_written(self, malformed: bytes, fault: str) -> None:
        with pytest.raises(MalformedState, match=fault):
            GgmState.from_bytes(malformed)

    def test_neighbours_that_are_no_halves_of_one_are_fine(self) -> None:
        assert 2 == GgmState.from_bytes(_node(32, 5) + _node(32, 6)).node_count
