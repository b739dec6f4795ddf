"""
Users and their bearer tokens.
"""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Final, Self

from sqlalchemy import BigInteger, Row, bindparam, func, or_, select, update

from gateway.base.ids import KeySlot, UserId
from gateway.catalog.devices import delete_devices_of
from gateway.catalog.identities import delete_identities_of, look_up_generation, note_left
from gateway.catalog.tables import recordings, tokens, users
from gateway.database import Connection

# Made once: a statement remembers what it was compiled to.
_STATES: Final = (
    select(users.c.id, users.c.state)
    .where(users.c.id.in_(bindparam("user_ids", expanding=True)))
    # In one order, or two that lock several would wait for each other.
    .order_by(users.c.id)
    .with_for_update()
)
_SHARED: Final = (
    select(users.c.id)
    .where(users.c.id.in_(bindparam("user_ids", expanding=True)))
    .order_by(users.c.id)
    .with_for_update(read=True)
)
_DAY_MS: Final = 24 * 3600 * 1000
_USED: Final = (
    update(users)
    .where(
        users.c.id == bindparam("user_id"),
        or_(users.c.used_at.is_(None), users.c.used_at < bindparam("day", type_=BigInteger)),
    )
    .values(used_at=bindparam("day", type_=BigInteger))
)
_TOKEN_HOLDERS: Final = (
    select(users, tokens.c.token_hash, tokens.c.expires_at)
    .join(tokens, tokens.c.user_id == users.c.id)
    .where(
        tokens.c.token_hash.in_(bindparam("token_hashes", expanding=True)),
        tokens.c.expires_at > bindparam("time"),
        tokens.c.revoked_at.is_(None),
        users.c.state == "active",
    )
)


@dataclass(frozen=True, slots=True)
class User:
    """
    A person who stores recordings; *personal* is sealed and None once erased.
    """

    id: UserId
    key_slot: KeySlot
    state: str
    created_at: int
    personal: bytes | None
    used_at: int | None = None
    """The day on which he was last here, when it began, Unix ms; None for a row that says nothing."""
    leaving_since: int | None = None
    """When he asked to be erased, Unix ms; None: he stays."""
    leaves_at: int | None = None
    """When that is done, in the time that is counted for it."""
    look_up_generation: int | None = None
    """Once erased: the newest look-up key by which he was ever found."""

    @property
    def is_active(self) -> bool:
        return self.state == "active"

    @property
    def is_leaving(self) -> bool:
        return self.is_active and self.leaves_at is not None

    @classmethod
    def from_row(cls, row: Row[tuple[object, ...]]) -> Self:
        return cls(
            UserId(row.id),
            KeySlot(row.key_slot),
            row.state,
            row.created_at,
            row.personal,
            row.used_at,
            row.leaving_since,
            row.leaves_at,
            row.look_up_generation,
        )


async def insert_user(connection: Connection, user: User) -> None:
    """
    Add *user*; his key slot exists already.
    """
    await connection.execute(
        users.insert().values(
            id=user.id,
            key_slot=user.key_slot,
            state=user.state,
            created_at=user.created_at,
            personal=user.personal,
            used_at=day_of(user.created_at),
        )
    )


def day_of(at: int) -> int:
    """
    Return when the day of *at* began, in UTC; Unix ms.
    """
    return at - at % _DAY_MS


async def note_use(connection: Connection, user_id: UserId, *, day: int) -> None:
    """
    Note that the user was here on *day*; a later day that is noted already stays.
    """
    await connection.execute(_USED, {"user_id": user_id, "day": day})


async def get_user(connection: Connection, user_id: UserId) -> User | None:
    """
    Return the user, erased or not.
    """
    row = (await connection.execute(select(users).where(users.c.id == user_id))).one_or_none()
    return None if row is None else User.from_row(row)


async def change_personal(connection: Connection, user_id: UserId, sealed: bytes) -> bool:
    """
    Replace what is known about an active user; tell whether he is.
    """
    result = await connection.execute(
        update(users).where(users.c.id == user_id, users.c.state == "active").values(personal=sealed)
    )
    return result.rowcount == 1


async def lock_active_user(connection: Connection, user_id: UserId) -> bool:
    """
    Hold the user's row until the transaction ends, and tell whether he is active.

    Whatever adds something of a user's takes this first, so that an erasure either sees it or comes before it.
    """
    query = select(users.c.state).where(users.c.id == user_id).with_for_update()
    return (await connection.execute(query)).scalar_one_or_none() == "active"


async def lock_active_users(connection: Connection, user_ids: Collection[UserId]) -> set[UserId]:
    """
    Hold these users' rows, as `lock_active_user` does, and return those who are active.
    """
    rows = await connection.execute(_STATES, {"user_ids": list(user_ids)})
    return {UserId(row.id) for row in rows if row.state == "active"}


async def share_users(connection: Connection, user_ids: Collection[UserId]) -> None:
    """
    Keep others from locking these users' rows until the transaction ends; several may share one.

    On SQLite, where writers come one after the other, there is nothing to do.
    """
    if connection.dialect.name != "sqlite":
        await connection.execute(_SHARED, {"user_ids": list(user_ids)})


async def iterate_users(connection: Connection) -> AsyncIterator[tuple[User, int]]:
    """
    Yield every user, oldest first, with the number of his recordings.
    """
    counted = (
        select(recordings.c.user_id, func.count().label("count"))
        .where(recordings.c.state == "live")
        .group_by(recordings.c.user_id)
        .subquery()
    )
    query = (
        select(users, func.coalesce(counted.c.count, 0).label("recordings"))
        .outerjoin(counted, counted.c.user_id == users.c.id)
        .order_by(users.c.created_at, users.c.id)
    )
    for row in await connection.execute(query):
        yield User.from_row(row), row.recordings


async def erase_user(connection: Connection, user_id: UserId, *, at: int) -> bool:
    """
    Turn the user's row into a tombstone, free his identities and sign his devices out; tell whether this call did it.
    """
    generation = await look_up_generation(connection, holds=True)
    await note_left(connection, generation)
    await delete_identities_of(connection, user_id)
    await delete_devices_of(connection, user_id)
    result = await connection.execute(
        update(users)
        .where(users.c.id == user_id, users.c.state == "active")
        .values(
            state="erased",
            erased_at=at,
            personal=None,
            leaving_since=None,
            leaves_at=None,
            look_up_generation=generation,
        )
    )
    await connection.execute(
        update(tokens).where(tokens.c.user_id == user_id, tokens.c.revoked_at.is_(None)).values(revoked_at=at)
    )
    return result.rowcount == 1


async def begin_leaving(connection: Connection, user_id: UserId, *, since: int, leaves_at: int) -> bool:
    """
    Note that an active user is to be erased; tell whether he was not about to be before.
    """
    result = await connection.execute(
        update(users)
        .where(users.c.id == user_id, users.c.state == "active", users.c.leaves_at.is_(None))
        .values(leaving_since=since, leaves_at=leaves_at)
    )
    return result.rowcount == 1


async def end_leaving(connection: Connection, user_id: UserId) -> bool:
    """
    Let a user stay who is about to be erased; tell whether he was.
    """
    result = await connection.execute(
        update(users)
        .where(users.c.id == user_id, users.c.state == "active", users.c.leaves_at.is_not(None))
        .values(leaving_since=None, leaves_at=None)
    )
    return result.rowcount == 1


async def has_left(connection: Connection, user_id: UserId, *, by: int) -> bool:
    """
    Tell whether an active user was to be erased by then.
    """
    query = select(users.c.id).where(
        users.c.id == user_id, users.c.state == "active", users.c.leaves_at <= by
    )
    return (await connection.execute(query)).first() is not None


async def first_to_leave(connection: Connection) -> int | None:
    """
    Return the earliest time at which somebody leaves, None if nobody does.
    """
    query = select(func.min(users.c.leaves_at)).where(users.c.leaves_at.is_not(None))
    first: int | None = (await connection.execute(query)).scalar_one()
    return first


async def users_who_leave(
    connection: Connection, *, at: int, after: int = -1, limit: int | None = None
) -> list[UserId]:
    """
    Return who is to be erased by *at* and after *after*, whoever has waited longest first.
    """
    query = (
        select(users.c.id)
        .where(users.c.leaves_at.is_not(None), users.c.leaves_at <= at, users.c.leaves_at > after)
        .order_by(users.c.leaves_at, users.c.id)
        .limit(limit)
    )
    return [UserId(user_id) for user_id in (await connection.execute(query)).scalars()]


async def erased_at(connection: Connection, user_id: UserId) -> int | None:
    """
    Return when the user was erased.
    """
    return (
        await connection.execute(select(users.c.erased_at).where(users.c.id == user_id))
    ).scalar_one_or_none()


async def get_user_of_slot(connection: Connection, slot: KeySlot) -> User | None:
    """
    Return the user whose keys lie in *slot*.
    """
    row = (await connection.execute(select(users).where(users.c.key_slot == slot))).one_or_none()
    return None if row is None else User.from_row(row)


@dataclass(frozen=True, slots=True)
class Token:
    """
    A bearer token, of which only the hash is kept.
    """

    id: str
    user_id: UserId
    token_hash: bytes
    created_at: int
    expires_at: int
    device_id: str | None = None
    """None: it was made by command."""


async def insert_token(connection: Connection, token: Token) -> None:
    """
    Add *token*.
    """
    await connection.execute(
        tokens.insert().values(
            id=token.id,
            user_id=token.user_id,
            token_hash=token.token_hash,
            created_at=token.created_at,
            expires_at=token.expires_at,
            device_id=token.device_id,
        )
    )


async def command_tokens_of(connection: Connection, user_id: UserId, *, at: int) -> list[Token]:
    """
    Return the user's tokens that were made by command and count at that time, oldest first.
    """
    query = (
        select(tokens)
        .where(
            tokens.c.user_id == user_id,
            tokens.c.device_id.is_(None),
            tokens.c.revoked_at.is_(None),
            tokens.c.expires_at > at,
        )
        .order_by(tokens.c.created_at, tokens.c.id)
    )
    return [
        Token(row.id, UserId(row.user_id), row.token_hash, row.created_at, row.expires_at)
        for row in await connection.execute(query)
    ]


@dataclass(frozen=True, slots=True)
class TokenHolder:
    """
    An active user with an unrevoked token of his, which counts until *expires_at*, Unix ms.
    """

    user: User
    expires_at: int


async def get_token_holders(
    connection: Connection, token_hashes: Collection[bytes], *, at: int
) -> dict[bytes, TokenHolder]:
    """
    Return the active users whose unexpired, unrevoked tokens have these hashes, each under his token's hash.
    """
    rows = await connection.execute(_TOKEN_HOLDERS, {"token_hashes": list(token_hashes), "time": at})
    return {row.token_hash: TokenHolder(User.from_row(row), row.expires_at) for row in rows}


async def revoke_token(connection: Connection, token_hash: bytes, *, at: int) -> bool:
    """
    Revoke the token with this hash; tell whether there was a live one.
    """
    result = await connection.execute(
        update(tokens)
        .where(tokens.c.token_hash == token_hash, tokens.c.revoked_at.is_(None))
        .values(revoked_at=at)
    )
    return result.rowcount == 1


async def revoke_tokens_of(connection: Connection, user_id: UserId, *, at: int) -> int:
    """
    Revoke every live token of the user; return how many there were.
    """
    result = await connection.execute(
        update(tokens).where(tokens.c.user_id == user_id, tokens.c.revoked_at.is_(None)).values(revoked_at=at)
    )
    return result.rowcount
