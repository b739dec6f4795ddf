"""
``/v1/me/audit`` and ``/v1/me/disclosures`` on the wire: what others did with a user's data.
"""

from typing import Annotated

import msgspec
from aiohttp import web

from gateway.base.wording import format_time
from gateway.http.authentication import authenticated
from gateway.http.context import Context, context_of
from gateway.http.documents import convert, json_response
from gateway.services.disclosures import DisclosureView

_PAGE = 50


class AuditQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """
    What is asked of the entries.
    """

    before: Annotated[int, msgspec.Meta(ge=1)] | None = None


class DisclosureQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """
    What is asked of the disclosures.
    """

    year: int | None = None


class AuditEntryDocument(msgspec.Struct, kw_only=True):
    """
    Something that somebody who runs this service did, and that concerns you.
    """

    number: int
    at: str
    """When, RFC 3339."""
    role: str
    """support, privacy, operator, or console: somebody with a shell on the machine."""
    action: str
    """Such as user.looked-at, hold.placed or token.made."""
    reason: str | None
    """Why, in his words, where he had to say it."""


class AuditPage(msgspec.Struct, kw_only=True):
    """
    Entries, newest first. Ask again with `before` while `next` is not null, even if a page is empty.
    """

    entries: list[AuditEntryDocument]
    next: int | None


class DisclosureDocument(msgspec.Struct, kw_only=True):
    """
    Something of yours that went to somebody else.
    """

    at: str
    """When it was noted, RFC 3339: what goes on is noted once in a year."""
    kind: str
    """cloud, sign-in, code or other."""
    recipient: str
    what: str
    why: str


class DisclosureList(msgspec.Struct, kw_only=True):
    """
    What of yours went to others, newest first.
    """

    year: int | None
    """The calendar year (UTC) that was asked for."""
    disclosures: list[DisclosureDocument]


async def list_audit(request: web.Request) -> web.Response:
    """
    List what people who run the service did that concerns the user.
    """
    user = await authenticated(request)
    query = convert(dict(request.query), AuditQuery, strict=False)
    audit = context_of(request).operating.audit
    views, onward = await audit.shown_to(user, before=query.before, limit=_PAGE)
    entries = [
        AuditEntryDocument(
            number=view.entry.sequence,
            at=format_time(view.entry.at),
            role=view.entry.role,
            action=view.entry.action,
            reason=view.reason,
        )
        for view in views
    ]
    return json_response(AuditPage(entries=entries, next=onward))


async def list_disclosures(request: web.Request) -> web.Response:
    """
    List what of the user's went to others.
    """
    user = await authenticated(request)
    query = convert(dict(request.query), DisclosureQuery, strict=False)
    context = context_of(request)
    found = await context.operating.disclosures.of(user, year=query.year)
    documents = [
        DisclosureDocument(
            at=format_time(view.at),
            kind=view.kind,
            recipient=recipient_name(context, view),
            what=view.what,
            why=view.why,
        )
        for view in found
    ]
    return json_response(DisclosureList(year=query.year, disclosures=documents))


def recipient_name(context: Context, view: DisclosureView) -> str:
    """
    Return what people call the recipient of a disclosure.
    """
    kind = context.links.kinds.get(view.recipient) if view.kind == "cloud" else None
    return view.recipient if kind is None else kind.title
