"""
The cookies of a browser: its session, and what binds an attempt to sign in to it. Both go to this host alone.
"""

import secrets
from typing import Final

from aiohttp import web

from gateway.catalog.users import User
from gateway.http.authentication import SESSION_COOKIE, session_of
from gateway.http.context import context_of

BINDING_COOKIE: Final = "__Host-signing-in"
"""Binds an attempt to sign in to the browser that began it."""
ACCOUNT_PAGE: Final = "/account"
"""Where a browser goes first whose user is about to be erased: there he can take that back."""


async def sign_in_browser(
    request: web.Request, response: web.StreamResponse, user: User, *, is_remembered: bool
) -> None:
    """
    Give the browser a new session: never one that it had before, for somebody else may have put that there.
    """
    people = context_of(request).people
    before = await session_of(request)
    if before is not None:
        device = await people.devices.device_of(before.token.reveal().decode())
        if device is not None:
            await people.devices.end(before.user, device, reason="signed-out")
    name = browser_name(request.headers.get("User-Agent", ""))
    signed_in = await people.devices.sign_in_browser(user, name=name, is_remembered=is_remembered)
    lifetime_s = (signed_in.expires_at - people.clock.now_ms()) // 1000
    _set(
        response,
        SESSION_COOKIE,
        signed_in.token.reveal().decode(),
        max_age=lifetime_s if is_remembered else None,
    )
    forget_binding(response)


def forget_session(response: web.StreamResponse) -> None:
    """
    Have the browser drop its session's cookie.
    """
    response.del_cookie(SESSION_COOKIE, path="/", secure=True, httponly=True, samesite="Lax")


def new_binding() -> str:
    """
    Return a secret that a browser's attempt to sign in can be bound to.
    """
    return secrets.token_urlsafe(32)


def bind_browser(response: web.StreamResponse, binding: str, *, lifetime_s: int) -> None:
    """
    Give the browser what its attempt to sign in is bound to.
    """
    _set(response, BINDING_COOKIE, binding, max_age=lifetime_s)


def forget_binding(response: web.StreamResponse) -> None:
    """
    Have the browser drop what bound its attempt.
    """
    response.del_cookie(BINDING_COOKIE, path="/", secure=True, httponly=True, samesite="Lax")


def browser_name(user_agent: str) -> str:
    """
    Return what people call a browser that names itself so, such as ``Firefox on Linux``.
    """
    browsers = {"Edg/": "Edge", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
    systems = {
        "Android": "Android",
        "iPhone": "iPhone",
        "iPad": "iPad",
        "Windows": "Windows",
        "Mac OS X": "Mac",
        "Linux": "Linux",
    }
    browser = next((name for mark, name in browsers.items() if mark in user_agent), "A browser")
    system = next((name for mark, name in systems.items() if mark in user_agent), "")
    return f"{browser} on {system}" if system else browser


def _set(response: web.StreamResponse, name: str, value: str, *, max_age: int | None) -> None:
    response.set_cookie(name, value, max_age=max_age, path="/", secure=True, httponly=True, samesite="Lax")
