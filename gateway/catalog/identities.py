"""
Who is whom: the numbers and accounts by which people are found.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from sqlalchemy import Row, delete, select

from gateway.base.ids import UserId
from gateway.catalog.tables import identities
from gateway.database import Connection, insert_or_ignore


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
