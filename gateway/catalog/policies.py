"""
The operator's policy, version by version, and who accepted which.
"""

from dataclasses import dataclass
from typing import Literal, Self, cast

from sqlalchemy import Row, func, select

from gateway.base.ids import UserId
from gateway.catalog.tables import policies, policy_acceptances
from gateway.database import Connection, insert_or_ignore

PolicyFormat = Literal["markdown", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    One version; times are Unix ms.
    """

    version: int
    format: PolicyFormat
    body: str
    effective_at: int
    published_at: int

    @classmethod
    def from_row(cls, row: Row[tuple[object, ...]]) -> Self:
        return cls(
            version=row.version,
            format=cast("PolicyFormat", row.format),
            body=row.body,
            effective_at=row.effective_at,
            published_at=row.published_at,
        )


async def insert_policy(connection: Connection, policy: Policy) -> bool:
    """
    Add *policy*; False if there is one of that version.
    """
    inserted = await connection.execute(
        insert_or_ignore(policies, connection.dialect.name)
        .values({name: getattr(policy, name) for name in Policy.__dataclass_fields__})
        .returning(policies.c.version)
    )
    return inserted.first() is not None


async def latest_policy(connection: Connection) -> Policy | None:
    """
    Return the version that was published last.
    """
    query = select(policies).order_by(policies.c.version.desc()).limit(1)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Policy.from_row(row)


async def get_policy(connection: Connection, version: int) -> Policy | None:
    """
    Return a version.
    """
    row = (await connection.execute(select(policies).where(policies.c.version == version))).one_or_none()
    return None if row is None else Policy.from_row(row)


async def list_policies(connection: Connection) -> list[Policy]:
    """
    Return every version, latest first.
    """
    rows = await connection.execute(select(policies).order_by(policies.c.version.desc()))
    return [Policy.from_row(row) for row in rows]


async def accept_policy(connection: Connection, user_id: UserId, version: int, *, at: int) -> None:
    """
    Note that a user accepted a version; done before, the first time stays.
    """
    await connection.execute(
        insert_or_ignore(policy_acceptances, connection.dialect.name).values(
            user_id=user_id, version=version, accepted_at=at
        )
    )


async def acceptances_of(connection: Connection, user_id: UserId) -> dict[int, int]:
    """
    Return which versions the user accepted, and when, latest first.
    """
    query = (
        select(policy_acceptances.c.version, policy_acceptances.c.accepted_at)
        .where(policy_acceptances.c.user_id == user_id)
        .order_by(policy_acceptances.c.version.desc())
    )
    return {row[0]: row[1] for row in await connection.execute(query)}


async def count_acceptances(connection: Connection) -> dict[int, int]:
    """
    Return how many accepted each version.
    """
    query = select(policy_acceptances.c.version, func.count()).group_by(policy_acceptances.c.version)
    return {row[0]: row[1] for row in await connection.execute(query)}
