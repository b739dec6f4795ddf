"""
Uploads: whole, with metadata, or resumable. The resumable protocol is in no document that machines read.
"""

import json
import re
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from tests.emulators.cloud import Content
from tests.emulators.gdrive.contract import Method
from tests.emulators.gdrive.drive import Document, Drive
from tests.emulators.gdrive.refusals import Refused, invalid, storage_full

GRID: Final = 256 << 10
SESSION_LIFETIME_S: Final = 7 * 86_400

_SPAN: Final = re.compile(r"bytes (?P<start>\d+)-(?P<last>\d+)/(?P<total>\d+|\*)")
_QUESTION: Final = re.compile(r"bytes \*/(?P<total>\d+|\*)")

Pieces = AsyncIterator[bytes]


@dataclass
class UploadSession:
    """
    One resumable upload.
    """

    drive: Drive
    method: Method
    query: dict[str, str]
    metadata: Document
    target: str | None
    """The file whose content it replaces; None for a new one."""

    content: Content
    began_at: float
    size: int | None = None
    """As announced, if it was."""

    file_id: str | None = None
    """Once it is finished."""

    id: str = field(default_factory=lambda: "AF" + secrets.token_urlsafe(48))

    def finished(self) -> web.Response:
        """
        Return the answer to whoever has sent all, or asks again later.
        """
        assert self.file_id is not None
        document = self.drive.document(self.drive.file(self.file_id))
        return self.method.answered(document, self.query)

    def unfinished(self) -> web.Response:
        """
        Return the answer that tells how far it has come.
        """
        stored = self.content.size
        headers = {"Range": f"bytes=0-{stored - 1}"} if stored else {}
        return web.Response(status=308, headers={**headers, "X-GUploader-UploadID": self.id})

    async def append(self, content_range: str | None, length: int | None, pieces: Pieces) -> web.Response:
        """
        Take a part; what is stored already is passed over.
        """
        if self.file_id is not None:
            await _drained(pieces)
            return self.finished()
        start, end, total = self._announced(content_range, length)
        is_last = total is not None and end == total
        problem = self._problem(start, end, total, is_last=is_last)
        if problem is not None:
            await _drained(pieces)
            raise problem
        await self._take(start, end, pieces)
        if not is_last or self.content.size < total:
            return self.unfinished()
        return self.finish()

    def finish(self) -> web.Response:
        """
        Make the file.
        """
        if self.target is None:
            self.file_id = self.drive.create(self.metadata, self.content).id
        else:
            self.file_id = self.drive.update(self.target, self.metadata, self.content).id
        return self.finished()

    def _announced(self, content_range: str | None, length: int | None) -> tuple[int, int, int | None]:
        if content_range is None:
            if length is None:
                raise Refused(411, "lengthRequired", "The content needs a length or a range.")
            return 0, length, length
        found = _SPAN.fullmatch(content_range)
        if found is None:
            raise Refused(400, "badRequest", "Failed to parse Content-Range header.")
        start, last, total = int(found["start"]), int(found["last"]), found["total"]
        if last < start or (length is not None and length != last + 1 - start):
            raise Refused(400, "badRequest", "Content-Range and Content-Length do not agree.")
        return start, last + 1, None if total == "*" else int(total)

    def _problem(self, start: int, end: int, total: int | None, *, is_last: bool) -> Refused | None:
        if total is not None and (end > total or self.size not in {None, total}):
            return Refused(
                400, "badRequest", "The range goes beyond the size, or that is another than announced."
            )
        if not is_last and (end - start) % GRID:
            return Refused(400, "badRequest", "The number of bytes of a chunk must be a multiple of 262144.")
        if start > self.content.size:
            return Refused(400, "badRequest", "The range begins behind what is stored.")
        if total is not None and total > self.method.largest:
            return Refused(413, "uploadTooLarge", "The file is too large.")
        if not self.drive.account.has_room_for(end):
            return storage_full()
        return None

    async def _take(self, start: int, end: int, pieces: Pieces) -> None:
        known = self.content.size - start
        at = start
        try:
            async for piece in pieces:
                at += len(piece)
                fresh = piece[known:] if known > 0 else piece
                known -= len(piece)
                self.content.append(fresh)
        except (web.RequestPayloadError, ConnectionError):
            pass
        if at < end:
            # What came in of a part that broke off is kept in whole units.
            self.content.truncate(self.content.size // GRID * GRID)


class Uploads:
    """
    The upload paths of one cloud.
    """

    def __init__(
        self, url: Callable[[], str], now: Callable[[], float], new_content: Callable[[], Content]
    ) -> None:
        self._url = url
        self._now = now
        self._new_content = new_content
        self.sessions: dict[str, UploadSession] = {}

    async def whole(
        self, request: web.Request, drive: Drive, method: Method, query: dict[str, str], pieces: Pieces
    ) -> web.Response:
        """
        Take content in one request, with metadata before it or without.
        """
        raw = b"".join([piece async for piece in pieces])
        metadata: Document = {}
        if query["uploadType"] == "multipart":
            metadata, raw = _split(request, raw)
        content = self._new_content()
        content.append(raw)
        target = request.match_info.get("fileId")
        metadata = method.check_body(metadata)
        method.mask(query)
        if target is not None:
            return method.answered(drive.document(drive.update(target, metadata, content)), query)
        return method.answered(drive.document(drive.create(metadata, content)), query)

    def begin(
        self, request: web.Request, drive: Drive, method: Method, query: dict[str, str], raw: bytes
    ) -> web.Response:
        """
        Begin a resumable upload; *raw* is its metadata.
        """
        metadata = method.check_body(_json(raw)) if raw else {}
        method.mask(query)
        announced = request.headers.get("X-Upload-Content-Length")
        size = None if announced is None else int(announced)
        target = request.match_info.get("fileId")
        if target is None:
            drive.check_new(metadata, size)
        else:
            drive.file(target)
        mime_type = request.headers.get("X-Upload-Content-Type")
        if mime_type is not None:
            metadata.setdefault("mimeType", mime_type)
        session = UploadSession(
            drive, method, query, metadata, target, self._new_content(), self._now(), size
        )
        self.sessions[session.id] = session
        location = f"{self._url()}{request.path}?uploadType=resumable&upload_id={session.id}"
        return web.Response(headers={"Location": location, "X-GUploader-UploadID": session.id})

    def session(self, request: web.Request) -> UploadSession:
        """
        Return the session that the request is for. Its id is all the permission that is needed.
        """
        session = self.sessions.get(request.query["upload_id"])
        if session is None or session.began_at + SESSION_LIFETIME_S <= self._now():
            raise Refused(404, "notFound", "Not Found")
        return session

    async def append(self, request: web.Request, pieces: Pieces) -> web.Response:
        return await self.session(request).append(
            request.headers.get("Content-Range"), request.content_length, pieces
        )

    def resume(self, request: web.Request) -> web.Response:
        """
        Tell how far a session has come.
        """
        session = self.session(request)
        asked = _QUESTION.fullmatch(request.headers["Content-Range"])
        if asked is None:
            raise Refused(400, "badRequest", "Failed to parse Content-Range header.")
        if session.file_id is not None:
            return session.finished()
        if asked["total"] != "*" and session.size not in {None, int(asked["total"])}:
            raise Refused(400, "badRequest", "The size is another than announced.")
        return session.unfinished()

    def abort(self, request: web.Request) -> web.Response:
        """
        Forget a session.
        """
        session = self.session(request)
        del self.sessions[session.id]
        if session.file_id is None:
            session.content.drop()
        return web.Response(status=499)


def is_question(request: web.Request) -> bool:
    """
    Whether the request asks how far a session has come.
    """
    return request.headers.get("Content-Range", "").startswith("bytes */")


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        raise Refused(400, "parseError", "Parse Error") from None


def _split(request: web.Request, raw: bytes) -> tuple[Any, bytes]:
    """
    Return the metadata and the content of a body of two parts.
    """
    if request.content_type != "multipart/related":
        raise Refused(400, "badRequest", "The body must be multipart/related.")
    found = re.search(r'boundary="?([^";]+)"?', request.headers["Content-Type"])
    if found is None:
        raise invalid("Content-Type", "There is no boundary.")
    boundary = b"--" + found[1].encode()
    # Google's own library ends lines as text files do, others as RFC 2046 wants it.
    end_of_line = b"\r\n" if raw.startswith(boundary + b"\r\n") else b"\n"
    delimiter = end_of_line + boundary
    middle = raw.find(delimiter)
    end = raw.rfind(delimiter + b"--")
    if not raw.startswith(boundary) or not 0 <= middle < end:
        raise Refused(400, "badRequest", "The body must have two parts.")
    parts = raw[len(boundary) : middle], raw[middle + len(delimiter) : end]
    metadata, content = (part.partition(2 * end_of_line)[2] for part in parts)
    return _json(metadata), content


async def _drained(pieces: Pieces) -> None:
    async for _ in pieces:
        pass
