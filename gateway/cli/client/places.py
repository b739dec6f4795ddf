"""
A user's linked accounts, his route, and his moves.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.cli.client.connection import Connection, connected

_LOOK_S: Final = 1.0


async def list_links(server: str, token: str) -> dict[str, Any]:
    """
    Return what is linked, and what can be.
    """
    async with connected(server, token) as connection:
        return await connection.ask("GET", "/v1/links")


async def begin_link(
    server: str, token: str, kind: str, settings: Mapping[str, Any], *, relink: str | None
) -> dict[str, Any]:
    """
    Begin to link an account; return the link, or where to go to allow it.
    """
    document = {"settings": dict(settings), **({} if relink is None else {"relink": relink})}
    async with connected(server, token) as connection:
        answer = await connection.submit("POST", f"/v1/links/{kind}", document)
    assert answer is not None
    return answer


async def wait_for_link(
    server: str, token: str, known: Mapping[str, str | None], *, kind: str
) -> dict[str, Any]:
    """
    Wait until an account of *kind* is linked that is not *known*, or was linked anew since; return it.

    *known* are the links of before by their ids, with the time when each was looked at.
    """
    async with connected(server, token) as connection:
        while True:
            for link in (await connection.ask("GET", "/v1/links"))["links"]:
                if link["kind"] == kind and known.get(link["id"], "") != link["checked_at"]:
                    return dict(link)
            await asyncio.sleep(_LOOK_S)


async def check_link(server: str, token: str, link_id: str) -> dict[str, Any]:
    """
    Have an account tried now; return the link.
    """
    async with connected(server, token) as connection:
        return await connection.ask("POST", f"/v1/links/{link_id}/check")


async def unlink(
    server: str, token: str, link_id: str, copies: str, follow: Callable[[Mapping[str, Any]], None]
) -> None:
    """
    Unlink an account; where recordings come home first, wait for that.
    """
    async with connected(server, token) as connection:
        async with connection.request("DELETE", f"/v1/links/{link_id}", query={"copies": copies}) as response:
            location = response.headers.get("Location")
        if location is not None:
            await _followed(connection, location, follow)


async def get_route(server: str, token: str) -> dict[str, Any]:
    """
    Return where new recordings go.
    """
    async with connected(server, token) as connection:
        return await connection.ask("GET", "/v1/route")


async def put_route(server: str, token: str, route: Mapping[str, Any]) -> dict[str, Any]:
    """
    Choose where new recordings go.
    """
    async with connected(server, token) as connection:
        answer = await connection.submit("PUT", "/v1/route", dict(route))
    assert answer is not None
    return answer


async def move(
    server: str, token: str, source: str, target: str, follow: Callable[[Mapping[str, Any]], None]
) -> dict[str, Any]:
    """
    Move all recordings, and return the move once it has ended.
    """
    async with connected(server, token) as connection:
        begun = await connection.submit("POST", "/v1/moves", {"source": source, "target": target})
        assert begun is not None
        return await _followed(connection, f"/v1/moves/{begun['id']}", follow)


async def _followed(
    connection: Connection, path: str, follow: Callable[[Mapping[str, Any]], None]
) -> dict[str, Any]:
    while True:
        document = await connection.ask("GET", path)
        follow(document)
        if document["state"] != "running":
            return document
        await asyncio.sleep(_LOOK_S)
