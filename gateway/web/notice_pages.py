"""
What a person was told, and the link that ends promotional mail.
"""

from typing import Final

from aiohttp import web

from gateway.http.authentication import Session
from gateway.http.context import context_of, path_id
from gateway.web.forms import own_form, signed_in
from gateway.web.rendering import Renderer, see_other

_NOTICES: Final = "/notices"
_UNSUBSCRIBE: Final = "/unsubscribe/{token}"
_SHOWN: Final = 25


class NoticePages:
    """
    Notices, newest first, and unsubscribing.
    """

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def add_to(self, app: web.Application) -> None:
        """
        Add the addresses.
        """
        app.router.add_get(_NOTICES, signed_in(self.show))
        app.router.add_post(f"{_NOTICES}/read", signed_in(self.read_all))
        app.router.add_post(f"{_NOTICES}/{{id}}/read", signed_in(self.read))
        app.router.add_get(_UNSUBSCRIBE, self.ask_to_unsubscribe)
        app.router.add_post(_UNSUBSCRIBE, self.unsubscribe)

    async def show(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Show what the person was told.
        """
        context = context_of(request)
        page = await context.notices.page_of(session.user, limit=_SHOWN, cursor=request.query.get("cursor"))
        personal = await context.accounts.personal_of(session.user)
        return self._renderer.page(
            "notices.html",
            session=session,
            page=page,
            has_address=personal is not None and bool(personal.email),
            has_mail=bool(context.settings.mail.host),
        )

    async def read(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Note that the person has read a notice.
        """
        await own_form(request, session)
        await context_of(request).notices.mark_read(session.user, str(path_id(request, "notice")))
        return see_other(_NOTICES)

    async def read_all(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Note that the person has read all notices.
        """
        await own_form(request, session)
        await context_of(request).notices.mark_read(session.user)
        return see_other(_NOTICES)

    async def ask_to_unsubscribe(self, request: web.Request) -> web.StreamResponse:
        """
        Ask whoever followed the link: programs that look at links in mails follow it too.
        """
        token = request.match_info["token"]
        await context_of(request).preferences.check_token(token)
        return self._renderer.page("unsubscribe.html", token=token, is_done=False)

    async def unsubscribe(self, request: web.Request) -> web.StreamResponse:
        """
        End promotional mail, for whoever pressed the button here or in his mail program (RFC 8058).
        """
        token = request.match_info["token"]
        await context_of(request).preferences.unsubscribe(token)
        return self._renderer.page("unsubscribe.html", token=token, is_done=True)
