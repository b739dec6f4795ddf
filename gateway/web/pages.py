"""
The pages that anybody can read: ``/``, ``/docs``, and what all pages are dressed in.

None of these sets a cookie, runs a script or asks another host for anything, and the headers hold the browser to that.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.base.errors import GatewayError
from gateway.http.callbacks import CALLBACK_PAGE, CallbackPage
from gateway.http.context import context_of
from gateway.http.health import check
from gateway.http.problems import status_of
from gateway.http.routes import DESCRIPTION, Description
from gateway.services.errors import NotFound
from gateway.web.account_pages import AccountPages
from gateway.web.export_pages import ExportPages
from gateway.web.insight_pages import InsightPages
from gateway.web.notice_pages import NoticePages
from gateway.web.operator_audit_pages import OperatorAuditPages
from gateway.web.operator_count_pages import OperatorCountPages
from gateway.web.operator_gate import Gate
from gateway.web.operator_notice_pages import OperatorNoticePages
from gateway.web.operator_pages import OperatorPages
from gateway.web.operator_sign_in_pages import OperatorSignInPages
from gateway.web.operator_user_pages import OperatorUserPages
from gateway.web.policy_pages import PolicyPages
from gateway.web.recording_pages import RecordingPages
from gateway.web.reference import read_document
from gateway.web.rendering import READING, Renderer
from gateway.web.sign_in_pages import SignInPages
from gateway.web.storage_pages import StoragePages

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_API: Final = "/v1/"


def add_pages(app: web.Application) -> None:
    """
    Add the pages to an application that has the API's routes.
    """
    renderer = Renderer()
    pages = Pages(app[DESCRIPTION], renderer)
    app.router.add_get("/", pages.home)
    app.router.add_get("/docs", pages.docs)
    app.router.add_get("/static/{name}", pages.asset)
    app.router.add_get("/favicon.ico", pages.icon)
    app[CALLBACK_PAGE] = pages.linked
    SignInPages(renderer).add_to(app)
    RecordingPages(renderer).add_to(app)
    StoragePages(renderer).add_to(app)
    AccountPages(renderer).add_to(app)
    NoticePages(renderer).add_to(app)
    PolicyPages(renderer).add_to(app)
    ExportPages(renderer).add_to(app)
    InsightPages(renderer).add_to(app)
    gate = Gate(renderer)
    for operators in (
        OperatorSignInPages,
        OperatorPages,
        OperatorUserPages,
        OperatorCountPages,
        OperatorNoticePages,
        OperatorAuditPages,
    ):
        operators(gate).add_to(app)
    app.middlewares.append(_create_refusals(pages))


class Pages:
    """
    Renders pages.
    """

    def __init__(self, description: Description, renderer: Renderer) -> None:
        self._description = description
        self._docs = ""
        self._renderer = renderer

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
            response = web.Response(status=304, headers=READING)
        else:
            response = web.Response(text=self._docs, content_type="text/html", headers=READING)
            response.enable_compression()
        response.headers["ETag"] = f'W/"{etag}"'
        response.headers["Cache-Control"] = "no-cache"
        return response

    async def asset(self, request: web.Request) -> web.Response:
        """
        Give a file that a page refers to.
        """
        asset = self._renderer.assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        headers = {**READING, "Cache-Control": _FOR_GOOD}
        return web.Response(
            body=asset.content, content_type=asset.media_type, charset="utf-8", headers=headers
        )

    async def icon(self, request: web.Request) -> web.Response:
        """
        Send browsers that ask for the old name to the icon.
        """
        return web.Response(status=302, headers={"Location": self._renderer.assets.address("icon.svg")})

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

    def refused(self, error: GatewayError) -> web.Response:
        """
        Tell a person why something was not done.
        """
        return self._page("refused.html", status=status_of(error), reason=str(error))

    def _render_docs(self, document: dict[str, Any]) -> str:
        return self._renderer.templates.get_template("docs.html").render(reference=read_document(document))

    def _page(self, template: str, *, status: int, **values: Any) -> web.Response:
        return self._renderer.page(template, status=status, headers=READING, **values)


def _create_refusals(pages: Pages) -> Middleware:
    """
    Return a middleware that answers people with a page where something is not there, or is refused; programs get a problem.
    """

    @web.middleware
    async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
        is_for_people = "text/html" in request.headers.get("Accept", "") and not request.path.startswith(_API)
        try:
            return await handler(request)
        except (web.HTTPNotFound, NotFound):
            if not is_for_people:
                raise
            return pages.not_found()
        except GatewayError as error:
            if not is_for_people or status_of(error) >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            return pages.refused(error)

    return serve
