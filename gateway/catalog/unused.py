"""
Accounts that nobody uses: whose end is near, and what of that their users were told.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from sqlalchemy import Row, delete, func, or_, select, update

from gateway.base.ids import UserId
from gateway.catalog.tables import notices, unused_accounts, users
from gateway.database import Connection

UNUSED = "unused"
"""The kind of notice that tells of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusedAccount:
    """
    An account that ends, unless it is used; times are Unix ms.

    *told_days* is the notice that was given last: so many days before the end.
    """

    user_id: UserId
    used_at: int
    ends_at: int
    told_days: int
    told_at: int

    @classmethod
    def from_row(cls, row: Row[tuple[object, ...]]) -> Self:
        return cls(
            user_id=UserId(row.user_id),
            used_at=row.used_at,
            ends_at=row.ends_at,
            told_days=row.told_days,
            told_at=row.told_at,
        )


async def insert_unused(connection: Connection, account: UnusedAccount) -> None:
    """
    Add *account*.
    """
    await connection.execute(
        unused_accounts.insert().values(
            {name: getattr(account, name) for name in UnusedAccount.__dataclass_fields__}
        )
    )


async def used_since(connection: Connection, user_ids: Collection[UserId]) -> dict[UserId, int]:
    """
    Return the day on which each of these users was last here; those who are erased are left out.
    """
    query = select(users.c.id, users.c.used_at).where(
        users.c.id.in_(list(user_ids)), users.c.state == "active", users.c.used_at.is_not(None)
    )
    return {UserId(row[0]): row[1] for row in await connection.execute(query)}


async def newly_unused(
    connection: Connection, *, used_before: int, after: UserId, limit: int
) -> list[UserId]:
    """
    Return users who were last here before *used_before* and are not noted yet, in the order of ids, those behind *after*.
    """
    query = (
        select(users.c.id)
        .outerjoin(unused_accounts, unused_accounts.c.user_id == users.c.id)
        .where(
            users.c.state == "active",
            users.c.used_at < used_before,
            users.c.id > after,
            unused_accounts.c.user_id.is_(None),
        )
        .order_by(users.c.id)
        .limit(limit)
    )
    return [UserId(user_id) for user_id in (await connection.execute(query)).scalars()]


async def ending(
    connection: Connection,
    *,
    ends_before: int,
    after: UserId,
    limit: int,
    told_days_over: int | None = None,
) -> list[UnusedAccount]:
    """
    Return accounts that end before *ends_before*, in the order of ids, those behind *after*.

    With *told_days_over* only those whose users were last told more days than that before the end.
    """
    query = (
        select(unused_accounts)
        .where(unused_accounts.c.ends_at <= ends_before, unused_accounts.c.user_id > after)
        .order_by(unused_accounts.c.user_id)
        .limit(limit)
    )
    if told_days_over is not None:
        query = query.where(unused_accounts.c.told_days > told_days_over)
    return [UnusedAccount.from_row(row) for row in await connection.execute(query)]


async def count_ending(connection: Connection, *, ends_before: int, most: int) -> int:
    """
    Return how many accounts end before *ends_before*, up to *most*.
    """
    found = select(unused_accounts.c.user_id).where(unused_accounts.c.ends_at <= ends_before).limit(most)
    return (await connection.execute(select(func.count()).select_from(found.subquery()))).scalar_one()


async def note_unused_told(connection: Connection, user_id: UserId, *, days: int, at: int) -> None:
    """
    Note that the user was told, so many days before the end.
    """
    await connection.execute(
        update(unused_accounts).where(unused_accounts.c.user_id == user_id).values(told_days=days, told_at=at)
    )


async def forget_unused(connection: Connection, user_ids: Collection[UserId]) -> None:
    """
    Forget that these accounts end.
    """
    await connection.execute(delete(unused_accounts).where(unused_accounts.c.user_id.in_(list(user_ids))))


async def forget_used(connection: Connection) -> int:
    """
    Forget that accounts end which were used, or erased, meanwhile; return how many.
    """
    used = (
        select(users.c.id)
        .where(
            users.c.id == unused_accounts.c.user_id,
            or_(users.c.used_at > unused_accounts.c.used_at, users.c.state != "active"),
        )
        .exists()
    )
    return (await connection.execute(delete(unused_accounts).where(used))).rowcount


async def cancel_end(connection: Connection, user_id: UserId, *, at: int) -> None:
    """
    Forget that an account ends, for its user is here; what he was told of that presses nobody any more.
    """
    await forget_unused(connection, [user_id])
    await connection.execute(
        update(notices)
        .where(notices.c.user_id == user_id, notices.c.kind == UNUSED, notices.c.read_at.is_(None))
        .values(read_at=at)
    )
