"""
Signing in and out on the pages.
"""

from typing import Any, Final

from aiohttp import web

from gateway.http.auth import callback_url
from gateway.http.authentication import Session, session_of
from gateway.http.context import context_of
from gateway.http.origins import origin_of
from gateway.http.problems import status_of
from gateway.http.sessions import (
    ACCOUNT_PAGE,
    BINDING_COOKIE,
    bind_browser,
    forget_session,
    new_binding,
    sign_in_browser,
)
from gateway.services.errors import Refused, SignInGone, WrongCode
from gateway.services.returns import check_return
from gateway.services.ways import PHONE
from gateway.web.forms import Form, own_form, signed_in, stranger_form, stranger_token
from gateway.web.rendering import Renderer, see_other

_HOME: Final = "/recordings"


class SignInPages:
    """
    The way in, by a code or through a provider, and the way out.
    """

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def add_to(self, app: web.Application) -> None:
        """
        Add the addresses.
        """
        app.router.add_get("/sign-in", self.show)
        app.router.add_post("/sign-in/code", self.send_code)
        app.router.add_post("/sign-in/proof", self.check_code)
        app.router.add_post("/sign-in/with/{way}", self.go_to_provider)
        app.router.add_post("/sign-out", signed_in(self.sign_out))

    async def show(self, request: web.Request) -> web.StreamResponse:
        """
        Ask who it is; whoever is signed in goes on.
        """
        onward = _onward(request.query.get("next", ""))
        if await session_of(request) is not None:
            return see_other(onward)
        return self._ask(request, onward=onward)

    async def send_code(self, request: web.Request) -> web.StreamResponse:
        """
        Send a code, and ask for it.
        """
        form = await stranger_form(request)
        people = context_of(request).people
        number = form.text("number")
        try:
            sent = await people.codes.send(
                PHONE,
                number,
                channel="call" if form.is_ticked("by_call") else "sms",
                locale=None,
                origin=origin_of(request),
            )
        except Refused as error:
            return self._ask(request, form=form, error=error)
        return self._ask_code(request, form, attempt=sent.attempt, number=number)

    async def check_code(self, request: web.Request) -> web.StreamResponse:
        """
        Sign in whoever names the right code.
        """
        form = await stranger_form(request)
        people = context_of(request).people
        attempt, number = form.text("attempt"), form.text("number")
        try:
            try:
                proven = await people.codes.check(
                    PHONE, attempt, form.text("code"), origin=origin_of(request)
                )
            except (WrongCode, SignInGone):
                await people.counts.count_failure(origin_of(request))
                raise
            user, _ = await people.identities.enter(proven)
        except SignInGone as error:
            return self._ask(request, form=form, error=error)
        except Refused as error:
            return self._ask_code(request, form, attempt=attempt, number=number, error=error)
        response = see_other(ACCOUNT_PAGE if user.is_leaving else _onward(form.text("next")))
        await sign_in_browser(request, response, user, is_remembered=form.is_ticked("remember"))
        return response

    async def go_to_provider(self, request: web.Request) -> web.StreamResponse:
        """
        Send the browser to a provider, bound to what it comes back with.
        """
        form = await stranger_form(request)
        way = request.match_info["way"]
        consent = await context_of(request).people.consents.begin_for_browser(
            way,
            redirect_uri=callback_url(request, way),
            return_to=_onward(form.text("next")),
            browser=request.cookies[BINDING_COOKIE],
            is_remembered=form.is_ticked("remember"),
        )
        return self._renderer.onward(consent.authorize_url, context_of(request).people.ways.titles()[way])

    async def sign_out(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Sign this browser out.
        """
        await own_form(request, session)
        devices = context_of(request).people.devices
        device = await devices.device_of(session.token.reveal().decode())
        if device is not None:
            await devices.end(session.user, device, reason="signed-out")
        response = see_other("/sign-in")
        forget_session(response)
        return response

    def _ask(
        self,
        request: web.Request,
        *,
        onward: str | None = None,
        form: Form | None = None,
        error: Refused | None = None,
    ) -> web.Response:
        ways = list(context_of(request).people.ways)
        return self._stranger_page(
            request,
            "sign_in.html",
            error=error,
            has_codes=any(way.codes is not None for way in ways),
            providers=[way for way in ways if way.profile is not None],
            number="" if form is None else form.text("number"),
            remember=form is not None and form.is_ticked("remember"),
            onward=_onward(form.text("next")) if onward is None and form is not None else onward,
        )

    def _ask_code(
        self,
        request: web.Request,
        form: Form,
        *,
        attempt: str,
        number: str,
        error: Refused | None = None,
    ) -> web.Response:
        return self._stranger_page(
            request,
            "sign_in_code.html",
            error=error,
            attempt=attempt,
            number=number,
            remember=form.is_ticked("remember"),
            onward=_onward(form.text("next")),
        )

    def _stranger_page(
        self, request: web.Request, template: str, *, error: Refused | None, **values: Any
    ) -> web.Response:
        """
        Return a page for somebody who is not known yet, with the cookie that binds what he sends to this browser.
        """
        status = 200 if error is None else status_of(error)
        binding = request.cookies.get(BINDING_COOKIE) or new_binding()
        page = self._renderer.page(
            template, status=status, error=error, csrf=stranger_token(binding), **values
        )
        if BINDING_COOKIE not in request.cookies:
            bind_browser(page, binding, lifetime_s=context_of(request).settings.sign_in.attempt_lifetime_s)
        return page


def _onward(wanted: str) -> str:
    """
    Return the page of ours that was wanted, or the first one there is.
    """
    try:
        check_return(wanted, ())
    except Refused:
        return _HOME
    return wanted
