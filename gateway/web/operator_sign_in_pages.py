"""
The operators' way in and out: at their organisation's provider.
"""

from aiohttp import web

from gateway.http.context import context_of
from gateway.http.origins import origin_of
from gateway.http.problems import status_of
from gateway.http.public_address import public_url
from gateway.http.sessions import new_binding
from gateway.services.errors import ForeignForm, InvalidField, ProviderUnavailable, Refused
from gateway.web.forms import is_strangers, own_form, read_form, stranger_token
from gateway.web.operator_gate import (
    BINDING_COOKIE,
    PATH,
    SESSION_COOKIE,
    SIGN_IN,
    Desk,
    Gate,
    drop_cookie,
    operating_of,
    operator_of,
    set_cookie,
)
from gateway.web.rendering import see_other

CALLBACK = f"{PATH}/callback"


class OperatorSignInPages:
    """
    Signing operators in and out.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def add_to(self, app: web.Application) -> None:
        """
        Add the addresses.
        """
        app.router.add_get(SIGN_IN, self.show)
        app.router.add_post(SIGN_IN, self.begin)
        app.router.add_get(CALLBACK, self.come_back)
        app.router.add_post(f"{PATH}/sign-out", self._gate.open_to("see-health", self.sign_out))

    async def show(self, request: web.Request) -> web.StreamResponse:
        """
        Ask an operator to sign in; whoever is signed in goes on.
        """
        operating_of(request)
        if await operator_of(request) is not None:
            return see_other(PATH)
        return self._ask(request)

    async def begin(self, request: web.Request) -> web.StreamResponse:
        """
        Send the browser to the provider, bound to what it comes back with.
        """
        sign_in = operating_of(request).sign_in
        form = await read_form(request)
        binding = request.cookies.get(BINDING_COOKIE, "")
        if not is_strangers(form, binding):
            return self._ask(request, error=ForeignForm())
        try:
            consent = await sign_in.begin(redirect_uri=public_url(request) + CALLBACK, browser=binding)
        except ProviderUnavailable as error:
            return self._ask(request, error=error)
        return self._gate.onward(consent.authorize_url, "your organisation")

    async def come_back(self, request: web.Request) -> web.StreamResponse:
        """
        Take a browser back from the provider, and sign it in.
        """
        sign_in = operating_of(request).sign_in
        query, counts = request.query, context_of(request).people.counts

        async def count() -> None:
            await counts.count_failure(origin_of(request))

        try:
            try:
                if not query.get("state"):
                    raise InvalidField("state", "is missing")
                asked = await sign_in.asked(query["state"], request.cookies.get(BINDING_COOKIE))
            except Refused:
                await count()
                raise
            token, expires_at = await sign_in.finish(
                asked,
                code=query.get("code"),
                error=query.get("error"),
                issuer=query.get("iss"),
                on_refused=count,
            )
        except Refused as error:
            return self._ask(request, error=error)
        response = self._gate.onward(PATH, "the pages for operators")
        lifetime_s = (expires_at - context_of(request).people.clock.now_ms()) // 1000
        set_cookie(
            response, SESSION_COOKIE, token.reveal().decode(), lifetime_s=lifetime_s, samesite="Strict"
        )
        drop_cookie(response, BINDING_COOKIE)
        return response

    async def sign_out(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Sign the operator out.
        """
        await own_form(request, desk)
        await operating_of(request).sign_in.end(desk.operator)
        response = see_other(SIGN_IN)
        drop_cookie(response, SESSION_COOKIE)
        return response

    def _ask(self, request: web.Request, *, error: Refused | None = None) -> web.Response:
        status = 200 if error is None else status_of(error)
        binding = request.cookies.get(BINDING_COOKIE) or new_binding()
        page = self._gate.page(
            "operator_sign_in.html",
            None,
            status=status,
            error=error,
            form_token=stranger_token(binding),
            action=SIGN_IN,
        )
        if BINDING_COOKIE not in request.cookies:
            lifetime_s = operating_of(request).sign_in.attempt_lifetime_s
            # Lax: it has to come along when the provider sends the browser back.
            set_cookie(page, BINDING_COOKIE, binding, lifetime_s=lifetime_s, samesite="Lax")
        return page
