"""
Answering GET and HEAD with some content, whole or a range of it (RFC 9110, sections 9.3 and 14).
"""

from collections.abc import AsyncIterator, Callable, Mapping

from aiohttp import web

from gateway.crypto.chunked import Buffer
from gateway.http.outlets import SocketOutlet
from gateway.http.problems import problem
from gateway.http.ranges import ByteRange, Unsatisfiable, parse_range
from gateway.services.sending import LONG

Read = Callable[[ByteRange, SocketOutlet | None], AsyncIterator[Buffer]]
"""Gives the bytes of a part; what goes out by the outlet is not given."""


async def send_part(
    request: web.Request,
    *,
    what: str,
    size: int,
    headers: Mapping[str, str],
    may_be_range: bool,
    read: Read,
    cut_by: Callable[[Exception, bool], bool],
) -> web.StreamResponse:
    """
    Answer with the content's *size* bytes, or with the range of them that is asked for.

    The first bytes are read before the status line is sent: what `read` raises then is still the answer.

    Args:
        what: names the content in a refusal.
        may_be_range: whether its validators allow a range.
        cut_by: is asked of each failure, and whether the status line is out, whether it ends the connection.

    Raises:
        ConnectionAbortedError: no more may be sent on this connection; never a clean short answer.
    """
    wanted: ByteRange | None = None
    if request.method == "GET" and may_be_range:
        try:
            wanted = parse_range(request.headers.get("Range"), size)
        except Unsatisfiable:
            return problem(
                416,
                "range-not-satisfiable",
                "Range not satisfiable",
                f"{what} has {size} bytes",
                headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"},
            )
    response = web.StreamResponse(status=200 if wanted is None else 206, headers=headers)
    part = ByteRange(0, size, size) if wanted is None else wanted
    response.content_length = part.length
    if wanted is not None:
        response.headers["Content-Range"] = wanted.content_range
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    outlet = SocketOutlet.of(request) if part.length >= LONG else None
    pieces = read(part, outlet)
    try:
        first = await anext(pieces, b"")
        if len(first) == part.length:
            # Its headers and bytes go out in one write.
            return web.Response(status=response.status, headers=response.headers, body=bytes(first))
        await response.prepare(request)
        await response.write(first)
        async for piece in pieces:
            await response.write(piece)
        await response.write_eof()
    except Exception as error:
        if cut_by(error, response.prepared):
            raise ConnectionAbortedError from error
        raise
    finally:
        await pieces.aclose()  # type: ignore[attr-defined]
        if outlet is not None:
            outlet.close()
    return response
