"""
A recording's audio on the wire: whole, or a range of it.
"""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Final
from urllib.parse import quote

import structlog
from aiohttp import web

from gateway.crypto.chunked import Buffer
from gateway.http.context import context_of
from gateway.http.outlets import SocketOutlet
from gateway.http.problems import problem
from gateway.http.ranges import ByteRange, Unsatisfiable, names_etag, parse_range
from gateway.services.errors import Unreadable
from gateway.services.playback import ReadEnded
from gateway.services.recordings import Recording
from gateway.services.sending import LONG

log = structlog.get_logger()

_PLAYABLE: Final = re.compile(r"(audio|video)/[A-Za-z0-9.+-]+( *;[ -~]*)?|application/ogg")
"""What a browser may be told to play; anything else, HTML above all, is only handed over."""
_LONGEST_NAME: Final = 255


async def send_audio(
    request: web.Request, recording: Recording, *, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """
    Answer GET or HEAD for the recording's plaintext (RFC 9110: Range, If-Range, If-None-Match), with *headers* besides.

    If what lies at rest turns out damaged, the connection is aborted: never a clean short answer.

    Raises:
        ConnectionAbortedError: no more may be sent on this connection.
    """
    etag = f'"{recording.row.id}"'
    all_headers = {
        **(headers or {}),
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Cache-Control": "no-store",
        "Content-Type": _media_type(recording),
        "Content-Disposition": _disposition(recording),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if names_etag(request.headers.get("If-None-Match"), etag):
        return web.Response(status=304, headers={"ETag": etag, "Cache-Control": "no-store"})
    size = recording.row.size
    wanted: ByteRange | None = None
    if request.method == "GET" and request.headers.get("If-Range", etag).strip() == etag:
        try:
            wanted = parse_range(request.headers.get("Range"), size)
        except Unsatisfiable:
            return problem(
                416,
                "range-not-satisfiable",
                "Range not satisfiable",
                f"the recording has {size} bytes",
                headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"},
            )
    response = web.StreamResponse(status=200 if wanted is None else 206, headers=all_headers)
    part = ByteRange(0, size, size) if wanted is None else wanted
    response.content_length = part.length
    if wanted is not None:
        response.headers["Content-Range"] = wanted.content_range
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    return await _stream(request, response, recording, part)


async def _stream(
    request: web.Request, response: web.StreamResponse, recording: Recording, part: ByteRange
) -> web.StreamResponse:
    context = context_of(request)
    outlet = SocketOutlet.of(request) if part.length >= LONG else None
    plaintext = context.playback.open(recording.row, start=part.start, length=part.length, outlet=outlet)
    try:
        # The first slab comes before the status line, so that an erased recording still gets its 404.
        first = await anext(plaintext, b"")
        if len(first) == part.length:
            # Its headers and bytes go out in one write.
            return web.Response(status=response.status, headers=response.headers, body=bytes(first))
        await response.prepare(request)
        await response.write(first)
        async for slab in plaintext:
            await response.write(slab)
        await response.write_eof()
    except Unreadable as error:
        context.metrics.damaged_reads.inc()
        log.error("audio.unreadable", recording=str(recording.row.id), reason=str(error), exc_info=error)
        raise ConnectionAbortedError from error
    except ReadEnded:
        log.info("audio.erased_while_read", recording=str(recording.row.id))
        raise ConnectionAbortedError from None
    finally:
        await _close(plaintext)
        if outlet is not None:
            outlet.close()
    return response


async def _close(plaintext: AsyncIterator[Buffer]) -> None:
    await plaintext.aclose()  # type: ignore[attr-defined]


def _media_type(recording: Recording) -> str:
    claimed = None if recording.details is None else recording.details.filetype
    return claimed if claimed is not None and _PLAYABLE.fullmatch(claimed) else "application/octet-stream"


def _disposition(recording: Recording) -> str:
    name = None if recording.details is None else recording.details.filename
    kind = "inline" if _media_type(recording) != "application/octet-stream" else "attachment"
    if not name:
        return kind
    # A longer one would pass what proxies and clients take as a header.
    return f"{kind}; filename*=UTF-8''{quote(name[:_LONGEST_NAME], safe='')}"
