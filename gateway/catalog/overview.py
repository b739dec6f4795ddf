"""
Counts for operators: how much there is of what, and what waits. None of it says anything about a person.
"""

from dataclasses import dataclass

from sqlalchemy import func, select

from gateway.base.ids import UserId
from gateway.catalog.jobs import JobRow
from gateway.catalog.links import UNLINKED
from gateway.catalog.tables import devices, identities, jobs, links, recordings, uploads, users
from gateway.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFacts:
    """
    That there is a user, and how much he has; times are Unix ms.
    """

    id: UserId
    state: str
    created_at: int
    erased_at: int | None
    used_at: int | None
    """The day on which he was last here, when it began."""
    recordings: int
    bytes: int
    unfinished_uploads: int
    links: dict[str, int]
    """By their states."""
    ways_to_sign_in: int
    devices: int


async def facts_of_user(connection: Connection, user_id: UserId, *, at: int) -> UserFacts | None:
    """
    Return what there is of a user, None if there never was one of this id.
    """
    user = (await connection.execute(select(users).where(users.c.id == user_id))).one_or_none()
    if user is None:
        return None
    live = (recordings.c.user_id == user_id) & (recordings.c.state == "live")
    of_recordings = select(func.count(), func.coalesce(func.sum(recordings.c.size), 0)).where(live)
    count, size = (await connection.execute(of_recordings)).one()
    of_links = (
        select(links.c.state, func.count().label("number"))
        .where(links.c.user_id == user_id, links.c.state != UNLINKED)
        .group_by(links.c.state)
    )
    by_state = {row.state: row.number for row in await connection.execute(of_links)}
    others = [
        select(func.count()).where(uploads.c.user_id == user_id, uploads.c.state == "open"),
        select(func.count()).where(identities.c.user_id == user_id),
        select(func.count()).where(
            devices.c.user_id == user_id, devices.c.ended_at.is_(None), devices.c.expires_at > at
        ),
    ]
    unfinished, ways, signed_in = [(await connection.execute(one)).scalar_one() for one in others]
    return UserFacts(
        id=user_id,
        state=user.state,
        created_at=user.created_at,
        erased_at=user.erased_at,
        used_at=user.used_at,
        recordings=count,
        bytes=int(size),
        unfinished_uploads=unfinished,
        links=by_state,
        ways_to_sign_in=ways,
        devices=signed_in,
    )


async def count_links(connection: Connection) -> list[tuple[str, str, int]]:
    """
    Return how many linked accounts there are of each (kind, state).
    """
    query = (
        select(links.c.kind, links.c.state, func.count())
        .where(links.c.state != UNLINKED)
        .group_by(links.c.kind, links.c.state)
        .order_by(links.c.kind, links.c.state)
    )
    return [(kind, state, count) for kind, state, count in await connection.execute(query)]


async def stuck_jobs(connection: Connection, *, limit: int) -> list[JobRow]:
    """
    Return up to *limit* jobs that were set aside, those that wait longest first.
    """
    columns = [jobs.c[name] for name in JobRow.__dataclass_fields__]
    query = select(*columns).where(jobs.c.state == "parked").order_by(jobs.c.run_at, jobs.c.id).limit(limit)
    return [JobRow(*row) for row in await connection.execute(query)]
