"""
Founding: the first root and the tree with only the service's slot in it.

Epoch 0 is the tree of nothing, which has no root; founding moves on from it like a round does, so that a founding that
was cut short at any point is told from a loss, and simply begins again.
"""

import os

from gateway.base.ids import SERVICE_SLOT, Epoch
from gateway.base.secret import Secret
from gateway.database import Database
from gateway.keyring.errors import RootMissing, RoundOvertaken
from gateway.keyring.pages import fresh_key
from gateway.keyring.recovery import refuse_damaged, refuse_mismatch
from gateway.keyring.roots import RootStore
from gateway.keyring.rounds import OnStep
from gateway.keyring.rows import (
    Head,
    durable_write,
    insert_head,
    move_head,
    read_head,
    take_slot,
    write_nodes,
)
from gateway.keyring.tree import founding_nodes

_FIRST_EPOCH = Epoch(1)
_TREE_ID_SIZE = 16


async def found(database: Database, roots: RootStore, *, on_step: OnStep) -> None:
    """
    Give an empty key database and an empty root store their first tree and root; do nothing where there are any.

    Raises:
        RefusesToServe: only one of the two is empty.
    """
    async with durable_write(database) as connection:
        head = await read_head(connection, lock=True)
        epochs = await roots.epochs()
        if head is None:
            refuse_mismatch(None, epochs)
            await refuse_damaged(roots, _FIRST_EPOCH)
            head = Head(os.urandom(_TREE_ID_SIZE), Epoch(0), SERVICE_SLOT)
            await insert_head(connection, head)
        elif head.epoch == 0:
            refuse_mismatch(head.epoch, epochs)
            if _FIRST_EPOCH in epochs:
                await roots.destroy(_FIRST_EPOCH)
    if head.epoch > 0:
        return
    await on_step("0-head-founded")
    root = fresh_key()
    await roots.put(_FIRST_EPOCH, root)
    await on_step("1-root-put")
    async with durable_write(database) as connection:
        head = await read_head(connection, lock=True)
        if head is None or head.epoch != 0:
            raise RoundOvertaken("another process has founded the key tree")
        await _refuse_other_root(roots, root)
        await take_slot(connection, head)
        await write_nodes(connection, founding_nodes(head.tree_id, root, _FIRST_EPOCH), over={})
        await move_head(connection, to=_FIRST_EPOCH)
        await on_step("2-before-commit")
    await on_step("2-committed")


async def _refuse_other_root(roots: RootStore, root: Secret) -> None:
    try:
        is_ours = await roots.read(_FIRST_EPOCH) == root
    except RootMissing:
        is_ours = False
    if not is_ours:
        raise RoundOvertaken(
            "the first root is not the one that was put: another process founds the key tree, or the root store fails"
        )
