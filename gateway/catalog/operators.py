"""
Operators, who are no users, and where they are signed in.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import delete, select, update

from gateway.catalog.operator_tables import operator_sessions, operators
from gateway.database import Connection, insert_or_ignore


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """
    Somebody who runs the service; *sealed* is what he is called.
    """

    id: str
    look_up: bytes
    generation: int
    sealed: bytes
    at: int
    """When he signed in, Unix ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSession:
    """
    Where one is signed in; *sealed* is what his roles follow from.
    """

    token_hash: bytes
    operator_id: str
    sealed: bytes
    created_at: int
    expires_at: int


async def enter_operator(connection: Connection, operator: Operator, known_as: Collection[bytes]) -> str:
    """
    Note that an operator signs in, whom *known_as* may find; return his id, which is *operator*'s where he is new.
    """
    known = select(operators.c.id).where(operators.c.look_up.in_(list(known_as)))
    found = (await connection.execute(known)).scalar_one_or_none()
    if found is None:
        values = {
            "id": operator.id,
            "look_up": operator.look_up,
            "generation": operator.generation,
            "sealed": operator.sealed,
            "created_at": operator.at,
            "used_at": operator.at,
        }
        await connection.execute(insert_or_ignore(operators, connection.dialect.name).values(values))
        # Somebody may have been quicker.
        found = (await connection.execute(known)).scalar_one()
    # Found by an older look-up key, he is found by the newer from now on.
    now = {"used_at": operator.at, "look_up": operator.look_up, "generation": operator.generation}
    await connection.execute(update(operators).where(operators.c.id == found).values(now))
    return str(found)


async def sealed_names(connection: Connection, operator_ids: Collection[str]) -> dict[str, bytes]:
    """
    Return what these operators are called, sealed.
    """
    query = select(operators.c.id, operators.c.sealed).where(operators.c.id.in_(list(operator_ids)))
    return {row.id: row.sealed for row in await connection.execute(query)}


async def insert_session(connection: Connection, session: OperatorSession) -> None:
    """
    Add *session*, and forget those that have ended.
    """
    await connection.execute(
        delete(operator_sessions).where(operator_sessions.c.expires_at <= session.created_at)
    )
    await connection.execute(
        operator_sessions.insert().values(
            token_hash=session.token_hash,
            operator_id=session.operator_id,
            sealed=session.sealed,
            created_at=session.created_at,
            expires_at=session.expires_at,
        )
    )


async def get_session(connection: Connection, token_hash: bytes, *, at: int) -> OperatorSession | None:
    """
    Return the session, unless it has ended.
    """
    query = select(operator_sessions).where(
        operator_sessions.c.token_hash == token_hash, operator_sessions.c.expires_at > at
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    return OperatorSession(
        token_hash=row.token_hash,
        operator_id=row.operator_id,
        sealed=row.sealed,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )


async def delete_session(connection: Connection, token_hash: bytes) -> bool:
    """
    End a session; False if there is none.
    """
    result = await connection.execute(
        delete(operator_sessions).where(operator_sessions.c.token_hash == token_hash)
    )
    return result.rowcount == 1
