"""
A bucket, and the calls of aiobotocore that work on it; what the library brings does not leave this module.
"""

import asyncio
import base64
import ssl
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, ClassVar, Final, TypeVar
from weakref import WeakValueDictionary

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession

from gateway.api import (
    AccessDenied,
    AddressRule,
    AuthRevoked,
    BackendError,
    Conflict,
    IntegrityMismatch,
    Misconfigured,
    NotFound,
    SessionLost,
    Transient,
    Unsupported,
    settled,
    translated,
)
from gateway_s3.errors import classify
from gateway_s3.hashes import agrees, md5_of, sha256_of, sha256_of_parts, tag_in, tag_of_parts
from gateway_s3.settings import S3Settings

ResultT = TypeVar("ResultT")

PIECE_SIZE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """
    An object that the store has.
    """

    name: str
    size: int
    tag: str | None
    """
    Its ETag in lower-case hex; None where a store's tags look otherwise.

    The MD5 of what was put in one piece; of parts the MD5 of their MD5s and how many they are; under KMS nobody knows
    what. It stays for as long as the object does.
    """


@dataclass(frozen=True, slots=True)
class Part:
    """
    One part that the store has.
    """

    number: int
    size: int
    etag: str
    stored_at: datetime
    sha256: str | None = None
    """In base64, where the store was asked for it and tells it."""


@dataclass(frozen=True, slots=True)
class Upload:
    """
    An object in parts that has begun and is not complete.
    """

    name: str
    id: str
    begun_at: datetime
    seen_at: datetime
    """When it was listed; both by the store's own clock."""


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """
    Send a request, and keep aiohttp from sending it again by itself.

    It does so where a connection broke, for a method that it thinks harmless.
    But a put that comes again finds its key taken, by itself.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        raise aiohttp.ClientConnectionError(f"The connection broke: {type(exc).__name__}.") from exc


class _PlainSession:
    """
    A session that sends each request once and follows no redirect.

    A redirect would lead past the address rule, and the signature would not fit.
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    async def request(self, method: str, **options: Any) -> Any:
        return await self._session.request(method, allow_redirects=False, middlewares=(_once,), **options)


class _PlainHTTPSession(AIOHTTPSession):  # type: ignore[misc] # the library has no types
    _contexts: ClassVar[dict[bool | str, ssl.SSLContext]] = {}
    """
    By what to verify with: to read all the certificates takes longer than the rest of connecting.

    So a bundle of certificates that was replaced counts from the next start.
    """

    def _build_ssl_contexts(self, proxy_url: str | None) -> Any:
        if proxy_url:
            # A context is changed for its proxy.
            return super()._build_ssl_contexts(proxy_url)
        # In a thread; where two build at once, the first one's is used by both.
        if (context := self._contexts.get(self._verify)) is None:
            context = self._contexts.setdefault(self._verify, self._build_verify_context())
        return context, None

    async def _get_session(self, proxy_url: str | None) -> _PlainSession:
        return _PlainSession(await super()._get_session(proxy_url))


class _Descriptions(threading.local):
    """
    The loader of the library's descriptions of S3: one for each thread, with what has been read so far.

    Left to itself, each connection reads and holds them anew: 12 MB, and most of the time that connecting takes.
    The clients of one session share them, so ours may. But a client also writes into them, always the same,
    at its first call of each kind; so threads share nothing.
    """

    def __init__(self) -> None:
        self.loader = AioSession().get_component("data_loader")


_descriptions = _Descriptions()


class Bucket:
    """
    The objects of one bucket, by their full names.
    """

    def __init__(self, client: Any, settings: S3Settings, to_mend: type[BackendError]) -> None:
        self._client = client
        self._settings = settings
        self._to_mend = to_mend
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
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
        sums = _sums(content, sha256=self._settings.sends_sha256)
        # A store may carry out what it has received after the connection is gone.
        answer = await settled(
            self._call("put_object", Key=name, Body=content, **sums, **self._create_only, **self._encryption)
        )
        if not agrees(answer, md5_of(content).hex(), sums.get("ChecksumSHA256")):
            await settled(self.purge(name))
            raise IntegrityMismatch(f"The store has other bytes under {name} than were sent.")

    @asynccontextmanager
    async def taking(self, name: str) -> AsyncIterator[None]:
        """
        Look whether *name* is free, and keep others of this connection from taking it meanwhile.

        Stores may ignore the condition that a put comes with, or look and write in two steps.

        Raises:
            Conflict: it is taken.
        """
        async with self._turns.setdefault(name, asyncio.Lock()):
            if await self.look(name) is not None:
                raise Conflict(f"There is an object {name} already.")
            yield

    async def look(self, name: str) -> Found | None:
        """
        Return what is known about the object, or None if there is none.
        """
        try:
            answer = await self._call("head_object", Key=name)
        except NotFound:
            return None
        except AccessDenied:
            await self._speak_up()
            raise
        return Found(name, int(answer["ContentLength"]), tag_in(answer))

    async def require(self) -> None:
        """
        Keep "the object is gone" apart from "the bucket is gone", for which HEAD has the same answer.
        """
        try:
            await self._call("head_bucket")
        except NotFound as exc:
            raise self._to_mend(f"There is no bucket {self._settings.bucket}.") from exc

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

    async def page(self, prefix: str, after: str | None) -> tuple[list[Found], str | None]:
        """
        Return the objects of one page, and what leads to the next page, if there is one.
        """
        more = {} if after is None else {"ContinuationToken": after}
        answer = await self._call(
            "list_objects_v2", Prefix=prefix, MaxKeys=self._settings.list_page_size, **more
        )
        found = [
            Found(str(entry["Key"]), int(entry["Size"]), tag_in(entry))
            for entry in answer.get("Contents", ())
        ]
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
        if await self.look(name) is not None:
            # A store that does not list what was put without versions.
            await self._delete(name, None)

    async def begin(self, name: str, *, sha256: bool) -> str:
        """
        Begin an object in parts; return the store's id of that.

        With *sha256* each part is sent with its SHA-256; then all of them are.
        """
        hashed = {"ChecksumAlgorithm": "SHA256"} if sha256 else {}
        answer = await self._call("create_multipart_upload", Key=name, **hashed, **self._encryption)
        return str(answer["UploadId"])

    async def put_part(self, name: str, upload: str, number: int, content: bytes, *, sha256: bool) -> None:
        """
        Store one part, in place of any with that number.
        """
        sums = _sums(content, sha256=sha256)
        answer = await self._call(
            "upload_part", Key=name, UploadId=upload, PartNumber=number, Body=content, **sums
        )
        if not agrees(answer, md5_of(content).hex(), sums.get("ChecksumSHA256")):
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
                Part(
                    int(part["PartNumber"]),
                    int(part["Size"]),
                    str(part["ETag"]),
                    part["LastModified"],
                    part.get("ChecksumSHA256"),
                )
                for part in answer.get("Parts", ())
            ]
            if not answer.get("IsTruncated"):
                return sorted(found, key=lambda part: part.number)
            after = int(answer["NextPartNumberMarker"])

    async def complete(self, name: str, upload: str, parts: list[Part]) -> None:
        """
        Make an object of *parts*, if the name is free.
        """
        listed: list[dict[str, Any]] = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        for entry, part in zip(listed, parts, strict=True):
            if part.sha256 is not None:
                entry["ChecksumSHA256"] = part.sha256
        answer = await settled(
            self._call(
                "complete_multipart_upload",
                Key=name,
                UploadId=upload,
                MultipartUpload={"Parts": listed},
                **self._create_only,
            )
        )
        tag = tag_of_parts([part.etag for part in parts])
        if not agrees(answer, tag, sha256_of_parts([part.sha256 for part in parts])):
            await settled(self.purge(name))
            raise IntegrityMismatch(f"The store has made something else of the parts of {name}.")

    async def abort(self, name: str, upload: str) -> None:
        """
        Drop what was sent in parts; succeeds where the store does not know of it.
        """
        with suppress(NotFound, SessionLost):
            await self._call("abort_multipart_upload", Key=name, UploadId=upload)

    async def uploads(self, prefix: str) -> list[Upload]:
        """
        Return the uploads in parts that nobody has completed or aborted.
        """
        found: list[Upload] = []
        more: dict[str, str] = {}
        while True:
            answer = await self._call(
                "list_multipart_uploads", Prefix=prefix, MaxUploads=self._settings.list_page_size, **more
            )
            now = _date(answer)
            page = [
                Upload(str(entry["Key"]), str(entry["UploadId"]), entry["Initiated"], now)
                for entry in answer.get("Uploads", ())
            ]
            found += page
            if not answer.get("IsTruncated") or not page:
                return found
            # Not every store names both, nor always one.
            named = {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"}
            more = {marker: str(answer[name]) for marker, name in named.items() if answer.get(name)}
            more = more or {"KeyMarker": page[-1].name, "UploadIdMarker": page[-1].id}

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
            await settled(self._call("delete_object", Key=name, **which))

    async def _speak_up(self) -> None:
        """
        Have the store say why it denies access: its answers to HEAD have no body, and so no code.
        """
        with suppress(AccessDenied):
            await self._call("list_objects_v2", Prefix=self._settings.prefix, MaxKeys=1)

    async def _call(self, operation: str, **parameters: Any) -> Any:
        with translated(partial(classify, to_mend=self._to_mend)):
            return await getattr(self._client, operation)(Bucket=self._settings.bucket, **parameters)


@asynccontextmanager
async def open_bucket(settings: S3Settings, addresses: AddressRule | None) -> AsyncIterator[Bucket]:
    """
    Connect to the bucket; nothing is sent yet.

    Given *addresses*, it is a user's own bucket: what is wrong with it or with its keys ends his link.
    """
    to_mend: type[BackendError] = Misconfigured if addresses is None else AuthRevoked
    connector: dict[str, Any] = {}
    if addresses is not None:
        # Not even a cached address passes the rule by.
        connector = {"resolver": addresses.resolver, "use_dns_cache": False}
    addressing = "path" if settings.path_style and settings.endpoint is not None else "auto"
    config = AioConfig(
        connector_args=connector,
        http_session_cls=_PlainHTTPSession,
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
        session = AioSession()
        session.register_component("data_loader", _descriptions.loader)
        client_context = session.create_client(
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
        yield Bucket(client, settings, to_mend)
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


def _sums(content: bytes, *, sha256: bool) -> dict[str, str]:
    """
    Return the hashes with which *content* is sent, for the store to compare.
    """
    sums = {"ContentMD5": base64.b64encode(md5_of(content)).decode()}
    if sha256:
        sums["ChecksumSHA256"] = sha256_of(content)
    return sums


def _date(answer: dict[str, Any]) -> datetime:
    """
    Return the time that it was at the store, which is the clock that its dates are by.
    """
    try:
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, ValueError) as exc:
        raise Unsupported("The store does not say what time it is.") from exc
