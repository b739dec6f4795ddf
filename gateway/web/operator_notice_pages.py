"""
The operators' page about what users were told: how far each notice to many has come, and what became of its mails.
"""

from typing import Final

from aiohttp import web

from gateway.http.context import context_of, path_id
from gateway.web.forms import own_form
from gateway.web.operator_gate import PATH, Desk, Gate, operating_of
from gateway.web.rendering import see_other

_NOTICES: Final = f"{PATH}/notices"
_MOST: Final = 30


class OperatorNoticePages:
    """
    Notices to many. Whom they are for is not shown: that is a command's, `gateway notice show`.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def add_to(self, app: web.Application) -> None:
        """
        Add the addresses.
        """
        app.router.add_get(_NOTICES, self._gate.open_to("see-notices", self.show))
        app.router.add_post(f"{_NOTICES}/{{id}}/retry", self._gate.open_to("retry-notices", self.retry))

    async def show(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Show the latest.
        """
        told = request.query.get("retried", "")
        operating = operating_of(request)
        return self._gate.page(
            "operator_notices.html",
            desk,
            here="/notices",
            views=await operating.announcing.list_runs(limit=_MOST),
            most=_MOST,
            stuck=await operating.announcing.stuck_runs(),
            has_mail=bool(context_of(request).settings.mail.host),
            may_retry=desk.operator.may("retry-notices"),
            retried=int(told) if told.isascii() and told.isdigit() and len(told) < 10 else None,
        )

    async def retry(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Send the mails of one again that were given up.
        """
        await own_form(request, desk)
        operating = operating_of(request)
        view = await operating.announcing.get(str(path_id(request, "notice")))
        count = await operating.desk.retry_mails(view.run.id, by=desk.actor)
        return see_other(f"{_NOTICES}?retried={count}")
