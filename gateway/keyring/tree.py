"""
Reading the key tree, and adding users to it.

Changing what is in it already is a round's business (`rekeying`, `rounds`).
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

from gateway.base.batches import Batches
from gateway.base.ids import SERVICE_SLOT, Epoch, KeySlot
from gateway.base.secret import Secret
from gateway.crypto.ggm import GgmState
from gateway.database import Database, Remembered
from gateway.keyring.cache import NodeCache
from gateway.keyring.errors import (
    RootMissing,
    RoundOvertaken,
    SlotsExhausted,
    SlotShredded,
    TreeDamaged,
    UnknownSlot,
)
from gateway.keyring.pages import (
    STATE_DEPTH,
    TOP,
    Page,
    Place,
    SealedNode,
    fresh_key,
    open_page,
    open_state,
    page_path,
    seal_node,
    state_place,
)
from gateway.keyring.roots import RootStore
from gateway.keyring.rows import (
    Head,
    Rows,
    durable_write,
    read_epoch,
    read_head,
    read_pages,
    read_states,
    take_slot,
    write_nodes,
)

_MOST_ASKED: Final = 10_000
_OPENED_IN_A_TURN: Final = 32
"""States opened before others have their turn of the event loop; each takes about a tenth of a millisecond."""
_ATTEMPTS: Final = 10
"""How often to start over because a round passed by in the meantime; more than a few means something is wrong."""


class Tree:
    """
    The key tree as it is now, whoever changed it last.
    """

    def __init__(self, database: Database, roots: RootStore, *, cached_nodes: int) -> None:
        self._database = database
        self._roots = roots
        self._cache = NodeCache(cached_nodes)
        self._asked = Batches(self._read_epochs, most=_MOST_ASKED)
        self._epoch = Remembered(database, self._asked.submit, most=1)

    async def state(self, slot: KeySlot) -> GgmState:
        """
        Return what is left of the keys in *slot*.

        Raises:
            UnknownSlot, SlotShredded: there is none.
            TreeDamaged, RootMissing: as `states`.
        """
        found = (await self.states([slot])).get(slot)
        if found is None:
            raise SlotShredded(slot)
        return found

    async def states(self, slots: Collection[KeySlot]) -> dict[KeySlot, GgmState]:
        """
        Return what is left of the keys in each of *slots*; those that were shredded are absent from the answer.

        Each call asks the database for the head's epoch; while that stands still and the states are cached, for no more.

        Raises:
            UnknownSlot: one was never given out.
            TreeDamaged: a path does not open.
            RootMissing: the root store has not the root of the head's epoch.
        """
        for _ in range(_ATTEMPTS):
            epoch = await self._epoch.get(None)
            found = {} if epoch is None else self._cached(epoch, slots)
            missing = [slot for slot in slots if slot not in found]
            if not missing:
                return found
            async with self._database.read() as connection:
                head = await read_head(connection)
                rows: Rows = {
                    **await read_pages(connection, missing),
                    **await read_states(connection, missing),
                }
            if head is None:
                raise TreeDamaged("the key database has no head")
            if found and head.epoch != epoch:
                # A round came in between, and all of an answer is of one tree.
                continue
            try:
                for number, slot in enumerate(missing, start=1):
                    if number % _OPENED_IN_A_TURN == 0:
                        await asyncio.sleep(0)
                    if (state := await self._open(head, rows, slot)) is not None:
                        found[slot] = state
            except RootMissing:
                # A round that was faster than we were took the root of this snapshot away; anything else is an error.
                if await self._epoch_now() == head.epoch:
                    raise
            else:
                return found
        raise RoundOvertaken(f"the key tree moved {_ATTEMPTS} times while {len(slots)} slots were being read")

    def _cached(self, epoch: Epoch, slots: Collection[KeySlot]) -> dict[KeySlot, GgmState]:
        states = ((slot, self._cache.state(epoch, slot)) for slot in slots)
        return {slot: state for slot, state in states if state is not None}

    async def _read_epochs(self, asked: Sequence[None]) -> list[Epoch | None]:
        return [await self._epoch_now()] * len(asked)

    async def add_slot(self) -> KeySlot:
        """
        Take the next slot, with fresh keys in it; durable on return.

        Pages on its path are sealed again under the keys they have, since nothing needs erasing.
        """
        for _ in range(_ATTEMPTS):
            async with self._database.read() as connection:
                before = await read_head(connection)
            if before is None:
                raise TreeDamaged("the key database has no head")
            try:
                root = await self._roots.read(before.epoch)
            except RootMissing:
                if await self._epoch_now() == before.epoch:
                    raise
                continue
            async with durable_write(self._database) as connection:
                head = await read_head(connection, lock=True)
                if head is None or head.epoch != before.epoch:
                    continue
                if head.next_slot >= 2**32:
                    raise SlotsExhausted("every slot of the key tree was given out")
                rows = await read_pages(connection, [head.next_slot])
                slot = await take_slot(connection, head)
                await write_nodes(connection, nodes_of_new_slot(head, rows, slot, root), over=rows)
            return slot
        raise RoundOvertaken(f"the key tree moved {_ATTEMPTS} times while a slot was being added")

    def forget_before(self, epoch: Epoch) -> None:
        """
        Drop every opened node of an epoch before *epoch*.
        """
        self._cache.forget_before(epoch)

    def forget(self) -> None:
        """
        Drop every opened node.
        """
        self._cache.forget()

    async def _epoch_now(self) -> Epoch | None:
        async with self._database.read() as connection:
            return await read_epoch(connection)

    async def _open(self, head: Head, rows: Rows, slot: KeySlot) -> GgmState | None:
        """
        Return the state of *slot*, None if it was shredded.
        """
        # A cached page may lack an entry that another process added since, so nothing is missing before the rows say so.
        for use_cache in (True, False):
            state = await self._walk(head, rows, slot, use_cache=use_cache)
            if state is not None:
                return state
        if slot >= head.next_slot:
            raise UnknownSlot(slot)
        return None

    async def _walk(self, head: Head, rows: Rows, slot: KeySlot, *, use_cache: bool) -> GgmState | None:
        key: Secret | None = None
        for place in page_path(slot):
            page = self._cache.page(head.epoch, place) if use_cache else None
            if page is None:
                if place == TOP:
                    key = await self._roots.read(head.epoch)
                    page = open_top_page(head, rows, key)
                else:
                    assert key is not None
                    page = open_page(rows.get(place), key, tree_id=head.tree_id, place=place)
                self._cache.keep(head.epoch, place, page)
            key = page.key_of(place.entry_number(slot))
            if key is None:
                return None
        assert key is not None
        place = state_place(slot)
        state = open_state(rows.get(place), key, tree_id=head.tree_id, place=place)
        self._cache.keep(head.epoch, place, state)
        return state


def nodes_of_new_slot(head: Head, rows: Rows, slot: KeySlot, root: Secret) -> list[SealedNode]:
    """
    Return the nodes to write so that *slot* exists: its state, and the pages that gain an entry.

    *rows* were read in the transaction that will write, with the head locked.
    A page that does not exist yet gets a fresh key and an entry in its parent; only the first page above that exists
    is sealed again, under the key it has, and further up nothing changes.
    """

    def seal(node: Page | GgmState, key: Secret, place: Place) -> SealedNode:
        return seal_node(node, key, tree_id=head.tree_id, place=place, epoch=head.epoch)

    # Down through what exists already.
    key, place = root, TOP
    page = open_top_page(head, rows, root)
    while (next_key := page.key_of(place.entry_number(slot))) is not None:
        place = Place.above(slot, place.depth + 1)
        if place.depth == STATE_DEPTH:
            raise TreeDamaged(f"slot {slot} of the key tree is taken, but the counter says that it is free")
        key, page = next_key, open_page(rows.get(place), next_key, tree_id=head.tree_id, place=place)
    # Then on through what does not.
    state_key = fresh_key()
    new_nodes = [seal(GgmState.fresh(), state_key, state_place(slot))]
    child_key = state_key
    for depth in range(STATE_DEPTH - 1, place.depth, -1):
        new_place = Place.above(slot, depth)
        if new_place in rows:
            raise TreeDamaged(f"{new_place} of the key tree exists, but nothing leads to it")
        new_key = fresh_key()
        new_nodes.append(seal(Page.of([(new_place.entry_number(slot), child_key)]), new_key, new_place))
        child_key = new_key
    grown = Page.of([*page.entries(), (place.entry_number(slot), child_key)])
    return [*new_nodes, seal(grown, key, place)]


def open_top_page(head: Head, rows: Rows, root: Secret) -> Page:
    """
    Open the top page, which every round writes anew, so it is always of the head's epoch.

    Raises:
        TreeDamaged: it is not, or it does not open under *root*.
    """
    top = rows.get(TOP)
    if top is not None and top.epoch != head.epoch:
        raise TreeDamaged(f"the top page is of epoch {top.epoch}, the head of epoch {head.epoch}")
    return open_page(top, root, tree_id=head.tree_id, place=TOP)


def founding_nodes(tree_id: bytes, root: Secret, epoch: Epoch) -> list[SealedNode]:
    """
    Return the nodes of a new tree with nothing in it but the service's own slot.
    """
    nodes = [
        seal_node(GgmState.fresh(), key := fresh_key(), tree_id=tree_id, place=state_place(0), epoch=epoch)
    ]
    for place in reversed(page_path(SERVICE_SLOT)):
        page = Page.of([(place.entry_number(SERVICE_SLOT), key)])
        key = root if place == TOP else fresh_key()
        nodes.append(seal_node(page, key, tree_id=tree_id, place=place, epoch=epoch))
    return nodes
