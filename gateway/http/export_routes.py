"""
What is offered at ``/v1/exports``.
"""

from dataclasses import replace
from functools import partial
from typing import Final

from gateway.http import exports
from gateway.http.export_shapes import ExportDocument, ExportList, ExportRequest
from gateway.http.operations import BYTES, COUNT, JSON, Answer, Body, Operation, Parameter

TAG: Final = "Exports"

_EXPORT: Final = "/v1/exports/{id}"
_ARCHIVE: Final = f"{_EXPORT}/archive"
_WAIT: Final = Parameter("Retry-After", "Seconds to wait before looking, while it is being prepared.", COUNT)
_REVISION: Final = Parameter(
    "revision",
    "Which archive of this export, as its `archive` says. With it, a download goes on in the same bytes or not at all.",
    {"type": "integer", "minimum": 1},
)
_ETAG: Final = Parameter("ETag", "Names exactly these bytes.", is_required=True)
_HEADERS: Final = (
    _ETAG,
    Parameter("Accept-Ranges", "Always `bytes`.", is_required=True),
    Parameter("Content-Length", "How many bytes follow.", COUNT, is_required=True),
    Parameter("Content-Location", "Where exactly these bytes are.", is_required=True),
    Parameter("Content-Disposition", "A file name.", is_required=True),
)


def export_operations() -> list[Operation]:
    """
    Return the operations on what users take away.
    """
    here = partial(Operation, tag=TAG)
    one = partial(here, id_of="an export")
    whole = Answer("The archive.", BYTES, ("application/zip",), _HEADERS)
    part = replace(
        whole,
        meaning="The range.",
        headers=(
            *_HEADERS,
            Parameter("Content-Range", "Which bytes these are, of how many.", is_required=True),
        ),
    )
    known = Answer("It is what `If-None-Match` names.", headers=(_ETAG,))
    return [
        here(
            method="POST",
            path="/v1/exports",
            handler=exports.ask_for_export,
            name="askForExport",
            summary="Ask for a copy of everything",
            details="A ZIP of all recordings that are live now, what is known about them, and all personal data, with "
            "pages to read it. Each recording is read to its end first: one that is damaged, lost or out of reach is "
            "listed with the reason. What is erased later is not in the archive from then on; what was downloaded is "
            "out of our reach. With `sealed` the archive holds keys: whoever has it opens those recordings wherever "
            "their sealed files still lie, also after they were deleted here.",
            body=Body(
                media_types=JSON,
                schema=ExportRequest,
                meaning="What it is to hold; without a body, the recordings' sound.",
                is_required=False,
            ),
            answers={
                202: Answer(
                    "It has begun.",
                    ExportDocument,
                    headers=(Parameter("Location", "The export.", is_required=True), _WAIT),
                )
            },
            refusals=(400, 404, 409, 413, 422, 429),
        ),
        here(
            method="GET",
            path="/v1/exports",
            handler=exports.list_exports,
            name="listExports",
            summary="List exports, latest first",
            answers={200: Answer("All of them; those that ended, for a day.", ExportList)},
        ),
        one(
            method="GET",
            path=_EXPORT,
            handler=exports.get_export,
            name="getExport",
            summary="See how far an export has come",
            answers={200: Answer("How it is, and what is missing.", ExportDocument, headers=(_WAIT,))},
            refusals=(404,),
        ),
        one(
            method="DELETE",
            path=_EXPORT,
            handler=exports.end_export,
            name="endExport",
            summary="End an export, and destroy its key",
            details="As it ends by itself when it expires. Downloads that go on are cut.",
            answers={
                200: Answer("It ended, and its key is destroyed.", ExportDocument),
                202: Answer("It ended; its key will be destroyed.", ExportDocument),
            },
            refusals=(404,),
        ),
        one(
            method="GET",
            path=_ARCHIVE,
            handler=exports.get_archive,
            name="getArchive",
            summary="Download an archive, whole or a range of it",
            details="Made while it is sent: no copy of it is stored. When a recording in it is erased, or turns out to be "
            "lost, its address answers 410 and a connection that sends it is aborted; the export then has another "
            "archive. There is never a clean short answer. A range without `If-Range` and without `revision` counts "
            "only as long as the export had no other archive; then what begins after the first byte is refused with 410.",
            query=(_REVISION,),
            headers=(
                Parameter("Range", "One range of bytes: `bytes=0-99`, `bytes=100-` or `bytes=-100`."),
                Parameter("If-Range", "An ETag; the range counts only if it still names these bytes."),
                Parameter("If-None-Match", "ETags that the client has already."),
            ),
            answers={200: whole, 206: part, 304: known},
            refusals=(400, 404, 409, 410, 416, 429),
        ),
        one(
            method="HEAD",
            path=_ARCHIVE,
            handler=exports.get_archive,
            name="getArchiveSize",
            summary="Ask for an archive's size",
            query=(_REVISION,),
            headers=(Parameter("If-None-Match", "ETags that the client has already."),),
            answers={
                200: replace(whole, meaning="As GET would answer for the whole.", schema=None),
                304: known,
            },
            refusals=(400, 404, 409, 410),
        ),
    ]
