"""
What exports look like as JSON.
"""

from typing import Annotated

import msgspec

from gateway.base.wording import format_time
from gateway.catalog.exports import READY, Export
from gateway.services.export_contents import AUDIO
from gateway.services.exports import ExportView


class ExportRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """
    What is to be in an export besides the details of recordings and the personal data.
    """

    include: Annotated[list[str], msgspec.Meta(max_length=8)] = msgspec.field(default_factory=lambda: [AUDIO])
    """`audio`: the recordings; `sealed`: their sealed blobs and the keys that open them."""


class MissingDocument(msgspec.Struct, kw_only=True):
    """
    A recording that is not in an archive, or not all of it.
    """

    recording: str
    stored_at: str
    size: int
    reason: str
    """erased, damaged, lost, unreachable, details-damaged or not-stored-yet."""
    words: str


class ExportDocument(msgspec.Struct, kw_only=True):
    """
    How far an export has come.
    """

    id: str
    state: str
    """preparing, ready or ended."""
    include: list[str]
    recordings: int
    """How many were live when it began."""
    checked: int
    """How many of them are read and known to be whole, or missing."""
    began_at: str
    ready_at: str | None
    expires_at: str | None
    """Until when it is offered. It has none before it is ready."""
    ended_at: str | None
    end_reason: str | None
    """expired or deleted."""
    shredded: bool
    """Whether its key is destroyed."""
    archive: str | None
    """Where to download it: the same bytes for as long as it is there. Null unless it is ready."""
    size: int | None
    """Bytes of the archive."""
    missing_count: int | None = None
    """How many recordings are not in it; null in a list."""
    missing: list[MissingDocument] = []
    """Some of them, the newest first; the archive's own pages have them all."""


class ExportList(msgspec.Struct, kw_only=True):
    """
    Exports, latest first.
    """

    exports: list[ExportDocument]


def archive_address(export: Export) -> str:
    """
    Return where the archive is.
    """
    return f"/v1/exports/{export.id}/archive?revision={export.revision}"


def export_document(export: Export, view: ExportView | None = None) -> ExportDocument:
    """
    Shape an export, with what is missing where *view* has it.
    """
    is_ready = export.state == READY
    return ExportDocument(
        id=export.id,
        state=export.state,
        include=list(export.include),
        recordings=export.recordings,
        checked=export.checked,
        began_at=format_time(export.began_at),
        ready_at=_time(export.ready_at),
        expires_at=_time(export.expires_at),
        ended_at=_time(export.ended_at),
        end_reason=export.end_reason,
        shredded=export.shredded_at is not None,
        archive=archive_address(export) if is_ready else None,
        size=export.size if is_ready else None,
        missing_count=None if view is None else view.missing_in_all,
        missing=[
            MissingDocument(
                recording=one.id,
                stored_at=format_time(one.stored_at),
                size=one.size,
                reason=one.reason,
                words=one.words,
            )
            for one in ([] if view is None else view.missing)
        ],
    )


def _time(at: int | None) -> str | None:
    return None if at is None else format_time(at)
