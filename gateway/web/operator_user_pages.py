"""
The operators' pages about users: that there is one, what is known about him, what of his must stay.
"""

import uuid
from datetime import UTC, datetime
from typing import Final, get_args

from aiohttp import web

from gateway.base.ids import RecordingId, UserId
from gateway.http.context import context_of, path_id
from gateway.http.insight import recipient_name
from gateway.services.erasure import Basis
from gateway.services.errors import InvalidField
from gateway.services.holds import Cause
from gateway.services.operator_desk import Look
from gateway.web.forms import Form, own_form
from gateway.web.operator_gate import PATH, Desk, Gate, operating_of
from gateway.web.rendering import see_other

_USERS: Final = f"{PATH}/users"
_USER: Final = f"{_USERS}/{{id}}"
_HOLDS: Final = f"{PATH}/holds"
_WORD: Final = "erase"
"""What is typed by whoever means it."""


class OperatorUserPages:
    """
    Users and holds.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def add_to(self, app: web.Application) -> None:
        """
        Add the addresses.
        """
        gate = self._gate
        app.router.add_get(_USERS, gate.open_to("find-users", self.find))
        app.router.add_get(_USER, gate.open_to("find-users", self.show))
        app.router.add_post(f"{_USER}/look", gate.open_to("look-at-users", self.look))
        app.router.add_post(f"{_USER}/erase", gate.open_to("erase-users", self.erase))
        app.router.add_post(f"{_USER}/disclosures", gate.open_to("disclose", self.disclose))
        app.router.add_get(_HOLDS, gate.open_to("see-holds", self.holds))
        app.router.add_post(_HOLDS, gate.open_to("change-holds", self.place))
        app.router.add_post(f"{_HOLDS}/{{id}}/lift", gate.open_to("change-holds", self.lift))

    async def find(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Ask for a user's id, and go to him.
        """
        wanted = request.query.get("id", "").strip()
        if wanted:
            return see_other(f"{_USERS}/{_id('id', wanted)}")
        return self._gate.page("operator_users.html", desk, here="/users")

    async def show(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Show that there is a user, and how much he has.
        """
        return await self._user(request, desk)

    async def look(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Show what is known about a user, to whoever says why he looks.
        """
        form = await own_form(request, desk)
        look = await operating_of(request).desk.look(
            _user_id(request), by=desk.actor, reason=form.text("reason")
        )
        return await self._user(request, desk, look=look)

    async def erase(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Erase the account of a user, if the word was typed.
        """
        form = await own_form(request, desk)
        if form.text("word").lower() != _WORD:
            raise InvalidField("word", f"type {_WORD} to go on")
        basis = next((one for one in get_args(Basis) if one == form.text("basis")), None)
        if basis is None:
            raise InvalidField("basis", "is none of those offered")
        user_id = _user_id(request)
        erasure = context_of(request).erasure
        salt = await erasure.bury_account(user_id, by=desk.actor, basis=basis)
        await erasure.shred_account(user_id, salt=salt)
        return see_other(f"{_USERS}/{user_id}")

    async def disclose(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Note that something of a user's was given to somebody.
        """
        form = await own_form(request, desk)
        user_id = _user_id(request)
        await operating_of(request).disclosures.add(
            user_id,
            by=desk.actor,
            recipient=form.text("recipient"),
            what=form.text("what"),
            why=form.text("why"),
        )
        return see_other(f"{_USERS}/{user_id}?noted=1")

    async def holds(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Show what is held, without why: that is told where its user is looked at.
        """
        views = await operating_of(request).holds.list_holds()
        return self._gate.page(
            "operator_holds.html",
            desk,
            here="/holds",
            views=sorted(views, key=lambda view: (not view.is_active, -view.hold.created_at)),
            user=request.query.get("user", ""),
            may_change=desk.operator.may("change-holds"),
        )

    async def place(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Hold what a user has, or one recording of his.
        """
        form = await own_form(request, desk)
        recording = form.text("recording")
        await operating_of(request).holds.place(
            UserId(_id("user", form.text("user"))),
            Cause(reason=form.text("reason"), placed_by=desk.actor.id),
            by=desk.actor,
            recording_id=RecordingId(uuid.UUID(_id("recording", recording))) if recording else None,
            tells_user=form.is_ticked("tells_user"),
            ends_at=_end(form),
        )
        return see_other(_HOLDS)

    async def lift(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        End a hold.
        """
        await own_form(request, desk)
        await operating_of(request).holds.lift(request.match_info["id"], by=desk.actor)
        return see_other(_HOLDS)

    async def _user(self, request: web.Request, desk: Desk, *, look: Look | None = None) -> web.Response:
        context = context_of(request)
        facts = await operating_of(request).desk.facts_of(_user_id(request))
        operator = desk.operator
        return self._gate.page(
            "operator_user.html",
            desk,
            here="/users",
            facts=facts,
            look=look,
            word=_WORD,
            bases=get_args(Basis),
            may_look=operator.may("look-at-users"),
            may_erase=operator.may("erase-users"),
            may_disclose=operator.may("disclose"),
            disclosed=[(view, recipient_name(context, view)) for view in (look.disclosures if look else ())],
            is_noted="noted" in request.query,
            may_hold=operator.may("change-holds"),
        )


def _user_id(request: web.Request) -> UserId:
    return UserId(str(path_id(request, "user")))


def _id(field: str, text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise InvalidField(field, "is no id such as 56cbf801-4c04-40f0-9dd9-1cbc6dcaf09a") from None


def _end(form: Form) -> int | None:
    text = form.text("until")
    if not text:
        return None
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) * 1000
    except ValueError:
        raise InvalidField("until", "is no day such as 2027-01-31") from None
