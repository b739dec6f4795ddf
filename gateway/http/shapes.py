"""
What requests and answers look like as JSON.
"""

import base64
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

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
    filename: str | None = None
    filetype: str | None = None
    recorded_at: str | None = None
    duration_ms: int | None = None
    direction: str | None = None
    party_number: str | None = None
    party_name: str | None = None
    note: str | None = None
    labels: list[str] = []


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
    receipt: dict[str, Any] | None
    """The signed statement that the key is destroyed; null until then."""
    purge_receipt: dict[str, Any] | None
    """The signed statement that the blobs are deleted; null until then."""


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
        **known,
    )


def page_document(page: Page) -> RecordingPage:
    """
    Shape a page of a list.
    """
    return RecordingPage(
        recordings=[recording_document(recording) for recording in page.recordings], next=page.cursor
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
        receipt=receipts[0].document if receipts else None,
        purge_receipt=receipts[1].document if len(receipts) > 1 else None,
    )


def format_time(at_ms: int) -> str:
    """
    Write Unix milliseconds as RFC 3339 in UTC.
    """
    moment = datetime.fromtimestamp(at_ms // 1000, UTC).replace(microsecond=at_ms % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_key(public: bytes) -> str:
    """
    Write a public key as base64url without padding.
    """
    return base64.urlsafe_b64encode(public).decode().rstrip("=")
