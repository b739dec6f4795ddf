"""
The operators' pages about what operators did: to read it, to check it, to keep a signed head of it.
"""

import json
from typing import Final

from aiohttp import web

from gateway.keyring import LogHead, read_head_document
from gateway.keyring.errors import HeadInvalid
from gateway.services.errors import InvalidField, NotFound
from gateway.web.forms import own_form
from gateway.web.operator_gate import PATH, Desk, Gate, operating_of

_AUDIT: Final = f"{PATH}/audit"
_PAGE: Final = 50


class OperatorAuditPages:
    """
    The audit log.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def add_to(self, app: web.Application) -> None:
        """
        Add the addresses.
        """
        app.router.add_get(_AUDIT, self._gate.open_to("read-audit", self.show))
        app.router.add_post(f"{_AUDIT}/verify", self._gate.open_to("check-audit", self.verify))
        app.router.add_post(f"{_AUDIT}/head", self._gate.open_to("check-audit", self.head))

    async def show(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Show entries, newest first.
        """
        operating = operating_of(request)
        told = request.query.get("before", "")
        before = int(told) if told.isascii() and told.isdigit() and len(told) < 16 else None
        views = await operating.audit.page(before=before, limit=_PAGE)
        names = await operating.sign_in.names({view.entry.actor for view in views})
        return self._gate.page(
            "operator_audit.html",
            desk,
            here="/audit",
            views=views,
            names=names,
            onward=views[-1].entry.sequence if len(views) == _PAGE else None,
            is_first=before is None,
            may_check=desk.operator.may("check-audit"),
        )

    async def verify(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Check the whole log, beside a head that somebody kept if he shows one.
        """
        form = await own_form(request, desk)
        text = form.text("head")
        report = await operating_of(request).audit_check.run(pinned=[_head(text)] if text else [])
        return self._gate.page("operator_audit_checked.html", desk, here="/audit", report=report)

    async def head(self, request: web.Request, desk: Desk) -> web.StreamResponse:
        """
        Sign how far the log has come, and give that as a file to keep.
        """
        await own_form(request, desk)
        audit = operating_of(request).audit
        await audit.note(desk.actor, "audit.head-given")
        signed = await audit.sign_head()
        if signed.head is None:
            raise NotFound("the audit log is empty")
        return web.Response(
            text=json.dumps(signed.head.document, indent=2, sort_keys=True) + "\n",
            content_type="application/json",
            headers={
                "Content-Disposition": f'attachment; filename="audit-head-{signed.head.sequence}.json"',
                "Cache-Control": "no-store",
            },
        )


def _head(text: str) -> LogHead:
    try:
        return read_head_document(json.loads(text))
    except (ValueError, HeadInvalid) as error:
        told = str(error) if isinstance(error, HeadInvalid) else "is no JSON"
        raise InvalidField("head", told) from None
