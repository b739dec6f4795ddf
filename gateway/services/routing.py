"""
Where a user's new recordings go: at home, to accounts that he linked, or both.
"""

from collections.abc import Collection
from typing import Final, Literal

from gateway.api import BlobKey, new_blob_key
from gateway.base.clock import Clock
from gateway.base.ids import RecordingId, UserId
from gateway.catalog.links import links_of
from gateway.catalog.placements import insert_placement
from gateway.catalog.routes import Route, get_route, put_route, users_with_routes
from gateway.catalog.users import User, lock_active_user
from gateway.database import Connection, Database
from gateway.services.accounts import refuse_leaving
from gateway.services.errors import InvalidField, NotFound
from gateway.services.places import HOME

DefaultRoute = Literal["home", "home-and-links", "links"]

MOST_TARGETS: Final = 16


async def route_in_force(connection: Connection, user_id: UserId, default: DefaultRoute) -> Route:
    """
    Return the user's own route or the default, without accounts that are linked no more.

    A recording always has a place: without any target it stays at home.
    """
    chosen = await get_route(connection, user_id)
    if chosen is None and default == "home":
        return Route()
    linked = [link.id for link in await links_of(connection, user_id)]
    if chosen is None:
        chosen = Route(keeps_home=default != "links", targets=tuple(linked[:MOST_TARGETS]))
    targets = tuple(target for target in chosen.targets if target in linked)
    return Route(chosen.keeps_home or not targets, targets, chosen.falls_over)


async def routes_in_force(
    connection: Connection, user_ids: Collection[UserId], default: DefaultRoute
) -> dict[UserId, Route]:
    """
    Return the route of each of the users, as `route_in_force` does.
    """
    chosen = await users_with_routes(connection, user_ids)
    return {
        user_id: await route_in_force(connection, user_id, default)
        if user_id in chosen or default != "home"
        else Route()
        for user_id in user_ids
    }


def places_of(route: Route) -> list[tuple[str, BlobKey]]:
    """
    Return where a new recording is to go: first home, and from there to where *route* says; each with a fresh blob key.
    """
    copies = route.targets[:1] if route.falls_over else route.targets
    return [(place, new_blob_key()) for place in (HOME, *copies)]


async def insert_placements(
    connection: Connection, recording_id: RecordingId, user_id: UserId, *, default: DefaultRoute, at: int
) -> None:
    """
    Note where a new recording is to go.
    """
    for place, blob_key in places_of(await route_in_force(connection, user_id, default)):
        await insert_placement(connection, recording_id, backend=place, blob_key=blob_key, at=at)


class RoutingService:
    """
    Tells and changes routes.
    """

    def __init__(self, catalog_db: Database, clock: Clock, *, default: DefaultRoute) -> None:
        self._catalog = catalog_db
        self._clock = clock
        self._default: DefaultRoute = default

    async def route_of(self, user: User) -> Route:
        """
        Return the route that the user's next recording takes.
        """
        async with self._catalog.read() as connection:
            return await route_in_force(connection, user.id, self._default)

    async def choose(self, user: User, route: Route) -> Route:
        """
        Keep *route* as the user's own; it holds for recordings from now on.

        Raises:
            Leaving: the user is about to be erased.
            InvalidField: a target is none of his linked accounts or stands twice, or there would be no place at all.
        """
        refuse_leaving(user)
        if len(route.targets) > MOST_TARGETS:
            raise InvalidField("copies", f"names more than {MOST_TARGETS} links")
        if len(set(route.targets)) < len(route.targets):
            raise InvalidField("copies", "names a link twice")
        if not route.keeps_home and not route.targets:
            raise InvalidField("home", "cannot be false where no copies are kept elsewhere")
        async with self._catalog.write() as connection:
            if not await lock_active_user(connection, user.id):
                raise NotFound("there is no such user any more")
            linked = {link.id for link in await links_of(connection, user.id)}
            for target in route.targets:
                if target not in linked:
                    raise InvalidField("copies", f"{target[:80]!r} is none of your links")
            await put_route(connection, user.id, route, at=self._clock.now_ms())
        return route
