"""
What many users are told at once: how far each run has come, and for whom it is.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, cast

import msgspec
from sqlalchemy import Row, Select, bindparam, delete, select, update

from gateway.base.ids import UserId
from gateway.catalog.tables import notice_audiences, notice_runs, users
from gateway.database import Connection, insert_or_ignore

Audience = Literal["all", "listed"]
RunState = Literal["preparing", "running", "done"]
"""preparing: it is still being said for whom it is, and nobody is told yet."""

_LISTED: Final = {
    dialect: insert_or_ignore(notice_audiences, dialect).values(
        run_id=bindparam("run_id"), user_id=bindparam("user_id")
    )
    for dialect in ("sqlite", "postgresql")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """
    The same notice to many; *facts* are in clear, and *position* is the last user who was told.
    """

    id: str
    kind: str
    is_promotional: bool
    facts: dict[str, Any]
    audience: Audience
    state: RunState
    position: UserId
    created_at: int
    ended_at: int | None = None

    @classmethod
    def from_row(cls, row: Row[tuple[object, ...]]) -> Self:
        return cls(
            id=row.id,
            kind=row.kind,
            is_promotional=row.is_promotional,
            facts=msgspec.json.decode(row.facts, type=dict[str, Any]),
            audience=cast("Audience", row.audience),
            state=cast("RunState", row.state),
            position=UserId(row.position),
            created_at=row.created_at,
            ended_at=row.ended_at,
        )


async def insert_run(connection: Connection, run: Run) -> None:
    """
    Add *run*.
    """
    await connection.execute(
        notice_runs.insert().values(
            id=run.id,
            kind=run.kind,
            is_promotional=run.is_promotional,
            facts=msgspec.json.encode(run.facts).decode(),
            audience=run.audience,
            state=run.state,
            position=run.position,
            created_at=run.created_at,
        )
    )


async def get_runs(connection: Connection, run_ids: Collection[str]) -> list[Run]:
    """
    Return the runs of these ids.
    """
    if not run_ids:
        return []
    rows = await connection.execute(select(notice_runs).where(notice_runs.c.id.in_(list(run_ids))))
    return [Run.from_row(row) for row in rows]


async def get_run(connection: Connection, run_id: str, *, lock: bool = False) -> Run | None:
    """
    Return the run.
    """
    query = select(notice_runs).where(notice_runs.c.id == run_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return None if row is None else Run.from_row(row)


async def list_runs(connection: Connection, *, limit: int) -> list[Run]:
    """
    Return runs, latest first.
    """
    query = select(notice_runs).order_by(notice_runs.c.created_at.desc(), notice_runs.c.id).limit(limit)
    return [Run.from_row(row) for row in await connection.execute(query)]


async def add_to_audience(connection: Connection, run_id: str, user_ids: Sequence[UserId]) -> list[UserId]:
    """
    Say that a run is for these users; return those whom there are not, or no more.
    """
    query = select(users.c.id).where(users.c.id.in_(list(user_ids)), users.c.state == "active")
    known = set((await connection.execute(query)).scalars())
    if known:
        await connection.execute(
            _LISTED[connection.dialect.name],
            [{"run_id": run_id, "user_id": user_id} for user_id in sorted(known)],
        )
    return [user_id for user_id in user_ids if user_id not in known]


async def next_users(connection: Connection, run: Run, *, limit: int) -> list[UserId]:
    """
    Return the next users whom a run is to tell, in the order of ids; those who came after it are not among them.
    """
    query: Select[Any]
    if run.audience == "all":
        query = select(users.c.id).where(
            users.c.id > run.position, users.c.state == "active", users.c.created_at <= run.created_at
        )
        query = query.order_by(users.c.id)
    else:
        query = select(notice_audiences.c.user_id).where(
            notice_audiences.c.run_id == run.id, notice_audiences.c.user_id > run.position
        )
        query = query.order_by(notice_audiences.c.user_id)
    return [UserId(user_id) for user_id in (await connection.execute(query.limit(limit))).scalars()]


async def end_run(connection: Connection, run_id: str, *, at: int) -> None:
    """
    Note that all whom a run was for were told; whom it was for is forgotten, for their notices say it.
    """
    await connection.execute(delete(notice_audiences).where(notice_audiences.c.run_id == run_id))
    await connection.execute(
        update(notice_runs).where(notice_runs.c.id == run_id).values(state="done", ended_at=at)
    )


async def move_run(connection: Connection, run_id: str, position: UserId) -> None:
    """
    Note how far a run has come.
    """
    await connection.execute(update(notice_runs).where(notice_runs.c.id == run_id).values(position=position))


async def start_run(connection: Connection, run_id: str) -> None:
    """
    Note that it is said for whom a run is, and that they are to be told.
    """
    await connection.execute(update(notice_runs).where(notice_runs.c.id == run_id).values(state="running"))
