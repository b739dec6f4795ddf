"""
What users were told: the notices, and what became of them by e-mail.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self, cast

from sqlalchemy import Row, bindparam, delete, func, select, tuple_, update

from gateway.base.ids import UserId
from gateway.catalog.tables import (
    expiry_notices,
    mail_preferences,
    notice_audiences,
    notices,
    policy_acceptances,
    unused_accounts,
)
from gateway.database import Connection, insert_or_ignore

MailState = Literal["none", "queued", "sent", "refused", "given-up"]
"""none: it is on the pages alone; sent: a mail server took it; given-up: none did for as long as it was tried."""

MAIL: Final = "mail"
"""The kind of the jobs that send a notice; the subject is its id."""

MAIL_OF_RUN: Final = "mail-of-run"
"""The same for a notice that many are told: nobody else's is to wait for theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """
    Something that a user was told; *sealed* are the facts of it, None where its run has them, or they are gone.

    Attributes:
        occasion: of one occasion he is told once.
        mail_reason: why it was not sent, or not yet.
        mail_at: since when that is its state, Unix ms.
    """

    id: str
    user_id: UserId
    kind: str
    occasion: str
    run_id: str | None
    sealed: bytes | None
    created_at: int
    read_at: int | None = None
    mail_state: MailState
    mail_reason: str | None = None
    mail_tries: int = 0
    mail_at: int

    @classmethod
    def from_row(cls, row: Row[tuple[object, ...]]) -> Self:
        return cls(
            id=row.id,
            user_id=UserId(row.user_id),
            kind=row.kind,
            occasion=row.occasion,
            run_id=row.run_id,
            sealed=row.sealed,
            created_at=row.created_at,
            read_at=row.read_at,
            mail_state=cast("MailState", row.mail_state),
            mail_reason=row.mail_reason,
            mail_tries=row.mail_tries,
            mail_at=row.mail_at,
        )


_INSERTS: Final = {
    dialect: insert_or_ignore(notices, dialect).values(
        {name: bindparam(name) for name in Notice.__dataclass_fields__}
    )
    for dialect in ("sqlite", "postgresql")
}
_INSERT_ONE: Final = {dialect: insert.returning(notices.c.id) for dialect, insert in _INSERTS.items()}


async def insert_notice(connection: Connection, notice: Notice) -> bool:
    """
    Add *notice*; False if its user was told of that occasion before.
    """
    inserted = await connection.execute(_INSERT_ONE[connection.dialect.name], _values(notice))
    return inserted.first() is not None


async def insert_notices(connection: Connection, added: Sequence[Notice]) -> None:
    """
    Add these notices; where a user was told of that occasion before, his is left as it is.
    """
    await connection.execute(_INSERTS[connection.dialect.name], [_values(notice) for notice in added])


def _values(notice: Notice) -> dict[str, object]:
    return {name: getattr(notice, name) for name in Notice.__dataclass_fields__}


async def get_notice(connection: Connection, notice_id: str) -> Notice | None:
    """
    Return the notice.
    """
    row = (await connection.execute(select(notices).where(notices.c.id == notice_id))).one_or_none()
    return None if row is None else Notice.from_row(row)


async def notices_of(
    connection: Connection, user_id: UserId, *, before: tuple[int, str] | None = None, limit: int
) -> list[Notice]:
    """
    Return notices of the user, newest first: those behind *before*, which is when one was made, and its id.
    """
    query = (
        select(notices)
        .where(notices.c.user_id == user_id)
        .order_by(notices.c.created_at.desc(), notices.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(tuple_(notices.c.created_at, notices.c.id) < tuple_(*before))
    return [Notice.from_row(row) for row in await connection.execute(query)]


async def unread_of(
    connection: Connection, user_id: UserId, kinds: Collection[str], *, limit: int
) -> list[Notice]:
    """
    Return notices of these kinds that the user has not read, newest first.
    """
    query = (
        select(notices)
        .where(notices.c.user_id == user_id, notices.c.read_at.is_(None), notices.c.kind.in_(list(kinds)))
        .order_by(notices.c.created_at.desc(), notices.c.id.desc())
        .limit(limit)
    )
    return [Notice.from_row(row) for row in await connection.execute(query)]


async def mark_read(
    connection: Connection,
    user_id: UserId,
    *,
    at: int,
    notice_id: str | None = None,
    kind: str | None = None,
) -> int:
    """
    Note that the user has read one of his notices, those of a kind, or all; return how many were news.
    """
    change = update(notices).where(notices.c.user_id == user_id, notices.c.read_at.is_(None))
    if notice_id is not None:
        change = change.where(notices.c.id == notice_id)
    if kind is not None:
        change = change.where(notices.c.kind == kind)
    return (await connection.execute(change.values(read_at=at))).rowcount


async def note_mail(
    connection: Connection,
    notice_id: str,
    state: MailState,
    *,
    reason: str | None,
    tries: int,
    at: int,
) -> bool:
    """
    Note what became of a notice that was queued; tell whether it still was.
    """
    result = await connection.execute(
        update(notices)
        .where(notices.c.id == notice_id, notices.c.mail_state == "queued")
        .values(mail_state=state, mail_reason=reason, mail_tries=tries, mail_at=at)
    )
    return result.rowcount == 1


async def latest_of(connection: Connection, user_id: UserId, kind: str, *, since: int) -> list[Notice]:
    """
    Return the user's notices of a kind that were made since then, newest first.
    """
    query = (
        select(notices)
        .where(notices.c.user_id == user_id, notices.c.kind == kind, notices.c.created_at >= since)
        .order_by(notices.c.created_at.desc(), notices.c.id.desc())
    )
    return [Notice.from_row(row) for row in await connection.execute(query)]


async def count_by_mail_state(connection: Connection, run_id: str) -> dict[str, int]:
    """
    Return how many notices of a run are in each state.
    """
    query = (
        select(notices.c.mail_state, func.count())
        .where(notices.c.run_id == run_id)
        .group_by(notices.c.mail_state)
    )
    return {str(row[0]): int(row[1]) for row in await connection.execute(query)}


async def queue_given_up(connection: Connection, run_id: str, *, at: int, limit: int) -> list[str]:
    """
    Queue mails of a run again that were given up, up to *limit*; return the ids of their notices.
    """
    some = (
        select(notices.c.id)
        .where(notices.c.run_id == run_id, notices.c.mail_state == "given-up")
        .order_by(notices.c.id)
        .limit(limit)
    )
    queued = await connection.execute(
        update(notices)
        .where(notices.c.id.in_(some), notices.c.mail_state == "given-up")
        .values(mail_state="queued", mail_reason=None, mail_at=at)
        .returning(notices.c.id)
    )
    return list(queued.scalars())


async def notices_of_run(connection: Connection, run_id: str, *, after: UserId, limit: int) -> list[Notice]:
    """
    Return notices of a run in the order of their users, those behind *after*.
    """
    query = (
        select(notices)
        .where(notices.c.run_id == run_id, notices.c.user_id > after)
        .order_by(notices.c.user_id)
        .limit(limit)
    )
    return [Notice.from_row(row) for row in await connection.execute(query)]


async def promotional_wanted(connection: Connection, user_ids: Collection[UserId]) -> set[UserId]:
    """
    Return those of the users who asked for promotional mail.
    """
    query = select(mail_preferences.c.user_id).where(
        mail_preferences.c.user_id.in_(list(user_ids)), mail_preferences.c.promotional
    )
    return {UserId(user_id) for user_id in (await connection.execute(query)).scalars()}


async def set_promotional(connection: Connection, user_id: UserId, wanted: bool, *, at: int) -> None:
    """
    Note whether the user wants promotional mail.
    """
    await connection.execute(
        insert_or_ignore(mail_preferences, connection.dialect.name).values(
            user_id=user_id, promotional=wanted, changed_at=at
        )
    )
    await connection.execute(
        update(mail_preferences)
        .where(mail_preferences.c.user_id == user_id, mail_preferences.c.promotional != wanted)
        .values(promotional=wanted, changed_at=at)
    )


async def forget_told(connection: Connection, user_id: UserId) -> None:
    """
    Drop what an erased user was told, and what he chose; that he was told, and when, stays.
    """
    await connection.execute(
        update(notices).where(notices.c.user_id == user_id, notices.c.sealed.is_not(None)).values(sealed=None)
    )
    for table in (mail_preferences, policy_acceptances, expiry_notices, unused_accounts, notice_audiences):
        await connection.execute(delete(table).where(table.c.user_id == user_id))
