"""
What is sent and answered about notices, mail and the policy, as JSON.
"""

import msgspec

from gateway.base.wording import format_time
from gateway.catalog.notices import MailState
from gateway.catalog.policies import Policy, PolicyFormat
from gateway.services.notices import NoticePage, NoticeView
from gateway.services.policies import Acceptance


class NoticeDocument(msgspec.Struct, kw_only=True):
    """
    Something that the user was told.
    """

    id: str
    kind: str
    """policy, breach, transfer, announcement, expiring, link-ending, link-trouble, unused; others may come."""
    title: str | None
    """None, as is the text, where it cannot be read."""
    text: str | None
    """Markdown."""
    created_at: str
    read_at: str | None
    mail: MailState
    """none: not by e-mail; queued; sent: a mail server took it; refused; given-up: none took it for days."""


class NoticeList(msgspec.Struct, kw_only=True):
    """
    Some notices, newest first. Ask again with `cursor` while `next` is not null.
    """

    notices: list[NoticeDocument]
    next: str | None


class NoticeQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """
    Which notices are wanted.
    """

    limit: int = 50
    cursor: str | None = None


class MailPreferencesDocument(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """
    What mail the user wants, besides what is about his account, which always comes.
    """

    promotional: bool
    """Off until asked for."""


class PolicyDocument(msgspec.Struct, kw_only=True):
    """
    One version of the operator's policy; it never changes.
    """

    version: int
    format: PolicyFormat
    """Of the text: markdown or text."""
    text: str
    published_at: str
    effective_at: str
    is_in_force: bool


class PolicySummary(msgspec.Struct, kw_only=True):
    """
    A version of the policy without its text.
    """

    version: int
    published_at: str
    effective_at: str
    is_in_force: bool


class PolicyList(msgspec.Struct, kw_only=True):
    """
    Every version of the policy, latest first; none where the operator published none.
    """

    policies: list[PolicySummary]


class AcceptanceRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """
    The version that the user accepts.
    """

    version: int


class AcceptanceDocument(msgspec.Struct, kw_only=True):
    """
    That the user accepted a version.
    """

    version: int
    accepted_at: str


class AcceptanceList(msgspec.Struct, kw_only=True):
    """
    What the user accepted, latest first.
    """

    accepted: list[AcceptanceDocument]
    in_force: int | None
    """The version that is in force now, if there is one."""


def notice_document(view: NoticeView) -> NoticeDocument:
    """
    Shape a notice.
    """
    notice = view.notice
    return NoticeDocument(
        id=notice.id,
        kind=notice.kind,
        title=None if view.text is None else view.text.title,
        text=None if view.text is None else view.text.plain,
        created_at=format_time(notice.created_at),
        read_at=None if notice.read_at is None else format_time(notice.read_at),
        mail=notice.mail_state,
    )


def notice_list(page: NoticePage) -> NoticeList:
    """
    Shape a page of notices.
    """
    return NoticeList(notices=[notice_document(view) for view in page.notices], next=page.cursor)


def policy_document(policy: Policy, in_force: Policy | None) -> PolicyDocument:
    """
    Shape a version of the policy.
    """
    return PolicyDocument(
        version=policy.version,
        format=policy.format,
        text=policy.body,
        published_at=format_time(policy.published_at),
        effective_at=format_time(policy.effective_at),
        is_in_force=policy == in_force,
    )


def policy_summary(policy: Policy, in_force: Policy | None) -> PolicySummary:
    """
    Shape a version without its text.
    """
    return PolicySummary(
        version=policy.version,
        published_at=format_time(policy.published_at),
        effective_at=format_time(policy.effective_at),
        is_in_force=policy == in_force,
    )


def acceptance_document(acceptance: Acceptance) -> AcceptanceDocument:
    """
    Shape what was accepted.
    """
    return AcceptanceDocument(version=acceptance.version, accepted_at=format_time(acceptance.accepted_at))
