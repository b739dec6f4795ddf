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
from gateway.http.parts import send_part
from gateway.http.ranges import ByteRange, names_etag
from gateway.services.errors import Unreadable
from gateway.services.playback import ReadEnded
from gateway.services.recordings import Recording

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
    context = context_of(request)

    def read(part: ByteRange, outlet: SocketOutlet | None) -> AsyncIterator[Buffer]:
        return context.playback.open(recording.row, start=part.start, length=part.length, outlet=outlet)

    def cut_by(error: Exception, is_begun: bool) -> bool:
        if isinstance(error, Unreadable):
            context.metrics.damaged_reads.inc()
            log.error("audio.unreadable", recording=str(recording.row.id), reason=str(error), exc_info=error)
        elif isinstance(error, ReadEnded):
            log.info("audio.erased_while_read", recording=str(recording.row.id))
        return isinstance(error, Unreadable | ReadEnded)

    return await send_part(
        request,
        what="the recording",
        size=recording.row.size,
        headers=all_headers,
        may_be_range=request.headers.get("If-Range", etag).strip() == etag,
        read=read,
        cut_by=cut_by,
    )


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
