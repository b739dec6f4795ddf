"""
That a store has what was sent, all of it and in its order, and how that is told from then on.
"""

import base64
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from gateway_s3.backend import connect as connect_s3
from gateway_s3.settings import MIN_PART_SIZE, S3Settings

from gateway.api import (
    Backend,
    BackendContext,
    BlobKey,
    BlobRef,
    IntegrityMismatch,
    PutSession,
    ResumablePuts,
    Unsupported,
    new_blob_key,
)
from gateway.testing.conformance import listed, read_all
from gateway.testing.sources import BytesSource, pattern
from tests.support.s3_store import S3Store
from tests.support.seaweedfs import SeaweedFS
from tests.support.swift import Swift

PART = MIN_PART_SIZE
PARTS = [pattern(PART, 1), pattern(PART, 2), pattern(77, 3)]
CONTENT = b"".join(PARTS)
CONTEXT = BackendContext(account="s3")


def md5(content: bytes) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()


def sha256(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


@pytest.fixture(params=[False, True], ids=["plain", "versioned"])
def settings(request: pytest.FixtureRequest, store: S3Store) -> S3Settings:
    return S3Settings(
        endpoint=store.endpoint,
        bucket=store.create_bucket(versioned=request.param),
        prefix="recordings/",
        access_key_id=store.access_key_id,
        secret_access_key=store.secret_access_key,
        part_size=PART,
    )


@pytest.fixture
async def backend(settings: S3Settings) -> AsyncIterator[Backend]:
    async with connect_s3(CONTEXT, settings) as backend:
        yield backend


def puts_of(backend: Backend) -> ResumablePuts:
    assert backend.resumable is not None
    return backend.resumable


async def sent(backend: Backend, key: BlobKey) -> PutSession:
    """
    Send all parts of a blob.
    """
    puts = puts_of(backend)
    session = await puts.begin(key, size=len(CONTENT), sha256=b"")
    for part in PARTS:
        session = await puts.append(session, part)
    return session


def replace_part(store: S3Store, settings: S3Settings, key: BlobKey, number: int, body: bytes) -> None:
    """
    Have somebody else put another part in a part's place.
    """
    client = store.client()
    name = settings.prefix + key
    try:
        (upload,) = client.list_multipart_uploads(Bucket=settings.bucket)["Uploads"]
        assert name == upload["Key"]
        client.upload_part(
            Bucket=settings.bucket, Key=name, UploadId=upload["UploadId"], PartNumber=number, Body=body
        )
    finally:
        client.close()


# What is told of a blob


async def test_the_digest_of_a_blob_put_at_once_is_its_md5(backend: Backend) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(PARTS[0]))
    assert md5(PARTS[0]).hex() == (await backend.stat(ref)).digest


async def test_the_digest_of_a_blob_put_in_parts_covers_them_in_their_order(backend: Backend) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(CONTENT))
    expected = md5(b"".join(md5(part) for part in PARTS)).hex() + "-3"
    assert expected == (await backend.stat(ref)).digest


async def test_a_scan_tells_the_digests_that_were_noted_when_the_blobs_were_put(backend: Backend) -> None:
    refs = [await backend.put(new_blob_key(), BytesSource(content)) for content in (b"", PARTS[2], CONTENT)]
    noted = [await backend.stat(ref) for ref in refs]
    assert sorted(noted, key=str) == sorted(await listed(backend), key=str)
    assert "etag" == backend.traits.hash_offered


async def test_a_blob_that_somebody_replaced_has_another_digest(
    backend: Backend, store: S3Store, settings: S3Settings
) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(PARTS[0]))
    noted = await backend.stat(ref)
    client = store.client()
    client.put_object(Bucket=settings.bucket, Key=settings.prefix + ref.key, Body=PARTS[1])
    client.close()
    found = await backend.stat(ref)
    assert noted.size == found.size
    assert noted.digest != found.digest


# What is found out at the commit


async def test_a_part_that_was_sent_again_counts_once(backend: Backend) -> None:
    puts = puts_of(backend)
    session = await puts.begin(new_blob_key(), size=len(CONTENT), sha256=b"")
    for number, part in enumerate(PARTS):
        for _ in range(2):
            await puts.append(replace(session, offset=number * PART), part)
        resumed = await puts.resume(session)
        assert min((number + 1) * PART, len(CONTENT)) == resumed.offset
    assert CONTENT == await read_all(backend, await puts.commit(resumed))


async def test_a_part_that_is_missing_is_found_out_and_nothing_is_visible(backend: Backend) -> None:
    key = new_blob_key()
    puts = puts_of(backend)
    session = await puts.begin(key, size=len(CONTENT), sha256=b"")
    await puts.append(session, PARTS[0])
    late = await puts.append(replace(session, offset=2 * PART), PARTS[2])
    with pytest.raises(IntegrityMismatch):
        await puts.commit(late)
    assert await backend.find(key) is None
    assert PART == (await puts.resume(late)).offset


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_part_of_another_length_is_found_out_and_nothing_is_visible(
    backend: Backend, store: S3Store, settings: S3Settings, number: int
) -> None:
    key = new_blob_key()
    kept = await sent(backend, key)
    replace_part(store, settings, key, number, b"short")
    puts = puts_of(backend)
    session = await puts.resume(kept)
    assert (number - 1) * PART == session.offset
    with pytest.raises(IntegrityMismatch):
        await puts.commit(session)
    assert await backend.find(key) is None


async def test_a_store_refuses_parts_that_are_not_those_it_has_or_not_in_order(
    backend: Backend, store: S3Store, settings: S3Settings
) -> None:
    key = new_blob_key()
    await sent(backend, key)
    client = store.client()
    name = settings.prefix + key
    where = {"Bucket": settings.bucket, "Key": name}
    (upload,) = client.list_multipart_uploads(Bucket=settings.bucket)["Uploads"]
    tags = [f'"{md5(part).hex()}"' for part in PARTS]
    numbered = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
    swapped = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(reversed(tags), 1)]
    codes = []
    for parts in (swapped, numbered[::-1]):
        with pytest.raises(client.exceptions.ClientError) as caught:
            client.complete_multipart_upload(
                **where, UploadId=upload["UploadId"], MultipartUpload={"Parts": parts}
            )
        codes.append(caught.value.response["Error"]["Code"])
    client.close()
    assert ["InvalidPart", "InvalidPartOrder"] == codes
    assert await backend.find(key) is None


# SHA-256


async def test_a_blob_put_at_once_has_its_sha256_at_a_store_that_keeps_it(seaweedfs: SeaweedFS) -> None:
    settings = hashed(seaweedfs)
    async with connect_s3(CONTEXT, settings) as backend:
        ref = await backend.put(new_blob_key(), BytesSource(PARTS[0]))
        assert PARTS[0] == await read_all(backend, ref)
    client = seaweedfs.client()
    kept = client.head_object(Bucket=settings.bucket, Key=ref.key, ChecksumMode="ENABLED")
    client.close()
    assert sha256(PARTS[0]) == kept["ChecksumSHA256"]


async def test_a_store_that_does_not_list_the_sha256_of_parts_is_told_apart(seaweedfs: SeaweedFS) -> None:
    async with connect_s3(CONTEXT, hashed(seaweedfs)) as backend:
        key = new_blob_key()
        with pytest.raises(Unsupported):
            await backend.put(key, BytesSource(CONTENT))
        assert await backend.find(key) is None


async def test_a_store_that_knows_no_sha256_gets_along_without(swift: Swift) -> None:
    settings = replace(hashed(swift), checksums="md5")
    async with connect_s3(CONTEXT, settings) as backend:
        ref = await backend.put(new_blob_key(), BytesSource(CONTENT))
        assert CONTENT == await read_all(backend, ref)


def hashed(store: S3Store) -> S3Settings:
    return S3Settings(
        endpoint=store.endpoint,
        bucket=store.create_bucket(),
        access_key_id=store.access_key_id,
        secret_access_key=store.secret_access_key,
        part_size=PART,
        checksums="sha256",
    )


class HashingStore:
    """
    As much of Amazon's store as a put in parts with SHA-256 takes.
    """

    def __init__(self) -> None:
        self.parts: dict[int, bytes] = {}
        self.told: dict[int, str] = {}
        self.algorithm = ""
        self.completed = ""
        self.deleted = False
        self.is_false = False

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.method == "HEAD":
            return web.Response(status=404)
        if request.method == "DELETE":
            self.deleted = True
            return web.Response(status=204)
        if "uploads" in request.query:
            self.algorithm = request.headers["x-amz-checksum-algorithm"]
            return xml(
                "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            )
        if request.method == "PUT":
            number = int(request.query["partNumber"])
            self.parts[number], self.told[number] = body, request.headers["x-amz-checksum-sha256"]
            return web.Response(headers={"ETag": f'"{md5(body).hex()}"'})
        if request.method == "GET":
            return xml(f"<ListPartsResult>{''.join(self.listed())}</ListPartsResult>")
        self.completed = body.decode()
        whole = hashlib.sha256(b"".join(base64.b64decode(sha256(part)) for part in self.parts.values()))
        told = base64.b64encode(bytes(32) if self.is_false else whole.digest()).decode()
        return xml(
            "<CompleteMultipartUploadResult><ETag>opaque</ETag>"
            f"<ChecksumSHA256>{told}-{len(self.parts)}</ChecksumSHA256></CompleteMultipartUploadResult>"
        )

    def listed(self) -> list[str]:
        return [
            f"<Part><PartNumber>{number}</PartNumber><Size>{len(part)}</Size><ETag>opaque</ETag>"
            "<LastModified>2026-01-01T00:00:00Z</LastModified>"
            f"<ChecksumSHA256>{sha256(part)}</ChecksumSHA256></Part>"
            for number, part in self.parts.items()
        ]


def xml(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/xml")


@pytest.fixture
async def hashing() -> AsyncIterator[tuple[HashingStore, Backend]]:
    amazon = HashingStore()
    app = web.Application(client_max_size=2 * PART)
    app.router.add_route("*", "/{name:.*}", amazon.answer)
    async with TestServer(app) as server:
        settings = S3Settings(
            endpoint=str(server.make_url("")).rstrip("/"),
            bucket="bucket",
            access_key_id="key",
            secret_access_key="secret",
            part_size=PART,
            checksums="sha256",
            purge_versions=False,
        )
        async with connect_s3(CONTEXT, settings) as backend:
            yield amazon, backend


async def test_each_part_goes_with_its_sha256_and_so_does_the_list_of_them(
    hashing: tuple[HashingStore, Backend],
) -> None:
    amazon, backend = hashing
    key = new_blob_key()
    assert BlobRef(key) == await backend.put(key, BytesSource(CONTENT))
    assert "SHA256" == amazon.algorithm
    expected = [sha256(part) for part in PARTS]
    assert expected == list(amazon.told.values())
    assert all(f"<ChecksumSHA256>{told}</ChecksumSHA256>" in amazon.completed for told in expected)


async def test_a_whole_whose_sha256_is_another_is_removed(hashing: tuple[HashingStore, Backend]) -> None:
    amazon, backend = hashing
    amazon.is_false = True
    with pytest.raises(IntegrityMismatch):
        await backend.put(new_blob_key(), BytesSource(CONTENT))
    assert amazon.deleted


@pytest.mark.parametrize(
    ("endpoint", "checksums", "expected"),
    [
        (None, None, True),
        (None, "md5", False),
        ("https://s3.eu-central-1.amazonaws.com", None, True),
        ("https://s3.cn-north-1.amazonaws.com.cn", None, True),
        ("https://amazonaws.com.evil.test", None, False),
        ("https://s3.test", None, False),
        ("https://s3.test", "sha256", True),
    ],
)
def test_a_sha256_goes_to_amazon_and_to_whom_the_operator_says(
    endpoint: str | None, checksums: str | None, expected: bool
) -> None:
    settings = S3Settings(bucket="bucket", access_key_id="key", secret_access_key="secret")
    assert expected == replace(settings, endpoint=endpoint, checksums=checksums).sends_sha256
