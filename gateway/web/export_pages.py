"""
Taking everything away: a person asks for a copy, sees how far it is, downloads and deletes it.
"""

from typing import Final

from aiohttp import web

from gateway.catalog.exports import ENDED, PREPARING
from gateway.http.authentication import Session
from gateway.http.context import context_of, path_id
from gateway.http.export_shapes import archive_address
from gateway.http.problems import status_of
from gateway.services.errors import Refused
from gateway.services.export_contents import INCLUDABLE
from gateway.web.forms import own_form, signed_in
from gateway.web.rendering import Renderer, see_other

_EXPORT: Final = "/account/export"
_LOOK_AGAIN_S: Final = 5
"""A page of an export that is being prepared loads itself anew after so long, without a script."""


class ExportPages:
    """
    The page of exports, and what its forms lead to.
    """

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def add_to(self, app: web.Application) -> None:
        """
        Add the addresses.
        """
        app.router.add_get(_EXPORT, signed_in(self.show))
        app.router.add_post(_EXPORT, signed_in(self.ask))
        app.router.add_post(f"{_EXPORT}/{{id}}/delete", signed_in(self.end))

    async def show(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Show the exports there are.
        """
        return await self._page(request, session)

    async def ask(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Ask for one.
        """
        form = await own_form(request, session)
        include = [name for name in INCLUDABLE if form.is_ticked(name)]
        try:
            await context_of(request).exports.ask(session.user, include)
        except Refused as error:
            return await self._page(request, session, error=error)
        return see_other(_EXPORT)

    async def end(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Delete one before its time.
        """
        await own_form(request, session)
        await context_of(request).exports.end(session.user, str(path_id(request, "export")))
        return see_other(_EXPORT)

    async def _page(
        self, request: web.Request, session: Session, *, error: Refused | None = None
    ) -> web.Response:
        context = context_of(request)
        exports = await context.exports.list_of(session.user)
        views = [
            await context.exports.get(session.user, export.id) for export in exports if export.state != ENDED
        ]
        response = self._renderer.page(
            "exports.html",
            status=200 if error is None else status_of(error),
            session=session,
            error=error,
            views=views,
            address=archive_address,
            may_ask=len(views) < context.settings.exports.at_once,
            lifetime_s=context.settings.exports.lifetime_s,
        )
        if any(view.export.state == PREPARING for view in views) and error is None:
            response.headers["Refresh"] = str(_LOOK_AGAIN_S)
        return response
