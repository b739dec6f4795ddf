"""
What others did with a person's data: who looked at it, and to whom it went.
"""

from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from gateway.http.authentication import Session
from gateway.http.context import context_of
from gateway.http.insight import recipient_name
from gateway.services.errors import InvalidField
from gateway.web.forms import signed_in
from gateway.web.rendering import Renderer

_PAGE: Final = 50
DONE: Final = {
    "user.looked-at": "Looked at what is known about you",
    "user.added": "Made your account",
    "user.erasure-asked": "Asked for your account to be erased",
    "user.erasure-taken-back": "Took back that your account is about to be erased",
    "token.made": "Made a token that stands for you",
    "tokens.revoked": "Ended all tokens that stood for you",
    "hold.placed": "Placed a legal hold on what you have",
    "hold.lifted": "Lifted a legal hold on what you have",
    "disclosure.added": "Noted that something of yours was given to somebody",
}
ROLES: Final = {
    "support": "Support",
    "privacy": "Privacy officer",
    "operator": "Operator",
    "console": "An administrator of the machine",
}


class InsightPages:
    """
    Who looked, and to whom it went.
    """

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def add_to(self, app: web.Application) -> None:
        """
        Add the addresses.
        """
        app.router.add_get("/account/looks", signed_in(self.looks))
        app.router.add_get("/account/disclosures", signed_in(self.disclosures))

    async def looks(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Show what people who run the service did that concerns this person.
        """
        before = _number(request, "before")
        audit = context_of(request).operating.audit
        views, onward = await audit.shown_to(session.user, before=before, limit=_PAGE)
        return self._renderer.page(
            "looks.html",
            session=session,
            views=views,
            done=DONE,
            roles=ROLES,
            onward=onward,
            is_first=before is None,
        )

    async def disclosures(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Show what of this person's went to others, in a year or ever.
        """
        context = context_of(request)
        year = _number(request, "year")
        found = await context.operating.disclosures.of(session.user, year=year)
        first = _year(session.user.created_at)
        return self._renderer.page(
            "disclosures.html",
            session=session,
            found=[(view, recipient_name(context, view)) for view in found],
            year=year,
            years=range(_year(context.people.clock.now_ms()), first - 1, -1),
        )


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name, "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise InvalidField(name, "is no whole number")
    return int(text)


def _year(ms: int) -> int:
    return datetime.fromtimestamp(ms / 1000, UTC).year
