"""
The service's own keys: leaves of slot 0, one for each purpose.
"""

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.base.ids import SERVICE_SLOT, USER_LEAF, LeafIndex
from gateway.base.secret import Secret
from gateway.crypto.errors import LeafPunctured
from gateway.crypto.keys import subkey
from gateway.crypto.signing import SigningKey
from gateway.database import Database
from gateway.keyring.errors import IndexesExhausted, LeafShredded
from gateway.keyring.rows import durable_write, read_head
from gateway.keyring.tables import index_marks, service_keys
from gateway.keyring.tree import Tree

RECEIPTS_PURPOSE = "receipts"


class ServiceKeys:
    """
    Finds the service's keys by purpose; which leaf serves which is written down once.
    """

    def __init__(self, database: Database, tree: Tree) -> None:
        self._database = database
        self._tree = tree
        # Written once and never changed, so what was read stays true.
        self._registered: dict[str, LeafIndex] = {}

    async def leaf(self, purpose: str) -> Secret:
        """
        Return the leaf for *purpose*, the same at every call and after every restart.

        Raises:
            LeafShredded: it was shredded; the purpose has no other.
        """
        index = await self.index(purpose)
        try:
            return (await self._tree.state(SERVICE_SLOT)).leaf(index)
        except LeafPunctured:
            raise LeafShredded(SERVICE_SLOT, index) from None

    async def index(self, purpose: str) -> LeafIndex:
        """
        Return which leaf of slot 0 serves *purpose*, from now on and for good.
        """
        index = self._registered.get(purpose)
        if index is None:
            async with self._database.read() as connection:
                index = await _find_registered(connection, purpose)
            if index is None:
                index = await self._register(purpose)
            self._registered[purpose] = index
        return index

    async def is_registered(self, purpose: str) -> bool:
        """
        Tell whether *purpose* ever had a key, shredded or not.
        """
        async with self._database.read() as connection:
            return await _find_registered(connection, purpose) is not None

    async def signing_key(self) -> SigningKey:
        """
        Return the key that signs receipts, derived through the tree as it is now.
        """
        return SigningKey.from_seed(subkey(await self.leaf(RECEIPTS_PURPOSE), "signing"))

    async def _register(self, purpose: str) -> LeafIndex:
        async with durable_write(self._database) as connection:
            # The head's lock makes two that register the same purpose take turns.
            await read_head(connection, lock=True)
            index = await _find_registered(connection, purpose)
            if index is None:
                index = LeafIndex(
                    (
                        await connection.execute(
                            select(index_marks.c.next_index).where(index_marks.c.slot == SERVICE_SLOT)
                        )
                    ).scalar_one()
                )
                if index >= USER_LEAF:
                    raise IndexesExhausted(SERVICE_SLOT)
                await connection.execute(
                    update(index_marks).where(index_marks.c.slot == SERVICE_SLOT).values(next_index=index + 1)
                )
                await connection.execute(insert(service_keys).values(purpose=purpose, leaf_index=index))
        return index


async def _find_registered(connection: AsyncConnection, purpose: str) -> LeafIndex | None:
    found = await connection.execute(
        select(service_keys.c.leaf_index).where(service_keys.c.purpose == purpose)
    )
    return found.scalar_one_or_none()
