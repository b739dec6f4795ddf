"""
A person's account: how he signs in, where he is signed in, what is known about him.
"""

from typing import Final

from aiohttp import web

from gateway.base.ids import UserId
from gateway.http.auth import callback_url
from gateway.http.authentication import Session
from gateway.http.context import context_of, path_id
from gateway.http.me import refuse_stale
from gateway.http.origins import origin_of
from gateway.http.problems import status_of
from gateway.http.sessions import ACCOUNT_PAGE, BINDING_COOKIE, bind_browser, forget_session, new_binding
from gateway.services.errors import InvalidField, Refused
from gateway.services.ways import PHONE
from gateway.web.forms import own_form, signed_in
from gateway.web.rendering import Renderer, see_other

_ACCOUNT: Final = ACCOUNT_PAGE
_WORD: Final = "delete"
"""What is typed by whoever means it."""


class AccountPages:
    """
    The account, one page, and what its forms lead to.
    """

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def add_to(self, app: web.Application) -> None:
        """
        Add the addresses.
        """
        app.router.add_get(_ACCOUNT, signed_in(self.show))
        app.router.add_post(f"{_ACCOUNT}/personal", signed_in(self.change_personal))
        app.router.add_post(f"{_ACCOUNT}/mail", signed_in(self.change_mail))
        app.router.add_post(f"{_ACCOUNT}/identities/code", signed_in(self.send_code))
        app.router.add_post(f"{_ACCOUNT}/identities/proof", signed_in(self.join))
        app.router.add_post(f"{_ACCOUNT}/identities/with/{{way}}", signed_in(self.go_to_provider))
        app.router.add_post(f"{_ACCOUNT}/identities/{{id}}/remove", signed_in(self.leave))
        app.router.add_post(f"{_ACCOUNT}/devices/{{id}}/end", signed_in(self.end_device))
        app.router.add_post(f"{_ACCOUNT}/devices/end-others", signed_in(self.end_others))
        app.router.add_get(f"{_ACCOUNT}/delete", signed_in(self.ask_to_delete))
        app.router.add_post(f"{_ACCOUNT}/delete", signed_in(self.delete))
        app.router.add_post(f"{_ACCOUNT}/stay", signed_in(self.stay))
        app.router.add_get("/farewell/{id}", self.farewell)

    async def show(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Show the account.
        """
        return await self._account(request, session)

    async def change_personal(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Correct what is known.
        """
        form = await own_form(request, session)
        changes = {name: form.text(name) or None for name in ("name", "phone", "email")}
        try:
            await context_of(request).accounts.change_personal(session.user, changes)
        except InvalidField as error:
            return await self._account(request, session, error=error)
        return see_other(f"{_ACCOUNT}?saved=1")

    async def change_mail(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Change what mail the person wants.
        """
        form = await own_form(request, session)
        await context_of(request).preferences.set_promotional(session.user.id, form.is_ticked("promotional"))
        return see_other(f"{_ACCOUNT}?saved=1")

    async def send_code(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Send a code to another number that is to be joined.
        """
        form = await own_form(request, session)
        number = form.text("number")
        try:
            sent = await context_of(request).people.codes.send(
                PHONE, number, channel="sms", locale=None, origin=origin_of(request)
            )
        except Refused as error:
            return await self._account(request, session, error=error)
        return self._ask_code(session, attempt=sent.attempt, number=number)

    async def join(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Join a number whose code was named.
        """
        form = await own_form(request, session)
        people = context_of(request).people
        attempt, number = form.text("attempt"), form.text("number")
        try:
            proven = await people.codes.check(PHONE, attempt, form.text("code"), origin=origin_of(request))
            await people.identities.join(session.user, proven)
        except Refused as error:
            return self._ask_code(session, attempt=attempt, number=number, error=error)
        return see_other(f"{_ACCOUNT}?saved=1")

    async def go_to_provider(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Send the browser to a provider whose account is to be joined.
        """
        await own_form(request, session)
        people, way = context_of(request).people, request.match_info["way"]
        binding = request.cookies.get(BINDING_COOKIE) or new_binding()
        consent = await people.consents.begin_for_browser(
            way,
            redirect_uri=callback_url(request, way),
            return_to=f"{_ACCOUNT}?saved=1",
            browser=binding,
            joins_to=session.user.id,
        )
        page = self._renderer.onward(consent.authorize_url, people.ways.titles()[way], session=session)
        bind_browser(page, binding, lifetime_s=context_of(request).settings.sign_in.attempt_lifetime_s)
        return page

    async def leave(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Remove a way to sign in.
        """
        await own_form(request, session)
        try:
            await context_of(request).people.identities.leave(session.user, str(path_id(request, "identity")))
        except Refused as error:
            return await self._account(request, session, error=error)
        return see_other(f"{_ACCOUNT}?saved=1")

    async def end_device(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Sign a device out.
        """
        await own_form(request, session)
        await context_of(request).people.devices.end(session.user, str(path_id(request, "device")))
        return see_other(_ACCOUNT)

    async def end_others(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Sign all devices out but this one.
        """
        await own_form(request, session)
        devices = context_of(request).people.devices
        await devices.end_others(session.user, but=await devices.device_of(session.token.reveal().decode()))
        return see_other(_ACCOUNT)

    async def ask_to_delete(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Say what deleting the account means, and ask.
        """
        return self._ask_to_delete(request, session)

    async def delete(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Delete the account of whoever typed the word, in some days or at once; what he can show later is told now only.
        """
        form = await own_form(request, session)
        context = context_of(request)
        is_now = form.is_ticked("now") or not context.leaving.has_cooling_off
        try:
            if form.text("word").lower() != _WORD:
                raise InvalidField("word", f"type {_WORD} to go on")
            if is_now:
                await refuse_stale(request, session.token.reveal().decode())
                farewell = await context.leaving.erase_now(
                    session.user.id, wait_s=context.settings.keyring.receipt_wait_s
                )
                page = self._renderer.page("account_deleted.html", farewell=farewell)
            else:
                leaving, salt = await context.leaving.ask(session.user)
                page = self._renderer.page(
                    "account_leaving.html", leaving=leaving, account=session.user.id, salt=salt.hex()
                )
        except Refused as error:
            return self._ask_to_delete(request, session, error=error)
        forget_session(page)
        return page

    async def stay(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Take it back.
        """
        await own_form(request, session)
        await context_of(request).leaving.stay(session.user)
        return see_other(f"{_ACCOUNT}?stays=1")

    async def farewell(self, request: web.Request) -> web.StreamResponse:
        """
        Tell anybody who knows its id what became of an account.
        """
        user_id = UserId(str(path_id(request, "account")))
        farewell = await context_of(request).leaving.farewell_of(user_id)
        return self._renderer.page("account_deleted.html", farewell=farewell)

    def _ask_to_delete(
        self, request: web.Request, session: Session, *, error: Refused | None = None
    ) -> web.Response:
        context = context_of(request)
        return self._renderer.page(
            "delete_account.html",
            status=200 if error is None else status_of(error),
            session=session,
            word=_WORD,
            error=error,
            cooling_off_s=context.settings.leaving.cooling_off_s,
        )

    async def _account(
        self, request: web.Request, session: Session, *, error: Refused | None = None
    ) -> web.Response:
        context = context_of(request)
        people = context.people
        return self._renderer.page(
            "account.html",
            status=200 if error is None else status_of(error),
            session=session,
            error=error,
            is_saved="saved" in request.query,
            stays="stays" in request.query,
            leaving=await context.leaving.leaving_of(session.user.id),
            personal=await context.accounts.personal_of(session.user),
            identities=await people.identities.list_of(session.user),
            devices=await people.devices.list_of(session.user),
            this=await people.devices.device_of(session.token.reveal().decode()),
            ways=people.ways.titles(),
            providers=[way for way in people.ways if way.profile is not None],
            created_at=session.user.created_at,
            wants_promotional=await context.preferences.wants_promotional(session.user.id),
            has_mail=bool(context.settings.mail.host),
            in_force=await context.policies.in_force(),
            accepted=await context.policies.acceptances_of(session.user),
        )

    def _ask_code(
        self, session: Session, *, attempt: str, number: str, error: Refused | None = None
    ) -> web.Response:
        return self._renderer.page(
            "join_code.html",
            status=200 if error is None else status_of(error),
            session=session,
            error=error,
            attempt=attempt,
            number=number,
        )
