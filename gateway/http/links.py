"""
``/v1/links`` on the wire.
"""

import uuid
from typing import Final

from aiohttp import web
from yarl import URL

from gateway.http.authentication import authenticated
from gateway.http.callbacks import CALLBACK_PAGE, CallbackPage
from gateway.http.context import context_of, path_id
from gateway.http.documents import decode, json_response, read_body
from gateway.http.link_shapes import (
    LinkList,
    LinkRequest,
    consent_document,
    kind_document,
    link_document,
)
from gateway.http.problems import problem
from gateway.http.public_address import public_url
from gateway.services.errors import InvalidField
from gateway.services.linking import Consent, Linked
from gateway.services.moving import Farewell

CALLBACK: Final = "/v1/links/callback"
FAREWELLS: Final[dict[str, Farewell]] = {"home": "home", "leave": "leave", "delete": "delete"}


async def list_links(request: web.Request) -> web.Response:
    """
    List what the user linked and what he can link.
    """
    user = await authenticated(request)
    views = context_of(request).links
    return json_response(
        LinkList(
            links=[link_document(view) for view in await views.all_of(user.id)],
            kinds=[kind_document(kind) for kind in views.kinds],
        )
    )


async def begin_link(request: web.Request) -> web.Response:
    """
    Link an account, or say where its owner allows it.
    """
    user = await authenticated(request)
    body = await read_body(request)
    if body and request.content_type != "application/json":
        return problem(
            415, "unsupported-media-type", "Unsupported media type", "Content-Type is not application/json"
        )
    wanted = decode(body, LinkRequest) if body else LinkRequest()
    context = context_of(request)
    begun = await context.linking.begin(
        user,
        request.match_info["id"],
        redirect_uri=public_url(request) + CALLBACK,
        settings=wanted.settings,
        relink=None if wanted.relink is None else _link_id("relink", wanted.relink),
        return_to=wanted.return_to,
    )
    if isinstance(begun, Consent):
        return json_response(consent_document(begun), status=202)
    view = await context.links.one(user.id, begun.link.id)
    return json_response(link_document(view), status=201 if begun.is_new else 200)


async def finish_link(request: web.Request) -> web.Response:
    """
    Take the user back from the provider; whoever brings the state that was given out is believed.
    """
    query = request.query
    try:
        if "state" not in query:
            raise InvalidField("state", "is missing")
        linked = await context_of(request).linking.finish(
            state=query["state"], code=query.get("code"), error=query.get("error")
        )
        if linked.return_to is not None:
            return _sent_on(linked, linked.return_to)
        return request.app[CALLBACK_PAGE](await _page_of(request, linked))
    except Exception as error:  # noqa: BLE001 - a person gets a page, whatever it is
        return request.app[CALLBACK_PAGE](CallbackPage.of_failure("Not linked", error))


async def check_link(request: web.Request) -> web.Response:
    """
    Try a linked account now.
    """
    user = await authenticated(request)
    view = await context_of(request).links.checked(user.id, str(path_id(request, "link")))
    return json_response(link_document(view))


async def unlink(request: web.Request) -> web.Response:
    """
    End a link, having seen to what is stored there.
    """
    user = await authenticated(request)
    link_id = str(path_id(request, "link"))
    copies = request.query.get("copies", "home")
    if copies not in FAREWELLS or len(request.query.getall("copies", ())) > 1:
        raise InvalidField("copies", "is one of home, leave and delete")
    move = await context_of(request).moves.unlink(user, link_id, FAREWELLS[copies])
    if move is None:
        return web.Response(status=204)
    return web.Response(status=202, headers={"Location": f"/v1/moves/{move.id}", "Retry-After": "5"})


async def _page_of(request: web.Request, linked: Linked) -> CallbackPage:
    view = await context_of(request).links.one(linked.link.user_id, linked.link.id)
    return CallbackPage(
        status=200,
        title=f"{view.title} is linked",
        lead=f"The account is {view.label}." if view.label else "",
        advice=view.what_to_do or "You can close this page.",
    )


def _sent_on(linked: Linked, return_to: str) -> web.Response:
    told = {"link": linked.link.id, "state": linked.link.state}
    # A path stays a path: what stands in front of it the browser knows.
    target = str(URL(return_to).update_query(told))
    return web.Response(status=303, headers={"Location": target, "Referrer-Policy": "no-referrer"})


def _link_id(field: str, text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise InvalidField(field, "is no id of a link") from None
