"""
Choosing a leaf for a new recording: one that nothing in the catalog has.

The key database never hands out an index twice, unless an older copy of it was put back within one epoch;
two recordings under one leaf would mean that erasing one loses the other.
"""

from collections import OrderedDict
from typing import Final

import structlog

from gateway.base.ids import KeySlot, LeafIndex
from gateway.catalog.uploads import highest_leaf, leaf_is_taken
from gateway.database import Database
from gateway.keyring import Keyring

log = structlog.get_logger()

_KEPT_SLOTS: Final = 4096


class UnusedLeaves:
    """
    Knows for each slot above which index nothing in the catalog is; only what lies below is asked for one by one.
    """

    def __init__(self, catalog_db: Database, keyring: Keyring) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._highest: OrderedDict[KeySlot, int] = OrderedDict()

    async def next_index(self, slot: KeySlot) -> LeafIndex:
        """
        Return a leaf index of *slot* that nobody was or will be given.

        Raises:
            UnknownSlot, SlotShredded: there is no such user.
            IndexesExhausted: none is left.
        """
        while True:
            index = await self._keyring.next_index(slot)
            if await self._is_unused(slot, index):
                return index
            log.error("keys.older_than_catalog", slot=slot, index=index)

    async def _is_unused(self, slot: KeySlot, index: LeafIndex) -> bool:
        highest = self._highest.get(slot)
        if highest is None:
            async with self._catalog.read() as connection:
                highest = await highest_leaf(connection, slot)
        # No await from here to the end of the good way: who comes at the same time has another index, and says so here.
        highest = max(highest, self._highest.get(slot, -1))
        self._highest[slot] = max(highest, index)
        self._highest.move_to_end(slot)
        if len(self._highest) > _KEPT_SLOTS:
            self._highest.popitem(last=False)
        if index > highest:
            return True
        async with self._catalog.read() as connection:
            return not await leaf_is_taken(connection, slot, index)
