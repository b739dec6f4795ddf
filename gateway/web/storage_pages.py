"""
Where a person's recordings are kept: at home, in clouds that he links, or both; and moving them.
"""

from typing import Any, Final

from aiohttp import web

from gateway.catalog.routes import Route
from gateway.http.authentication import Session
from gateway.http.context import context_of, path_id
from gateway.http.links import CALLBACK, FAREWELLS
from gateway.http.problems import status_of
from gateway.http.public_address import public_url
from gateway.services.errors import InvalidField, NotFound, Refused
from gateway.services.link_kinds import LinkKind
from gateway.services.linking import Consent
from gateway.services.places import HOME
from gateway.web.forms import Form, own_form, signed_in
from gateway.web.rendering import Renderer, see_other

_STORAGE: Final = "/storage"
_HERE: Final = "This service"


class StoragePages:
    """
    Links, the route, and moves, on one page; and the form of a kind that is linked by settings.
    """

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def add_to(self, app: web.Application) -> None:
        """
        Add the addresses.
        """
        app.router.add_get(_STORAGE, signed_in(self.show))
        app.router.add_get(f"{_STORAGE}/link/{{kind}}", signed_in(self.ask_settings))
        app.router.add_post(f"{_STORAGE}/link/{{kind}}", signed_in(self.link))
        app.router.add_post(f"{_STORAGE}/links/{{id}}/check", signed_in(self.check))
        app.router.add_post(f"{_STORAGE}/links/{{id}}/unlink", signed_in(self.unlink))
        app.router.add_post(f"{_STORAGE}/route", signed_in(self.choose_route))
        app.router.add_post(f"{_STORAGE}/moves", signed_in(self.move))
        app.router.add_post(f"{_STORAGE}/moves/{{id}}/stop", signed_in(self.stop_move))

    async def show(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Show it all.
        """
        return await self._storage(request, session)

    async def ask_settings(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Ask for what linking a place of one's own takes.
        """
        return self._settings(self._kind(request), session)

    async def link(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Link an account, by its settings or by going to its provider.
        """
        form = await own_form(request, session)
        kind = self._kind(request)
        settings = _settings_of(kind, form)
        try:
            begun = await context_of(request).linking.begin(
                session.user,
                kind.name,
                redirect_uri=public_url(request) + CALLBACK,
                settings=settings,
                relink=form.text("relink") or None,
                return_to=_STORAGE,
            )
        except Refused as error:
            if kind.profile is None:
                return self._settings(kind, session, error=error, told=settings)
            return await self._storage(request, session, error=error)
        if isinstance(begun, Consent):
            return self._renderer.onward(begun.authorize_url, kind.title, session=session)
        return see_other(f"{_STORAGE}?saved=1")

    async def check(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Try a linked account now.
        """
        await own_form(request, session)
        try:
            await context_of(request).links.checked(session.user.id, str(path_id(request, "link")))
        except Refused as error:
            return await self._storage(request, session, error=error)
        return see_other(_STORAGE)

    async def unlink(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Unlink an account, having seen to what is stored there.
        """
        form = await own_form(request, session)
        copies = form.text("copies")
        try:
            if copies not in FAREWELLS:
                raise InvalidField("copies", "say what is to become of what is stored there")
            await context_of(request).moves.unlink(
                session.user, str(path_id(request, "link")), FAREWELLS[copies]
            )
        except Refused as error:
            return await self._storage(request, session, error=error)
        return see_other(f"{_STORAGE}?saved=1")

    async def choose_route(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Change where new recordings go.
        """
        form = await own_form(request, session)
        targets = [
            link_id
            for _, link_id in sorted(
                (form.text(f"order-{link_id}"), link_id) for link_id in form.texts("copy")
            )
        ]
        route = Route(
            keeps_home=form.is_ticked("home"), targets=tuple(targets), falls_over=form.is_ticked("falls_over")
        )
        try:
            await context_of(request).routing.choose(session.user, route)
        except Refused as error:
            return await self._storage(request, session, error=error)
        return see_other(f"{_STORAGE}?saved=1")

    async def move(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Begin to move all recordings.
        """
        form = await own_form(request, session)
        try:
            await context_of(request).moves.start(session.user, form.text("source"), form.text("target"))
        except Refused as error:
            return await self._storage(request, session, error=error)
        return see_other(_STORAGE)

    async def stop_move(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        End a move where it is.
        """
        await own_form(request, session)
        await context_of(request).moves.stop(session.user, str(path_id(request, "move")))
        return see_other(_STORAGE)

    def _kind(self, request: web.Request) -> LinkKind:
        kind = context_of(request).links.kinds.get(request.match_info["kind"])
        if kind is None:
            raise NotFound("there is no such kind of storage to be linked here")
        return kind

    def _settings(
        self,
        kind: LinkKind,
        session: Session,
        *,
        error: Refused | None = None,
        told: dict[str, Any] | None = None,
    ) -> web.Response:
        schema = kind.settings_schema()
        fields = [
            {
                "name": name,
                "title": name.replace("_", " ").capitalize(),
                "is_secret": bool(facts.get("writeOnly")),
                "is_tick": facts.get("type") == "boolean",
                "is_needed": name in schema["required"],
                "value": "" if facts.get("writeOnly") else str((told or {}).get(name, "")),
            }
            for name, facts in schema["properties"].items()
        ]
        return self._renderer.page(
            "link_settings.html",
            status=200 if error is None else status_of(error),
            session=session,
            error=error,
            kind=kind,
            fields=fields,
        )

    async def _storage(
        self, request: web.Request, session: Session, *, error: Refused | None = None
    ) -> web.Response:
        context = context_of(request)
        links = await context.links.all_of(session.user.id)
        route = await context.routing.route_of(session.user)
        titles = {
            HOME: _HERE,
            **{view.row.id: f"{view.title}{f' ({view.label})' if view.label else ''}" for view in links},
        }
        return self._renderer.page(
            "storage.html",
            status=200 if error is None else status_of(error),
            session=session,
            error=error,
            is_saved="saved" in request.query or "link" in request.query,
            links=links,
            kinds=list(context.links.kinds),
            route=route,
            ordered=sorted(
                links,
                key=lambda view: (
                    route.targets.index(view.row.id) if view.row.id in route.targets else len(route.targets)
                ),
            ),
            titles=titles,
            moves=(await context.moves.list_moves(session.user))[:10],
        )


def _settings_of(kind: LinkKind, form: Form) -> dict[str, Any]:
    """
    Read what a kind's form has; what is left empty is not said, so that linking anew keeps it as it was.
    """
    settings: dict[str, Any] = {}
    for name, facts in kind.settings_schema()["properties"].items():
        text = form.text(name)
        if facts.get("type") == "boolean":
            if text:
                settings[name] = text == "1"
        elif facts.get("type") in ("integer", "number") and text.isdecimal():
            settings[name] = int(text)
        elif text:
            settings[name] = text
    return settings
