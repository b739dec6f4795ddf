"""
What people send with the pages' forms, and who may.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from urllib.parse import quote

from aiohttp import web
from multidict import MultiDictProxy

from gateway.http.authentication import CSRF_FIELD, HasForms, Session, is_own, session_of
from gateway.http.context import context_of
from gateway.http.sessions import BINDING_COOKIE
from gateway.services.errors import ForeignForm
from gateway.web.rendering import see_other

Page = Callable[[web.Request, Session], Awaitable[web.StreamResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Form:
    """
    The fields of a form, of which each is read as text.
    """

    fields: MultiDictProxy[str]

    def text(self, name: str) -> str:
        """
        Return the field, without the space around it; empty where it is not there.
        """
        return self.fields.get(name, "").strip()

    def texts(self, name: str) -> list[str]:
        """
        Return all fields of that name.
        """
        return list(self.fields.getall(name, []))

    def is_ticked(self, name: str) -> bool:
        """
        Tell whether a box is ticked.
        """
        return bool(self.text(name))


async def read_form(request: web.Request) -> Form:
    """
    Read a form; files in it are none of ours.
    """
    fields = await request.post()
    if any(not isinstance(value, str) for value in fields.values()):
        raise ForeignForm
    return Form(fields)  # type: ignore[arg-type]


async def own_form(request: web.Request, session: HasForms) -> Form:
    """
    Return the form that a page of this session sent.

    Raises:
        ForeignForm: it is another one's.
    """
    form = await read_form(request)
    if not is_own(session, form.text(CSRF_FIELD)):
        raise ForeignForm
    return form


def signed_in(page: Page) -> Handler:
    """
    Return a handler that shows *page* to whoever is signed in, and has others sign in first.
    """

    async def serve(request: web.Request) -> web.StreamResponse:
        session = await session_of(request)
        if session is None:
            onward = request.path_qs if request.method == "GET" else "/recordings"
            return see_other(f"/sign-in?next={quote(onward, safe='')}")
        if request.method == "GET":
            pressing = await context_of(request).notices.pressing_of(session.user)
            session = replace(session, pressing=pressing)
        return await page(request, session)

    return serve


def stranger_token(binding: str) -> str:
    """
    Return what the forms carry of somebody who is not signed in: made of the cookie that binds his attempt.
    """
    return hashlib.sha256(b"form\0" + binding.encode("utf-8", "replace")).hexdigest()


async def stranger_form(request: web.Request) -> Form:
    """
    Return the form that our page sent from this browser, before anybody signed in.

    Raises:
        ForeignForm: it is another one's.
    """
    form = await read_form(request)
    if not is_strangers(form, request.cookies.get(BINDING_COOKIE, "")):
        raise ForeignForm
    return form


def is_strangers(form: Form, binding: str) -> bool:
    """
    Tell whether our page sent *form* from the browser that has *binding* in its cookie.
    """
    told = form.text(CSRF_FIELD).encode("utf-8", "replace")
    return bool(binding) and hmac.compare_digest(told, stranger_token(binding).encode())
