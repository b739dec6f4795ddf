"""
``/v1/uploads``: tus 1.0.0 on the wire.
"""

from collections.abc import Mapping

import structlog
from aiohttp import web

from gateway.base.errors import GatewayError
from gateway.catalog.uploads import Upload
from gateway.catalog.users import User
from gateway.http import tus
from gateway.http.audio import send_audio
from gateway.http.authentication import authenticated
from gateway.http.bodies import RequestBody
from gateway.http.context import Context, context_of, path_id
from gateway.http.problems import problem, problem_of
from gateway.services.bodies import Append
from gateway.services.details import details_from_metadata
from gateway.services.errors import ChecksumMismatch, InvalidField, NotFound
from gateway.services.holders import BodyIdle
from gateway.services.whole_uploads import Unfinished

log = structlog.get_logger()

COLLECTION = "/v1/uploads"


async def hold_back(request: web.Request) -> None:
    """
    Don't answer ``Expect: 100-continue`` yet: `RequestBody` does when it wants the body, after everything was checked.
    """


async def options(request: web.Request) -> web.Response:
    """
    Tell what is offered; needs no token.
    """
    limits = context_of(request).settings.uploads
    return web.Response(
        status=204,
        headers={
            "Tus-Resumable": tus.VERSION,
            "Tus-Version": tus.VERSION,
            "Tus-Extension": tus.EXTENSIONS,
            "Tus-Max-Size": str(limits.max_length),
            "Tus-Checksum-Algorithm": ",".join(tus.CHECKSUM_ALGORITHMS),
        },
    )


async def create(request: web.Request) -> web.StreamResponse:
    """
    Begin an upload, perhaps with its first bytes in the same request.
    """
    user = await authenticated(request)
    if refusal := _version_refusal(request):
        return refusal
    if "Upload-Concat" in request.headers:
        # Taken for a whole upload, each part would become a recording of its own.
        raise InvalidField("Upload-Concat", "is not offered; send the recording as one upload")
    context = context_of(request)
    limits = context.settings.uploads
    length = tus.parse_upload_length(request.headers)
    header = tus.joined_value(request.headers, "Upload-Metadata")
    if header is not None and len(header) > limits.max_metadata_bytes:
        raise InvalidField("Upload-Metadata", f"is longer than {limits.max_metadata_bytes} bytes")
    details = details_from_metadata(tus.parse_metadata(header), header)
    key = tus.single_value(request.headers, "Idempotency-Key")
    if key is not None and not 1 <= len(key) <= 255:
        raise InvalidField("Idempotency-Key", "has not 1 to 255 characters")
    has_body = request.content_type == tus.CONTENT_TYPE
    if has_body and (refusal := _encoding_refusal(request)):
        return refusal
    checksum = tus.parse_checksum(request.headers) if has_body else None
    if has_body and length is not None and (request.content_length or 0) > length:
        return problem(413, "too-long", "Too long", "the body is longer than Upload-Length", limit=length)
    body = Append(offset=0, body=RequestBody(request), body_length=request.content_length, checksum=checksum)
    if has_body and length and request.content_length == length and key is None:
        outcome = await context.whole_uploads.receive(user, details, body)
        upload, error = (
            (outcome.upload, outcome.error) if isinstance(outcome, Unfinished) else (outcome, None)
        )
    else:
        upload, error = (
            await context.uploads.create(user, length=length, details=details, idempotency_key=key),
            None,
        )
        if has_body and upload.received == 0 and upload.is_open:
            try:
                upload = await context.uploads.append(user, upload.id, body)
            except (GatewayError, BodyIdle) as refused:
                error = refused
    location = f"{COLLECTION}/{upload.id}"
    if error is not None:
        if not isinstance(error, GatewayError | BodyIdle):
            raise error
        # The upload exists: its address must not get lost with the refusal of its first bytes.
        if not isinstance(error, ChecksumMismatch | BodyIdle):
            log.info("upload.first_bytes_refused", upload=str(upload.id), reason=str(error))
        response = problem_of(error)
        response.headers["Location"] = location
        return response
    headers = {"Location": location}
    if has_body:
        headers["Upload-Offset"] = str(upload.received)
    headers.update(_expiry(upload))
    return web.Response(status=201, headers=headers)


async def head(request: web.Request) -> web.StreamResponse:
    """
    Tell how far an upload has come.
    """
    user = await authenticated(request)
    if refusal := _version_refusal(request):
        return refusal
    context = context_of(request)
    upload = await context.uploads.get(user, path_id(request, "upload"))
    headers = {"Upload-Offset": str(upload.received), "Cache-Control": "no-store", **_expiry(upload)}
    if upload.length is None:
        headers["Upload-Defer-Length"] = "1"
    else:
        headers["Upload-Length"] = str(upload.length)
    metadata = await _metadata(context, user, upload)
    if metadata:
        headers["Upload-Metadata"] = metadata
    return web.Response(status=200, headers=headers)


async def patch(request: web.Request) -> web.StreamResponse:
    """
    Append bytes.
    """
    user = await authenticated(request)
    if refusal := _version_refusal(request):
        return refusal
    context = context_of(request)
    upload_id = path_id(request, "upload")
    if request.content_type != tus.CONTENT_TYPE:
        return problem(
            415, "unsupported-media-type", "Unsupported media type", f"Content-Type is not {tus.CONTENT_TYPE}"
        )
    if refusal := _encoding_refusal(request):
        return refusal
    offset = tus.parse_number(request.headers, "Upload-Offset")
    if offset is None:
        raise InvalidField("Upload-Offset", "is missing")
    append = Append(
        offset=offset,
        body=RequestBody(request),
        body_length=request.content_length,
        upload_length=tus.parse_number(request.headers, "Upload-Length"),
        checksum=tus.parse_checksum(request.headers),
    )
    after = await context.uploads.append(user, upload_id, append)
    return web.Response(status=204, headers={"Upload-Offset": str(after.received), **_expiry(after)})


async def delete(request: web.Request) -> web.StreamResponse:
    """
    Terminate an upload; a finished one is a recording by now, and is erased.
    """
    user = await authenticated(request)
    if refusal := _version_refusal(request):
        return refusal
    context = context_of(request)
    upload_id = path_id(request, "upload")
    if await context.uploads.terminate(user, upload_id):
        await context.erasure.discard_upload(upload_id)
    else:
        erasure = await context.erasure.erase_recording(
            user.id, upload_id, wait_s=context.settings.keyring.receipt_wait_s
        )
        context.metrics.erasures.inc(erasure.is_new)
    return web.Response(status=204)


async def get(request: web.Request) -> web.StreamResponse:
    """
    Give the audio of a finished upload.
    """
    user = await authenticated(request)
    recording = await context_of(request).recordings.get(user, path_id(request, "upload"))
    return await send_audio(request, recording, headers={"Tus-Resumable": tus.VERSION})


async def post(request: web.Request) -> web.StreamResponse:
    """
    Take the method from X-HTTP-Method-Override, for clients that may only send POST.
    """
    overridden = {"PATCH": patch, "DELETE": delete, "HEAD": head}
    handler = overridden.get(request.headers.get("X-HTTP-Method-Override", "").upper())
    if handler is None:
        raise web.HTTPMethodNotAllowed("POST", ["GET", "HEAD", "PATCH", "DELETE", "OPTIONS"])
    return await handler(request)


async def _metadata(context: Context, user: User, upload: Upload) -> str | None:
    """
    Return the Upload-Metadata that the upload was created with.
    """
    if upload.is_open:
        details = await context.uploads.details_of(upload)
        return None if details is None else details.upload_metadata
    try:
        recording = await context.recordings.get(user, upload.id)
    except NotFound:
        # Erased since: the upload's resource is gone with it.
        raise NotFound("there is no such upload") from None
    return None if recording.details is None else recording.details.upload_metadata


def _version_refusal(request: web.Request) -> web.Response | None:
    """
    Return the refusal of a request that does not speak our version of tus.
    """
    if request.headers.get("Tus-Resumable", "").strip() == tus.VERSION:
        return None
    return problem(
        412,
        "tus-version",
        "Unsupported tus version",
        f"send Tus-Resumable: {tus.VERSION}",
        headers={"Tus-Version": tus.VERSION},
    )


def _encoding_refusal(request: web.Request) -> web.Response | None:
    """
    Return the refusal of a body that was compressed on the way: offsets count the bytes that were sent.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() == "identity":
        return None
    return problem(
        415,
        "unsupported-media-type",
        "Unsupported media type",
        "Content-Encoding is not identity",
        headers={"Accept-Encoding": "identity"},
    )


def _expiry(upload: Upload) -> Mapping[str, str]:
    return {"Upload-Expires": tus.format_expires(upload.expires_at)}
