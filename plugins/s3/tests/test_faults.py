"""
A bad line to the store, with the host's second tries: nothing is lost, nothing is there twice, and it ends.
"""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from gateway_s3 import client as s3_client
from gateway_s3.backend import connect as connect_s3
from gateway_s3.settings import MIN_PART_SIZE, S3Settings
from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.api import (
    Backend,
    BackendContext,
    BlobKey,
    BlobRef,
    ResumablePuts,
    SessionLost,
    Transient,
    new_blob_key,
)
from gateway.backends.hosted import hosted
from gateway.backends.measured import Meters
from gateway.base.clock import SystemClock
from gateway.settings import Backends
from gateway.testing.conformance import listed, read_all
from gateway.testing.sources import BytesSource, pattern
from tests.support.s3_store import S3Store
from tests.support.tcp_proxy import TcpProxy, proxying

PART = MIN_PART_SIZE
PARTS = [pattern(PART, 1), pattern(PART, 2), pattern(77, 3)]
CONTENT = b"".join(PARTS)
SMALL = pattern(1 << 20)

Fault = Callable[[TcpProxy], None]

FAULTS: dict[str, Fault] = {
    "before": lambda proxy: proxy.cut_after(0),
    "amid": lambda proxy: proxy.cut_after(300),
    "answer": lambda proxy: proxy.lose_answers(),
}
IN_BODIES: dict[str, Fault] = {**FAULTS, "body": lambda proxy: proxy.cut_after(300_000)}


class Line:
    """
    The requests that were sent, and what is to go wrong with one of them.
    """

    def __init__(self, proxy: TcpProxy) -> None:
        self.proxy = proxy
        self.requests: list[str] = []
        self._wanted: tuple[str, Fault] | None = None

    def fail(self, request: str, fault: Fault) -> None:
        """
        Have the next such *request* meet *fault*, and count requests from here.
        """
        self._wanted = (request, fault)
        self.requests.clear()

    def send(self, method: str, query: Any) -> None:
        kind = "part" if "partNumber" in query else "upload" if "uploadId" in query else "object"
        request = f"{method} {kind}"
        self.requests.append(request)
        if self._wanted is not None and request == self._wanted[0]:
            _, fault = self._wanted
            self._wanted = None
            fault(self.proxy)


@pytest.fixture
async def line(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Line]:
    async with proxying(store.endpoint) as proxy:
        line = Line(proxy)
        original = s3_client._PlainSession.request

        async def request(session: Any, method: str, **options: Any) -> Any:
            line.send(method, options["url"].query)
            # With it the first answer is "go on", and what gets lost is to be the last one.
            options["headers"].pop("Expect", None)
            return await original(session, method, **options)

        monkeypatch.setattr(s3_client._PlainSession, "request", request)
        yield line


@pytest.fixture
def settings(store: S3Store, line: Line) -> S3Settings:
    # With versions, for they show what was put twice.
    return S3Settings(
        endpoint=line.proxy.url,
        bucket=store.create_bucket(versioned=True),
        access_key_id=store.access_key_id,
        secret_access_key=store.secret_access_key,
        part_size=PART,
    )


@asynccontextmanager
async def connected(settings: S3Settings) -> AsyncIterator[Backend]:
    registry = CollectorRegistry()
    meters = Meters(
        calls=Counter("calls", "Calls", ("kind", "operation", "outcome"), registry=registry),
        duration=Histogram("duration", "Duration", ("kind", "operation"), registry=registry),
    )
    async with connect_s3(BackendContext(account="s3"), settings) as backend:
        yield hosted(
            backend,
            kind="s3",
            limits=Backends(),
            clock=SystemClock(),
            meters=meters,
            rng=random.Random(1),
            sleep=no_wait,
        )


async def no_wait(_seconds: float) -> None:
    return


@pytest.fixture
async def backend(settings: S3Settings) -> AsyncIterator[Backend]:
    async with connected(settings) as backend:
        yield backend


def puts_of(backend: Backend) -> ResumablePuts:
    assert backend.resumable is not None
    return backend.resumable


def left(store: S3Store, bucket: str) -> tuple[list[str], int]:
    """
    Return the names of all versions and markers, and how many uploads are not finished.
    """
    client = store.client()
    try:
        found = client.list_object_versions(Bucket=bucket)
        entries = (*found.get("Versions", ()), *found.get("DeleteMarkers", ()))
        uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())
        return [str(entry["Key"]) for entry in entries], len(uploads)
    finally:
        client.close()


@pytest.mark.parametrize("fault", IN_BODIES.values(), ids=IN_BODIES)
async def test_a_put_on_a_bad_line_stores_one_blob_once(
    backend: Backend, line: Line, store: S3Store, settings: S3Settings, fault: Fault
) -> None:
    key = new_blob_key()
    line.fail("PUT object", fault)
    ref = await backend.put(key, BytesSource(SMALL))
    assert 1 == line.proxy.cuts
    # Looked, put; looked again, and put again if it was not there; looked at.
    assert line.requests.count("PUT object") <= 2
    assert len(line.requests) <= 8
    assert SMALL == await read_all(backend, ref)
    assert ([key], 0) == left(store, settings.bucket)


@pytest.mark.parametrize("fault", IN_BODIES.values(), ids=IN_BODIES)
async def test_a_part_on_a_bad_line_is_sent_again_only_if_it_did_not_arrive(
    backend: Backend, line: Line, store: S3Store, settings: S3Settings, fault: Fault
) -> None:
    puts = puts_of(backend)
    key = new_blob_key()
    session = await puts.begin(key, size=len(CONTENT), sha256=b"")
    session = await puts.append(session, PARTS[0])
    line.fail("PUT part", fault)
    session = await puts.append(session, PARTS[1])
    assert 1 == line.proxy.cuts
    assert 2 * PART == session.offset
    assert line.requests.count("PUT part") == (1 if fault is FAULTS["answer"] else 2)
    assert len(line.requests) <= 4
    ref = await puts.commit(await puts.append(session, PARTS[2]))
    assert CONTENT == await read_all(backend, ref)
    assert ([key], 0) == left(store, settings.bucket)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_commit_on_a_bad_line_makes_one_blob(
    backend: Backend, line: Line, store: S3Store, settings: S3Settings, fault: Fault
) -> None:
    puts = puts_of(backend)
    key = new_blob_key()
    session = await puts.begin(key, size=len(CONTENT), sha256=b"")
    for part in PARTS:
        session = await puts.append(session, part)
    line.fail("POST upload", fault)
    ref: BlobRef | None
    try:
        ref = await puts.commit(session)
    except SessionLost:
        # It was committed before; this is how the host finds out.
        ref = await backend.find(key)
    assert ref is not None
    assert 1 == line.proxy.cuts
    assert line.requests.count("POST upload") == (1 if fault is FAULTS["answer"] else 2)
    assert len(line.requests) <= 8
    assert CONTENT == await read_all(backend, ref)
    assert ([key], 0) == left(store, settings.bucket)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_delete_on_a_bad_line_leaves_nothing(
    backend: Backend, line: Line, store: S3Store, settings: S3Settings, fault: Fault
) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(SMALL))
    other = await backend.put(new_blob_key(), BytesSource(b"other"))
    line.fail("DELETE object", fault)
    await backend.delete(ref)
    assert 1 == line.proxy.cuts
    assert line.requests.count("DELETE object") <= 2
    assert len(line.requests) <= 6
    assert await backend.find(ref.key) is None
    assert ([other.key], 0) == left(store, settings.bucket)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_begin_on_a_bad_line_costs_no_more_than_an_upload_that_is_swept(
    backend: Backend, line: Line, store: S3Store, settings: S3Settings, fault: Fault
) -> None:
    key = new_blob_key()
    # The first request of it with this name.
    line.fail("POST object", fault)
    session = await puts_of(backend).begin(key, size=len(CONTENT), sha256=b"")
    assert 1 == line.proxy.cuts
    assert 2 == line.requests.count("POST object")
    await puts_of(backend).abort(session)
    assert [] == await listed(backend)
    assert ([], 1 if fault is FAULTS["answer"] else 0) == left(store, settings.bucket)


async def test_a_commit_without_an_answer_is_not_undone(line: Line, settings: S3Settings) -> None:
    key = new_blob_key()
    async with connect_s3(BackendContext(account="s3"), settings) as backend:
        line.fail("POST upload", FAULTS["answer"])
        with pytest.raises(Transient):
            await backend.put(key, BytesSource(CONTENT))
        # An abort could meet a store that is at it still.
        assert "DELETE upload" not in line.requests
        assert CONTENT == await read_all(backend, BlobRef(key))


async def test_a_large_put_on_a_bad_line_stores_one_blob_once(
    backend: Backend, line: Line, store: S3Store, settings: S3Settings
) -> None:
    key: BlobKey = new_blob_key()
    line.fail("POST upload", FAULTS["answer"])
    ref = await backend.put(key, BytesSource(CONTENT))
    assert 1 == line.proxy.cuts
    assert CONTENT == await read_all(backend, ref)
    assert len(PARTS) == line.requests.count("PUT part")
    assert ([key], 0) == left(store, settings.bucket)
