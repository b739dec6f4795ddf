"""
The pages: ``/``, ``/docs``, and what they are dressed in.

No page sets a cookie, runs a script or asks another host for anything, and the headers hold the browser to that.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Middleware
from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway import __version__
from gateway.http.context import context_of
from gateway.http.health import check
from gateway.http.links import CALLBACK_PAGE, CallbackPage
from gateway.http.routes import DESCRIPTION, Description
from gateway.web.assets import Assets
from gateway.web.reference import mark_up, mark_up_line, read_document

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_API: Final = "/v1/"


def add_pages(app: web.Application) -> None:
    """
    Add the pages to an application that has the API's routes.
    """
    pages = Pages(app[DESCRIPTION])
    app.router.add_get("/", pages.home)
    app.router.add_get("/docs", pages.docs)
    app.router.add_get("/static/{name}", pages.asset)
    app.router.add_get("/favicon.ico", pages.icon)
    app[CALLBACK_PAGE] = pages.linked
    app.middlewares.append(_create_not_found(pages))


class Pages:
    """
    Renders pages.
    """

    def __init__(self, description: Description) -> None:
        self._description = description
        self._docs = ""
        self._assets = Assets.load()
        self._templates = Environment(
            loader=PackageLoader(__package__ or "gateway.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(version=__version__, asset=self._assets.address)
        self._templates.filters.update(mark_up=mark_up, mark_up_line=mark_up_line)

    async def home(self, request: web.Request) -> web.Response:
        """
        Say what this is and whether it is well.
        """
        problems = await check(context_of(request))
        return self._page("home.html", status=503 if problems else 200, problems=problems)

    async def docs(self, request: web.Request) -> web.Response:
        """
        Show the OpenAPI document to people.
        """
        if not self._docs:
            document = await self._description.document()
            self._docs = await asyncio.to_thread(self._render_docs, document)
        etag = hashlib.sha256(self._docs.encode()).hexdigest()[:16]
        if any(known.value in (etag, "*") for known in request.if_none_match or ()):
            response = web.Response(status=304, headers=SECURITY_HEADERS)
        else:
            response = _html(self._docs, 200)
            response.enable_compression()
        response.headers["ETag"] = f'W/"{etag}"'
        response.headers["Cache-Control"] = "no-cache"
        return response

    async def asset(self, request: web.Request) -> web.Response:
        """
        Give a file that a page refers to.
        """
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        headers = {**SECURITY_HEADERS, "Cache-Control": _FOR_GOOD}
        return web.Response(
            body=asset.content, content_type=asset.media_type, charset="utf-8", headers=headers
        )

    async def icon(self, request: web.Request) -> web.Response:
        """
        Send browsers that ask for the old name to the icon.
        """
        return web.Response(status=302, headers={"Location": self._assets.address("icon.svg")})

    def linked(self, page: CallbackPage) -> web.Response:
        """
        Tell a person who comes back from a provider what became of it.
        """
        return self._page("linked.html", status=page.status, page=page)

    def not_found(self) -> web.Response:
        """
        Tell a person that there is nothing here.
        """
        return self._page("not_found.html", status=404)

    def _render_docs(self, document: dict[str, Any]) -> str:
        return self._templates.get_template("docs.html").render(reference=read_document(document))

    def _page(self, template: str, *, status: int, **values: Any) -> web.Response:
        return _html(self._templates.get_template(template).render(values), status)


def _html(text: str, status: int) -> web.Response:
    return web.Response(
        status=status,
        text=text,
        content_type="text/html",
        headers=SECURITY_HEADERS,
    )


def _create_not_found(pages: Pages) -> Middleware:
    """
    Return a middleware that answers a browser that lost its way with a page; programs get their problem document.
    """

    @web.middleware
    async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPNotFound:
            is_for_people = "text/html" in request.headers.get("Accept", "")
            if not is_for_people or request.path.startswith(_API):
                raise
            return pages.not_found()

    return serve
