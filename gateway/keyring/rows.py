"""
Reading and writing the key tree's rows, and the one fence that guards them: the head.

Whatever changes the tree locks the head first, inside its transaction, and reads what it changes after that.
So nothing that was read before, in another transaction or from a cache, can ever be saved.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BindParameter, and_, bindparam, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.base.ids import Epoch, KeySlot
from gateway.database import Database
from gateway.keyring.errors import RoundOvertaken
from gateway.keyring.pages import STATE_DEPTH, Place, SealedNode, page_path, state_place
from gateway.keyring.tables import index_marks, tree_head, tree_pages, tree_states

Rows = Mapping[Place, SealedNode]


@dataclass(frozen=True, slots=True)
class Head:
    """
    Which tree this is, and how far it has come.
    """

    tree_id: bytes
    epoch: Epoch
    next_slot: KeySlot


@asynccontextmanager
async def durable_write(database: Database) -> AsyncIterator[AsyncConnection]:
    """
    Enter a transaction whose commit, once it returned, outlives a power cut and the loss of the primary.

    A root is destroyed on the word of this commit, so a server set to answer early must not do so here:
    on PostgreSQL it waits for its own disk and for every synchronous standby.
    A standby that may be promoted must therefore be synchronous.
    """
    async with database.write() as connection:
        if database.dialect == "postgresql":
            await connection.execute(
                text(
                    "SELECT set_config('synchronous_commit', 'on', true)"
                    " WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"
                )
            )
        yield connection


async def read_head(connection: AsyncConnection, *, lock: bool = False) -> Head | None:
    """
    Return the head, or None in an empty key database; with *lock*, nobody else changes it before this commit.
    """
    row = (await connection.execute(_LOCKED_HEAD if lock else _HEAD)).one_or_none()
    return None if row is None else Head(row.tree_id, row.epoch, row.next_slot)


async def read_epoch(connection: AsyncConnection) -> Epoch | None:
    """
    Return the head's epoch alone: the small query that every use of a cached node makes.
    """
    return (await connection.execute(_EPOCH)).scalar_one_or_none()


# Made once: a statement remembers what it was compiled to.
_HEAD: Final = select(tree_head.c.tree_id, tree_head.c.epoch, tree_head.c.next_slot)
# On SQLite this is no words: the transaction holds the one write lock from its start.
_LOCKED_HEAD: Final = _HEAD.with_for_update()
_EPOCH: Final = select(tree_head.c.epoch)
_MOVED: Final = (
    update(tree_head).where(tree_head.c.epoch == bindparam("of_epoch")).values(epoch=bindparam("to_epoch"))
)
# Depth by depth: SQLite looks for pairs in a list by going through the whole table.
_PAGES: Final = select(tree_pages).where(
    or_(
        *(
            and_(
                tree_pages.c.depth == depth,
                tree_pages.c.first_slot.in_(bindparam(f"at_depth_{depth}", expanding=True)),
            )
            for depth in range(STATE_DEPTH)
        )
    )
)
_STATES: Final = select(tree_states).where(tree_states.c.slot.in_(bindparam("slots", expanding=True)))
_CONTENT: Final[dict[str, BindParameter[Any]]] = {
    "epoch": bindparam("of_epoch"),
    "sealed": bindparam("of_bytes"),
}
_AT_SLOT: Final[BindParameter[Any]] = bindparam("at_slot")
_AT_DEPTH: Final[BindParameter[Any]] = bindparam("at_depth")
_NEW_STATE: Final = insert(tree_states).values({"slot": _AT_SLOT, **_CONTENT})
_REWRITTEN_STATE: Final = update(tree_states).where(tree_states.c.slot == _AT_SLOT).values(_CONTENT)
_NEW_PAGE: Final = insert(tree_pages).values({"depth": _AT_DEPTH, "first_slot": _AT_SLOT, **_CONTENT})
_REWRITTEN_PAGE: Final = (
    update(tree_pages)
    .where((tree_pages.c.depth == _AT_DEPTH) & (tree_pages.c.first_slot == _AT_SLOT))
    .values(_CONTENT)
)


async def insert_head(connection: AsyncConnection, head: Head) -> None:
    """
    Found the key database.
    """
    await connection.execute(
        insert(tree_head).values(id=1, tree_id=head.tree_id, epoch=head.epoch, next_slot=head.next_slot)
    )


async def move_head(connection: AsyncConnection, *, to: Epoch) -> None:
    """
    Move the head on by one epoch, if it is where it is believed to be.

    Raises:
        RoundOvertaken: it is elsewhere.
    """
    moved = await connection.execute(_MOVED, {"of_epoch": to - 1, "to_epoch": to})
    if moved.rowcount != 1:
        raise RoundOvertaken(f"the tree's head is not at epoch {to - 1} any more")


async def rewrite_head(connection: AsyncConnection) -> None:
    """
    Write the head as it is, so that this commit takes the place of one that failed.

    SQLite reports a commit whose fsync failed as not done, yet all of it may lie in the write-ahead log; a crash before
    the next commit would bring it back.
    A row that is written with what it holds already is passed over, so the head holds something else in between.
    """
    await connection.execute(update(tree_head).values(next_slot=tree_head.c.next_slot + 1))
    await connection.execute(update(tree_head).values(next_slot=tree_head.c.next_slot - 1))


async def take_slot(connection: AsyncConnection, head: Head) -> KeySlot:
    """
    Take the next slot, for ever; *head* was read under lock.
    """
    await connection.execute(update(tree_head).values(next_slot=head.next_slot + 1))
    await connection.execute(insert(index_marks).values(slot=head.next_slot, next_index=0))
    return head.next_slot


async def read_pages(connection: AsyncConnection, slots: Collection[int]) -> dict[Place, SealedNode]:
    """
    Return the pages on the paths to *slots*, those that exist.
    """
    firsts: dict[str, set[int]] = {f"at_depth_{depth}": set() for depth in range(STATE_DEPTH)}
    for place in (place for slot in slots for place in page_path(slot)):
        firsts[f"at_depth_{place.depth}"].add(place.first_slot)
    found = await connection.execute(_PAGES, {name: list(wanted) for name, wanted in firsts.items()})
    return {
        Place(row.depth, row.first_slot): SealedNode(Place(row.depth, row.first_slot), row.epoch, row.sealed)
        for row in found
    }


async def read_states(connection: AsyncConnection, slots: Collection[int]) -> dict[Place, SealedNode]:
    """
    Return the states of *slots*, those that exist.
    """
    found = await connection.execute(_STATES, {"slots": list(slots)})
    return {state_place(row.slot): SealedNode(state_place(row.slot), row.epoch, row.sealed) for row in found}


async def write_nodes(connection: AsyncConnection, nodes: Iterable[SealedNode], *, over: Rows) -> None:
    """
    Write *nodes*; those whose places are in *over*, as read under the same lock, replace the rows there.
    """
    pages: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    states: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for node in nodes:
        content = {"at_slot": node.place.first_slot, "of_epoch": node.epoch, "of_bytes": node.sealed}
        if node.place.depth == STATE_DEPTH:
            states[node.place in over].append(content)
        else:
            pages[node.place in over].append({"at_depth": node.place.depth, **content})
    for statement, content_of_rows in (
        (_REWRITTEN_STATE, states[True]),
        (_NEW_STATE, states[False]),
        (_REWRITTEN_PAGE, pages[True]),
        (_NEW_PAGE, pages[False]),
    ):
        if content_of_rows:
            await connection.execute(statement, content_of_rows)


async def remove_slots(connection: AsyncConnection, slots: Collection[KeySlot]) -> None:
    """
    Remove the states and index marks of shredded accounts.
    """
    if not slots:
        return
    await connection.execute(tree_states.delete().where(tree_states.c.slot.in_(slots)))
    await connection.execute(index_marks.delete().where(index_marks.c.slot.in_(slots)))
