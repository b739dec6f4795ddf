"""
Who may see which of the operators' pages: their sessions, and the question that stands before each page.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from gateway.http.context import Operating, context_of
from gateway.http.problems import status_of
from gateway.services.devices import csrf_token
from gateway.services.errors import NoRole, Refused
from gateway.services.operator_sign_in import SignedInOperator
from gateway.services.roles import Actor, Permission
from gateway.web.rendering import ACTING, Renderer, see_other

PATH: Final = "/operator"
SIGN_IN: Final = f"{PATH}/sign-in"
SESSION_COOKIE: Final = "__Secure-operator"
BINDING_COOKIE: Final = "__Secure-operator-signing-in"
"""Both go to the operators' pages alone; binds an attempt to sign in to the browser that began it."""

OPERATING: Final = {
    **ACTING,
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
}
"""Of the operators' pages: they run no script at all."""

NAVIGATION: Final[tuple[tuple[str, str, Permission], ...]] = (
    ("", "Health", "see-health"),
    ("/jobs", "Work", "see-jobs"),
    ("/users", "Users", "find-users"),
    ("/holds", "Holds", "see-holds"),
    ("/notices", "Notices", "see-notices"),
    ("/retention", "Retention", "see-retention"),
    ("/counts", "Counts", "see-counts"),
    ("/audit", "Audit", "read-audit"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """
    An operator at a page: who he is, what his forms carry, and what he makes use of here.
    """

    operator: SignedInOperator
    csrf: str
    permission: Permission

    @property
    def actor(self) -> Actor:
        """
        What the audit log calls him.
        """
        return self.operator.acting(self.permission)


Page = Callable[[web.Request, Desk], Awaitable[web.StreamResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gate:
    """
    Stands before the operators' pages, and renders them.
    """

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def open_to(self, permission: Permission, page: Page) -> Handler:
        """
        Return a handler that shows *page* to operators who have *permission*; whoever else asks is written down.
        """

        async def serve(request: web.Request) -> web.StreamResponse:
            operating = operating_of(request)
            operator = await operator_of(request)
            if operator is None:
                return see_other(SIGN_IN)
            csrf = csrf_token(operator.token)
            desk = Desk(operator=operator, csrf=csrf, permission=permission)
            if not operator.may(permission):
                await operating.audit.note(desk.actor, "role.refused", facts={"permission": permission})
                return self.refused(desk, NoRole("your role does not go that far; this was written down"))
            try:
                return await page(request, desk)
            except Refused as error:
                if status_of(error) >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
                return self.refused(desk, error)

        return serve

    def page(
        self, template: str, desk: Desk | None, *, here: str = "", status: int = 200, **values: Any
    ) -> web.Response:
        """
        Return a page for *desk*, or for somebody who is not signed in.
        """
        links = [
            (PATH + path, title, path == here)
            for path, title, permission in NAVIGATION
            if desk is not None and desk.operator.may(permission)
        ]
        return self._renderer.page(
            template,
            status=status,
            headers=OPERATING,
            operator=None if desk is None else desk.operator,
            csrf=None if desk is None else desk.csrf,
            links=links,
            **values,
        )

    def refused(self, desk: Desk, error: Refused) -> web.Response:
        """
        Say why something was not done.
        """
        return self.page("operator_refused.html", desk, here="?", status=status_of(error), error=error)

    def onward(self, address: str, title: str) -> web.Response:
        """
        Send a browser on by a page: to a provider, for a form of ours may lead nowhere else itself; or home from there, for a
        cookie that is strict about where a request comes from is not sent along a redirect from elsewhere.
        """
        headers: Mapping[str, str] = {**OPERATING, "Referrer-Policy": "no-referrer"}
        return self._renderer.page("onward.html", headers=headers, address=address, title=title)


def operating_of(request: web.Request) -> Operating:
    """
    Return what operators work with.

    Raises:
        HTTPNotFound: there are no pages for operators here.
    """
    operating = context_of(request).operating
    if not operating.sign_in.is_on:
        raise web.HTTPNotFound
    return operating


async def operator_of(request: web.Request) -> SignedInOperator | None:
    """
    Return who is signed in here as an operator; a user's session counts for nothing.
    """
    return await context_of(request).operating.sign_in.session(request.cookies.get(SESSION_COOKIE, ""))


def set_cookie(
    response: web.StreamResponse, name: str, value: str, *, lifetime_s: int, samesite: str
) -> None:
    """
    Give the browser a cookie for the operators' pages alone.
    """
    response.set_cookie(
        name, value, max_age=lifetime_s, path=PATH, secure=True, httponly=True, samesite=samesite
    )


def drop_cookie(response: web.StreamResponse, name: str) -> None:
    """
    Have the browser drop one.
    """
    response.del_cookie(name, path=PATH, secure=True, httponly=True)
