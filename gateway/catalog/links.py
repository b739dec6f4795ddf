"""
Linked accounts, and attempts to link one.

A link's row stays when the link has ended, for placements name it; what was secret of it goes.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Self

from sqlalchemy import Row, and_, case, delete, func, not_, null, or_, select, update

from gateway.base.ids import UserId
from gateway.catalog.tables import link_attempts, links, placements
from gateway.database import Connection, db_now_ms

OK: Final = "ok"
EXPIRING: Final = "expiring"
REVOKED: Final = "revoked"
OVER_QUOTA: Final = "over_quota"
SCOPE_MISSING: Final = "scope_missing"
MISCONFIGURED: Final = "misconfigured"
UNLINKED: Final = "unlinked"

CURABLE: Final = (OVER_QUOTA, SCOPE_MISSING, MISCONFIGURED)
"""States that a later success shows to be over; what was revoked has to be linked anew."""

ILL: Final = (REVOKED, *CURABLE)

UNREVOKED: Final = (OK, EXPIRING, *CURABLE)


@dataclass(frozen=True, slots=True)
class LinkRow:
    """
    A user's account at a provider; *secrets* are sealed, and None once it is unlinked and its provider was told.

    *revision* grows with every change of the secrets, *generation* only when the account is linked anew.
    """

    id: str
    user_id: UserId
    kind: str
    state: str
    reason: str | None
    secrets: bytes | None
    revision: int
    generation: int
    created_at: int
    refreshed_at: int | None
    grant_ends_at: int | None
    checked_at: int | None
    ended_at: int | None

    @property
    def is_live(self) -> bool:
        return self.state != UNLINKED

    @classmethod
    def from_row(cls, row: Row[tuple[object, ...]]) -> Self:
        return cls(
            id=row.id,
            user_id=UserId(row.user_id),
            kind=row.kind,
            state=row.state,
            reason=row.reason,
            secrets=row.secrets,
            revision=row.revision,
            generation=row.generation,
            created_at=row.created_at,
            refreshed_at=row.refreshed_at,
            grant_ends_at=row.grant_ends_at,
            checked_at=row.checked_at,
            ended_at=row.ended_at,
        )


async def insert_link(connection: Connection, link: LinkRow) -> None:
    """
    Add *link*.
    """
    await connection.execute(
        links.insert().values(
            id=link.id,
            user_id=link.user_id,
            kind=link.kind,
            state=link.state,
            reason=link.reason,
            secrets=link.secrets,
            revision=link.revision,
            generation=link.generation,
            created_at=link.created_at,
            refreshed_at=link.refreshed_at,
            grant_ends_at=link.grant_ends_at,
            checked_at=link.checked_at,
        )
    )


async def get_link(connection: Connection, link_id: str) -> LinkRow | None:
    """
    Return the link, ended or not.
    """
    row = (await connection.execute(select(links).where(links.c.id == link_id))).one_or_none()
    return None if row is None else LinkRow.from_row(row)


async def links_of(
    connection: Connection, user_id: UserId, *, including_ended: bool = False
) -> list[LinkRow]:
    """
    Return the user's links, oldest first.
    """
    query = select(links).where(links.c.user_id == user_id).order_by(links.c.created_at, links.c.id)
    if not including_ended:
        query = query.where(links.c.state != UNLINKED)
    return [LinkRow.from_row(row) for row in await connection.execute(query)]


async def replace_secrets(
    connection: Connection,
    link_id: str,
    secrets: bytes,
    *,
    revision: int,
    grant_ends_at: int | None,
    at: int,
) -> bool:
    """
    Store refreshed *secrets* over those of *revision*, and end the claim; False if others are there by now.

    A grant that could be refreshed is alive, so a link that was thought to be revoked is not.
    """
    result = await connection.execute(
        update(links)
        .where(links.c.id == link_id, links.c.revision == revision, links.c.state != UNLINKED)
        .values(
            secrets=secrets,
            revision=revision + 1,
            refreshed_at=at,
            grant_ends_at=links.c.grant_ends_at if grant_ends_at is None else grant_ends_at,
            refreshing_until=None,
            state=case((links.c.state == REVOKED, OK), else_=links.c.state),
            reason=case((links.c.state == REVOKED, null()), else_=links.c.reason),
        )
    )
    return result.rowcount == 1


async def relink(
    connection: Connection,
    link_id: str,
    secrets: bytes,
    *,
    state: str,
    reason: str | None,
    refreshed_at: int | None,
    grant_ends_at: int | None,
    at: int,
) -> bool:
    """
    Put a live link on a new footing: other secrets, and nothing that was noted about the old ones counts any more.
    """
    result = await connection.execute(
        update(links)
        .where(links.c.id == link_id, links.c.state != UNLINKED)
        .values(
            secrets=secrets,
            state=state,
            reason=reason,
            revision=links.c.revision + 1,
            generation=links.c.generation + 1,
            refreshed_at=refreshed_at,
            grant_ends_at=grant_ends_at,
            checked_at=at,
            refreshing_until=None,
        )
    )
    return result.rowcount == 1


async def set_link_state(
    connection: Connection,
    link_id: str,
    state: str,
    *,
    reason: str | None,
    at: int,
    generation: int,
    revision: int | None = None,
    only_from: Collection[str] | None = None,
) -> bool:
    """
    Note what state the link is in; tell whether that is news.

    A note about an earlier *generation* or *revision*, or about a link that has ended, counts for nothing.
    """
    allowed = [links.c.id == link_id, links.c.generation == generation, links.c.state != UNLINKED]
    if revision is not None:
        allowed.append(links.c.revision == revision)
    if only_from is not None:
        allowed.append(links.c.state.in_(only_from))
    result = await connection.execute(
        update(links)
        .where(*allowed, or_(links.c.state != state, links.c.reason.is_distinct_from(reason)))
        .values(state=state, reason=reason, checked_at=at)
    )
    return result.rowcount == 1


async def touch_checked(connection: Connection, link_id: str, *, at: int) -> None:
    """
    Note that the link was looked at.
    """
    await connection.execute(update(links).where(links.c.id == link_id).values(checked_at=at))


async def end_link(connection: Connection, link_id: str, *, at: int, keeps_secrets: bool = False) -> bool:
    """
    End the link and drop its secrets, unless they are to stay until `drop_secrets`; tell whether this call did it.
    """
    values = _ended(at)
    if keeps_secrets:
        del values["secrets"]
    result = await connection.execute(
        update(links).where(links.c.id == link_id, links.c.state != UNLINKED).values(values)
    )
    return result.rowcount == 1


async def drop_secrets(connection: Connection, link_id: str) -> None:
    """
    Drop what was kept of a link that has ended.
    """
    await connection.execute(
        update(links).where(links.c.id == link_id, links.c.state == UNLINKED).values(secrets=None)
    )


async def end_links_of(connection: Connection, user_id: UserId, *, at: int) -> int:
    """
    End every link and every attempt of the user; return how many links there were.
    """
    await connection.execute(delete(link_attempts).where(link_attempts.c.user_id == user_id))
    result = await connection.execute(
        update(links).where(links.c.user_id == user_id, links.c.state != UNLINKED).values(_ended(at))
    )
    await connection.execute(
        update(links).where(links.c.user_id == user_id, links.c.secrets.is_not(None)).values(secrets=None)
    )
    return result.rowcount


def _ended(at: int) -> dict[str, object]:
    return {
        "state": UNLINKED,
        "reason": None,
        "secrets": None,
        "revision": links.c.revision + 1,
        "refreshing_until": None,
        "ended_at": at,
    }


async def claim_refresh(connection: Connection, link_id: str, *, revision: int, lease_ms: int) -> int | None:
    """
    Claim the refreshing of the grant of *revision*; None if another has it, or there is nothing to refresh.

    Returns until when, in the database's time: what `release_refresh` asks for.
    """
    now = db_now_ms()
    claimed = await connection.execute(
        update(links)
        .where(
            links.c.id == link_id,
            links.c.revision == revision,
            links.c.state.not_in((UNLINKED, REVOKED)),
            or_(links.c.refreshing_until.is_(None), links.c.refreshing_until <= now),
        )
        .values(refreshing_until=now + lease_ms)
        .returning(links.c.refreshing_until)
    )
    until: int | None = claimed.scalar_one_or_none()
    return until


async def release_refresh(connection: Connection, link_id: str, *, until: int) -> None:
    """
    Give a claim back that came to nothing.
    """
    await connection.execute(
        update(links)
        .where(links.c.id == link_id, links.c.refreshing_until == until)
        .values(refreshing_until=None)
    )


async def take_due_for_check(
    connection: Connection, *, checked_before: int, at: int, limit: int
) -> list[LinkRow]:
    """
    Return links in a curable state that nobody has looked at for long, and note that someone does now.
    """
    due = (
        select(links.c.id)
        .where(
            links.c.state.in_(CURABLE),
            func.coalesce(links.c.checked_at, links.c.created_at) <= checked_before,
        )
        .order_by(func.coalesce(links.c.checked_at, links.c.created_at), links.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = (await connection.execute(due)).scalars().all()
    taken = await connection.execute(
        update(links).where(links.c.id.in_(ids)).values(checked_at=at).returning(links)
    )
    return [LinkRow.from_row(row) for row in taken]


async def idle_links(connection: Connection, *, refreshed_before: int, limit: int) -> list[LinkRow]:
    """
    Return live links whose grant was refreshed long ago, the longest first.
    """
    query = (
        select(links)
        .where(links.c.state.not_in((UNLINKED, REVOKED)), links.c.refreshed_at <= refreshed_before)
        .order_by(links.c.refreshed_at, links.c.id)
        .limit(limit)
    )
    return [LinkRow.from_row(row) for row in await connection.execute(query)]


async def tell_expiring(connection: Connection, *, ends_before: int) -> int:
    """
    Put links whose grant ends soon into that state, and those back whose grant was prolonged; return how many.
    """
    is_soon = links.c.grant_ends_at <= ends_before
    told = await connection.execute(
        update(links).where(links.c.state == OK, is_soon).values(state=EXPIRING, reason="grant-ends")
    )
    untold = await connection.execute(
        update(links)
        .where(links.c.state == EXPIRING, or_(links.c.grant_ends_at.is_(None), not_(is_soon)))
        .values(state=OK, reason=None)
    )
    return told.rowcount + untold.rowcount


async def note_ill(connection: Connection, *, at: int) -> None:
    """
    Note since when links are not well, and forget it of those that are.
    """
    await connection.execute(
        update(links)
        .where(links.c.ill_since.is_not(None), links.c.state.in_((OK, UNLINKED)))
        .values(ill_since=None, told=None)
    )
    await connection.execute(
        update(links)
        .where(links.c.ill_since.is_(None), links.c.state.in_((EXPIRING, *ILL)))
        .values(ill_since=at)
    )


async def untold_links(connection: Connection, *, ill_before: int, limit: int) -> list[tuple[LinkRow, int]]:
    """
    Return links that are not well, since when, and of which their users were not told that yet.

    Of what is ill those that have been so since *ill_before* or longer; of what will end all.
    """
    is_untold = or_(
        and_(links.c.state == EXPIRING, links.c.told.is_(None)),
        and_(
            links.c.state.in_(ILL),
            links.c.ill_since <= ill_before,
            links.c.told.is_distinct_from("ill"),
        ),
    )
    query = select(links).where(links.c.ill_since.is_not(None), is_untold).order_by(links.c.id).limit(limit)
    return [(LinkRow.from_row(row), row.ill_since) for row in await connection.execute(query)]


async def note_link_told(connection: Connection, link: LinkRow, told: str) -> bool:
    """
    Note that the link's user was told; False if he was before, or the link is in another state by now.
    """
    result = await connection.execute(
        update(links)
        .where(links.c.id == link.id, links.c.state == link.state, links.c.told.is_distinct_from(told))
        .values(told=told)
    )
    return result.rowcount == 1


async def a_blob_at(connection: Connection, link_id: str) -> str | None:
    """
    Return the key of some blob that was placed at the link, None if there is none.
    """
    query = (
        select(placements.c.blob_key)
        .where(placements.c.backend == link_id, placements.c.state == "placed")
        .order_by(placements.c.placed_at.desc())
        .limit(1)
    )
    key: str | None = (await connection.execute(query)).scalar_one_or_none()
    return key


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    A user on his way through a provider's consent; *secrets* are sealed.
    """

    state_hash: bytes
    user_id: UserId
    kind: str
    link_id: str | None
    secrets: bytes
    expires_at: int

    @classmethod
    def from_row(cls, row: Row[tuple[object, ...]]) -> Self:
        return cls(row.state_hash, UserId(row.user_id), row.kind, row.link_id, row.secrets, row.expires_at)


async def insert_attempt(connection: Connection, attempt: Attempt, *, most: int) -> None:
    """
    Add *attempt*; of more than *most* attempts of one user the oldest are forgotten.
    """
    await connection.execute(
        link_attempts.insert().values(
            state_hash=attempt.state_hash,
            user_id=attempt.user_id,
            kind=attempt.kind,
            link_id=attempt.link_id,
            secrets=attempt.secrets,
            expires_at=attempt.expires_at,
        )
    )
    newest = (
        select(link_attempts.c.state_hash)
        .where(link_attempts.c.user_id == attempt.user_id)
        .order_by(link_attempts.c.expires_at.desc(), link_attempts.c.state_hash)
        .limit(most)
    )
    await connection.execute(
        delete(link_attempts).where(
            and_(
                link_attempts.c.user_id == attempt.user_id,
                link_attempts.c.state_hash.not_in(newest),
                link_attempts.c.state_hash != attempt.state_hash,
            )
        )
    )


async def take_attempt(connection: Connection, state_hash: bytes) -> Attempt | None:
    """
    Return the attempt, expired or not, and forget it: there is no second answer to one question.
    """
    row = (
        await connection.execute(
            delete(link_attempts).where(link_attempts.c.state_hash == state_hash).returning(link_attempts)
        )
    ).one_or_none()
    return None if row is None else Attempt.from_row(row)


async def sweep_attempts(connection: Connection, *, at: int) -> int:
    """
    Forget the attempts that expired; return how many.
    """
    result = await connection.execute(delete(link_attempts).where(link_attempts.c.expires_at <= at))
    return result.rowcount
