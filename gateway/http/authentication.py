"""
Who sent a request: an app by its bearer token, or a browser by its session's cookie.

A browser sends its cookie with whatever any site has it send. So a request of a browser's that changes something carries the
session's own token besides (``X-CSRF-Token``, or a field of its form), which no other site can read; and the cookie is
SameSite=Lax, which keeps it out of most of these to begin with.
"""

import hmac
from dataclasses import dataclass
from typing import Final, Protocol

from aiohttp import web

from gateway.base.secret import Secret
from gateway.catalog.users import User
from gateway.http.context import context_of
from gateway.services.devices import SESSION_PREFIX, csrf_token
from gateway.services.errors import Unauthenticated
from gateway.services.notices import NoticeView

SESSION_COOKIE: Final = "__Host-session"
CSRF_FIELD: Final = "csrf"
CSRF_HEADER: Final = "X-CSRF-Token"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """
    Who a browser is signed in as, and what its forms carry.

    *pressing* is what its pages tell him until he has read it.
    """

    user: User
    token: Secret
    csrf: str
    pressing: NoticeView | None = None


async def authenticated(request: web.Request) -> User:
    """
    Return who sent the request.

    Raises:
        Unauthenticated: there is no bearer token and no session, or none that counts.
    """
    if "Authorization" not in request.headers and SESSION_COOKIE in request.cookies:
        session = await session_of(request)
        if session is None:
            raise Unauthenticated("this session has ended; sign in again")
        if request.method not in _SAFE and not is_own(session, request.headers.get(CSRF_HEADER)):
            raise Unauthenticated(f"send the session's token as {CSRF_HEADER}")
        return session.user
    token = token_of(request)
    if token.startswith(SESSION_PREFIX):
        raise Unauthenticated("this is a browser's session, and no token")
    return await context_of(request).accounts.authenticate(token)


def token_of(request: web.Request) -> str:
    """
    Return the token that the request came with: a bearer token, or else its session's.

    Raises:
        Unauthenticated: there is neither.
    """
    if "Authorization" not in request.headers and SESSION_COOKIE in request.cookies:
        return request.cookies[SESSION_COOKIE]
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("send Authorization: Bearer with a token")
    return token.strip()


async def session_of(request: web.Request) -> Session | None:
    """
    Return the browser's session, if it has one that counts.
    """
    token = request.cookies.get(SESSION_COOKIE, "")
    if not token.startswith(SESSION_PREFIX):
        return None
    try:
        user = await context_of(request).accounts.authenticate(token)
    except Unauthenticated:
        return None
    secret = Secret(token.encode())
    return Session(user=user, token=secret, csrf=csrf_token(secret))


class HasForms(Protocol):
    """
    A session whose forms carry a token.
    """

    @property
    def csrf(self) -> str: ...


def is_own(session: HasForms, told: str | None) -> bool:
    """
    Tell whether a request that changes something comes from a page of this session: by the token that it carries.
    """
    return told is not None and hmac.compare_digest(told.encode("utf-8", "replace"), session.csrf.encode())
