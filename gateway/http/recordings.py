"""
``/v1/recordings`` and ``/v1/receipts`` on the wire.
"""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import msgspec
from aiohttp import web

from gateway.catalog.users import User
from gateway.http import shapes, tus
from gateway.http.audio import send_audio
from gateway.http.context import authenticated, context_of, path_id
from gateway.http.problems import problem
from gateway.services.details import parse_time
from gateway.services.erasure import Erasure
from gateway.services.errors import InvalidField, TooLong
from gateway.services.recordings import Filter

T = TypeVar("T")

_MAX_JSON: Final = 1024 * 1024
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_REVISION: Final = re.compile(r'"([0-9]{1,18})"')


async def list_recordings(request: web.Request) -> web.Response:
    """
    List the user's recordings, newest first.
    """
    user = await authenticated(request)
    for name in request.query:
        if len(request.query.getall(name)) > 1:
            raise InvalidField(name, "stands twice in the query")
    query = _convert(dict(request.query), shapes.ListQuery, strict=False)
    if query.direction not in (None, "in", "out"):
        raise InvalidField("direction", "is neither in nor out")
    wanted = Filter(
        stored_from=_to_ms("stored_from", query.stored_from),
        stored_before=_to_ms("stored_before", query.stored_before),
        recorded_from=None if query.recorded_from is None else _time("recorded_from", query.recorded_from),
        recorded_before=None
        if query.recorded_before is None
        else _time("recorded_before", query.recorded_before),
        direction=query.direction,
        party=query.party,
        label=query.label,
    )
    page = await context_of(request).recordings.page(user, wanted, page_size=query.limit, cursor=query.cursor)
    return _json(shapes.page_document(page))


async def get_recording(request: web.Request) -> web.Response:
    """
    Give one recording's details.
    """
    user = await authenticated(request)
    recording = await context_of(request).recordings.get(user, path_id(request, "recording"))
    return _json(shapes.recording_document(recording), etag=recording.row.details_revision)


async def edit_recording(request: web.Request) -> web.Response:
    """
    Change one recording's details.
    """
    user = await authenticated(request)
    recording_id = path_id(request, "recording")
    if request.content_type not in ("application/json", "application/merge-patch+json"):
        return problem(
            415,
            "unsupported-media-type",
            "Unsupported media type",
            "Content-Type is neither application/json nor application/merge-patch+json",
        )
    edit = _decode(await _read(request), shapes.EditRequest)
    recording = await context_of(request).recordings.edit(
        user, recording_id, edit.changes(), if_revisions=_if_revisions(request)
    )
    return _json(shapes.recording_document(recording), etag=recording.row.details_revision)


async def get_audio(request: web.Request) -> web.StreamResponse:
    """
    Give the audio, whole or a range of it; HEAD tells its size.
    """
    user = await authenticated(request)
    recording = await context_of(request).recordings.get(user, path_id(request, "recording"))
    return await send_audio(request, recording)


async def delete_recording(request: web.Request) -> web.Response:
    """
    Erase a recording and give the receipt; done again, it gives the receipt again.
    """
    user = await authenticated(request)
    context = context_of(request)
    recording_id = path_id(request, "recording")
    erasure = await context.erasure.erase_recording(
        user.id, recording_id, wait_s=context.settings.keyring.receipt_wait_s
    )
    context.metrics.erasures.inc(erasure.is_new)
    return _erasure(erasure)


async def get_receipt(request: web.Request) -> web.Response:
    """
    Tell how far an erasure has come, with its receipts.
    """
    user: User = await authenticated(request)
    erasure = await context_of(request).erasure.erasure_of(user.id, path_id(request, "receipt"))
    return _json(shapes.erasure_document(erasure))


async def get_receipt_keys(request: web.Request) -> web.Response:
    """
    Give the public keys that check receipts; needs no token.
    """
    keys = await context_of(request).keyring.public_keys()
    return _json(shapes.ReceiptKeys(keys=[shapes.format_key(key) for key in keys]))


def _erasure(erasure: Erasure) -> web.Response:
    document = shapes.erasure_document(erasure)
    if erasure.receipts:
        return _json(document)
    response = _json(document, status=202)
    response.headers["Location"] = f"/v1/receipts/{erasure.subject_id}"
    response.headers["Retry-After"] = "1"
    return response


def _json(document: object, *, status: int = 200, etag: int | None = None) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    if etag is not None:
        headers["ETag"] = f'"{etag}"'
    return web.Response(
        status=status, body=msgspec.json.encode(document), content_type="application/json", headers=headers
    )


async def _read(request: web.Request) -> bytes:
    """
    Read a JSON body whole.

    Raises:
        TooLong: it is none of ours.
    """
    if (request.content_length or 0) <= _MAX_JSON:
        with suppress(web.HTTPRequestEntityTooLarge):
            return await request.read()
    raise TooLong("the body is too long", limit=_MAX_JSON)


def _convert(values: object, kind: type[T], *, strict: bool = True) -> T:
    try:
        return msgspec.convert(values, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidField("body", f"is not JSON: {error}") from None


def _invalid(error: msgspec.ValidationError) -> InvalidField:
    """
    Turn a validation error into one that names the field.
    """
    reason, _, path = str(error).partition(" - at `$")
    if "unknown field `" in reason:
        return InvalidField(reason.split("`")[1], "is not known here")
    return InvalidField(path.partition("[")[0].strip(".`") or "body", reason)


def _if_revisions(request: web.Request) -> frozenset[int] | None:
    """
    Return the revisions that If-Match names, None where any will do; a tag that we never gave names none.
    """
    header = tus.joined_value(request.headers, "If-Match")
    if header is None or header.strip() == "*":
        return None
    found = (_REVISION.fullmatch(tag.strip()) for tag in header.split(","))
    return frozenset(int(tag[1]) for tag in found if tag)


def _time(field: str, text: str) -> datetime:
    # A plus sign in a query means a space: an offset that was not escaped is still understood.
    return parse_time(field, text.replace(" ", "+") if "T" in text else text)


def _to_ms(field: str, text: str | None) -> int | None:
    """
    Return the first whole millisecond that is not before the time, None where none is given.
    """
    return None if text is None else -((_EPOCH - _time(field, text)) // timedelta(milliseconds=1))
