"""
What of users' went to others.
"""

from dataclasses import dataclass
from typing import Self

from sqlalchemy import Row, delete, select

from gateway.base.ids import UserId
from gateway.catalog.operator_tables import disclosures
from gateway.database import Connection, insert_or_ignore


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosure:
    """
    One time that something went to somebody; *sealed* is to whom, what and why.
    """

    id: str
    user_id: UserId
    at: int
    source: str | None
    """What the gateway tells of by itself, once in a year; None: an operator told of it."""
    sealed: bytes

    @classmethod
    def from_row(cls, row: Row[tuple[object, ...]]) -> Self:
        return cls(id=row.id, user_id=UserId(row.user_id), at=row.at, source=row.source, sealed=row.sealed)


async def insert_disclosure(connection: Connection, disclosure: Disclosure) -> None:
    """
    Add *disclosure*, unless its source was told of before.
    """
    await connection.execute(
        insert_or_ignore(disclosures, connection.dialect.name).values(
            id=disclosure.id,
            user_id=disclosure.user_id,
            at=disclosure.at,
            source=disclosure.source,
            sealed=disclosure.sealed,
        )
    )


async def has_source(connection: Connection, source: str) -> bool:
    """
    Tell whether *source* was told of.
    """
    query = select(disclosures.c.id).where(disclosures.c.source == source)
    return (await connection.execute(query)).first() is not None


async def disclosures_of(
    connection: Connection, user_id: UserId, *, since: int, before: int
) -> list[Disclosure]:
    """
    Return what went to others between two times, newest first.
    """
    query = (
        select(disclosures)
        .where(disclosures.c.user_id == user_id, disclosures.c.at >= since, disclosures.c.at < before)
        .order_by(disclosures.c.at.desc(), disclosures.c.id)
    )
    return [Disclosure.from_row(row) for row in await connection.execute(query)]


async def delete_disclosures_of(connection: Connection, user_id: UserId) -> None:
    """
    Forget what there was of an erased user.
    """
    await connection.execute(delete(disclosures).where(disclosures.c.user_id == user_id))
