"""
Who is whom: the numbers and accounts by which people are found.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Self

from sqlalchemy import Row, bindparam, delete, select, update

from gateway.base.ids import KeySlot, UserId
from gateway.catalog.markers import advance_marker, raise_marker, read_marker, share_marker
from gateway.catalog.tables import identities, users
from gateway.database import Connection, insert_or_ignore

_REPLACED: Final = "look-up-key"
_LEFT: Final = "look-up-left"


@dataclass(frozen=True, slots=True)
class Identity:
    """
    A number or an account that is one user's.

    *look_up* is what it is found by, under the look-up key of *generation*; *sealed* holds its subject and label.
    """

    id: str
    user_id: UserId
    kind: str
    look_up: bytes
    generation: int
    sealed: bytes
    created_at: int

    @classmethod
    def from_row(cls, row: Row[tuple[object, ...]]) -> Self:
        return cls(
            id=row.id,
            user_id=UserId(row.user_id),
            kind=row.kind,
            look_up=row.look_up,
            generation=row.generation,
            sealed=row.sealed,
            created_at=row.created_at,
        )


async def insert_identity(connection: Connection, identity: Identity) -> bool:
    """
    Add *identity*; false if somebody has it already.
    """
    result = await connection.execute(
        insert_or_ignore(identities, connection.dialect.name).values(
            id=identity.id,
            user_id=identity.user_id,
            kind=identity.kind,
            look_up=identity.look_up,
            generation=identity.generation,
            sealed=identity.sealed,
            created_at=identity.created_at,
        )
    )
    return result.rowcount == 1


async def find_identity(connection: Connection, look_ups: Collection[bytes]) -> Identity | None:
    """
    Return the identity that is found by one of *look_ups*: one for each look-up key that is in use.
    """
    query = select(identities).where(identities.c.look_up.in_(list(look_ups)))
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Identity.from_row(row)


async def identities_of(connection: Connection, user_id: UserId) -> list[Identity]:
    """
    Return the user's identities, oldest first.
    """
    query = (
        select(identities)
        .where(identities.c.user_id == user_id)
        .order_by(identities.c.created_at, identities.c.id)
    )
    return [Identity.from_row(row) for row in await connection.execute(query)]


async def delete_identity(connection: Connection, user_id: UserId, identity_id: str) -> bool:
    """
    Remove one of the user's identities; tell whether there was one.
    """
    result = await connection.execute(
        delete(identities).where(identities.c.id == identity_id, identities.c.user_id == user_id)
    )
    return result.rowcount == 1


async def delete_identities_of(connection: Connection, user_id: UserId) -> None:
    """
    Free all identities of a user.
    """
    await connection.execute(delete(identities).where(identities.c.user_id == user_id))


async def look_up_generation(connection: Connection, *, holds: bool = False) -> int:
    """
    Return the number of the look-up key by which new rows are found; with *holds* it stays so until the transaction ends.

    Whatever adds an identity, or frees those of a user, asks so: then it comes before a replacement of the key, or after.
    """
    return 1 + await (share_marker if holds else read_marker)(connection, _REPLACED)


async def next_generation(connection: Connection, *, after: int) -> bool:
    """
    Have rows found by the next look-up key from now on, if they are found by *after*; tell whether they were.
    """
    return await advance_marker(connection, _REPLACED, after=after - 1)


async def follow_generation(connection: Connection, generation: int) -> None:
    """
    Have rows found by the look-up key of *generation* at least.
    """
    await raise_marker(connection, _REPLACED, generation - 1)


async def note_left(connection: Connection, generation: int) -> None:
    """
    Note that somebody has left who was found by the look-up key of *generation*, so that it is to be replaced.
    """
    await raise_marker(connection, _LEFT, generation)


async def left_generation(connection: Connection) -> int:
    """
    Return the newest look-up key by which somebody was found who has left; 0 if nobody has.
    """
    return await read_marker(connection, _LEFT)


async def found_by_older(
    connection: Connection, generation: int, *, after: str, limit: int
) -> list[tuple[Identity, KeySlot]]:
    """
    Return identities, each with its user's slot, that are found by an older key than that of *generation*; by their ids.
    """
    query = (
        select(identities, users.c.key_slot)
        .join(users, users.c.id == identities.c.user_id)
        .where(identities.c.generation < generation, identities.c.id > after)
        .order_by(identities.c.id)
        .limit(limit)
    )
    return [(Identity.from_row(row), KeySlot(row.key_slot)) for row in await connection.execute(query)]


async def change_look_ups(
    connection: Connection, changes: Sequence[tuple[Identity, bytes]], *, generation: int
) -> None:
    """
    Have identities found by what belongs to each, under the key of *generation*; those that are newer already stay.
    """
    if changes:
        await connection.execute(
            _CHANGED,
            [
                {"of_id": identity.id, "new_look_up": look_up, "new_generation": generation}
                for identity, look_up in changes
            ],
        )


_CHANGED: Final = (
    update(identities)
    .where(identities.c.id == bindparam("of_id"), identities.c.generation < bindparam("new_generation"))
    .values(look_up=bindparam("new_look_up"), generation=bindparam("new_generation"))
)


async def renew_identity(connection: Connection, identity: Identity) -> None:
    """
    Replace what an identity is found by, and what is kept of it, unless that was done meanwhile.
    """
    await connection.execute(
        update(identities)
        .where(identities.c.id == identity.id, identities.c.generation < identity.generation)
        .values(look_up=identity.look_up, generation=identity.generation, sealed=identity.sealed)
    )
