"""
Attempts to sign in, and how often things were tried.

An attempt is sealed under a key made of a secret that only the asker was given; the catalog has the secret's hash.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select, update

from gateway.catalog.tables import sign_ins, tallies
from gateway.database import Connection, insert_or_ignore


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    Somebody who is about to prove who he is; *tries* is how many codes he has named so far.
    """

    secret_hash: bytes
    kind: str
    sealed: bytes
    tries: int
    expires_at: int


async def insert_attempt(connection: Connection, attempt: Attempt) -> None:
    """
    Add *attempt*.
    """
    await connection.execute(
        sign_ins.insert().values(
            secret_hash=attempt.secret_hash,
            kind=attempt.kind,
            sealed=attempt.sealed,
            tries=attempt.tries,
            expires_at=attempt.expires_at,
        )
    )


async def try_attempt(connection: Connection, secret_hash: bytes, *, at: int, most: int) -> Attempt | None:
    """
    Count one try of an attempt that has any left, and return it.
    """
    result = await connection.execute(
        update(sign_ins)
        .where(sign_ins.c.secret_hash == secret_hash, sign_ins.c.expires_at > at, sign_ins.c.tries < most)
        .values(tries=sign_ins.c.tries + 1)
    )
    return await _get(connection, secret_hash) if result.rowcount == 1 else None


async def take_attempt(connection: Connection, secret_hash: bytes, *, at: int) -> Attempt | None:
    """
    Remove the attempt and return it, to one caller alone; None if it is gone or too old.
    """
    attempt = await _get(connection, secret_hash)
    if attempt is None:
        return None
    result = await connection.execute(delete(sign_ins).where(sign_ins.c.secret_hash == secret_hash))
    return attempt if result.rowcount == 1 and attempt.expires_at > at else None


async def _get(connection: Connection, secret_hash: bytes) -> Attempt | None:
    query = select(sign_ins).where(sign_ins.c.secret_hash == secret_hash).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Attempt(row.secret_hash, row.kind, row.sealed, row.tries, row.expires_at)


@dataclass(frozen=True, slots=True)
class Tally:
    """
    One thing that is counted: at most *most* times within *window_ms* from the first.
    """

    subject_hash: bytes
    most: int
    window_ms: int


async def count_all(connection: Connection, wanted: Sequence[Tally], *, at: int) -> int | None:
    """
    Count one more of each, unless one of them is full; then nothing is counted, and the time it opens again is returned.
    """
    ordered = sorted(wanted, key=lambda tally: tally.subject_hash)
    keys = [tally.subject_hash for tally in ordered]
    for tally in ordered:
        new = {"subject_hash": tally.subject_hash, "counted": 0, "window_ends_at": at + tally.window_ms}
        await connection.execute(insert_or_ignore(tallies, connection.dialect.name).values(**new))
    query = (
        select(tallies)
        .where(tallies.c.subject_hash.in_(keys))
        .order_by(tallies.c.subject_hash)
        .with_for_update()
    )
    now: dict[bytes, tuple[int, int | None]] = {
        row.subject_hash: (row.counted, row.window_ends_at) if row.window_ends_at > at else (0, None)
        for row in await connection.execute(query)
    }
    full = [
        ends_at
        for tally in ordered
        if (ends_at := now[tally.subject_hash][1]) is not None and now[tally.subject_hash][0] >= tally.most
    ]
    if full:
        return max(full)
    for tally in ordered:
        counted, ends_at = now[tally.subject_hash]
        await connection.execute(
            update(tallies)
            .where(tallies.c.subject_hash == tally.subject_hash)
            .values(counted=counted + 1, window_ends_at=ends_at or at + tally.window_ms)
        )
    return None


async def sweep_sign_ins(connection: Connection, *, at: int) -> None:
    """
    Remove attempts and tallies that count no more.
    """
    await connection.execute(delete(sign_ins).where(sign_ins.c.expires_at <= at))
    await connection.execute(delete(tallies).where(tallies.c.window_ends_at <= at))
