"""
Which way a user's recordings go.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, delete, select

from gateway.base.ids import UserId
from gateway.catalog.tables import routes
from gateway.database import Connection


@dataclass(frozen=True, slots=True)
class Route:
    """
    Where new recordings of a user are kept.

    Attributes:
        keeps_home: whether the operator's copy stays; if not, it goes once the copies are where they should be.
        targets: ids of links, first choice first.
        falls_over: one copy, at the first of *targets* that takes it; otherwise a copy at each of them.
    """

    keeps_home: bool = True
    targets: tuple[str, ...] = ()
    falls_over: bool = False


async def get_route(connection: Connection, user_id: UserId) -> Route | None:
    """
    Return the route that the user chose, or None if he chose none.
    """
    row = (await connection.execute(select(routes).where(routes.c.user_id == user_id))).one_or_none()
    return None if row is None else Route(row.keeps_home, tuple(row.targets.split()), row.falls_over)


async def users_with_routes(connection: Connection, user_ids: Collection[UserId]) -> set[UserId]:
    """
    Return those of the users who chose a route.
    """
    found = await connection.execute(_WITH_ROUTES, {"user_ids": list(user_ids)})
    return {UserId(user_id) for user_id in found.scalars()}


_WITH_ROUTES: Final = select(routes.c.user_id).where(
    routes.c.user_id.in_(bindparam("user_ids", expanding=True))
)


async def put_route(connection: Connection, user_id: UserId, route: Route, *, at: int) -> None:
    """
    Store the user's choice in place of the one before. The caller holds the user's row.
    """
    await connection.execute(delete(routes).where(routes.c.user_id == user_id))
    await connection.execute(
        routes.insert().values(
            user_id=user_id,
            keeps_home=route.keeps_home,
            falls_over=route.falls_over,
            targets=" ".join(route.targets),
            updated_at=at,
        )
    )


async def delete_route(connection: Connection, user_id: UserId) -> None:
    """
    Forget the user's choice.
    """
    await connection.execute(delete(routes).where(routes.c.user_id == user_id))
