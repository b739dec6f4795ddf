"""
A bucket, and the calls of aiobotocore that work on it; what the library brings does not leave this module.
"""

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession

from gateway.api import (
    AddressRule,
    IntegrityMismatch,
    Misconfigured,
    NotFound,
    SessionLost,
    Transient,
    Unsupported,
    translated,
)
from gateway_s3.errors import classify
from gateway_s3.settings import S3Settings

ResultT = TypeVar("ResultT")

PIECE_SIZE: Final = 1 << 20

_MD5_TAG: Final = re.compile(r"[0-9a-f]{32}(-[0-9]+)?", re.ASCII)

_SETTLE_S: Final = 5.0
"""How long a cancelled call waits for the answer to what it has sent already."""


@dataclass(frozen=True, slots=True)
class Part:
    """
    One part that the store has.
    """

    number: int
    size: int
    etag: str


class _NoRedirects:
    """
    A session that follows no redirect: it would lead past the address rule, and the signature would not fit.
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    async def request(self, method: str, **options: Any) -> Any:
        return await self._session.request(method, allow_redirects=False, **options)


class _StraightSession(AIOHTTPSession):  # type: ignore[misc] # the library has no types
    async def _get_session(self, proxy_url: str | None) -> _NoRedirects:
        return _NoRedirects(await super()._get_session(proxy_url))


class Bucket:
    """
    The objects of one bucket, by their full names.
    """

    def __init__(self, client: Any, settings: S3Settings) -> None:
        self._client = client
        self._settings = settings
        self._create_only = {"IfNoneMatch": "*"} if settings.conditional_puts else {}
        self._encryption: dict[str, str] = {}
        if settings.encryption is not None:
            self._encryption["ServerSideEncryption"] = settings.encryption
        if settings.kms_key_id is not None:
            self._encryption["SSEKMSKeyId"] = settings.kms_key_id

    async def put(self, name: str, content: bytes) -> None:
        """
        Store *content*, if the name is free.
        """
        md5 = _md5(content)
        answer = await self._settled(
            self._call(
                "put_object",
                Key=name,
                Body=content,
                ContentMD5=base64.b64encode(md5).decode(),
                **self._create_only,
                **self._encryption,
            )
        )
        if not _agrees(answer, md5.hex()):
            await self._settled(self.purge(name))
            raise IntegrityMismatch(f"The store has other bytes under {name} than were sent.")

    async def size(self, name: str) -> int | None:
        """
        Return how many bytes the object has, or None if there is none.
        """
        try:
            answer = await self._call("head_object", Key=name)
        except NotFound:
            return None
        return int(answer["ContentLength"])

    async def require(self) -> None:
        """
        Keep "the object is gone" apart from "the bucket is gone", for which HEAD has the same answer.
        """
        try:
            await self._call("head_bucket")
        except NotFound as exc:
            raise Misconfigured(f"There is no bucket {self._settings.bucket}.") from exc

    @asynccontextmanager
    async def read(self, name: str, start: int, length: int | None) -> AsyncIterator[AsyncIterator[bytes]]:
        """
        Give *length* bytes (at least one) from *start*, or all bytes.
        """
        ranged = {} if length is None else {"Range": f"bytes={start}-{start + length - 1}"}
        answer = await self._call("get_object", Key=name, **ranged)
        body = answer["Body"]
        try:
            available = int(answer["ContentLength"])
            if length is not None and "ContentRange" not in answer:
                raise Unsupported("The store gave a whole object where a range of it was asked for.")
            if length is not None and available != length:
                raise IntegrityMismatch(f"{name} ends before byte {start + length}.")
            async with aclosing(_pieces(body, available)) as pieces:
                yield pieces
        finally:
            body.close()

    async def page(self, prefix: str, after: str | None) -> tuple[list[tuple[str, int]], str | None]:
        """
        Return the names and sizes of one page, and what leads to the next page, if there is one.
        """
        more = {} if after is None else {"ContinuationToken": after}
        answer = await self._call(
            "list_objects_v2", Prefix=prefix, MaxKeys=self._settings.list_page_size, **more
        )
        found = [(str(entry["Key"]), int(entry["Size"])) for entry in answer.get("Contents", ())]
        return found, answer["NextContinuationToken"] if answer.get("IsTruncated") else None

    async def purge(self, name: str) -> None:
        """
        Remove the object, with every version and delete marker that the bucket keeps of it.
        """
        if not self._settings.purge_versions:
            await self._delete(name, None)
            return
        try:
            versions = await self._versions(name)
        except Unsupported:
            # The store has no versions.
            await self._delete(name, None)
            return
        for version in versions:
            await self._delete(name, version)
        if await self.size(name) is not None:
            # A store that does not list what was put without versions.
            await self._delete(name, None)

    async def begin(self, name: str) -> str:
        """
        Begin an object in parts; return the store's id of that.
        """
        answer = await self._call("create_multipart_upload", Key=name, **self._encryption)
        return str(answer["UploadId"])

    async def put_part(self, name: str, upload: str, number: int, content: bytes) -> None:
        """
        Store one part, in place of any with that number.
        """
        md5 = _md5(content)
        answer = await self._call(
            "upload_part",
            Key=name,
            UploadId=upload,
            PartNumber=number,
            Body=content,
            ContentMD5=base64.b64encode(md5).decode(),
        )
        if not _agrees(answer, md5.hex()):
            raise IntegrityMismatch(f"The store has another part {number} of {name} than was sent.")

    async def parts(self, name: str, upload: str) -> list[Part]:
        """
        Return the parts that the store has, in the order of their numbers.
        """
        found: list[Part] = []
        after = 0
        while True:
            answer = await self._call("list_parts", Key=name, UploadId=upload, PartNumberMarker=after)
            found += [
                Part(int(part["PartNumber"]), int(part["Size"]), str(part["ETag"]))
                for part in answer.get("Parts", ())
            ]
            if not answer.get("IsTruncated"):
                return sorted(found, key=lambda part: part.number)
            after = int(answer["NextPartNumberMarker"])

    async def complete(self, name: str, upload: str, parts: list[Part]) -> None:
        """
        Make an object of *parts*, if the name is free.
        """
        listed = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        answer = await self._settled(
            self._call(
                "complete_multipart_upload",
                Key=name,
                UploadId=upload,
                MultipartUpload={"Parts": listed},
                **self._create_only,
            )
        )
        if not _agrees(answer, _etag_of_parts(parts)):
            await self._settled(self.purge(name))
            raise IntegrityMismatch(f"The store has made something else of the parts of {name}.")

    async def abort(self, name: str, upload: str) -> None:
        """
        Drop what was sent in parts; succeeds where the store does not know of it.
        """
        with suppress(NotFound, SessionLost):
            await self._call("abort_multipart_upload", Key=name, UploadId=upload)

    async def _versions(self, name: str) -> list[str]:
        found: list[str] = []
        more: dict[str, str] = {}
        while True:
            answer = await self._call("list_object_versions", Prefix=name, **more)
            entries = (*answer.get("Versions", ()), *answer.get("DeleteMarkers", ()))
            found += [str(entry["VersionId"]) for entry in entries if entry["Key"] == name]
            if not answer.get("IsTruncated"):
                return found
            more = {"KeyMarker": answer["NextKeyMarker"]}
            if answer.get("NextVersionIdMarker"):
                more["VersionIdMarker"] = answer["NextVersionIdMarker"]

    async def _delete(self, name: str, version: str | None) -> None:
        which = {} if version is None else {"VersionId": version}
        with suppress(NotFound):
            await self._settled(self._call("delete_object", Key=name, **which))

    async def _call(self, operation: str, **parameters: Any) -> Any:
        with translated(classify):
            return await getattr(self._client, operation)(Bucket=self._settings.bucket, **parameters)

    async def _settled(self, call: Coroutine[Any, Any, ResultT]) -> ResultT:
        """
        Return what *call* returns; if cancelled, first wait a while for it to end.

        A store may carry out what it has received after the connection is gone.
        So what the caller does next would be overtaken, if it did not wait for the answer.
        """
        task = asyncio.ensure_future(call)
        task.add_done_callback(_look_at)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            try:
                await asyncio.wait([task], timeout=_SETTLE_S)
            finally:
                task.cancel()
            raise


@asynccontextmanager
async def open_bucket(settings: S3Settings, addresses: AddressRule | None) -> AsyncIterator[Bucket]:
    """
    Connect to the bucket; nothing is sent yet.
    """
    connector: dict[str, Any] = {}
    if addresses is not None:
        # Not even a cached address passes the rule by.
        connector = {"resolver": addresses.resolver, "use_dns_cache": False}
    addressing = "path" if settings.path_style and settings.endpoint is not None else "auto"
    config = AioConfig(
        connector_args=connector,
        http_session_cls=_StraightSession,
        # Counts the first try too, unlike ``max_attempts``.
        retries={"total_max_attempts": 1, "mode": "standard"},
        # With the payload signed, each store checks a SHA-256 of what arrives, whatever else it knows of checksums.
        s3={"addressing_style": addressing, "payload_signing_enabled": True},
        signature_version="s3v4",
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.read_timeout_s,
        max_pool_connections=settings.max_concurrency + 2,
        # Stores other than Amazon's refuse the newer checksums; every put has its MD5.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,
        # A proxy would resolve names itself. Only where the operator chose the place may his environment name one.
        proxies=None if addresses is None else {},
    )
    with translated(classify):
        client_context = AioSession().create_client(
            "s3",
            endpoint_url=settings.endpoint,
            region_name=settings.region,
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret_access_key,
            config=config,
        )
        client = await client_context.__aenter__()
        client.meta.events.register("before-call.s3", _stay_in_region)
    try:
        if addresses is not None:
            addresses.check_url(client.meta.endpoint_url)
        yield Bucket(client, settings)
    finally:
        await client_context.__aexit__(None, None, None)


async def _pieces(body: Any, available: int) -> AsyncGenerator[bytes, None]:
    while available:
        with translated(classify):
            piece = bytes(await body.read(min(PIECE_SIZE, available)))
        if not piece:
            raise Transient("The store's answer was cut short.")
        available -= len(piece)
        yield piece


def _stay_in_region(params: dict[str, Any], **_: Any) -> None:
    # Otherwise the library answers a redirect by asking where the bucket is and trying again there;
    # and where that question is redirected as well, it asks without end.
    params["context"].setdefault("s3_redirect", {})["redirected"] = True


def _look_at(task: asyncio.Future[Any]) -> None:
    # After a cancellation nobody else is left to hear of an error.
    if not task.cancelled():
        task.exception()


def _md5(content: bytes) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()


def _etag_of_parts(parts: list[Part]) -> str | None:
    try:
        joined = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
    except ValueError:
        return None
    return f"{_md5(joined).hex()}-{len(parts)}"


def _agrees(answer: dict[str, Any], etag: str | None) -> bool:
    """
    Whether the store's tag is the one that the bytes have.

    Under KMS, and on stores with tags of their own making, it is no MD5 and says nothing.
    """
    if etag is None or answer.get("ServerSideEncryption") in {"aws:kms", "aws:kms:dsse"}:
        return True
    found = str(answer.get("ETag", "")).strip('"').lower()
    return _MD5_TAG.fullmatch(found) is None or found == etag
