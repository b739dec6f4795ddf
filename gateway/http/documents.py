"""
JSON on the wire: reading what was sent, and answering.
"""

from contextlib import suppress
from typing import Final, TypeVar

import msgspec
from aiohttp import web

from gateway.services.errors import InvalidField, TooLong

T = TypeVar("T")

_MAX_JSON: Final = 1024 * 1024


def json_response(document: object, *, status: int = 200, etag: int | None = None) -> web.Response:
    """
    Answer with a document, which nobody keeps.
    """
    headers = {"Cache-Control": "no-store"}
    if etag is not None:
        headers["ETag"] = f'"{etag}"'
    return web.Response(
        status=status, body=msgspec.json.encode(document), content_type="application/json", headers=headers
    )


async def read_body(request: web.Request) -> bytes:
    """
    Read a JSON body whole.

    Raises:
        TooLong: it is none of ours.
    """
    if (request.content_length or 0) <= _MAX_JSON:
        with suppress(web.HTTPRequestEntityTooLarge):
            return await request.read()
    raise TooLong("the body is too long", limit=_MAX_JSON)


async def decode_json_body(request: web.Request, kind: type[T]) -> T:
    """
    Return the request's JSON body as *kind*.

    Raises:
        InvalidField: names the header or field that does not fit.
        TooLong: it is none of ours.
    """
    if request.content_type != "application/json":
        raise InvalidField("Content-Type", "is not application/json")
    return decode(await read_body(request), kind)


def convert(values: object, kind: type[T], *, strict: bool = True) -> T:
    """
    Return *values* as *kind*.

    Raises:
        InvalidField: names the one that does not fit.
    """
    try:
        return msgspec.convert(values, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None


def decode(body: bytes, kind: type[T]) -> T:
    """
    Return a JSON body as *kind*.

    Raises:
        InvalidField: names the field that does not fit.
    """
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
