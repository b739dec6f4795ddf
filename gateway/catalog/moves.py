"""
Moves: all of a user's recordings from one place to another, and how far that has come.
"""

from dataclasses import dataclass
from typing import Self

from sqlalchemy import Row, select, update

from gateway.base.ids import UserId
from gateway.catalog.tables import moves
from gateway.database import Connection


@dataclass(frozen=True, slots=True)
class Move:
    """
    One move; times are Unix ms.

    Attributes:
        source, target: "home", or the id of a link.
        state: running, done or stopped.
        position: the last recording that was moved.
        unlinks: whether the source is unlinked at the end.
    """

    id: str
    user_id: UserId
    source: str
    target: str
    state: str
    total: int
    done: int
    position: str | None
    created_at: int
    ended_at: int | None
    unlinks: bool = False

    @classmethod
    def from_row(cls, row: Row[tuple[object, ...]]) -> Self:
        return cls(
            id=row.id,
            user_id=UserId(row.user_id),
            source=row.source,
            target=row.target,
            state=row.state,
            total=row.total,
            done=row.done,
            position=row.position,
            created_at=row.created_at,
            ended_at=row.ended_at,
            unlinks=row.unlinks,
        )


async def insert_move(connection: Connection, move: Move) -> None:
    """
    Add *move*.
    """
    await connection.execute(
        moves.insert().values(
            id=move.id,
            user_id=move.user_id,
            source=move.source,
            target=move.target,
            state=move.state,
            total=move.total,
            done=move.done,
            position=move.position,
            created_at=move.created_at,
            ended_at=move.ended_at,
            unlinks=move.unlinks,
        )
    )


async def get_move(connection: Connection, move_id: str) -> Move | None:
    """
    Return the move.
    """
    row = (await connection.execute(select(moves).where(moves.c.id == move_id))).one_or_none()
    return None if row is None else Move.from_row(row)


async def moves_of(connection: Connection, user_id: UserId, *, state: str | None = None) -> list[Move]:
    """
    Return the user's moves, latest first, all or those in *state*.
    """
    query = (
        select(moves).where(moves.c.user_id == user_id).order_by(moves.c.created_at.desc(), moves.c.id.desc())
    )
    if state is not None:
        query = query.where(moves.c.state == state)
    return [Move.from_row(row) for row in await connection.execute(query)]


async def advance_move(connection: Connection, move_id: str, *, position: str) -> None:
    """
    Note that one more recording was moved.
    """
    await connection.execute(
        update(moves)
        .where(moves.c.id == move_id, moves.c.state == "running")
        .values(done=moves.c.done + 1, position=position)
    )


async def end_move(connection: Connection, move_id: str, state: str, *, at: int) -> bool:
    """
    End a running move; False if it has ended already.
    """
    result = await connection.execute(
        update(moves)
        .where(moves.c.id == move_id, moves.c.state == "running")
        .values(state=state, ended_at=at)
    )
    return result.rowcount == 1


async def stop_moves_of(connection: Connection, user_id: UserId, *, at: int) -> None:
    """
    End every running move of the user.
    """
    await connection.execute(
        update(moves)
        .where(moves.c.user_id == user_id, moves.c.state == "running")
        .values(state="stopped", ended_at=at)
    )
