"""
The other host: upload sessions and downloads by URLs that themselves are the permission.
"""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from tests.emulators.cloud import Account, Content, StoredFile
from tests.emulators.emulator import FAULT
from tests.emulators.faults import Effect
from tests.emulators.onedrive.answers import FULL, NOT_FOUND, TAKEN, Refused, refusal
from tests.emulators.onedrive.drives import Drive, Folder, NameTaken, written_time
from tests.emulators.onedrive.schema import checked

if TYPE_CHECKING:
    from tests.emulators.onedrive.graph import GraphEmulator

GRID: Final = 320 << 10
MOST_AT_ONCE: Final = 60 << 20
DOWNLOAD_LIFETIME_S: Final = 3600

_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)")
_RANGE: Final = re.compile(r"bytes=([0-9]+)-([0-9]*)")


@dataclass
class UploadSession:
    """
    A file on its way.
    """

    drive: Drive
    folder: Folder
    name: str
    behavior: str
    deferred: bool
    file_size: int | None
    expires_at: float
    content: Content
    url: str
    total: int | None = None
    is_off_grid: bool = False
    """Whether a range before the last ended beside the grid; that shows at the end and not before."""
    info: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Download:
    account: Account
    stored: StoredFile
    expires_at: float


class Transfers:
    """
    The sessions and downloads of one emulator, and their endpoints.

    Attributes:
        ignores_range: whether downloads come whole, whatever range is asked for.
        session_lifetime_s: how long a session lives after its last range.
        cut_download_after: how many bytes of the next download come before its connection is cut.
    """

    def __init__(self, cloud: "GraphEmulator") -> None:
        self.cloud = cloud
        self.url = ""
        self.ignores_range = False
        self.session_lifetime_s = 24 * 3600
        self.cut_download_after: int | None = None
        self.sessions: dict[str, UploadSession] = {}
        self._downloads: dict[str, _Download] = {}

    def add_routes(self, app: web.Application) -> None:
        served = self.cloud.served
        app.router.add_put("/up/{id}", served("append", self._answering(self._append)))
        app.router.add_get("/up/{id}", served("resume", self._answering(self._position)))
        app.router.add_post("/up/{id}", served("commit", self._answering(self._complete)))
        app.router.add_delete("/up/{id}", self._answering(self._cancel))
        app.router.add_get("/down/{id}", served("read", self._answering(self._download)))

    # For Graph's own endpoints

    def begin(self, drive: Drive, folder: Folder, name: str, asked: dict[str, Any]) -> UploadSession:
        item = asked.get("item", {})
        behavior = item.get("@microsoft.graph.conflictBehavior", item.get("@name.conflictBehavior", "fail"))
        size = item.get("fileSize")
        if size is not None and not drive.has_room_for(size):
            raise FULL
        number = secrets.token_hex(8)
        # As the real ones do, it holds what a client must not decode and encode anew.
        url = f"{self.url}/up/{number}?guid='{secrets.token_hex(4)}'&tempauth=v1.{secrets.token_urlsafe(24)}%2B%7e"
        now = self.cloud.clock.now()
        session = UploadSession(
            drive,
            folder,
            name,
            behavior,
            asked.get("deferCommit", False),
            size,
            now + self.session_lifetime_s,
            self.cloud.new_content(),
            url,
        )
        session.info = item.get("fileSystemInfo", {})
        self.sessions[number] = session
        return session

    def document(self, session: UploadSession, *, with_url: bool = False) -> dict[str, Any]:
        """
        Return the session as Graph tells it.
        """
        size = session.content.size
        ranges = [] if session.total is not None and size >= session.total else [f"{size}-"]
        document = {"expirationDateTime": written_time(session.expires_at), "nextExpectedRanges": ranges}
        if with_url:
            document["uploadUrl"] = session.url
        return checked("uploadSession", document)

    def complete(self, url: str, behavior: str) -> tuple[StoredFile, bool]:
        """
        Finish the session of that URL, as a PUT with a sourceUrl asks for.
        """
        session = next((one for one in self.sessions.values() if one.url == url), None)
        if session is None or session.total is None or session.content.size < session.total:
            raise Refused(400, "invalidRequest", "The upload session is not complete.")
        session.behavior = behavior
        return self._finished(session)

    def download_url(self, account: Account, stored: StoredFile) -> str:
        number = secrets.token_hex(16)
        self._downloads[number] = _Download(account, stored, self.cloud.clock.now() + DOWNLOAD_LIFETIME_S)
        return f"{self.url}/down/{number}?tempauth=v1.{secrets.token_urlsafe(12)}%2B%7e"

    def forget(self) -> None:
        """
        Lose every session, as a provider may.
        """
        for session in self.sessions.values():
            session.content.drop()
        self.sessions.clear()

    # Endpoints

    def _answering(
        self, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def endpoint(request: web.Request) -> web.StreamResponse:
            try:
                if "Authorization" in request.headers and request.method != "GET":
                    raise Refused(401, "unauthenticated", "The URL is the permission; send no Authorization.")
                return await handler(request)
            except Refused as refused:
                answer = refusal(refused, self.cloud.clock.now(), inner_key=self.cloud.inner_error_key)
                return await self.cloud.drained(request, answer)

        return endpoint

    def _session(self, request: web.Request) -> UploadSession:
        number = request.match_info["id"]
        session = self.sessions.get(number)
        if session is not None and session.expires_at <= self.cloud.clock.now():
            self.sessions.pop(number).content.drop()
            session = None
        # Letter by letter: whoever encodes it anew has broken its signature.
        if session is None or not session.url.endswith(request.raw_path):
            raise NOT_FOUND
        return session

    async def _append(self, request: web.Request) -> web.StreamResponse:
        session = self._session(request)
        asked = _CONTENT_RANGE.fullmatch(request.headers.get("Content-Range", ""))
        if asked is None:
            raise Refused(400, "invalidRequest", "A Content-Range is needed.")
        first, last, total = (int(number) for number in asked.groups())
        if last < first or last >= total or request.content_length != last + 1 - first:
            raise Refused(400, "invalidRequest", "The range and the length do not agree.")
        if total != (session.total or total) or total != (session.file_size or total):
            raise Refused(400, "invalidRequest", "The total length has changed.")
        if last + 1 - first > MOST_AT_ONCE:
            raise Refused(413, "requestTooLarge", "The range is larger than 60 MiB.")
        offset = session.content.size
        if first != offset:
            inner = "fragmentOverlap" if first < offset else "fragmentOutOfOrder"
            raise Refused(416, "invalidRange", "The range is not the one expected next.", inner=inner)
        session.total = total
        await self._take(request, session, last + 1 - first)
        session.expires_at = self.cloud.clock.now() + self.session_lifetime_s
        if session.content.size < total:
            session.is_off_grid |= last + 1 < total and (last + 1) % GRID != 0
            return web.json_response(self.document(session), status=202)
        if session.deferred:
            return web.json_response(self.document(session), status=202)
        return self._item(session)

    async def _take(self, request: web.Request, session: UploadSession, length: int) -> None:
        offset = session.content.size
        taken = 0
        try:
            async for piece in self.cloud.body(request):
                session.content.append(piece)
                taken += len(piece)
        except (OSError, asyncio.CancelledError, web.HTTPException):
            # What came of a broken request is dropped, all of it.
            session.content.truncate(offset)
            raise
        fault = request.get(FAULT)
        takes_less = fault is not None and fault.effect is Effect.TAKE_LESS
        if taken < length and not takes_less:
            session.content.truncate(offset)

    async def _position(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.document(self._session(request)))

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        session = self._session(request)
        if not session.drive.is_business:
            raise Refused(400, "invalidRequest", "Not supported on this account.")
        if session.total is None or session.content.size < session.total or request.content_length:
            raise Refused(400, "invalidRequest", "The upload session is not complete.")
        return self._item(session)

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        session = self._session(request)
        del self.sessions[request.match_info["id"]]
        session.content.drop()
        return web.Response(status=204)

    def _item(self, session: UploadSession) -> web.StreamResponse:
        stored, is_new = self._finished(session)
        document = session.drive.document(stored, tells_hashes=self.cloud.tells_hashes)
        return web.json_response(document, status=201 if is_new else 200)

    def _finished(self, session: UploadSession) -> tuple[StoredFile, bool]:
        drive, size = session.drive, session.content.size
        if session.is_off_grid:
            raise Refused(400, "invalidRequest", "A range was not a multiple of 320 KiB.")
        if not drive.has_room_for(size):
            raise FULL
        if drive.folders.get(session.folder.id) is not session.folder:
            raise NOT_FOUND
        try:
            stored, is_new = drive.put(
                session.folder, session.name, session.content, self.cloud.clock.now(), session.behavior
            )
        except NameTaken:
            raise TAKEN from None
        stored.extra["fileSystemInfo"] = session.info
        for number, one in list(self.sessions.items()):
            if one is session:
                del self.sessions[number]
        return stored, is_new

    async def _download(self, request: web.Request) -> web.StreamResponse:
        if "Authorization" in request.headers:
            raise Refused(401, "unauthenticated", "The URL is the permission; send no Authorization.")
        download = self._downloads.get(request.match_info["id"])
        if download is None or download.expires_at <= self.cloud.clock.now():
            raise Refused(401, "unauthenticated", "The URL has expired.")
        if download.stored.id not in download.account.files:
            raise NOT_FOUND
        content = download.stored.content
        size = content.size
        start, end = 0, size
        headers: dict[str, str] = {}
        asked = _RANGE.fullmatch(request.headers.get("Range", ""))
        if asked is not None and not self.ignores_range:
            start = int(asked[1])
            end = min(size, int(asked[2]) + 1) if asked[2] else size
            if start >= size:
                headers = {"Content-Range": f"bytes */{size}"}
                raise Refused(416, "invalidRange", "The range lies beyond the end.", headers=headers)
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        response = web.StreamResponse(status=206 if headers else 200, headers=headers)
        response.content_length = end - start
        response.content_type = "application/octet-stream"
        await response.prepare(request)
        cut, self.cut_download_after = self.cut_download_after, None
        for piece in content.pieces(start, end if cut is None else min(end, start + cut)):
            await response.write(piece)
        if cut is not None and start + cut < end and request.transport is not None:
            # In order, so that what was sent still arrives.
            request.transport.close()
            return response
        await response.write_eof()
        return response
