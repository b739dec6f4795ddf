"""
Puts in parts that nobody went on with.
"""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from gateway_s3.backend import S3Puts
from gateway_s3.backend import connect as connect_s3
from gateway_s3.settings import MIN_PART_SIZE, S3Settings

from gateway.api import Backend, BackendContext, SessionLost, Unsupported, new_blob_key
from gateway.testing.conformance import read_all
from gateway.testing.sources import BytesSource, pattern
from tests.support.s3_store import S3Store
from tests.support.swift import Swift

PART = MIN_PART_SIZE
CONTENT = pattern(PART + 7)
PREFIX = "recordings/"
# Stores round their dates, Swift upwards.
OF_ANY_AGE = timedelta(seconds=-5)


@pytest.fixture
def settings(store: S3Store) -> S3Settings:
    return S3Settings(
        endpoint=store.endpoint,
        bucket=store.create_bucket(),
        prefix=PREFIX,
        access_key_id=store.access_key_id,
        secret_access_key=store.secret_access_key,
        part_size=PART,
        list_page_size=2,
    )


@pytest.fixture
async def backend(settings: S3Settings) -> AsyncIterator[Backend]:
    async with connect_s3(BackendContext(account="s3"), settings) as backend:
        yield backend


def puts_of(backend: Backend) -> S3Puts:
    assert isinstance(backend.resumable, S3Puts)
    return backend.resumable


def unfinished(store: S3Store, bucket: str) -> list[str]:
    client = store.client()
    try:
        return [upload["Key"] for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]
    finally:
        client.close()


async def test_what_nobody_went_on_with_is_dropped_with_its_parts(
    backend: Backend, store: S3Store, settings: S3Settings
) -> None:
    puts = puts_of(backend)
    sessions = [await puts.begin(new_blob_key(), size=len(CONTENT), sha256=b"") for _ in range(5)]
    sessions[0] = await puts.append(sessions[0], CONTENT[:PART])
    assert 5 == await puts.sweep_abandoned(OF_ANY_AGE)
    assert [] == unfinished(store, settings.bucket)
    for session in sessions:
        with pytest.raises(SessionLost):
            await puts.resume(session)
    assert 0 == await puts.sweep_abandoned(OF_ANY_AGE)


async def test_what_may_still_be_gone_on_with_stays(backend: Backend) -> None:
    puts = puts_of(backend)
    session = await puts.begin(new_blob_key(), size=len(CONTENT), sha256=b"")
    session = await puts.append(session, CONTENT[:PART])
    assert 0 == await puts.sweep_abandoned(timedelta(hours=1))
    ref = await puts.commit(await puts.append(session, CONTENT[PART:]))
    assert CONTENT == await read_all(backend, ref)


async def test_blobs_and_what_is_not_ours_stay(
    backend: Backend, store: S3Store, settings: S3Settings
) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(CONTENT))
    others = [
        new_blob_key(),
        "other/" + new_blob_key(),
        f"{PREFIX}holiday.mp4",
        f"{PREFIX}old/{new_blob_key()}",
    ]
    client = store.client()
    for name in others:
        client.create_multipart_upload(Bucket=settings.bucket, Key=name)
    client.close()
    assert 0 == await puts_of(backend).sweep_abandoned(OF_ANY_AGE)
    assert sorted(others) == sorted(unfinished(store, settings.bucket))
    assert CONTENT == await read_all(backend, ref)


async def test_connecting_and_probing_drop_nothing(
    backend: Backend, store: S3Store, settings: S3Settings
) -> None:
    await puts_of(backend).begin(new_blob_key(), size=1, sha256=b"")
    async with connect_s3(BackendContext(account="s3"), settings) as another:
        await another.probe()
    assert 1 == len(unfinished(store, settings.bucket))


# Swift keeps parts as objects of their own, which S3 does not show


@pytest.mark.parametrize("versioned", [False, True])
async def test_no_part_outlives_its_blob_or_its_put(swift: Swift, versioned: bool) -> None:
    settings = S3Settings(
        endpoint=swift.endpoint,
        bucket=swift.create_bucket(versioned=versioned),
        access_key_id=swift.access_key_id,
        secret_access_key=swift.secret_access_key,
        part_size=PART,
    )
    async with connect_s3(BackendContext(account="s3"), settings) as backend:
        ref = await backend.put(new_blob_key(), BytesSource(CONTENT))
        session = await puts_of(backend).begin(new_blob_key(), size=len(CONTENT), sha256=b"")
        session = await puts_of(backend).append(session, CONTENT[:PART])
        assert 3 == swift.segments(settings.bucket)
        await puts_of(backend).abort(session)
        assert 2 == swift.segments(settings.bucket)
        await backend.delete(ref)
        assert 0 == swift.segments(settings.bucket)


# By whose clock

LISTED_AT = "Tue, 24 Nov 2026 12:00:00 GMT"
KEY = new_blob_key()


class OldUpload:
    """
    A store that lists one upload, begun long ago, and what was sent of it when.
    """

    def __init__(self, *part_dates: str) -> None:
        self.part_dates = part_dates
        self.date: str | None = LISTED_AT
        self.is_gone = False
        self.aborted = 0

    async def answer(self, request: web.Request) -> web.Response:
        if request.method == "DELETE":
            self.aborted += 1
            return web.Response(status=204)
        if "uploadId" in request.query and self.is_gone:
            return _xml("<Error><Code>NoSuchUpload</Code></Error>", status=404)
        if "uploadId" in request.query:
            parts = "".join(
                f"<Part><PartNumber>{number}</PartNumber><Size>1</Size><ETag>x</ETag>"
                f"<LastModified>{date}</LastModified></Part>"
                for number, date in enumerate(self.part_dates, 1)
            )
            return _xml(f"<ListPartsResult>{parts}</ListPartsResult>")
        answer = _xml(
            f"<ListMultipartUploadsResult><Upload><Key>{KEY}</Key><UploadId>u</UploadId>"
            "<Initiated>2026-11-01T00:00:00Z</Initiated></Upload></ListMultipartUploadsResult>"
        )
        answer.headers["Date"] = self.date or ""
        return answer


def _xml(text: str, *, status: int = 200) -> web.Response:
    return web.Response(text=text, content_type="application/xml", status=status)


async def swept(old: OldUpload, older_than: timedelta) -> int:
    app = web.Application()
    app.router.add_route("*", "/{name:.*}", old.answer)
    async with TestServer(app) as server:
        settings = S3Settings(
            endpoint=str(server.make_url("")).rstrip("/"),
            bucket="bucket",
            access_key_id="key",
            secret_access_key="secret",
        )
        async with connect_s3(BackendContext(account="s3"), settings) as backend:
            return await puts_of(backend).sweep_abandoned(older_than)


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        ([], 1),
        (["2026-11-02T00:00:00Z", "2026-11-17T11:59:59Z"], 1),
        (["2026-11-02T00:00:00Z", "2026-11-17T12:00:01Z"], 0),
        (["2026-11-24T11:00:00Z", "2026-11-02T00:00:00Z"], 0),
    ],
)
async def test_the_last_part_tells_by_the_stores_clock_when_it_was_gone_on_with(
    dates: list[str], expected: int
) -> None:
    old = OldUpload(*dates)
    assert expected == await swept(old, timedelta(days=7))
    assert expected == old.aborted


async def test_what_was_committed_meanwhile_is_not_aborted() -> None:
    old = OldUpload()
    old.is_gone = True
    assert 0 == await swept(old, timedelta(days=7))
    assert 0 == old.aborted


async def test_a_store_without_a_clock_is_not_swept() -> None:
    old = OldUpload()
    old.date = None
    with pytest.raises(Unsupported):
        await swept(old, timedelta(days=7))
    assert 0 == old.aborted
