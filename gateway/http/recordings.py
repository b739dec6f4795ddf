"""
``/v1/recordings`` and ``/v1/receipts`` on the wire.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from aiohttp import web

from gateway.catalog.users import User
from gateway.http import shapes, tus
from gateway.http.audio import send_audio
from gateway.http.authentication import authenticated
from gateway.http.context import context_of, path_id
from gateway.http.documents import convert, decode, json_response, read_body
from gateway.http.problems import problem
from gateway.services.details import parse_time
from gateway.services.erasure import Erasure
from gateway.services.errors import InvalidField
from gateway.services.recordings import Filter

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
    query = convert(dict(request.query), shapes.ListQuery, strict=False)
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
    return json_response(shapes.page_document(page))


async def get_recording(request: web.Request) -> web.Response:
    """
    Give one recording's details.
    """
    user = await authenticated(request)
    recording = await context_of(request).recordings.look(user, path_id(request, "recording"))
    return json_response(shapes.recording_document(recording), etag=recording.row.details_revision)


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
    edit = decode(await read_body(request), shapes.EditRequest)
    recording = await context_of(request).recordings.edit(
        user, recording_id, edit.changes(), if_revisions=_if_revisions(request)
    )
    return json_response(shapes.recording_document(recording), etag=recording.row.details_revision)


async def get_copies(request: web.Request) -> web.Response:
    """
    Tell where a recording lies.
    """
    user = await authenticated(request)
    found = await context_of(request).recordings.placements_of(user, path_id(request, "recording"))
    return json_response(shapes.copy_list(found))


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
    return json_response(shapes.erasure_document(erasure))


async def get_receipt_keys(request: web.Request) -> web.Response:
    """
    Give the public keys that check receipts; needs no token.
    """
    keys = await context_of(request).keyring.public_keys()
    return json_response(shapes.ReceiptKeys(keys=[shapes.format_key(key) for key in keys]))


def _erasure(erasure: Erasure) -> web.Response:
    document = shapes.erasure_document(erasure)
    if erasure.receipts:
        return json_response(document)
    response = json_response(document, status=202)
    response.headers["Location"] = f"/v1/receipts/{erasure.subject_id}"
    response.headers["Retry-After"] = "1"
    return response


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
