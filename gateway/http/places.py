"""
``/v1/route`` and ``/v1/moves`` on the wire.
"""

from aiohttp import web

from gateway.catalog.routes import Route
from gateway.http import shapes
from gateway.http.authentication import authenticated
from gateway.http.context import context_of, path_id
from gateway.http.documents import decode, json_response, read_body


async def get_route(request: web.Request) -> web.Response:
    """
    Tell where the user's new recordings go.
    """
    user = await authenticated(request)
    return json_response(shapes.route_document(await context_of(request).routing.route_of(user)))


async def put_route(request: web.Request) -> web.Response:
    """
    Change where the user's new recordings go.
    """
    user = await authenticated(request)
    wanted = decode(await read_body(request), shapes.RouteDocument)
    route = Route(wanted.home, tuple(wanted.copies), wanted.falls_over)
    return json_response(shapes.route_document(await context_of(request).routing.choose(user, route)))


async def list_moves(request: web.Request) -> web.Response:
    """
    List the user's moves.
    """
    user = await authenticated(request)
    moves = await context_of(request).moves.list_moves(user)
    return json_response(shapes.MoveList(moves=[shapes.move_document(move) for move in moves]))


async def start_move(request: web.Request) -> web.Response:
    """
    Begin to move all of the user's recordings.
    """
    user = await authenticated(request)
    wanted = decode(await read_body(request), shapes.MoveRequest)
    move = await context_of(request).moves.start(user, wanted.source, wanted.target)
    response = json_response(shapes.move_document(move), status=202)
    response.headers["Location"] = f"/v1/moves/{move.id}"
    return response


async def get_move(request: web.Request) -> web.Response:
    """
    Tell how far a move has come.
    """
    user = await authenticated(request)
    move, trouble = await context_of(request).moves.get(user, str(path_id(request, "move")))
    return json_response(shapes.move_document(move, trouble=trouble))


async def stop_move(request: web.Request) -> web.Response:
    """
    End a move where it is.
    """
    user = await authenticated(request)
    move = await context_of(request).moves.stop(user, str(path_id(request, "move")))
    return json_response(shapes.move_document(move))
