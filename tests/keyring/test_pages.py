import pytest

from gateway.base.ids import Epoch
from gateway.base.secret import Secret
from gateway.crypto.ggm import GgmState
from gateway.keyring.errors import TreeDamaged
from gateway.keyring.pages import (
    TOP,
    Page,
    Place,
    SealedNode,
    associated_data,
    fresh_key,
    open_page,
    open_state,
    page_path,
    seal_node,
    state_place,
)

TREE = bytes(range(16))
KEY = Secret(bytes(range(32)))


def test_a_slot_s_path_is_its_four_bytes_from_the_top() -> None:
    slot = 0x01020304
    assert [Place(0, 0), Place(1, 0x01000000), Place(2, 0x01020000), Place(3, 0x01020300)] == page_path(slot)
    assert [1, 2, 3, 4] == [place.entry_number(slot) for place in page_path(slot)]
    assert Place(4, slot) == state_place(slot)


def test_the_highest_slot_has_a_path() -> None:
    assert [0xFF] * 4 == [place.entry_number(0xFFFFFFFF) for place in page_path(0xFFFFFFFF)]
    assert Place(3, 0xFFFFFF00) == page_path(0xFFFFFFFF)[3]


def test_the_associated_data_is_tree_kind_place_and_epoch() -> None:
    expected = TREE + b"P" + bytes.fromhex("02 01020000 0000000000000009")
    assert expected == associated_data(TREE, Place(2, 0x01020000), Epoch(9))
    expected = TREE + b"S" + bytes.fromhex("04 00000007 0000000000000001")
    assert expected == associated_data(TREE, state_place(7), Epoch(1))


def test_a_page_is_its_entries_in_order_33_bytes_each() -> None:
    page = Page.of([(200, Secret(b"\x02" * 32)), (3, Secret(b"\x01" * 32))])
    assert b"\x03" + b"\x01" * 32 + b"\xc8" + b"\x02" * 32 == page.to_secret().reveal()
    assert Secret(b"\x02" * 32) == page.key_of(200)
    assert page.key_of(4) is None
    assert [3, 200] == [number for number, _ in page.entries()]


def test_a_page_may_be_empty_or_full() -> None:
    assert 0 == len(Page.of([]))
    full = Page.of((number, KEY) for number in range(256))
    assert 256 == len(full)
    assert KEY == full.key_of(255)


@pytest.mark.parametrize(
    "content",
    [b"\x01" * 32, b"\x01" * 34, (b"\x02" + bytes(32)) + (b"\x01" + bytes(32)), (b"\x02" + bytes(32)) * 2],
    ids=["short", "long", "unordered", "double"],
)
def test_a_malformed_page_is_refused(content: bytes) -> None:
    with pytest.raises(TreeDamaged):
        Page(content)


def test_a_sealed_page_opens_only_where_and_when_it_was_written() -> None:
    place = Place(2, 0x01020000)
    row = seal_node(Page.of([(1, KEY)]), KEY, tree_id=TREE, place=place, epoch=Epoch(5))
    assert KEY == open_page(row, KEY, tree_id=TREE, place=place).key_of(1)
    elsewhere = [
        (row, KEY, TREE, Place(2, 0x01030000)),
        (row, KEY, TREE, Place(3, 0x01020000)),
        (row, KEY, bytes(16), place),
        (row, fresh_key(), TREE, place),
        (SealedNode(place, Epoch(4), row.sealed), KEY, TREE, place),
        (SealedNode(place, Epoch(5), row.sealed[:-1] + bytes([row.sealed[-1] ^ 1])), KEY, TREE, place),
        (SealedNode(place, Epoch(5), b""), KEY, TREE, place),
        (None, KEY, TREE, place),
    ]
    for wrong_row, key, tree_id, wrong_place in elsewhere:
        with pytest.raises(TreeDamaged):
            open_page(wrong_row, key, tree_id=tree_id, place=wrong_place)


def test_a_page_does_not_pass_for_a_state() -> None:
    row = seal_node(Page.of([]), KEY, tree_id=TREE, place=TOP, epoch=Epoch(1))
    with pytest.raises(TreeDamaged):
        open_state(row, KEY, tree_id=TREE, place=state_place(0))


def test_a_state_comes_back_as_it_was() -> None:
    state = GgmState.fresh(KEY).puncture(5)  # type: ignore[arg-type]
    row = seal_node(state, KEY, tree_id=TREE, place=state_place(7), epoch=Epoch(1))
    assert state == open_state(row, KEY, tree_id=TREE, place=state_place(7))


def test_sealing_twice_gives_different_bytes() -> None:
    once, again = (seal_node(Page.of([]), KEY, tree_id=TREE, place=TOP, epoch=Epoch(1)) for _ in range(2))
    assert once.sealed != again.sealed


def test_no_repr_shows_a_key() -> None:
    page = Page.of([(1, KEY)])
    for shown in (repr(page), str(page), repr(list(page.entries())), f"{page}"):
        assert KEY.reveal().hex() not in shown
        assert repr(KEY.reveal())[2:-1] not in shown
