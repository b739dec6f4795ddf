"""
What requests and answers look like as JSON.
"""

import base64
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from gateway.base.wording import format_time
from gateway.catalog.moves import Move
from gateway.catalog.placements import Placement
from gateway.catalog.routes import Route
from gateway.services.details import KNOWN_FIELDS
from gateway.services.erasure import Erasure
from gateway.services.recordings import Page, Recording


class RecordingDocument(msgspec.Struct, kw_only=True):
    """
    A recording. Details that are not known are null; all are where `readable` is false.
    """

    id: str
    size: int
    """Bytes of audio."""
    stored_at: str
    """When the gateway had all of it, RFC 3339."""
    readable: bool
    """False if the details at rest are damaged."""
    revision: int
    """Grows with each edit; send it as If-Match to edit exactly this one."""
    audio: str
    """Where to hear it."""
    held: bool = False
    """Whether a legal hold keeps it: it neither expires nor can be erased."""
    filename: str | None = None
    filetype: str | None = None
    recorded_at: str | None = None
    duration_ms: int | None = None
    direction: str | None = None
    party_number: str | None = None
    party_name: str | None = None
    note: str | None = None
    labels: list[str] = []


class CopyDocument(msgspec.Struct, kw_only=True):
    """
    One copy of a recording.
    """

    place: str
    """`home`, or the id of a link."""
    state: str
    """pending: on its way there; placed; purged: it was taken away; left: out of our reach."""


class CopyList(msgspec.Struct, kw_only=True):
    """
    Where a recording lies.
    """

    copies: list[CopyDocument]


class RouteDocument(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """
    Where new recordings go.
    """

    home: bool
    """Whether the operator's copy stays once there are others."""
    copies: list[str] = []
    """Ids of links, first choice first."""
    falls_over: bool = False
    """One copy, at the first of `copies` that takes it; otherwise a copy at each of them."""


class MoveRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """
    All recordings of one place to another: `home`, or ids of links.
    """

    source: str
    target: str


class MoveDocument(msgspec.Struct, kw_only=True):
    """
    How far a move has come.
    """

    id: str
    source: str
    target: str
    state: str
    """running, done or stopped."""
    total: int
    """Recordings there were when it began."""
    done: int
    trouble: str | None
    """What a running move is waiting for, if it is."""
    created_at: str
    ended_at: str | None


class MoveList(msgspec.Struct, kw_only=True):
    """
    Moves, latest first.
    """

    moves: list[MoveDocument]


class RecordingPage(msgspec.Struct, kw_only=True):
    """
    Some recordings, newest first. Ask again with `cursor` while `next` is not null, even if a page is empty.
    """

    recordings: list[RecordingDocument]
    next: str | None


class ListQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """
    Which recordings are wanted.
    """

    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None
    cursor: str | None = None
    stored_from: str | None = None
    stored_before: str | None = None
    recorded_from: str | None = None
    recorded_before: str | None = None
    direction: str | None = None
    party: str | None = None
    label: str | None = None


class EditRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """
    A JSON merge patch (RFC 7396): what is named changes, null removes.
    """

    filename: str | msgspec.UnsetType | None = msgspec.UNSET
    filetype: str | msgspec.UnsetType | None = msgspec.UNSET
    recorded_at: str | msgspec.UnsetType | None = msgspec.UNSET
    duration_ms: int | msgspec.UnsetType | None = msgspec.UNSET
    direction: str | msgspec.UnsetType | None = msgspec.UNSET
    party_number: str | msgspec.UnsetType | None = msgspec.UNSET
    party_name: str | msgspec.UnsetType | None = msgspec.UNSET
    note: str | msgspec.UnsetType | None = msgspec.UNSET
    labels: list[str] | msgspec.UnsetType | None = msgspec.UNSET

    def changes(self) -> dict[str, Any]:
        """
        Return the named fields only.
        """
        named = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: value for name, value in named.items() if value is not msgspec.UNSET}


class ErasureDocument(msgspec.Struct, kw_only=True):
    """
    How far an erasure has come. Keep it: `gateway receipt verify` checks it without us.
    """

    id: str
    state: str
    """revoked: no longer served; shredded: the key is destroyed; purged: the blobs are deleted too."""
    revoked_at: str | None
    salt: str | None
    """Hex. With it the id can be shown to be the one that the receipt is about; nobody else is told."""
    subject: str | None = None
    """What the receipt is about, if it expired with others: `leaves-SLOT-FIRST-LAST`; the salt is of that then."""
    leaf: int | None = None
    """Which of these leaves is this recording's; its sealed file names it too."""
    receipt: dict[str, Any] | None
    """The signed statement that the key is destroyed; null until then."""
    purge_receipt: dict[str, Any] | None
    """The signed statement of what became of the blobs at every place; null until then. The latest, if there are several."""


class ReceiptKeys(msgspec.Struct, kw_only=True):
    """
    The public keys that receipts are signed with: Ed25519, base64url, newest last.
    """

    keys: list[str]


class Health(msgspec.Struct, kw_only=True):
    """
    Whether the daemon can do its work.
    """

    status: str
    version: str
    problems: list[str] = []


def recording_document(recording: Recording) -> RecordingDocument:
    """
    Shape a recording.
    """
    row, details = recording.row, recording.details
    known = {} if details is None else {name: getattr(details, name) for name in KNOWN_FIELDS}
    known["labels"] = list(known.get("labels", ()))
    return RecordingDocument(
        id=str(row.id),
        size=row.size,
        stored_at=format_time(row.stored_at),
        readable=details is not None,
        revision=row.details_revision,
        audio=f"/v1/recordings/{row.id}/audio",
        held=recording.is_held,
        **known,
    )


def page_document(page: Page) -> RecordingPage:
    """
    Shape a page of a list.
    """
    return RecordingPage(
        recordings=[recording_document(recording) for recording in page.recordings], next=page.cursor
    )


def copy_list(placements: Sequence[Placement]) -> CopyList:
    """
    Shape where a recording lies.
    """
    return CopyList(copies=[CopyDocument(place=p.backend, state=p.state) for p in placements])


def route_document(route: Route) -> RouteDocument:
    """
    Shape a route.
    """
    return RouteDocument(home=route.keeps_home, copies=list(route.targets), falls_over=route.falls_over)


def move_document(move: Move, *, trouble: str | None = None) -> MoveDocument:
    """
    Shape a move.
    """
    return MoveDocument(
        id=move.id,
        source=move.source,
        target=move.target,
        state=move.state,
        total=move.total,
        done=move.done,
        trouble=trouble,
        created_at=format_time(move.created_at),
        ended_at=None if move.ended_at is None else format_time(move.ended_at),
    )


def erasure_document(erasure: Erasure) -> ErasureDocument:
    """
    Shape an erasure.
    """
    receipts = erasure.receipts
    return ErasureDocument(
        id=erasure.subject_id,
        state=erasure.state,
        revoked_at=None if erasure.revoked_at is None else format_time(erasure.revoked_at),
        salt=None if erasure.salt is None else erasure.salt.hex(),
        subject=erasure.covered_by,
        leaf=erasure.leaf,
        receipt=receipts[0].document if receipts else None,
        purge_receipt=receipts[-1].document if len(receipts) > 1 else None,
    )


def format_key(public: bytes) -> str:
    """
    Write a public key as base64url without padding.
    """
    return base64.urlsafe_b64encode(public).decode().rstrip("=")
