import pytest

from gateway.base.ids import Epoch, KeySlot, LeafIndex
from gateway.base.secret import Secret
from gateway.crypto.ggm import GgmState
from gateway.keyring.errors import TreeDamaged
from gateway.keyring.pages import (
    TOP,
    Page,
    Place,
    SealedNode,
    fresh_key,
    open_page,
    open_state,
    page_path,
    state_place,
)
from gateway.keyring.rekeying import Rekeyed, rekey
from gateway.keyring.requests import ShredRequest
from gateway.keyring.rows import Head
from gateway.keyring.tree import founding_nodes, nodes_of_new_slot

TREE = bytes(16)
OLD, NEW = fresh_key(), fresh_key()
# Two in one page, one in the next page, one that shares only the top page.
SLOTS = [KeySlot(1), KeySlot(2), KeySlot(0x100), KeySlot(0x02000001)]
Rows = dict[Place, SealedNode]


def written(nodes: list[SealedNode]) -> Rows:
    return {node.place: node for node in nodes}


@pytest.fixture
def rows() -> Rows:
    rows = written(founding_nodes(TREE, OLD, Epoch(1)))
    for slot in SLOTS:
        rows |= written(nodes_of_new_slot(Head(TREE, Epoch(1), slot), rows, slot, OLD))
    return rows


def request(slot: KeySlot, first: int | None, last: int | None = None) -> ShredRequest:
    kind = "account" if first is None else "recording"
    end = first if last is None else last
    return ShredRequest(
        f"{slot}/{first}",
        kind,
        slot,
        None if first is None else LeafIndex(first),
        None if end is None else LeafIndex(end),
        1,
        bytes(32),
        None,
    )


def rekeyed(rows: Rows, *requests: ShredRequest) -> tuple[Rekeyed, Rows]:
    result = rekey(requests, rows, tree_id=TREE, epoch=Epoch(2), root=OLD, fresh_root=NEW)
    return result, rows | written(result.nodes)


def keys_on_path(rows: Rows, root: Secret, slot: KeySlot) -> list[Secret]:
    """
    Return the keys of the four pages on the path, and of the state.
    """
    keys = [root]
    for place in page_path(slot):
        key = open_page(rows.get(place), keys[-1], tree_id=TREE, place=place).key_of(place.entry_number(slot))
        if key is None:
            return keys
        keys.append(key)
    return keys


def state(rows: Rows, root: Secret, slot: KeySlot) -> GgmState:
    place = state_place(slot)
    return open_state(rows[place], keys_on_path(rows, root, slot)[4], tree_id=TREE, place=place)


def test_every_page_and_the_state_on_the_path_get_fresh_keys(rows: Rows) -> None:
    _, after = rekeyed(rows, request(SLOTS[0], 5))
    before_keys, after_keys = keys_on_path(rows, OLD, SLOTS[0]), keys_on_path(after, NEW, SLOTS[0])
    assert 5 == len(before_keys) == len(after_keys)
    assert not any(old == new for old in before_keys for new in after_keys)


def test_no_old_key_opens_a_row_that_was_written(rows: Rows) -> None:
    result, _ = rekeyed(rows, request(SLOTS[0], 5), request(SLOTS[3], None))
    old_keys = [key for slot in SLOTS for key in keys_on_path(rows, OLD, slot)]
    for row in result.nodes:
        for key in old_keys:
            with pytest.raises(TreeDamaged):
                open_page(row, key, tree_id=TREE, place=row.place)


def test_the_asked_for_leaf_is_punctured_and_its_neighbours_live(rows: Rows) -> None:
    before = state(rows, OLD, SLOTS[0])
    _, after = rekeyed(rows, request(SLOTS[0], 5), request(SLOTS[0], 7, 9))
    survivor = state(after, NEW, SLOTS[0])
    gone = [index for index in range(12) if survivor.is_punctured(LeafIndex(index))]
    assert [5, 7, 8, 9] == gone
    assert before.leaf(LeafIndex(6)) == survivor.leaf(LeafIndex(6))


def test_users_who_asked_for_nothing_keep_their_rows_and_keys(rows: Rows) -> None:
    result, after = rekeyed(rows, request(SLOTS[0], 5))
    untouched = [state_place(slot) for slot in SLOTS[1:]] + page_path(SLOTS[2])[3:] + page_path(SLOTS[3])[1:]
    assert not {node.place for node in result.nodes} & set(untouched)
    for slot in SLOTS[1:]:
        assert state(rows, OLD, slot) == state(after, NEW, slot)


def test_several_slots_share_the_pages_that_they_share(rows: Rows) -> None:
    result, _ = rekeyed(rows, *(request(slot, 0) for slot in SLOTS))
    places = [node.place for node in result.nodes]
    assert len(set(places)) == len(places)
    expected = {place for slot in SLOTS for place in [*page_path(slot), state_place(slot)]}
    assert expected == set(places)


def test_a_shredded_account_loses_its_entry_and_its_row(rows: Rows) -> None:
    result, after = rekeyed(rows, request(SLOTS[0], None), request(SLOTS[0], 5))
    assert [SLOTS[0]] == result.removed
    assert state_place(SLOTS[0]) not in {node.place for node in result.nodes}
    assert 4 == len(keys_on_path(after, NEW, SLOTS[0]))


def test_the_last_account_of_a_page_leaves_an_empty_page(rows: Rows) -> None:
    _, after = rekeyed(rows, request(SLOTS[2], None))
    place = page_path(SLOTS[2])[3]
    page = open_page(after[place], keys_on_path(after, NEW, SLOTS[2])[3], tree_id=TREE, place=place)
    assert 0 == len(page)


def test_a_slot_that_was_shredded_before_has_its_path_rekeyed_all_the_same(rows: Rows) -> None:
    first, after = rekeyed(rows, request(SLOTS[0], None))
    for slot in first.removed:
        del after[state_place(slot)]
    newer = fresh_key()
    again = rekey([request(SLOTS[0], 5)], after, tree_id=TREE, epoch=Epoch(3), root=NEW, fresh_root=newer)
    assert {} == again.damaged
    assert set(page_path(SLOTS[0])) == {node.place for node in again.nodes}


def test_a_damaged_state_keeps_its_old_key_and_spares_the_others(rows: Rows) -> None:
    broken = state_place(SLOTS[0])
    rows[broken] = SealedNode(broken, Epoch(1), bytes(60))
    result, after = rekeyed(rows, request(SLOTS[0], 5), request(SLOTS[1], 5))
    assert [SLOTS[0]] == list(result.damaged)
    assert keys_on_path(rows, OLD, SLOTS[0])[4] == keys_on_path(after, NEW, SLOTS[0])[4]
    assert state(after, NEW, SLOTS[1]).is_punctured(LeafIndex(5))


def test_an_account_is_shredded_even_if_its_state_is_damaged(rows: Rows) -> None:
    del rows[state_place(SLOTS[0])]
    result, _ = rekeyed(rows, request(SLOTS[0], None))
    assert {} == result.damaged
    assert [SLOTS[0]] == result.removed


def test_a_damaged_page_gives_up_all_below_it_and_nothing_else(rows: Rows) -> None:
    broken = page_path(SLOTS[3])[2]
    del rows[broken]
    result, after = rekeyed(rows, request(SLOTS[3], None), request(SLOTS[0], 5))
    assert [SLOTS[3]] == list(result.damaged)
    assert [] == result.removed
    assert state(after, NEW, SLOTS[0]).is_punctured(LeafIndex(5))


def test_a_top_page_that_does_not_open_stops_everything(rows: Rows) -> None:
    with pytest.raises(TreeDamaged):
        rekey([request(SLOTS[0], 5)], rows, tree_id=TREE, epoch=Epoch(2), root=NEW, fresh_root=fresh_key())


def test_a_new_slot_changes_no_key_above_it(rows: Rows) -> None:
    head = Head(TREE, Epoch(1), KeySlot(0x03000000))
    nodes = nodes_of_new_slot(head, rows, head.next_slot, OLD)
    assert {TOP, *page_path(head.next_slot)[1:], state_place(head.next_slot)} == {
        node.place for node in nodes
    }
    after = rows | written(nodes)
    for slot in SLOTS:
        assert keys_on_path(rows, OLD, slot) == keys_on_path(after, OLD, slot)


def test_a_slot_in_an_existing_page_seals_that_page_alone_again(rows: Rows) -> None:
    head = Head(TREE, Epoch(1), KeySlot(3))
    nodes = nodes_of_new_slot(head, rows, head.next_slot, OLD)
    assert {page_path(3)[3], state_place(3)} == {node.place for node in nodes}


def test_a_taken_slot_is_not_given_again(rows: Rows) -> None:
    with pytest.raises(TreeDamaged):
        nodes_of_new_slot(Head(TREE, Epoch(1), SLOTS[1]), rows, SLOTS[1], OLD)


def test_an_empty_page_takes_entries_again() -> None:
    assert 1 == len(Page.of([*Page.of([]).entries(), (1, OLD)]))
