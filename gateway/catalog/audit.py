"""
The audit log: entries one after the other, none of which is ever changed.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Self

from sqlalchemy import Row, select, update

from gateway.base.ids import UserId
from gateway.catalog.markers import move_marker
from gateway.catalog.operator_tables import audit_entries
from gateway.catalog.tables import markers, users
from gateway.database import Connection, insert_or_ignore

_LENGTH: Final = "audit-log"
"""In the catalog: the newest entry's number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """
    What somebody did; *sealed* is his reason, None where he gave none or where it is gone with its user's keys.
    """

    sequence: int
    id: str
    at: int
    actor: str
    role: str
    action: str
    user_id: UserId | None
    subject: str | None
    facts: str
    sealed: bytes | None
    sealed_hash: bytes | None
    entry_hash: bytes
    mac: bytes

    @classmethod
    def from_row(cls, row: Row[tuple[object, ...]]) -> Self:
        return cls(
            sequence=row.sequence,
            id=row.id,
            at=row.at,
            actor=row.actor,
            role=row.role,
            action=row.action,
            user_id=None if row.user_id is None else UserId(row.user_id),
            subject=row.subject,
            facts=row.facts,
            sealed=row.sealed,
            sealed_hash=row.sealed_hash,
            entry_hash=row.entry_hash,
            mac=row.mac,
        )


@dataclass(frozen=True, slots=True)
class Newest:
    """
    How far the log has come: the number that was given last, and the newest entry's hash; None in an empty log.
    """

    sequence: int
    entry_hash: bytes | None


async def lock_newest(connection: Connection) -> Newest:
    """
    Return how far the log has come; nobody else adds to it before this commit.

    Whoever writes takes this last of all that he locks.
    """
    await connection.execute(insert_or_ignore(markers, connection.dialect.name).values(name=_LENGTH))
    given = (
        await connection.execute(
            select(markers.c.position).where(markers.c.name == _LENGTH).with_for_update()
        )
    ).scalar_one()
    newest = await newest_entry(connection)
    if newest is None:
        return Newest(given, None)
    # They differ if somebody took entries away: their numbers are not given twice.
    return Newest(max(given, newest.sequence), newest.entry_hash)


async def insert_entry(connection: Connection, entry: Entry) -> None:
    """
    Add *entry* after the newest, which is locked.
    """
    await connection.execute(
        audit_entries.insert().values(
            sequence=entry.sequence,
            id=entry.id,
            at=entry.at,
            actor=entry.actor,
            role=entry.role,
            action=entry.action,
            user_id=entry.user_id,
            subject=entry.subject,
            facts=entry.facts,
            sealed=entry.sealed,
            sealed_hash=entry.sealed_hash,
            entry_hash=entry.entry_hash,
            mac=entry.mac,
        )
    )
    await move_marker(connection, _LENGTH, entry.sequence)


async def given_sequence(connection: Connection) -> int:
    """
    Return the number that was given last, 0 if none was.
    """
    found = (await connection.execute(select(markers.c.position).where(markers.c.name == _LENGTH))).scalar()
    return 0 if found is None else found


async def newest_entry(connection: Connection) -> Entry | None:
    """
    Return the newest entry, None in an empty log.
    """
    query = select(audit_entries).order_by(audit_entries.c.sequence.desc()).limit(1)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Entry.from_row(row)


async def get_entry(connection: Connection, sequence: int) -> Entry | None:
    """
    Return the entry of that number.
    """
    query = select(audit_entries).where(audit_entries.c.sequence == sequence)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Entry.from_row(row)


async def entries_after(connection: Connection, sequence: int, *, limit: int) -> list[Entry]:
    """
    Return up to *limit* entries after *sequence*, oldest first.
    """
    query = (
        select(audit_entries)
        .where(audit_entries.c.sequence > sequence)
        .order_by(audit_entries.c.sequence)
        .limit(limit)
    )
    return [Entry.from_row(row) for row in await connection.execute(query)]


async def latest_entries(
    connection: Connection, *, before: int | None, limit: int, user_id: UserId | None = None
) -> list[Entry]:
    """
    Return up to *limit* entries, those before *before*, newest first; about one user, or all.
    """
    query = select(audit_entries).order_by(audit_entries.c.sequence.desc()).limit(limit)
    if before is not None:
        query = query.where(audit_entries.c.sequence < before)
    if user_id is not None:
        query = query.where(audit_entries.c.user_id == user_id)
    return [Entry.from_row(row) for row in await connection.execute(query)]


async def active_among(connection: Connection, user_ids: Collection[UserId]) -> set[UserId]:
    """
    Return those of the users who are not erased.
    """
    query = select(users.c.id).where(users.c.id.in_(list(user_ids)), users.c.state == "active")
    return {UserId(row.id) for row in await connection.execute(query)}


async def forget_reasons_about(connection: Connection, user_id: UserId) -> None:
    """
    Take the reasons away, which nobody can open any more, from the entries about an erased user; the chain holds all the same.
    """
    await connection.execute(
        update(audit_entries)
        .where(audit_entries.c.user_id == user_id, audit_entries.c.sealed.is_not(None))
        .values(sealed=None)
    )
