"""
What is offered at ``/v1/uploads``.
"""

from functools import partial
from typing import Final

from gateway.http import tus, uploads
from gateway.http.openapi import details_meaning
from gateway.http.operations import BYTES, COUNT, Answer, Body, Operation, Parameter
from gateway.http.recording_routes import AUDIO_ANSWERS, AUDIO_DETAILS, AUDIO_REQUEST
from gateway.settings import Settings

TAG: Final = "Uploads"
UPLOAD: Final = f"{uploads.COLLECTION}/{{id}}"

_BASE64: Final = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
_METADATA_PAIR: Final = rf"[!-+\--~]+(?: {_BASE64})?"

_TUS: Final = Parameter(
    "Tus-Resumable",
    "The version of the protocol.",
    {"type": "string", "const": tus.VERSION},
    is_required=True,
)
_OFFSET: Final = Parameter("Upload-Offset", "How many bytes are durable.", COUNT, is_required=True)
_EXPIRES: Final = Parameter(
    "Upload-Expires", "When the upload's address ends, as an HTTP date.", is_required=True
)
_LENGTH: Final = Parameter("Upload-Length", "The whole upload's length, if it is known.", COUNT)
_DEFERRED: Final = Parameter(
    "Upload-Defer-Length", "`1` while the length is not known.", {"type": "string", "const": "1"}
)
_CHECKSUM: Final = Parameter(
    "Upload-Checksum",
    "An algorithm, sha1 or sha256, and the base64 of this body's digest. The body then counts wholly or not at all.",
    {"type": "string", "pattern": "^(sha1 [A-Za-z0-9+/]{27}=|sha256 [A-Za-z0-9+/]{43}=)$"},
)
_APPENDING: Final = (400, 403, 404, 408, 409, 410, 413, 423, 460, 507)


def upload_operations(settings: Settings) -> list[Operation]:
    """
    Return the operations of tus, with the limits that the operator set.
    """
    limits = settings.uploads
    max_length = {**COUNT, "maximum": limits.max_length}
    whole_length = Parameter("Upload-Length", "The whole upload's length in bytes.", max_length)
    metadata = Parameter(
        "Upload-Metadata",
        details_meaning(),
        {
            "type": "string",
            "maxLength": limits.max_metadata_bytes,
            "pattern": f"^(?:{_METADATA_PAIR}(?:,{_METADATA_PAIR})*)?$",
            "examples": ["filename Y2FsbC5tNGE=,direction aW4=,party_number KzQ5MzAxMjM0NTY="],
        },
    )
    offered = Answer(
        "What is offered.",
        headers=(
            _TUS,
            Parameter("Tus-Version", "Versions spoken here.", is_required=True),
            Parameter("Tus-Extension", "Extensions spoken here.", is_required=True),
            Parameter("Tus-Max-Size", "The most bytes that an upload may have.", COUNT, is_required=True),
            Parameter("Tus-Checksum-Algorithm", "For Upload-Checksum.", is_required=True),
        ),
    )
    state = Answer(
        "How far it has come.",
        headers=(
            _TUS,
            _OFFSET,
            _LENGTH,
            _DEFERRED,
            Parameter("Upload-Metadata", "As the upload was created with it."),
            _EXPIRES,
        ),
    )
    appended = Answer("Everything that came is durable.", headers=(_TUS, _OFFSET, _EXPIRES))
    appending = (
        _TUS,
        Parameter(
            "Upload-Offset",
            "Where this body begins. It must be where the upload ends.",
            COUNT,
            is_required=True,
        ),
        Parameter("Upload-Length", "Declares the length of an upload that deferred it.", max_length),
        _CHECKSUM,
    )
    bytes_to_append = Body(
        media_types=(tus.CONTENT_TYPE,),
        schema=BYTES,
        meaning="The bytes, streamed. If the connection breaks, what came is kept, unless it carried a checksum.",
    )
    one = partial(Operation, path=UPLOAD, tag=TAG, id_of="an upload")
    return [
        Operation(
            method="POST",
            path=uploads.COLLECTION,
            handler=uploads.create,
            name="createUpload",
            tag=TAG,
            summary="Begin an upload",
            details="Its first bytes may come in the same request. "
            "If they are refused, the upload exists all the same, and the problem carries its `Location`.",
            headers=(
                _TUS,
                whole_length,
                Parameter(
                    "Upload-Defer-Length",
                    "`1` instead of Upload-Length, if the length is not known yet.",
                    {"type": "string", "const": "1"},
                ),
                metadata,
                _CHECKSUM,
                Parameter(
                    "Idempotency-Key",
                    "The same key again gives the upload that it began, instead of a second one.",
                    {"type": "string", "minLength": 1, "maxLength": 255},
                ),
            ),
            body=Body(
                media_types=(tus.CONTENT_TYPE,),
                schema=BYTES,
                meaning="The first bytes, streamed. A body of another type is not looked at.",
                is_required=False,
            ),
            answers={
                201: Answer(
                    "The upload exists.",
                    headers=(
                        _TUS,
                        Parameter("Location", "The upload's address.", is_required=True),
                        Parameter("Upload-Offset", "How many bytes are durable, if some came.", COUNT),
                        _EXPIRES,
                    ),
                )
            },
            refusals=(*_APPENDING, 412, 429),
        ),
        one(
            method="HEAD",
            handler=uploads.head,
            name="getUploadState",
            summary="Ask how far an upload has come",
            details="Answers for a while after the upload is finished, so that a lost last answer costs nothing.",
            headers=(_TUS,),
            answers={200: state},
            refusals=(404, 410, 412),
        ),
        one(
            method="PATCH",
            handler=uploads.patch,
            name="appendToUpload",
            summary="Append bytes",
            details="The request that brings the last byte makes the recording. "
            "A request that hangs on the same upload is asked to let go.",
            headers=appending,
            body=bytes_to_append,
            answers={204: appended},
            refusals=(*_APPENDING, 412, 415),
        ),
        one(
            method="DELETE",
            handler=uploads.delete,
            name="terminateUpload",
            summary="Give an upload up",
            details="A finished one is a recording by now, and is erased.",
            headers=(_TUS,),
            answers={204: Answer("It is gone.", headers=(_TUS,))},
            refusals=(404, 410, 412, 423),
        ),
        one(
            method="GET",
            handler=uploads.get,
            name="getUploadAudio",
            summary="Hear a finished upload",
            details=AUDIO_DETAILS,
            headers=AUDIO_REQUEST,
            answers=AUDIO_ANSWERS,
            refusals=(404, 416),
        ),
        one(
            method="POST",
            handler=uploads.post,
            name="overrideMethod",
            summary="Do what another method does, for clients that may only send POST",
            headers=(
                Parameter(
                    "X-HTTP-Method-Override",
                    "What is meant.",
                    {"type": "string", "enum": ["PATCH", "DELETE", "HEAD"]},
                    is_required=True,
                ),
                _TUS,
                *(Parameter(header.name, header.meaning, header.schema) for header in appending[1:]),
            ),
            body=Body(
                media_types=bytes_to_append.media_types,
                schema=BYTES,
                meaning="As for PATCH.",
                is_required=False,
            ),
            answers={200: state, 204: Answer("As for PATCH or DELETE.", headers=(_TUS,))},
            refusals=(*_APPENDING, 405, 412, 415),
        ),
        Operation(
            method="OPTIONS",
            path=uploads.COLLECTION,
            handler=uploads.options,
            name="describeUploads",
            tag=TAG,
            summary="Ask what is offered",
            answers={204: offered},
            needs_token=False,
        ),
        one(
            method="OPTIONS",
            handler=uploads.options,
            name="describeUpload",
            summary="Ask what is offered, at an upload's own address",
            answers={204: offered},
            needs_token=False,
        ),
    ]
