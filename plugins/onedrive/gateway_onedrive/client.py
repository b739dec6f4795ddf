"""
Microsoft Graph over HTTP, as far as an app folder needs it.

Two hosts are spoken to. Graph itself wants the access token with each call; what it hands out for uploads and downloads
are URLs that are a permission each: they get no token, and appear in no message.
"""

import base64
import binascii
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from gateway.api import (
    AccessDenied,
    BackendError,
    IntegrityMismatch,
    Misconfigured,
    Quota,
    TokenSource,
    Transient,
    Unsupported,
    settled,
    translated,
)
from gateway_onedrive.errors import classify, refusal
from gateway_onedrive.settings import OneDriveSettings

ResultT = TypeVar("ResultT")

PIECE_SIZE: Final = 1 << 20

_SLICE_SIZE: Final = 256 << 10

_FIELDS: Final = "id,name,size,file"

# What says that the URL of an upload does not lead where it did, or has the bytes already: then the provider is asked.
_UNCLEAR: Final = frozenset({401, 403, 404, 410, 416})

_URL_IS_OVER: Final = frozenset({401, 403, 404})


@dataclass(frozen=True, slots=True)
class Item:
    """
    A file in the app folder.
    """

    id: str
    name: str
    size: int
    quickxor: str | None
    """Lower-case hex, where it is told."""

    sha256: str | None
    """The same; personal drives tell it sometimes."""


@dataclass(frozen=True, slots=True)
class AppFolder:
    """
    Where the app's own folder is.
    """

    drive_id: str
    is_personal: bool


class Graph:
    """
    The calls, for one account.
    """

    def __init__(self, http: aiohttp.ClientSession, tokens: TokenSource, settings: OneDriveSettings) -> None:
        self._http = http
        self._tokens = tokens
        self._root = settings.graph_url
        self._page_size = settings.list_page_size
        self._is_plain = self._root.startswith("http://")
        self.purges = False
        """Whether what is deleted does not go to the recycle bin."""

    # Places

    def named(self, name: str) -> str:
        """
        Return the address of the file of that name.
        """
        return f"{self._root}/me/drive/special/approot:/{quote(name, safe='')}"

    def numbered(self, folder: AppFolder, item_id: str) -> str:
        """
        Return the address of the file with that id.
        """
        return f"{self._root}/drives/{quote(folder.drive_id, safe='')}/items/{quote(item_id, safe='')}"

    async def app_folder(self) -> AppFolder:
        """
        Return the app's folder; asking for it makes it.

        Raises:
            AccessDenied: the grant does not reach it.
        """
        try:
            told = await self._call("GET", f"{self._root}/me/drive/special/approot")
        except Transient as exc:
            if exc.provider_code == "serviceReadOnly":
                # So some drives say that the app's folder cannot be made with so narrow a grant.
                raise AccessDenied(str(exc), provider_code=exc.provider_code) from exc
            raise
        parent = told.get("parentReference")
        drive_id = parent.get("driveId") if isinstance(parent, dict) else None
        if not isinstance(parent, dict) or not isinstance(drive_id, str):
            raise BackendError("OneDrive does not say which drive the app's folder is in.")
        return AppFolder(drive_id, parent.get("driveType", "personal") == "personal")

    # Files

    async def item(self, address: str) -> Item:
        """
        Return the file at *address*.
        """
        return _item(await self._call("GET", f"{address}?$select={_FIELDS}"))

    async def page(self, after: str | None) -> tuple[list[Item], str | None]:
        """
        Return the files of one page of the listing, and what leads to the next page, if there is one.
        """
        first = f"{self._root}/me/drive/special/approot/children?$top={self._page_size}&$select={_FIELDS}"
        told = await self._call("GET", first if after is None else after)
        found = [_item(entry) for entry in told.get("value", ()) if "file" in entry]
        following = told.get("@odata.nextLink")
        if following is not None and urlsplit(following)[:2] != urlsplit(self._root)[:2]:
            # It would be asked for with the token.
            raise Misconfigured("OneDrive's listing goes on at another host.")
        return found, following

    async def put(self, name: str, content: bytes) -> Item:
        """
        Store *content* in one request, if the name is free.
        """
        url = f"{self.named(name)}:/content?@microsoft.graph.conflictBehavior=fail"
        headers = {"Content-Type": "application/octet-stream"}
        # OneDrive may carry out what it has received after the connection is gone.
        return _item(await settled(self._call("PUT", url, content=content, headers=headers)))

    async def rename(self, address: str, name: str) -> Item:
        """
        Give the file another name, if that is free.
        """
        wanted = {"name": name, "@microsoft.graph.conflictBehavior": "fail"}
        return _item(await settled(self._call("PATCH", address, document=wanted)))

    async def delete(self, address: str) -> None:
        """
        Delete the file, past the recycle bin where that is so (`purges`).
        """
        if not self.purges:
            await settled(self._call("DELETE", address))
            return
        try:
            await settled(self._call("POST", f"{address}/permanentDelete"))
        except Unsupported as exc:
            # To the recycle bin without a word would make the receipt of an erasure say what is not so.
            raise Misconfigured(
                "This OneDrive deletes nothing past its recycle bin: set permanent_delete = false for it.",
                provider_code=exc.provider_code,
            ) from exc

    async def quota(self) -> Quota | None:
        """
        Return how full the drive is, or None if it does not say.
        """
        told = (await self._call("GET", f"{self._root}/me/drive?$select=id,driveType,quota")).get("quota")
        total = told.get("total") if isinstance(told, dict) else None
        if not isinstance(told, dict) or not isinstance(total, int) or total <= 0:
            # Some drives of organisations tell zeros.
            return None
        remaining = told.get("remaining")
        used = total - remaining if isinstance(remaining, int) else int(told.get("used", 0))
        return Quota(used=max(0, min(used, total)), limit=total)

    # Uploads

    async def begin(self, name: str, *, size: int | None) -> str:
        """
        Begin a file in parts; return the URL that they go to.

        With *size* a drive without so much room refuses at once.
        """
        item: dict[str, Any] = {"@microsoft.graph.conflictBehavior": "fail"}
        if size is not None:
            item["fileSize"] = size
        url = f"{self.named(name)}:/createUploadSession"
        told = await self._call("POST", url, document={"item": item})
        return self._permission(told.get("uploadUrl"))

    async def send(self, url: str, part: bytes, start: int, total: int) -> Item | int | None:
        """
        Send bytes from *start*: return the file if they were the last, else how many there are now.

        None: that cannot be said, and `position` is to be asked.
        """
        headers = {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{total}"}
        status, told = await settled(
            self._transfer("PUT", url, accept=_UNCLEAR, content=part, headers=headers)
        )
        if status in _UNCLEAR:
            return None
        return _item(told) if status in {200, 201} else _next_offset(told, total)

    async def position(self, url: str, total: int) -> int | None:
        """
        Return how many bytes there are, or None if there is no such upload (any more).
        """
        status, told = await self._transfer("GET", url, accept=_UNCLEAR)
        return None if status in _UNCLEAR else _next_offset(told, total)

    async def cancel(self, url: str) -> bool:
        """
        Drop an upload; return False if there is no such (any more).
        """
        status, _ = await settled(self._transfer("DELETE", url, accept=_UNCLEAR))
        return status not in _UNCLEAR

    # Downloads

    @asynccontextmanager
    async def read(self, address: str, start: int, length: int | None) -> AsyncIterator[AsyncIterator[bytes]]:
        """
        Give *length* bytes (at least one) from *start*, or all bytes.
        """
        response = await self._downloading(address, start, length)
        try:
            skipped, length = _extent(response, start, length)
            async with aclosing(_pieces(response, skipped, length)) as pieces:
                yield pieces
        finally:
            response.close()

    async def _downloading(self, address: str, start: int, length: int | None) -> aiohttp.ClientResponse:
        ranged = {} if length is None else {"Range": f"bytes={start}-{start + length - 1}"}
        response = await self._download(address, ranged)
        if response.status in _URL_IS_OVER:
            response.close()
            response = await self._download(address, ranged)
        if response.status in {200, 206}:
            return response
        status = response.status
        with translated(classify):
            body = await response.read()
        if status in _URL_IS_OVER:
            # Graph has just said that the file is there.
            raise Transient(f"OneDrive's download answered {status}.", provider_code=str(status))
        raise refusal(status, response.headers, body, quote=False)

    async def _download(self, address: str, ranged: dict[str, str]) -> aiohttp.ClientResponse:
        url = URL(await self._download_url(address), encoded=True)
        # Coded content would have another length, and other ranges.
        headers = {"Accept-Encoding": "identity", **ranged}
        with translated(classify):
            return await self._http.get(url, headers=headers, allow_redirects=False)

    async def _download_url(self, address: str) -> str:
        # The two ways to name an item lead on in different ways.
        separator = ":" if address.startswith(f"{self._root}/me/drive/special/approot:/") else ""
        status, headers, body = await self._authorized("GET", f"{address}{separator}/content")
        if status != 302:
            raise _failure(status, headers, body)
        return self._permission(headers.get("Location"))

    # The way

    async def _call(
        self,
        method: str,
        url: str,
        *,
        document: dict[str, Any] | None = None,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """
        Call Graph; return the document that it answers with, or an empty one.
        """
        more = dict(headers or {})
        if document is not None:
            content, more["Content-Type"] = json.dumps(document).encode(), "application/json"
        status, answered, body = await self._authorized(method, url, content=content, headers=more)
        if not 200 <= status < 300:
            raise _failure(status, answered, body)
        return _document(body)

    async def _authorized(
        self, method: str, url: str, *, content: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, bytes]:
        """
        Send a request with the access token, and once more with another one if it is refused.
        """
        more = headers or {}
        token = await self._tokens.access_token()
        answer = await self._answer(method, url, content=content, headers=more | _bearing(token))
        if answer[0] == 401:
            token = await self._tokens.access_token(stale=token)
            answer = await self._answer(method, url, content=content, headers=more | _bearing(token))
        return answer

    async def _transfer(
        self,
        method: str,
        url: str,
        *,
        accept: frozenset[int],
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """
        Speak to the other host, where the URL is the permission.
        """
        status, answered, body = await self._answer(
            method, self._permission(url), content=content, headers=headers or {}
        )
        if status in accept:
            return status, {}
        if not 200 <= status < 300:
            raise refusal(status, answered, body, quote=False)
        return status, _document(body)

    async def _answer(
        self, method: str, url: str, *, content: bytes | None, headers: dict[str, str]
    ) -> tuple[int, Any, bytes]:
        # A signed URL that is encoded anew is another one.
        target = URL(url, encoded=True)
        data = None
        if content is not None:
            # aiohttp itself sends bytes again when a connection breaks, unless they can be read but once.
            data = _slices(content)
            headers = headers | {"Content-Length": str(len(content))}
        with translated(classify):
            async with self._http.request(
                method, target, data=data, headers=headers, allow_redirects=False
            ) as response:
                return response.status, response.headers, await response.read()

    def _permission(self, url: Any) -> str:
        """
        Return a URL that OneDrive gave, having checked that it may be spoken to.
        """
        try:
            scheme = URL(url, encoded=True).scheme
        except (TypeError, ValueError):
            scheme = ""
        if scheme not in {"https", "http"}:
            raise BackendError("OneDrive gave no URL where it should have.")
        if scheme == "http" and not self._is_plain:
            raise Misconfigured("OneDrive gave a URL without TLS.")
        return str(url)


async def _slices(content: bytes) -> AsyncGenerator[bytes, None]:
    view = memoryview(content)
    for start in range(0, len(content), _SLICE_SIZE):
        yield bytes(view[start : start + _SLICE_SIZE])


def _bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _failure(status: int, headers: Any, body: bytes) -> BackendError:
    if 300 <= status < 400:
        return Misconfigured(f"OneDrive answered {status}: it is somewhere else.", provider_code=str(status))
    return refusal(status, headers, body)


def _document(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        document = json.loads(body)
    except ValueError as exc:
        raise Transient("OneDrive's answer is not JSON.") from exc
    if not isinstance(document, dict):
        raise BackendError("OneDrive's answer is no JSON object.")
    return document


def _item(told: dict[str, Any]) -> Item:
    try:
        file = told.get("file")
        hashes = file.get("hashes", {}) if isinstance(file, dict) else {}
        return Item(str(told["id"]), str(told["name"]), int(told["size"]), _quickxor(hashes), _sha256(hashes))
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise BackendError("OneDrive describes a file in a way that is not known.") from exc


def _quickxor(hashes: dict[str, Any]) -> str | None:
    told = hashes.get("quickXorHash")
    if not isinstance(told, str):
        return None
    try:
        return base64.b64decode(told, validate=True).hex()
    except binascii.Error:
        return None


def _sha256(hashes: dict[str, Any]) -> str | None:
    told = hashes.get("sha256Hash")
    return told.lower() if isinstance(told, str) and len(told) == 64 else None


def _next_offset(told: dict[str, Any], total: int) -> int:
    """
    Return how many bytes there are, given what is expected next; nothing more is, once all are there.
    """
    try:
        starts = [int(str(expected).partition("-")[0]) for expected in told["nextExpectedRanges"]]
    except (KeyError, TypeError, ValueError) as exc:
        raise Transient("OneDrive does not say how far the upload has come.") from exc
    return min(starts, default=total)


def _extent(response: aiohttp.ClientResponse, start: int, length: int | None) -> tuple[int, int]:
    """
    Return how many bytes of the answer come before those that were asked for, and how many those are.
    """
    available = response.content_length
    if available is None:
        raise Transient("OneDrive does not say how long a download is.")
    if length is None:
        return 0, available
    # The download may take no notice of the range, and then begins at the beginning.
    skipped = start if response.status == 200 else 0
    if available < skipped + length:
        raise IntegrityMismatch(f"The file ends before byte {start + length}.")
    told = response.headers.get("Content-Range", "")
    if response.status == 206 and not told.startswith(f"bytes {start}-"):
        raise BackendError("OneDrive gave another range than was asked for.")
    return skipped, length


async def _pieces(response: aiohttp.ClientResponse, skipped: int, length: int) -> AsyncGenerator[bytes, None]:
    while length:
        with translated(classify):
            piece = await response.content.read(min(PIECE_SIZE, skipped or length))
        if not piece:
            raise Transient("OneDrive's answer was cut short.")
        if skipped:
            skipped -= len(piece)
            continue
        length -= len(piece)
        yield piece
