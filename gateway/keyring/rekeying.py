"""
Writing the touched part of the key tree anew: step 2 of a round, as a pure function of rows and keys.

Every page on every touched path gets a fresh random key, every touched state as well.
A single page left under its old key would keep the way open that the destroyed root is meant to close.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from gateway.base.ids import Epoch, KeySlot
from gateway.base.secret import Secret
from gateway.keyring.errors import TreeDamaged
from gateway.keyring.pages import (
    STATE_DEPTH,
    TOP,
    Page,
    Place,
    SealedNode,
    fresh_key,
    open_page,
    open_state,
    seal_node,
    state_place,
)
from gateway.keyring.requests import ShredRequest
from gateway.keyring.rows import Rows


@dataclass(slots=True)
class Rekeyed:
    """
    What one round writes.
    """

    nodes: list[SealedNode] = field(default_factory=list)
    removed: list[KeySlot] = field(default_factory=list)
    """Slots of shredded accounts: their entries are gone, their rows are to be deleted."""
    damaged: dict[KeySlot, TreeDamaged] = field(default_factory=dict)
    """Slots that could not be opened, and so could not be rekeyed: everything below is as it was."""


def rekey(
    requests: Sequence[ShredRequest],
    rows: Rows,
    *,
    tree_id: bytes,
    epoch: Epoch,
    root: Secret,
    fresh_root: Secret,
) -> Rekeyed:
    """
    Return the rows that take the place of the touched ones in *epoch*, whose root is *fresh_root*.

    *rows* are the pages and states on the paths to the requests' slots, read with the head locked.
    A slot that was shredded before has no keys to lose, but its path is rekeyed like any other.

    Raises:
        TreeDamaged: the top page does not open under *root*.
    """
    by_slot: dict[KeySlot, list[ShredRequest]] = {}
    for request in requests:
        by_slot.setdefault(request.slot, []).append(request)
    rewriting = _Rewriting(by_slot, rows, tree_id, epoch)
    rewriting.rewrite_page(TOP, sorted(by_slot), old_key=root, new_key=fresh_root)
    return rewriting.result


class _Rewriting:
    """
    One walk over the touched part of the tree.
    """

    def __init__(
        self, requests: Mapping[KeySlot, list[ShredRequest]], rows: Rows, tree_id: bytes, epoch: Epoch
    ) -> None:
        self._requests = requests
        self._rows = rows
        self._tree_id = tree_id
        self._epoch = epoch
        self.result = Rekeyed()

    def rewrite_page(
        self, place: Place, slots: Sequence[KeySlot], *, old_key: Secret, new_key: Secret
    ) -> None:
        """
        Write the page at *place* anew under *new_key*, and under it everything on the paths to *slots*, sorted.
        """
        page = open_page(self._rows.get(place), old_key, tree_id=self._tree_id, place=place)
        changes: dict[int, Secret | None] = {}
        for number, group in groupby(slots, place.entry_number):
            below = list(group)
            entry_key = page.key_of(number)
            if entry_key is None:
                # The entries of pages stay for ever; only that of a shredded account goes.
                if place.depth != STATE_DEPTH - 1:
                    self._give_up(below, TreeDamaged(f"{place} of the key tree has lost entry {number}"))
                continue
            fresh = fresh_key()
            try:
                if place.depth < STATE_DEPTH - 1:
                    child = Place.above(below[0], place.depth + 1)
                    self.rewrite_page(child, below, old_key=entry_key, new_key=fresh)
                    changes[number] = fresh
                elif any(request.kind == "account" for request in self._requests[below[0]]):
                    changes[number] = None
                    self.result.removed.append(below[0])
                else:
                    self._rewrite_state(below[0], old_key=entry_key, new_key=fresh)
                    changes[number] = fresh
            except TreeDamaged as error:
                self._give_up(below, error)
        self._seal(page.changed(changes), new_key, place)

    def _rewrite_state(self, slot: KeySlot, *, old_key: Secret, new_key: Secret) -> None:
        place = state_place(slot)
        state = open_state(self._rows.get(place), old_key, tree_id=self._tree_id, place=place)
        for request in self._requests[slot]:
            assert request.first is not None
            state = state.puncture(request.first, request.last)
        self.result.nodes.append(
            seal_node(state, new_key, tree_id=self._tree_id, place=place, epoch=self._epoch)
        )

    def _seal(self, page: Page, key: Secret, place: Place) -> None:
        self.result.nodes.append(seal_node(page, key, tree_id=self._tree_id, place=place, epoch=self._epoch))

    def _give_up(self, slots: Sequence[KeySlot], error: TreeDamaged) -> None:
        for slot in slots:
            self.result.damaged.setdefault(slot, error)
