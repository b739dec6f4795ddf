"""
Handing out leaf indexes, each once.

Blocks are taken from the user's high-water mark in the key database before any of their indexes is handed out.
What is left of a block at a restart is burnt, so an index is never handed out twice, even after an old catalog came back.
"""

import asyncio
from collections import OrderedDict
from typing import Final
from weakref import WeakValueDictionary

from sqlalchemy import select, update

from gateway.base.ids import USER_LEAF, KeySlot, LeafIndex
from gateway.database import Database
from gateway.keyring.errors import IndexesExhausted, SlotShredded, UnknownSlot
from gateway.keyring.rows import durable_write, read_head
from gateway.keyring.tables import index_marks

_KEPT_BLOCKS: Final = 4096


class IndexBlocks:
    """
    Hands out indexes from blocks of *block_size*; blocks of slots that were not used lately are burnt.
    """

    def __init__(self, database: Database, block_size: int) -> None:
        if block_size < 1:
            raise ValueError("a block has at least one index")
        self._database = database
        self._block_size = block_size
        self._blocks: OrderedDict[KeySlot, tuple[int, int]] = OrderedDict()
        self._refills: WeakValueDictionary[KeySlot, asyncio.Lock] = WeakValueDictionary()

    async def next_index(self, slot: KeySlot) -> LeafIndex:
        """
        Return an index of *slot* that nobody was or will be given.

        Raises:
            UnknownSlot, SlotShredded: there is no such user.
            IndexesExhausted: none is left.
        """
        if (index := self._take(slot)) is not None:
            return index
        # Whoever comes while a block is being fetched waits for it, rather than fetching one of his own.
        lock = self._refills.setdefault(slot, asyncio.Lock())
        async with lock:
            while (index := self._take(slot)) is None:
                self._blocks[slot] = await self._fetch(slot)
                if len(self._blocks) > _KEPT_BLOCKS:
                    self._blocks.popitem(last=False)
            return index

    def forget(self, slot: KeySlot) -> None:
        """
        Burn what is left of *slot*'s block.
        """
        self._blocks.pop(slot, None)

    def _take(self, slot: KeySlot) -> LeafIndex | None:
        index, end = self._blocks.get(slot, (0, 0))
        if index >= end:
            self._blocks.pop(slot, None)
            return None
        self._blocks[slot] = (index + 1, end)
        self._blocks.move_to_end(slot)
        return LeafIndex(index)

    async def _fetch(self, slot: KeySlot) -> tuple[int, int]:
        async with durable_write(self._database) as connection:
            mark = select(index_marks.c.next_index).where(index_marks.c.slot == slot).with_for_update()
            first = (await connection.execute(mark)).scalar_one_or_none()
            if first is None:
                head = await read_head(connection)
                if head is None or slot >= head.next_slot:
                    raise UnknownSlot(slot)
                raise SlotShredded(slot)
            # The user's own leaf is the last one, and no recording's.
            end = min(first + self._block_size, USER_LEAF)
            if first >= end:
                raise IndexesExhausted(slot)
            await connection.execute(
                update(index_marks).where(index_marks.c.slot == slot).values(next_index=end)
            )
        return first, end
