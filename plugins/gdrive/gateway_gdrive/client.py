"""
The files of one Drive, and the calls of Google's library that work on them; what the library brings stays here.

The library blocks, so every call runs in a thread of the lane.
Its resumable uploads keep their state in an object; ours is in the session, so that protocol is spoken here directly.
"""

import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from http.client import BadStatusLine, HTTPResponse
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import httplib2
from googleapiclient.discovery import build_from_document
from googleapiclient.discovery_cache import get_static_doc
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseUpload

from gateway.api import (
    AuthRevoked,
    BackendError,
    IntegrityMismatch,
    NotFound,
    Quota,
    ThreadLane,
    TokenSource,
    Transient,
    Unsupported,
    settled,
    translated,
)
from gateway_gdrive.errors import classify, classify_in_session
from gateway_gdrive.settings import GDriveSettings

ResultT = TypeVar("ResultT")

FOLDER_TYPE: Final = "application/vnd.google-apps.folder"
SEALED_TYPE: Final = "application/octet-stream"

_FILE_FIELDS: Final = "id,name,size,trashed,md5Checksum,sha256Checksum"

_STORED: Final = re.compile(r"(?:bytes=)?0-([0-9]+)", re.ASCII)

_MAX_IDLE_S: Final = 20.0
"""How long a connection is kept for another call; Google closes those that are idle for some minutes."""


@dataclass(frozen=True, slots=True)
class DriveFile:
    """
    What Drive says about a file.
    """

    id: str
    name: str
    size: int
    is_trashed: bool
    md5: str | None
    sha256: str | None
    """Missing at times, by what others have seen."""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "DriveFile":
        return cls(
            id=str(told["id"]),
            name=str(told["name"]),
            # Folders have none.
            size=int(told.get("size", 0)),
            is_trashed=bool(told.get("trashed", False)),
            md5=told.get("md5Checksum"),
            sha256=told.get("sha256Checksum"),
        )

    def agrees(self, size: int, *, sha256: str, md5: str | None = None) -> bool:
        """
        Whether the file is what was sent, by Drive's SHA-256, or by its MD5 where it has no other.
        """
        if self.size != size:
            return False
        if self.sha256 is not None:
            return self.sha256 == sha256
        return self.md5 is None or md5 is None or self.md5 == md5


class Drive:
    """
    One account's Drive, as far as this program may see it.
    """

    def __init__(self, lane: ThreadLane, tokens: TokenSource, settings: GDriveSettings) -> None:
        self._lane = lane
        self._tokens = tokens
        self._settings = settings
        self._connections = _Connections(settings.timeout_s)

    def close(self) -> None:
        """
        Close what is idle; a call that is still under way closes its connection itself.
        """
        self._connections.close()

    # Files

    async def new_ids(self, count: int) -> list[str]:
        """
        Return ids that files can be created with, each once.
        """
        answer = await self._call(lambda files: files.generateIds(count=count, space="drive", type="files"))
        return [str(new) for new in answer["ids"]]

    async def file(self, file_id: str) -> DriveFile:
        """
        Return what is known about a file; never out of date.
        """
        return DriveFile.of(await self._call(lambda files: files.get(fileId=file_id, fields=_FILE_FIELDS)))

    async def create(self, file_id: str, name: str, folder: str, content: bytes) -> DriveFile:
        """
        Make a file with all its content.
        """

        def request(files: Any) -> Any:
            media = MediaIoBaseUpload(io.BytesIO(content), SEALED_TYPE, resumable=False)
            body = {"id": file_id, "name": name, "parents": [folder]}
            return files.create(body=body, media_body=media, fields=_FILE_FIELDS)

        # The thread goes on whatever happens.
        return DriveFile.of(await settled(self._call(request)))

    async def make_folder(self, file_id: str, name: str) -> None:
        """
        Make a folder at the top of the Drive.
        """
        body = {"id": file_id, "name": name, "mimeType": FOLDER_TYPE}
        await settled(self._call(lambda files: files.create(body=body, fields="id")))

    async def rename(self, file_id: str, name: str) -> None:
        """
        Give a file another name.
        """
        await settled(
            self._call(lambda files: files.update(fileId=file_id, body={"name": name}, fields="id"))
        )

    async def delete(self, file_id: str) -> None:
        """
        Delete a file for good, past the trash; succeeds where there is none.
        """
        with suppress(NotFound):
            await settled(self._call(lambda files: files.delete(fileId=file_id)))

    async def page(self, query: str, after: str | None) -> tuple[list[DriveFile], str | None]:
        """
        Return the files of one page, the oldest first, and what leads to the next page, if there is one.

        This is a search, which may show what was some time ago.
        """
        more = {} if after is None else {"pageToken": after}
        answer = await self._call(
            lambda files: files.list(
                q=query,
                spaces="drive",
                orderBy="createdTime",
                pageSize=self._settings.list_page_size,
                fields=f"nextPageToken,incompleteSearch,files({_FILE_FIELDS})",
                **more,
            )
        )
        if answer.get("incompleteSearch"):
            raise Transient("Google Drive has not searched everywhere.")
        return [DriveFile.of(told) for told in answer.get("files", ())], answer.get("nextPageToken")

    async def read(self, file_id: str, start: int, length: int) -> bytes:
        """
        Return *length* bytes (at least one) from *start*.

        Raises:
            IntegrityMismatch: there are not that many.
        """
        statuses: list[int] = []

        def request(files: Any) -> Any:
            wanted = files.get_media(fileId=file_id)
            wanted.headers["range"] = f"bytes={start}-{start + length - 1}"
            wanted.headers["accept-encoding"] = "identity"
            wanted.add_response_callback(lambda response: statuses.append(response.status))
            return wanted

        content = bytes(await self._call(request))
        if statuses[-1] != 206 and len(content) != length:
            raise Unsupported("Google Drive gave a whole file where a range of it was asked for.")
        if len(content) != length:
            raise IntegrityMismatch(f"File {file_id} ends before byte {start + length}.")
        return content

    async def quota(self) -> Quota:
        """
        Return how full the account is, with all that counts against it.
        """
        answer = await self._run(
            classify, partial(self._execute, lambda library: library.about.get(fields="storageQuota"))
        )
        told = answer["storageQuota"]
        limit = told.get("limit")
        return Quota(used=int(told["usage"]), limit=None if limit is None else int(limit))

    # Uploads in parts

    async def begin(self, file_id: str, name: str, folder: str, size: int) -> str:
        """
        Begin a file in parts; return the URL that takes them.
        """
        body = {"id": file_id, "name": name, "parents": [folder]}

        def begin(token: str) -> str:
            media = MediaIoBaseUpload(io.BytesIO(), SEALED_TYPE, resumable=True)
            request = _library(self._settings.api_url).files.create(
                body=body, media_body=media, fields=_FILE_FIELDS
            )
            headers = {
                **request.headers,
                "x-upload-content-type": SEALED_TYPE,
                "x-upload-content-length": str(size),
            }
            with self._connections.one() as http:
                response, content = _Bearer(http, token).request(
                    request.uri, method=request.method, body=request.body, headers=headers
                )
            if response.status != 200:
                raise HttpError(response, content)
            if "location" not in response:
                raise BackendError("Google Drive began an upload without saying where.")
            return str(response["location"])

        return await self._run(classify, begin)

    async def append(self, url: str, part: bytes, offset: int, size: int) -> int:
        """
        Send the bytes from *offset*; return how many of the file there are then.
        """
        span = f"bytes {offset}-{offset + len(part) - 1}/{size}"
        return await settled(self._in_session("PUT", url, span, part, size))

    async def progress(self, url: str, size: int) -> int:
        """
        Return how many bytes of the file there are.
        """
        return await self._in_session("PUT", url, f"bytes */{size}", b"", size)

    async def drop(self, url: str) -> None:
        """
        Forget the upload, if Drive lets.
        """

        def drop(token: str) -> None:
            response, content = self._exchange("DELETE", url, {}, b"", token)
            # 499 says that it is cancelled; other answers of that class, that there is nothing to cancel.
            if response.status == 401 or response.status >= 500:
                raise HttpError(response, content)

        await self._run(classify_in_session, drop)

    async def _in_session(self, method: str, url: str, span: str, part: bytes, size: int) -> int:
        def send(token: str) -> int:
            response, content = self._exchange(method, url, {"content-range": span}, part, token)
            if response.status in {200, 201}:
                return size
            if response.status != 308:
                raise HttpError(response, content)
            stored = _STORED.fullmatch(response.get("range", ""))
            return 0 if stored is None else int(stored[1]) + 1

        return await self._run(classify_in_session, send)

    def _exchange(
        self, method: str, url: str, headers: dict[str, str], body: bytes, token: str
    ) -> tuple[httplib2.Response, bytes]:
        here, there = urlsplit(self._settings.api_url), urlsplit(url)
        if there.scheme not in {here.scheme, "https"}:
            raise Unsupported("Google Drive wants parts to be sent where nothing protects them.")
        with self._connections.one() as http:
            # The URL alone is permission enough; the token is for those who gave it, and nobody else.
            is_theirs = (here.scheme, here.netloc) == (there.scheme, there.netloc)
            bearer = _Bearer(http, token if is_theirs else None)
            return bearer.request(url, method=method, body=body, headers=headers)

    # Calls

    async def _call(self, request: Callable[[Any], Any]) -> Any:
        """
        Carry out the request that *request* makes of the library's ``files``.
        """
        return await self._run(classify, partial(self._execute, lambda library: request(library.files)))

    def _execute(self, request: "Callable[[_Library], Any]", token: str) -> Any:
        made = request(_library(self._settings.api_url))
        with self._connections.one() as http:
            return made.execute(http=_Bearer(http, token), num_retries=0)

    async def _run(
        self, means: Callable[[Exception], BackendError | None], call: Callable[[str], ResultT]
    ) -> ResultT:
        """
        Run *call* with an access token in the lane; with another token, once, if that one is refused.
        """
        token = await self._tokens.access_token()
        try:
            return await self._in_lane(means, partial(call, token))
        except AuthRevoked:
            fresh = await self._tokens.access_token(stale=token)
        return await self._in_lane(means, partial(call, fresh))

    async def _in_lane(
        self, means: Callable[[Exception], BackendError | None], call: Callable[[], ResultT]
    ) -> ResultT:
        with translated(means):
            return await self._lane.run(call)


class _Connections:
    """
    Connections to Google, each used by one thread at a time, for `httplib2.Http` allows no more.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._idle: list[tuple[float, httplib2.Http]] = []
        self._is_closed = False

    @contextmanager
    def one(self) -> Iterator[httplib2.Http]:
        """
        Lend a connection; it is kept for another call, unless this one fails.
        """
        http = self._taken()
        try:
            yield http
        except BaseException:
            http.close()
            raise
        with self._lock:
            if not self._is_closed:
                self._idle.append((time.monotonic(), http))
                return
        http.close()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for _, http in idle:
            http.close()

    def _taken(self) -> httplib2.Http:
        with self._lock:
            oldest = time.monotonic() - _MAX_IDLE_S
            stale = [http for since, http in self._idle if since < oldest]
            fresh = [(since, http) for since, http in self._idle if since >= oldest]
            found = fresh.pop()[1] if fresh else None
            self._idle = fresh
        for http in stale:
            http.close()
        if found is not None:
            return found
        http = httplib2.Http(timeout=self._timeout_s)
        # A redirect would carry the token elsewhere; and 308 is no redirect here.
        http.follow_redirects = False
        return http


class _Bearer:
    """
    What the library takes for its ``http``: adds the access token, and sends every request once.
    """

    def __init__(self, http: httplib2.Http, token: str | None) -> None:
        self._http = http
        self._token = token

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        **_: Any,
    ) -> tuple[httplib2.Response, bytes]:
        sent = dict(headers or {})
        if self._token is not None:
            sent["authorization"] = f"Bearer {self._token}"
        kind = _PlainConnection if uri.startswith("http:") else _SecureConnection
        response, content = self._http.request(
            uri, method=method, body=body, headers=sent, connection_type=kind
        )
        return response, bytes(content)


class _PlainConnection(httplib2.HTTPConnectionWithTimeout):  # type: ignore[misc] # the library has no types
    def getresponse(self) -> HTTPResponse:
        return _answer(super().getresponse)


class _SecureConnection(httplib2.HTTPSConnectionWithTimeout):  # type: ignore[misc] # the library has no types
    def getresponse(self) -> HTTPResponse:
        return _answer(super().getresponse)


def _answer(getresponse: Callable[[], HTTPResponse]) -> HTTPResponse:
    try:
        return getresponse()
    except BadStatusLine as exc:
        # The library would take it for a connection that had gone stale, and send all once more.
        raise ConnectionResetError("The connection ended before the answer.") from exc


@dataclass(frozen=True, slots=True)
class _Library:
    """
    The library's two faces of Drive, whose methods make requests; they keep nothing of one, so threads share them.
    """

    files: Any
    about: Any


@lru_cache(maxsize=8)
def _library(api_url: str) -> _Library:
    """
    Return what makes requests to the API at *api_url*.

    Made once: the library writes a method, with its documentation, for each call that the API has, which takes it
    longer than many a request takes Google. Each request is given its connection when it is carried out.
    """
    # Google's own endpoints stand in the document; ``client_options`` would not reach those of uploads.
    document = {**json.loads(get_static_doc("drive", "v3")), "rootUrl": api_url, "mtlsRootUrl": api_url}
    # Without any ``http`` it would look for credentials of this machine's.
    api = build_from_document(document, http=_NoConnection())
    return _Library(api.files(), api.about())


class _NoConnection:
    """
    Stands where the library wants a connection before there is a request for one.
    """
