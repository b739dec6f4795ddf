"""
What is offered at ``/v1/recordings`` and ``/v1/receipts``.
"""

from functools import partial
from typing import Final

from gateway.http import recordings, shapes
from gateway.http.operations import BYTES, COUNT, JSON, TIME, Answer, Body, Operation, Parameter
from gateway.settings import Settings

TAG: Final = "Recordings"
RECEIPTS_TAG: Final = "Receipts"
RECORDING: Final = "/v1/recordings/{id}"

_ETAG: Final = Parameter("ETag", "Names exactly these bytes.", is_required=True)
_REVISION: Final = Parameter("ETag", "The revision of the details, for If-Match.", is_required=True)
_AUDIO_HEADERS: Final = (
    _ETAG,
    Parameter("Accept-Ranges", "Always `bytes`.", is_required=True),
    Parameter("Content-Length", "How many bytes follow.", COUNT, is_required=True),
    Parameter("Content-Disposition", "The file's name, if it is known.", is_required=True),
)
AUDIO_ANSWERS: Final = {
    200: Answer("The whole of it, as the media type that its sender gave.", BYTES, ("*/*",), _AUDIO_HEADERS),
    206: Answer(
        "The range.",
        BYTES,
        ("*/*",),
        (
            *_AUDIO_HEADERS,
            Parameter("Content-Range", "Which bytes these are, of how many.", is_required=True),
        ),
    ),
    304: Answer("It is what `If-None-Match` names.", headers=(_ETAG,)),
}
AUDIO_REQUEST: Final = (
    Parameter("Range", "One range of bytes: `bytes=0-99`, `bytes=100-` or `bytes=-100`."),
    Parameter("If-Range", "An ETag; the range counts only if it still names these bytes."),
    Parameter("If-None-Match", "ETags that the client has already."),
)
AUDIO_DETAILS: Final = (
    "In clear, opened chunk by chunk and verified before it is sent. "
    "If what lies at rest is damaged, the connection is aborted: there is never a clean short answer."
)


def recording_operations(settings: Settings) -> list[Operation]:
    """
    Return the operations on what is kept, with the limits that the operator set.
    """
    limits = settings.recordings
    page_size = {
        "type": "integer",
        "minimum": 1,
        "maximum": limits.max_page_size,
        "default": min(limits.page_size, limits.max_page_size),
    }
    one = partial(Operation, tag=TAG, id_of="a recording")
    return [
        Operation(
            method="GET",
            path="/v1/recordings",
            handler=recordings.list_recordings,
            name="listRecordings",
            tag=TAG,
            summary="List recordings, newest first",
            details="What is said about a recording is sealed, so a filter that looks inside opens one after the "
            "other. Such a page may end early or be empty: ask again with `cursor` while `next` is not null.",
            query=(
                Parameter("limit", "The most recordings on a page.", page_size),
                Parameter("cursor", "`next` of the page before."),
                Parameter("stored_from", "Stored at this time or later.", TIME),
                Parameter("stored_before", "Stored before this time.", TIME),
                Parameter("recorded_from", "The call took place at this time or later.", TIME),
                Parameter("recorded_before", "The call took place before this time.", TIME),
                Parameter("direction", "Which way the call went.", {"type": "string", "enum": ["in", "out"]}),
                Parameter("party", "The other party's number in any spelling, or a part of the name."),
                Parameter("label", "One of its labels, exactly."),
            ),
            answers={200: Answer("A page.", shapes.RecordingPage)},
            refusals=(400,),
        ),
        one(
            method="GET",
            path=RECORDING,
            handler=recordings.get_recording,
            name="getRecording",
            summary="Look at one recording",
            answers={200: Answer("What is known about it.", shapes.RecordingDocument, headers=(_REVISION,))},
            refusals=(404,),
        ),
        one(
            method="PATCH",
            path=RECORDING,
            handler=recordings.edit_recording,
            name="editRecording",
            summary="Change what is said about a recording",
            headers=(Parameter("If-Match", "The revision that the change rests on; without it, any."),),
            body=Body(
                media_types=("application/merge-patch+json", *JSON),
                schema=shapes.EditRequest,
                meaning="What is to change. A field that is not named stays; null removes it.",
            ),
            answers={200: Answer("It is changed.", shapes.RecordingDocument, headers=(_REVISION,))},
            refusals=(400, 404, 412, 413, 415),
        ),
        one(
            method="DELETE",
            path=RECORDING,
            handler=recordings.delete_recording,
            name="eraseRecording",
            summary="Erase a recording",
            details="Its key is shredded first, so that nothing stored of it can be opened again; "
            "its blobs are deleted after. Asked again, it gives the same receipt.",
            answers={
                200: Answer("The key is shredded; here is the receipt.", shapes.ErasureDocument),
                202: Answer(
                    "No longer served; shredding goes on.",
                    shapes.ErasureDocument,
                    headers=(
                        Parameter("Location", "Where the receipt will be.", is_required=True),
                        Parameter("Retry-After", "Seconds to wait before looking.", COUNT, is_required=True),
                    ),
                ),
            },
            refusals=(404, 423),
        ),
        one(
            method="GET",
            path=f"{RECORDING}/copies",
            handler=recordings.get_copies,
            name="getCopies",
            summary="See where a recording lies",
            answers={200: Answer("Every place, ended ones too.", shapes.CopyList)},
            refusals=(404,),
        ),
        one(
            method="GET",
            path=f"{RECORDING}/audio",
            handler=recordings.get_audio,
            name="getAudio",
            summary="Hear a recording",
            details=AUDIO_DETAILS,
            headers=AUDIO_REQUEST,
            answers=AUDIO_ANSWERS,
            refusals=(404, 416),
        ),
        one(
            method="HEAD",
            path=f"{RECORDING}/audio",
            handler=recordings.get_audio,
            name="getAudioSize",
            summary="Ask for a recording's size and type",
            headers=AUDIO_REQUEST[2:],
            answers={
                200: Answer("As GET would answer for the whole.", headers=_AUDIO_HEADERS),
                304: AUDIO_ANSWERS[304],
            },
            refusals=(404,),
        ),
    ]


def receipt_operations() -> list[Operation]:
    """
    Return the operations on receipts.
    """
    return [
        Operation(
            method="GET",
            path="/v1/receipts/{id}",
            handler=recordings.get_receipt,
            name="getReceipt",
            tag=RECEIPTS_TAG,
            summary="Follow an erasure",
            id_of="the recording that was erased",
            answers={200: Answer("How far it has come, with its signed receipts.", shapes.ErasureDocument)},
            refusals=(404,),
        ),
        Operation(
            method="GET",
            path="/v1/receipt-keys",
            handler=recordings.get_receipt_keys,
            name="getReceiptKeys",
            tag=RECEIPTS_TAG,
            summary="Get the public keys that receipts are checked with",
            answers={200: Answer("All of them, newest last.", shapes.ReceiptKeys)},
            refusals=(500, 503),
            needs_token=False,
        ),
    ]
