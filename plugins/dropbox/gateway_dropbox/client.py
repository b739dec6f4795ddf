"""
The files of one app folder, and the calls of Dropbox's library that work on them; what it brings stays in here.

The library blocks, so each call runs in a thread of the lane that the host lends, and each is small: one part, one page,
one stretch of a file.
"""

import asyncio
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import requests
from dropbox import Dropbox, create_session
from dropbox.auth import AuthError as AuthErrorUnion
from dropbox.exceptions import ApiError, AuthError, HttpError
from dropbox.files import CommitInfo, FileMetadata, UploadSessionCursor, WriteMode
from dropbox.session import API_CONTENT_HOST, API_HOST
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from gateway.api import (
    AuthRevoked,
    BackendError,
    NotFound,
    Quota,
    SessionLost,
    ThreadLane,
    TokenSource,
    Transient,
    settled,
    translated,
)
from gateway_dropbox.errors import classify
from gateway_dropbox.settings import API_ROOT, CONTENT_ROOT, DropboxSettings

ResultT = TypeVar("ResultT")

_RENEWABLE: Final = frozenset({"expired_access_token", "invalid_access_token"})
"""Refusals of a token that another token may mend."""


@dataclass(frozen=True, slots=True)
class File:
    """
    What Dropbox says about a file.
    """

    name: str
    size: int
    content_hash: str


class AppFolder:
    """
    The files of the app folder of one account, by path.
    """

    def __init__(
        self, lane: ThreadLane, tokens: TokenSource, session: requests.Session, settings: DropboxSettings
    ) -> None:
        self._lane = lane
        self._tokens = tokens
        self._session = session
        self._settings = settings
        # Dropbox takes one change of an account at a time, and refuses those that come meanwhile.
        self._changing = asyncio.Lock()

    async def upload(self, path: str, content: bytes) -> File:
        """
        Store a small file in one request, if the path is free.
        """
        return await self._change(
            lambda client: _file(
                client.files_upload(content, path, mode=WriteMode.add, mute=True, strict_conflict=True)
            )
        )

    async def start(self) -> str:
        """
        Begin an upload in parts; return Dropbox's id of that.
        """
        return await self._call(lambda client: str(client.files_upload_session_start(b"").session_id))

    async def append(self, upload: str, offset: int, content: bytes) -> int:
        """
        Send *content*, which begins at *offset*; return up to which byte Dropbox has the file now.

        Nothing is taken where the file does not end at *offset*. So with no content it is a question.
        """
        return await self._call(lambda client: _append(client, upload, offset, content))

    async def give_up(self, upload: str, offset: int) -> None:
        """
        Close an upload for further parts; there is no way to drop it, but after seven days Dropbox does.
        """
        with suppress(SessionLost):
            stored = await self._call(lambda client: _append(client, upload, offset, b"", close=True))
            if stored != offset:
                await self._call(lambda client: _append(client, upload, stored, b"", close=True))

    async def finish(self, upload: str, size: int, path: str) -> File:
        """
        Make a file of what was uploaded, if the path is free.
        """
        cursor = UploadSessionCursor(upload, size)
        commit = CommitInfo(path, mode=WriteMode.add, mute=True, strict_conflict=True)
        return await self._change(
            lambda client: _file(client.files_upload_session_finish(b"", cursor, commit))
        )

    async def look(self, path: str) -> File | None:
        """
        Return what is known about the file, or None if there is none.
        """
        with suppress(NotFound):
            found = await self._call(lambda client: client.files_get_metadata(path))
            if isinstance(found, FileMetadata):
                return _file(found)
        return None

    async def read(self, path: str, start: int, length: int) -> tuple[bytes, int]:
        """
        Return *length* bytes (at least one) from *start*, fewer if the file ends before, and the file's size.
        """
        return await self._call(lambda client: _read(client, path, start, length))

    async def delete(self, path: str) -> None:
        """
        Move the file to Dropbox's trash; succeeds where there is none.
        """
        with suppress(NotFound):
            await self._change(lambda client: client.files_delete_v2(path))

    async def page(self, cursor: str | None) -> tuple[list[File], str | None]:
        """
        Return some of the files, and what leads to the next of them, if there are more.
        """
        limit = self._settings.list_page_size
        found = await self._call(
            lambda client: (
                client.files_list_folder("", limit=limit)
                if cursor is None
                else client.files_list_folder_continue(cursor)
            )
        )
        files = [_file(entry) for entry in found.entries if isinstance(entry, FileMetadata)]
        return files, str(found.cursor) if found.has_more else None

    async def usage(self) -> Quota:
        """
        Return how full the account is.
        """
        usage = await self._call(lambda client: client.users_get_space_usage())
        allocation = usage.allocation
        if allocation.is_individual():
            return Quota(used=usage.used, limit=allocation.get_individual().allocated)
        if allocation.is_team():
            # All members fill one room.
            return Quota(used=allocation.get_team().used, limit=allocation.get_team().allocated)
        return Quota(used=usage.used, limit=None)

    async def _change(self, call: Callable[[Dropbox], ResultT]) -> ResultT:
        async with self._changing:
            # A thread cannot be stopped, and Dropbox may carry out what it has received.
            return await settled(self._call(call))

    async def _call(self, call: Callable[[Dropbox], ResultT]) -> ResultT:
        token = await self._tokens.access_token()
        try:
            return await self._run(token, call)
        except AuthRevoked as refused:
            if refused.provider_code not in _RENEWABLE:
                raise
        return await self._run(await self._tokens.access_token(stale=token), call)

    async def _run(self, token: str, call: Callable[[Dropbox], ResultT]) -> ResultT:
        client = _Client(
            oauth2_access_token=token,
            session=self._session,
            user_agent="recording-gateway",
            timeout=(self._settings.connect_timeout_s, self._settings.read_timeout_s),
            # Otherwise the library tries again by itself, and sleeps in the thread meanwhile.
            max_retries_on_error=0,
            max_retries_on_rate_limit=0,
        )
        try:
            with translated(classify):
                return await self._lane.run(partial(call, client))
        except BackendError as error:
            # Without its cause: the library's exceptions quote what was sent, and that may name an upload.
            raise error from None


def open_session(settings: DropboxSettings) -> requests.Session:
    """
    Return the connections that all calls share; nothing is sent yet.
    """
    session: requests.Session = create_session(max_connections=settings.max_concurrency + 2)
    session.hooks["response"].append(_refuse)
    # Otherwise a .netrc of the machine would put its password in the place of each call's token.
    session.auth = _as_it_is
    for host, usual, root in (
        (API_HOST, API_ROOT, settings.api_root),
        (API_CONTENT_HOST, CONTENT_ROOT, settings.content_root),
    ):
        if root != usual:
            session.mount(
                f"https://{host}/", _Elsewhere(f"https://{host}", root, settings.max_concurrency + 2)
            )
    return session


class _Client(Dropbox):  # type: ignore[misc] # the library has no types
    """
    Dropbox's client for one access token.
    """

    def refresh_access_token(self, host: str = API_HOST, scope: list[str] | None = None) -> None:
        # With nothing to refresh with, the library would only send the same request, with all its bytes, once more.
        raise AuthError(None, AuthErrorUnion.expired_access_token)


class _Elsewhere(HTTPAdapter):
    """
    Sends what is meant for one of Dropbox's hosts to another server: the library's own hosts are fixed, and so is TLS.
    """

    def __init__(self, usual: str, root: str, connections: int) -> None:
        super().__init__(pool_maxsize=connections)
        self._usual = usual
        self._root = root

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float | None, float | None] | None = None,
        verify: bool | str = True,
        cert: str | tuple[str, str] | None = None,
        proxies: dict[str, str] | None = None,
    ) -> requests.Response:
        url = self._root + str(request.url).removeprefix(self._usual)
        request.url = url
        # Not those that were chosen for Dropbox's own host.
        return super().send(request, stream, timeout, verify, cert, get_environ_proxies(url))


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _refuse(response: requests.Response, **_: Any) -> None:
    """
    Raise what the library would take for something else: it follows redirects, and reads any 403 as the route's own error.
    """
    if 300 <= response.status_code < 400 or response.status_code in {403, 404}:
        response.close()
        raise HttpError(None, response.status_code, None)


def _file(found: FileMetadata) -> File:
    return File(str(found.name), int(found.size), str(found.content_hash))


def _append(client: Dropbox, upload: str, offset: int, content: bytes, *, close: bool = False) -> int:
    try:
        client.files_upload_session_append_v2(content, UploadSessionCursor(upload, offset), close=close)
    except ApiError as refused:
        if not refused.error.is_incorrect_offset():
            raise
        return int(refused.error.get_incorrect_offset().correct_offset)
    return offset + len(content)


def _read(client: Dropbox, path: str, start: int, length: int) -> tuple[bytes, int]:
    wanted = {"Range": f"bytes={start}-{start + length - 1}", "Accept-Encoding": "identity"}
    found, response = client.files_download(path, extra_headers=wanted)
    with closing(response):
        size = int(found.size)
        available = min(length, size - start)
        if int(response.headers.get("Content-Length", -1)) != available:
            # All of it, perhaps, which must not be read into memory.
            raise Transient("Dropbox gave another stretch of the file than was asked for.")
        return bytes(response.content), size
