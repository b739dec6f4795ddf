"""
The devices on which people are signed in, and the tokens that each has.

Of a token only its hash is kept. Of the refresh tokens of a device one counts; those before are remembered, for whoever
brings one of them again has a copy of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from sqlalchemy import Row, delete, func, null, select, update

from gateway.base.ids import UserId
from gateway.catalog.tables import devices, refresh_tokens, tokens
from gateway.database import Connection


@dataclass(frozen=True, slots=True)
class Device:
    """
    Where somebody is signed in; *sealed* holds its name.
    """

    id: str
    user_id: UserId
    kind: str
    sealed: bytes
    created_at: int
    used_at: int
    expires_at: int
    ended_at: int | None = None
    end_reason: str | None = None

    def is_live(self, at: int) -> bool:
        """
        Tell whether its tokens may count at that time.
        """
        return self.ended_at is None and self.expires_at > at

    @classmethod
    def from_row(cls, row: Row[tuple[object, ...]]) -> Self:
        return cls(
            id=row.id,
            user_id=UserId(row.user_id),
            kind=row.kind,
            sealed=row.sealed,
            created_at=row.created_at,
            used_at=row.used_at,
            expires_at=row.expires_at,
            ended_at=row.ended_at,
            end_reason=row.end_reason,
        )


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """
    A refresh token; it counts as long as it was not *used_at* any time.
    """

    token_hash: bytes
    device_id: str
    created_at: int
    used_at: int | None
    successor_hash: bytes | None


async def insert_device(connection: Connection, device: Device) -> None:
    """
    Add *device*.
    """
    await connection.execute(
        devices.insert().values(
            id=device.id,
            user_id=device.user_id,
            kind=device.kind,
            sealed=device.sealed,
            created_at=device.created_at,
            used_at=device.used_at,
            expires_at=device.expires_at,
        )
    )


async def lock_device(connection: Connection, device_id: str) -> Device | None:
    """
    Return the device, and hold its row until the transaction ends.
    """
    row = (
        await connection.execute(select(devices).where(devices.c.id == device_id).with_for_update())
    ).one_or_none()
    return None if row is None else Device.from_row(row)


async def live_devices_of(connection: Connection, user_id: UserId, *, at: int) -> list[Device]:
    """
    Return the user's devices whose tokens may count, the one that was used last first.
    """
    query = (
        select(devices)
        .where(devices.c.user_id == user_id, devices.c.ended_at.is_(null()), devices.c.expires_at > at)
        .order_by(devices.c.used_at.desc(), devices.c.id)
    )
    return [Device.from_row(row) for row in await connection.execute(query)]


async def touch_device(connection: Connection, device_id: str, *, at: int, expires_at: int) -> None:
    """
    Note that the device was given new tokens.
    """
    await connection.execute(
        update(devices).where(devices.c.id == device_id).values(used_at=at, expires_at=expires_at)
    )


async def end_devices(
    connection: Connection,
    user_id: UserId,
    *,
    reason: str,
    at: int,
    device_id: str | None = None,
    but: str | None = None,
) -> list[str]:
    """
    End the user's devices, or the one named, and all their tokens; return the ids of those that this call ended.

    *but* names one that is left as it is.
    """
    query = select(devices.c.id).where(devices.c.user_id == user_id, devices.c.ended_at.is_(null()))
    if device_id is not None:
        query = query.where(devices.c.id == device_id)
    if but is not None:
        query = query.where(devices.c.id != but)
    ids = list((await connection.execute(query.order_by(devices.c.id).with_for_update())).scalars())
    if ids:
        await connection.execute(
            update(devices).where(devices.c.id.in_(ids)).values(ended_at=at, end_reason=reason)
        )
        await connection.execute(
            update(tokens)
            .where(tokens.c.device_id.in_(ids), tokens.c.revoked_at.is_(null()))
            .values(revoked_at=at)
        )
        await connection.execute(delete(refresh_tokens).where(refresh_tokens.c.device_id.in_(ids)))
    return ids


async def device_of_token(connection: Connection, token_hash: bytes) -> str | None:
    """
    Return the device that has an access or session token.
    """
    query = select(tokens.c.device_id).where(tokens.c.token_hash == token_hash)
    return (await connection.execute(query)).scalar_one_or_none()


async def signed_in_at(connection: Connection, token_hash: bytes) -> int | None:
    """
    Return when the device that has a token was signed in, or when a token was made that is no device's; Unix ms.
    """
    query = (
        select(func.coalesce(devices.c.created_at, tokens.c.created_at))
        .select_from(tokens.outerjoin(devices, devices.c.id == tokens.c.device_id))
        .where(tokens.c.token_hash == token_hash)
    )
    at: int | None = (await connection.execute(query)).scalar_one_or_none()
    return at


async def insert_refresh_token(connection: Connection, token_hash: bytes, device_id: str, *, at: int) -> None:
    """
    Add a refresh token.
    """
    await connection.execute(
        refresh_tokens.insert().values(token_hash=token_hash, device_id=device_id, created_at=at)
    )


async def find_refresh_token(connection: Connection, token_hash: bytes) -> RefreshToken | None:
    """
    Return what is known of a refresh token.
    """
    row = (
        await connection.execute(select(refresh_tokens).where(refresh_tokens.c.token_hash == token_hash))
    ).one_or_none()
    if row is None:
        return None
    return RefreshToken(row.token_hash, row.device_id, row.created_at, row.used_at, row.successor_hash)


async def replace_refresh_token(
    connection: Connection, token_hash: bytes, *, successor_hash: bytes, at: int
) -> None:
    """
    Note that a refresh token was used, and what came after it. Used before, the time of its first use stays.
    """
    known = (
        select(refresh_tokens.c.used_at).where(refresh_tokens.c.token_hash == token_hash).scalar_subquery()
    )
    used_at = (await connection.execute(select(known))).scalar_one_or_none()
    await connection.execute(
        update(refresh_tokens)
        .where(refresh_tokens.c.token_hash == token_hash)
        .values(used_at=at if used_at is None else used_at, successor_hash=successor_hash)
    )


async def delete_refresh_token(connection: Connection, token_hash: bytes) -> None:
    """
    Forget a refresh token that nobody can have received.
    """
    await connection.execute(delete(refresh_tokens).where(refresh_tokens.c.token_hash == token_hash))


async def delete_devices_of(connection: Connection, user_id: UserId) -> None:
    """
    Remove all that is known of a user's devices; their tokens went before.
    """
    of_user = select(devices.c.id).where(devices.c.user_id == user_id)
    await connection.execute(delete(refresh_tokens).where(refresh_tokens.c.device_id.in_(of_user)))
    await connection.execute(update(tokens).where(tokens.c.device_id.in_(of_user)).values(device_id=null()))
    await connection.execute(delete(devices).where(devices.c.user_id == user_id))


async def forget_refresh_tokens(connection: Connection, *, before: int) -> None:
    """
    Forget refresh tokens that were used before that time.
    """
    await connection.execute(delete(refresh_tokens).where(refresh_tokens.c.used_at < before))


async def sweep_devices(connection: Connection, *, before: int, limit: int) -> Sequence[str]:
    """
    Remove devices and tokens of devices that ended or expired before that time; return the devices' ids.
    """
    over = (devices.c.expires_at < before) | (devices.c.ended_at < before)
    ids = list((await connection.execute(select(devices.c.id).where(over).limit(limit))).scalars())
    if ids:
        await connection.execute(delete(refresh_tokens).where(refresh_tokens.c.device_id.in_(ids)))
        await connection.execute(delete(tokens).where(tokens.c.device_id.in_(ids)))
        await connection.execute(delete(devices).where(devices.c.id.in_(ids)))
    await connection.execute(
        delete(tokens).where(tokens.c.device_id.is_not(null()), tokens.c.expires_at < before)
    )
    return ids
