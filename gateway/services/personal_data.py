"""
Everything personal that is kept of a user besides his recordings, section by section, for him to take away.

A new kind of personal data is one more `Section` with a function that yields it. A test fails where a table that belongs to a
user is in no section and has no exemption here.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.base.clock import Clock
from gateway.base.wording import format_time
from gateway.catalog.expiries import expiry_ids_of
from gateway.catalog.exports import exports_of
from gateway.catalog.moves import moves_of
from gateway.catalog.recordings import ListPosition, RecordingRow, list_erased
from gateway.catalog.uploads import get_upload, open_uploads_of
from gateway.catalog.users import User, command_tokens_of
from gateway.database import Database
from gateway.keyring import Keyring
from gateway.services.accounts import AccountService
from gateway.services.audit import AuditLog
from gateway.services.devices import DeviceService
from gateway.services.disclosures import DisclosureRegister
from gateway.services.erasure import ErasureService
from gateway.services.holds import HoldService
from gateway.services.identities import IdentityService
from gateway.services.link_views import LinkViews
from gateway.services.mail_preferences import MailPreferences
from gateway.services.notices import Notices
from gateway.services.policies import PolicyService
from gateway.services.routing import RoutingService

Item = dict[str, Any]

EXEMPT: Final[Mapping[str, str]] = {
    "recordings": "they are what the archive is of; those that were erased are in deletions",
    "notice_audiences": "whom a notice to many is for, until they are told; then it is in notices",
    "expiry_notices": "which notice about expiry was the last, so that nobody is told twice; it is in notices",
    "unused_accounts": "which notice about an unused account was the last; whoever exports is here, so it is over",
    "link_attempts": "an attempt to link an account lasts for minutes, and is told by the page that it happens on",
}
"""Tables that belong to a user and are in no section, with the reason."""

_AT_ONCE: Final = 200
_NOTICES_AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalData:
    """
    What knows it all.
    """

    catalog: Database
    keyring: Keyring
    clock: Clock
    accounts: AccountService
    identities: IdentityService
    devices: DeviceService
    links: LinkViews
    routing: RoutingService
    holds: HoldService
    erasure: ErasureService
    notices: Notices
    preferences: MailPreferences
    policies: PolicyService
    audit: AuditLog
    disclosures: DisclosureRegister


@dataclass(frozen=True, slots=True)
class Section:
    """
    One kind of personal data: a file or more of the archive, each a list of objects. What is secret is no part of it.

    *tables* are those of the catalog that it tells of.
    """

    name: str
    title: str
    tables: tuple[str, ...]
    read: Callable[[PersonalData, User], AsyncIterator[Item]]


async def _account(data: PersonalData, user: User) -> AsyncIterator[Item]:
    known = await data.accounts.personal_of(user)
    yield {
        "id": user.id,
        "name": None if known is None else known.name,
        "phone": None if known is None else known.phone,
        "email": None if known is None else known.email,
        "readable": known is not None,
        "created_at": format_time(user.created_at),
        "last_used_on": None if user.used_at is None else format_time(user.used_at)[:10],
    }


async def _identities(data: PersonalData, user: User) -> AsyncIterator[Item]:
    for view in await data.identities.list_of(user):
        yield {
            "id": view.id,
            "kind": view.space,
            "subject": view.subject,
            "label": view.label,
            "created_at": format_time(view.created_at),
        }


async def _devices(data: PersonalData, user: User) -> AsyncIterator[Item]:
    for view in await data.devices.list_of(user):
        yield {
            "id": view.id,
            "kind": view.kind,
            "name": view.name,
            "created_at": format_time(view.created_at),
            "used_at": format_time(view.used_at),
            "expires_at": format_time(view.expires_at),
        }


async def _tokens(data: PersonalData, user: User) -> AsyncIterator[Item]:
    async with data.catalog.read() as connection:
        tokens = await command_tokens_of(connection, user.id, at=data.clock.now_ms())
    for token in tokens:
        yield {
            "id": token.id,
            "created_at": format_time(token.created_at),
            "expires_at": format_time(token.expires_at),
        }


async def _links(data: PersonalData, user: User) -> AsyncIterator[Item]:
    for view in await data.links.all_of(user.id):
        yield {
            "id": view.row.id,
            "kind": view.row.kind,
            "label": view.label,
            "settings": view.settings,
            "state": view.row.state,
            "created_at": format_time(view.row.created_at),
        }


async def _places(data: PersonalData, user: User) -> AsyncIterator[Item]:
    route = await data.routing.route_of(user)
    yield {"home": route.keeps_home, "copies": list(route.targets), "falls_over": route.falls_over}


async def _moves(data: PersonalData, user: User) -> AsyncIterator[Item]:
    async with data.catalog.read() as connection:
        moves = await moves_of(connection, user.id)
    for move in moves:
        yield {
            "id": move.id,
            "source": move.source,
            "target": move.target,
            "state": move.state,
            "total": move.total,
            "done": move.done,
            "created_at": format_time(move.created_at),
            "ended_at": _time(move.ended_at),
        }


async def _holds(data: PersonalData, user: User) -> AsyncIterator[Item]:
    for view in await data.holds.told_to(user):
        yield {
            "id": view.hold.id,
            "recording": None if view.hold.recording_id is None else str(view.hold.recording_id),
            "reason": None if view.cause is None else view.cause.reason,
            "created_at": format_time(view.hold.created_at),
            "ends_at": _time(view.hold.ends_at),
        }


async def _uploads(data: PersonalData, user: User) -> AsyncIterator[Item]:
    # What is said about one is sealed under a key that ends with it, and must not be anywhere else.
    async with data.catalog.read() as connection:
        unfinished = await open_uploads_of(connection, user.id)
    for upload_id in unfinished:
        async with data.catalog.read() as connection:
            upload = await get_upload(connection, upload_id)
        if upload is not None:
            yield {
                "id": str(upload.id),
                "length": upload.length,
                "received": upload.received,
                "created_at": format_time(upload.created_at),
                "expires_at": format_time(upload.expires_at),
            }


async def _deletions(data: PersonalData, user: User) -> AsyncIterator[Item]:
    async for row in _erased(data, user):
        yield {
            "recording": str(row.id),
            "size": row.size,
            "stored_at": format_time(row.stored_at),
            "erased_at": _time(row.revoked_at),
            "purged_at": _time(row.purged_at),
            "receipt_subject": row.expiry_id or str(row.id),
            "leaf": row.leaf_index,
        }


async def _receipts(data: PersonalData, user: User) -> AsyncIterator[Item]:
    async for subjects in _receipt_subjects(data, user):
        salts = await data.erasure.salts(user.key_slot, subjects)
        for subject in subjects:
            yield {
                "subject": subject,
                "salt": salts[subject].hex() if subject in salts else None,
                "receipts": [receipt.document for receipt in await data.keyring.receipts_of(subject)],
            }


async def _receipt_subjects(data: PersonalData, user: User) -> AsyncIterator[list[str]]:
    after = ""
    while True:
        async with data.catalog.read() as connection:
            found = await expiry_ids_of(connection, user.id, after=after, limit=_AT_ONCE)
        if not found:
            break
        yield found
        after = found[-1]
    some: list[str] = []
    async for row in _erased(data, user):
        if row.expiry_id is None:
            some.append(str(row.id))
        if len(some) == _AT_ONCE:
            yield some
            some = []
    if some:
        yield some


async def _erased(data: PersonalData, user: User) -> AsyncIterator[RecordingRow]:
    after: ListPosition | None = None
    while True:
        async with data.catalog.read() as connection:
            rows = await list_erased(connection, user.id, after=after, limit=_AT_ONCE)
        for row in rows:
            yield row
        if len(rows) < _AT_ONCE:
            return
        after = ListPosition(rows[-1].stored_at, str(rows[-1].id))


async def _notices(data: PersonalData, user: User) -> AsyncIterator[Item]:
    cursor: str | None = None
    while True:
        page = await data.notices.page_of(user, limit=_NOTICES_AT_ONCE, cursor=cursor)
        for view in page.notices:
            yield {
                "id": view.notice.id,
                "kind": view.notice.kind,
                "title": None if view.text is None else view.text.title,
                "text": None if view.text is None else view.text.plain,
                "created_at": format_time(view.notice.created_at),
                "read_at": _time(view.notice.read_at),
                "mail": view.notice.mail_state,
                "mail_reason": view.notice.mail_reason,
            }
        if page.cursor is None:
            return
        cursor = page.cursor


async def _mail(data: PersonalData, user: User) -> AsyncIterator[Item]:
    yield {"promotional": await data.preferences.wants_promotional(user.id)}


async def _policies(data: PersonalData, user: User) -> AsyncIterator[Item]:
    for acceptance in await data.policies.acceptances_of(user):
        yield {"version": acceptance.version, "accepted_at": format_time(acceptance.accepted_at)}


async def _audit(data: PersonalData, user: User) -> AsyncIterator[Item]:
    before: int | None = None
    while True:
        views, before = await data.audit.shown_to(user, before=before, limit=_AT_ONCE)
        for view in views:
            yield {
                "number": view.entry.sequence,
                "at": format_time(view.entry.at),
                "role": view.entry.role,
                "action": view.entry.action,
                "reason": view.reason,
            }
        if before is None:
            return


async def _disclosures(data: PersonalData, user: User) -> AsyncIterator[Item]:
    for view in await data.disclosures.of(user):
        yield {
            "at": format_time(view.at),
            "kind": view.kind,
            "recipient": view.recipient,
            "what": view.what,
            "why": view.why,
        }


async def _exports(data: PersonalData, user: User) -> AsyncIterator[Item]:
    async with data.catalog.read() as connection:
        found = await exports_of(connection, user.id)
    for export in found:
        yield {
            "id": export.id,
            "state": export.state,
            "include": list(export.include),
            "began_at": format_time(export.began_at),
            "ended_at": _time(export.ended_at),
        }


SECTIONS: Final = (
    Section("account", "Your account: name, phone, e-mail", ("users",), _account),
    Section("identities", "How you sign in", ("identities",), _identities),
    Section("devices", "Where you are signed in", ("devices",), _devices),
    Section("tokens", "Tokens that were made for your programs", ("tokens",), _tokens),
    Section("links", "Storage accounts that you linked", ("links",), _links),
    Section("places", "Where your new recordings go", ("routes",), _places),
    Section("moves", "Moves of your recordings from place to place", ("moves",), _moves),
    Section("holds", "What must stay, and why", ("holds",), _holds),
    Section("uploads", "Uploads that are not finished", ("uploads",), _uploads),
    Section("deletions", "Recordings that were deleted or have expired", ("expiries",), _deletions),
    Section("receipts", "The signed receipts of that", (), _receipts),
    Section("notices", "What you were told", ("notices",), _notices),
    Section("mail", "What mail you want", ("mail_preferences",), _mail),
    Section("policies", "Policies that you accepted", ("policy_acceptances",), _policies),
    Section("audit", "What people who run the service did that concerns you", ("audit_entries",), _audit),
    Section("disclosures", "What of yours went to others", ("disclosures",), _disclosures),
    Section("exports", "Copies that you took away", ("exports",), _exports),
)
"""Every kind of personal data, in the order in which an archive lists them."""


def _time(at: int | None) -> str | None:
    return None if at is None else format_time(at)
