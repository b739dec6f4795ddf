"""
What is sent and answered about linked accounts, as JSON.
"""

from typing import Annotated, Any, Literal

import msgspec

from gateway.base.wording import format_time
from gateway.services.link_kinds import LinkKind
from gateway.services.link_views import LinkView
from gateway.services.linking import Consent

State = Literal["ok", "expiring", "revoked", "over_quota", "scope_missing", "misconfigured"]


class QuotaDocument(msgspec.Struct, kw_only=True):
    """
    How full an account was when the gateway last asked, in bytes.
    """

    used: int
    limit: int | None
    """Null where there is no limit."""


class LinkDocument(msgspec.Struct, kw_only=True):
    """
    A linked account.
    """

    id: str
    kind: str
    title: str
    """What people call that kind."""
    label: str | None
    """What its owner recognises the account by; null if what is kept of it is damaged."""
    state: State
    """
    ok: in use; expiring: what was allowed ends soon; revoked: it was withdrawn or has ended; over_quota: the account is
    full; scope_missing: not all that is needed was allowed; misconfigured: something is not set up as it should be.
    """
    reason: str | None
    """The code of the error that brought it into that state."""
    what_to_do: str | None
    """What its owner can do about the state, in a sentence for people; null where there is nothing to do."""
    settings: dict[str, Any]
    """What its owner said about a place of his own, without what is secret."""
    manage_url: str | None
    """Where its owner can end at the provider what he allowed."""
    created_at: str
    checked_at: str | None
    """When the state was last looked at."""
    quota: QuotaDocument | None
    """Null if it is not known."""


class LinkKindDocument(msgspec.Struct, kw_only=True):
    """
    A kind of storage that can be linked.
    """

    kind: str
    title: str
    by: Literal["consent", "settings"]
    """consent: linking answers with an address to go to; settings: it takes what `settings` describes."""
    settings: dict[str, Any] | None
    """A JSON Schema of what is to be given; what is `writeOnly` is never shown again. Null where nothing is."""


class LinkList(msgspec.Struct, kw_only=True):
    """
    What is linked, oldest first, and what can be.
    """

    links: list[LinkDocument]
    kinds: list[LinkKindDocument]


class LinkRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """
    What linking needs; every field may be absent.
    """

    settings: dict[str, Any] = {}
    """For kinds that are linked by settings."""
    relink: str | None = None
    """The id of a link that is to be linked anew; it keeps its id and what is stored there."""
    return_to: Annotated[str, msgspec.Meta(max_length=2000)] | None = None
    """Where the browser goes afterwards: a path here, or an address that the operator allows. Without it, a page says so."""


class ConsentDocument(msgspec.Struct, kw_only=True):
    """
    Where to go to allow it.
    """

    authorize_url: str
    """To be opened in the user's browser; not to be shown to anybody else."""
    expires_at: str
    """Until when the answer is waited for."""


def link_document(view: LinkView) -> LinkDocument:
    """
    Shape a link.
    """
    row = view.row
    return LinkDocument(
        id=row.id,
        kind=row.kind,
        title=view.title,
        label=view.label,
        state=msgspec.convert(row.state, State),
        reason=row.reason,
        what_to_do=view.what_to_do,
        settings=view.settings,
        manage_url=view.manage_url,
        created_at=format_time(row.created_at),
        checked_at=None if row.checked_at is None else format_time(row.checked_at),
        quota=None if view.quota is None else QuotaDocument(used=view.quota.used, limit=view.quota.limit),
    )


def kind_document(kind: LinkKind) -> LinkKindDocument:
    """
    Shape a kind.
    """
    by_settings = kind.profile is None
    return LinkKindDocument(
        kind=kind.name,
        title=kind.title,
        by="settings" if by_settings else "consent",
        settings=kind.settings_schema() if by_settings else None,
    )


def consent_document(consent: Consent) -> ConsentDocument:
    """
    Shape the way to a consent.
    """
    return ConsentDocument(authorize_url=consent.authorize_url, expires_at=format_time(consent.expires_at))
