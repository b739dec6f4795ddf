"""
``/v1/me`` on the wire: what is known about oneself, and leaving.
"""

from typing import Final

from aiohttp import web

from gateway.base.ids import UserId
from gateway.catalog.users import User
from gateway.http.authentication import authenticated, token_of
from gateway.http.context import context_of, path_id
from gateway.http.documents import decode, json_response, read_body
from gateway.http.me_shapes import MeEdit, asked_document, farewell_document, me_document
from gateway.http.problems import problem
from gateway.services.errors import InvalidField, NotFresh

_SWITCH: Final = {"true": True, "false": False}


async def get_me(request: web.Request) -> web.Response:
    """
    Tell what is known about the user.
    """
    return await _me(request, await authenticated(request))


async def edit_me(request: web.Request) -> web.Response:
    """
    Correct what is known about the user.
    """
    user = await authenticated(request)
    if request.content_type not in ("application/json", "application/merge-patch+json"):
        return problem(
            415,
            "unsupported-media-type",
            "Unsupported media type",
            "Content-Type is neither application/json nor application/merge-patch+json",
        )
    edit = decode(await read_body(request), MeEdit)
    await context_of(request).accounts.change_personal(user, edit.changes())
    return await _me(request, user)


async def leave(request: web.Request) -> web.Response:
    """
    Erase the user's account: after a while in which he may take that back, or now.
    """
    user = await authenticated(request)
    context = context_of(request)
    now = request.query.get("now", "false")
    if now not in _SWITCH:
        raise InvalidField("now", "is neither true nor false")
    if not _SWITCH[now] and context.leaving.has_cooling_off:
        leaving, salt = await context.leaving.ask(user)
        return json_response(asked_document(user, leaving, salt), status=202)
    await refuse_stale(request, token_of(request))
    farewell = await context.leaving.erase_now(user.id, wait_s=context.settings.keyring.receipt_wait_s)
    return json_response(farewell_document(farewell), status=200 if farewell.erasure.receipts else 202)


async def stay(request: web.Request) -> web.Response:
    """
    Take an erasure back.
    """
    user = await authenticated(request)
    await context_of(request).leaving.stay(user)
    return await _me(request, user)


async def get_farewell(request: web.Request) -> web.Response:
    """
    Tell what became of an account that was erased; needs no token, for nobody has one any more.
    """
    user_id = UserId(str(path_id(request, "account")))
    return json_response(farewell_document(await context_of(request).leaving.farewell_of(user_id)))


async def refuse_stale(request: web.Request, token: str) -> None:
    """
    Make sure that whoever has *token* signed in a short time ago.

    Raises:
        NotFresh: it is too long ago: somebody else may have found the device.
    """
    context = context_of(request)
    within_s = context.settings.leaving.fresh_sign_in_s
    if not await context.people.devices.is_fresh(token, within_s=within_s):
        raise NotFresh(
            f"for this one must have signed in within the last {within_s} seconds; sign in again and repeat it"
        )


async def _me(request: web.Request, user: User) -> web.Response:
    context = context_of(request)
    return json_response(
        me_document(user, await context.accounts.personal_of(user), await context.leaving.leaving_of(user.id))
    )
