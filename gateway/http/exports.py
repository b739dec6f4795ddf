"""
``/v1/exports`` on the wire.
"""

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

import structlog
from aiohttp import web

from gateway.catalog.exports import PREPARING
from gateway.crypto.chunked import Buffer
from gateway.http.authentication import authenticated
from gateway.http.context import context_of, path_id
from gateway.http.documents import decode_json_body, json_response
from gateway.http.export_shapes import ExportList, ExportRequest, archive_address, export_document
from gateway.http.outlets import SocketOutlet
from gateway.http.parts import send_part
from gateway.http.ranges import ByteRange, Unsatisfiable, names_etag, parse_range
from gateway.services.errors import ExportChanged, Gone, InvalidField, Unreadable
from gateway.services.exports import ExportView

log = structlog.get_logger()

_LOOK_AGAIN_S: Final = "2"
_ANY_SIZE: Final = 2**63
"""Greater than every archive: where a range begins is asked before it is known which archive it is of."""
_NUMBER: Final = re.compile(r"[0-9]{1,9}")


async def ask_for_export(request: web.Request) -> web.Response:
    """
    Begin an export.
    """
    user = await authenticated(request)
    wanted = await decode_json_body(request, ExportRequest) if request.body_exists else ExportRequest()
    view = await context_of(request).exports.ask(user, wanted.include)
    response = _told(view, status=202)
    response.headers["Location"] = f"/v1/exports/{view.export.id}"
    return response


async def list_exports(request: web.Request) -> web.Response:
    """
    List the user's exports.
    """
    user = await authenticated(request)
    exports = await context_of(request).exports.list_of(user)
    return json_response(ExportList(exports=[export_document(export) for export in exports]))


async def get_export(request: web.Request) -> web.Response:
    """
    Tell how far an export has come.
    """
    user = await authenticated(request)
    return _told(await context_of(request).exports.get(user, str(path_id(request, "export"))))


async def end_export(request: web.Request) -> web.Response:
    """
    End an export and destroy its key.
    """
    user = await authenticated(request)
    export = await context_of(request).exports.end(user, str(path_id(request, "export")))
    return json_response(export_document(export), status=200 if export.shredded_at is not None else 202)


async def get_archive(request: web.Request) -> web.StreamResponse:
    """
    Give the archive, whole or a range of it; HEAD tells its size.
    """
    user = await authenticated(request)
    exports = context_of(request).exports
    revision, is_fresh = _revision(request), _is_fresh(request)
    export = await exports.archive(
        user, str(path_id(request, "export")), revision=revision, is_fresh=is_fresh
    )
    etag = f'"{export.id}.{export.revision}"'
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Cache-Control": "no-store",
        "Content-Location": archive_address(export),
        "Content-Type": "application/zip",
        "Content-Disposition": f'attachment; filename="recordings-{export.id[:8]}.zip"',
        "X-Content-Type-Options": "nosniff",
    }
    if names_etag(request.headers.get("If-None-Match"), etag):
        return web.Response(status=304, headers={"ETag": etag, "Cache-Control": "no-store"})
    condition = request.headers.get("If-Range")
    # Bytes of two revisions must never be joined: whoever names neither gets a range only where there was but one.
    is_sure = revision is not None or export.revision == 1 if condition is None else condition.strip() == etag
    if condition is None and not is_sure and not is_fresh:
        # Not answered with the whole: wget would leave out as much of it as it has, and add the rest to that.
        raise ExportChanged

    def cut_by(error: Exception, is_begun: bool) -> bool:
        # Before that it is answered; an archive that changed gets its 410.
        is_cut = is_begun and isinstance(error, ExportChanged | Gone | Unreadable)
        if is_cut:
            log.warning("export.cut", export=export.id, reason=str(error))
        return is_cut

    async def read(part: ByteRange, outlet: SocketOutlet | None) -> AsyncIterator[Buffer]:
        async with exports.downloading(export) as download:
            pieces = exports.read(download, start=part.start, length=part.length, outlet=outlet)
            async with aclosing(pieces):  # type: ignore[type-var]
                async for piece in pieces:
                    yield piece

    return await send_part(
        request,
        what="the archive",
        size=export.size,
        headers=headers,
        may_be_range=is_sure,
        read=read,
        cut_by=cut_by,
    )


def _told(view: ExportView, *, status: int = 200) -> web.Response:
    response = json_response(export_document(view.export, view), status=status)
    if view.export.state == PREPARING:
        response.headers["Retry-After"] = _LOOK_AGAIN_S
    return response


def _revision(request: web.Request) -> int | None:
    told = request.query.get("revision")
    if told is None:
        return None
    if not _NUMBER.fullmatch(told):
        raise InvalidField("revision", "is not a number that an export's `archive` has")
    return int(told)


def _is_fresh(request: web.Request) -> bool:
    """
    Tell whether a download begins with this request, rather than goes on after bytes that somebody has already.
    """
    try:
        part = parse_range(request.headers.get("Range"), _ANY_SIZE)
    except Unsatisfiable:
        return False
    return part is None or part.start == 0
