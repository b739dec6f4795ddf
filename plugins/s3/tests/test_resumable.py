"""
Puts in parts, on each store.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from gateway_s3.backend import connect as connect_s3
from gateway_s3.settings import MIN_PART_SIZE, S3Settings

from gateway.api import (
    Backend,
    BackendContext,
    BlobKey,
    BlobRef,
    Conflict,
    IntegrityMismatch,
    PutSession,
    ResumablePuts,
    SessionLost,
    new_blob_key,
)
from gateway.testing.conformance import listed, read_all
from gateway.testing.sources import (
    BreakingSource,
    BytesSource,
    LyingSource,
    SourceBroke,
    StallingSource,
    pattern,
)
from tests.support.s3_store import S3Store

Connect = Callable[[], AbstractAsyncContextManager[Backend]]

PART = MIN_PART_SIZE
CONTENT = pattern(2 * PART + 77)
SHA256 = hashlib.sha256(CONTENT).digest()


@pytest.fixture
def bucket(store: S3Store) -> str:
    return store.create_bucket()


@pytest.fixture
def connect(store: S3Store, bucket: str) -> Connect:
    settings = S3Settings(
        endpoint=store.endpoint,
        bucket=bucket,
        access_key_id=store.access_key_id,
        secret_access_key=store.secret_access_key,
        part_size=PART,
    )
    return lambda: connect_s3(BackendContext(account="s3"), settings)


@pytest.fixture
async def backend(connect: Connect) -> AsyncIterator[Backend]:
    async with connect() as backend:
        yield backend


def puts_of(backend: Backend) -> ResumablePuts:
    assert backend.resumable is not None
    return backend.resumable


async def begun(backend: Backend, key: BlobKey) -> PutSession:
    return await puts_of(backend).begin(key, size=len(CONTENT), sha256=SHA256)


async def sent(backend: Backend, session: PutSession) -> PutSession:
    while session.offset < len(CONTENT):
        part = CONTENT[session.offset : session.offset + PART]
        session = await puts_of(backend).append(session, part)
    return session


def unfinished(store: S3Store, bucket: str) -> list[str]:
    client = store.client()
    try:
        return [upload["Key"] for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]
    finally:
        client.close()


# In one connection


async def test_a_blob_sent_in_parts_is_visible_at_the_commit_and_not_before(backend: Backend) -> None:
    key = new_blob_key()
    session = await sent(backend, await begun(backend, key))
    assert await backend.find(key) is None
    assert [] == await listed(backend)
    ref = await puts_of(backend).commit(session)
    assert CONTENT == await read_all(backend, ref)
    assert [(ref, len(CONTENT))] == [(blob.ref, blob.size) for blob in await listed(backend)]


async def test_a_blob_of_one_byte_can_be_sent_in_parts(backend: Backend) -> None:
    puts = puts_of(backend)
    session = await puts.begin(new_blob_key(), size=1, sha256=hashlib.sha256(b"x").digest())
    ref = await puts.commit(await puts.append(session, b"x"))
    assert b"x" == await read_all(backend, ref)


async def test_a_taken_key_is_refused_at_the_beginning(backend: Backend) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(b"first"))
    with pytest.raises(Conflict):
        await begun(backend, ref.key)
    assert b"first" == await read_all(backend, ref)


async def test_a_key_taken_meanwhile_is_refused_at_the_commit(backend: Backend) -> None:
    key = new_blob_key()
    session = await sent(backend, await begun(backend, key))
    ref = await backend.put(key, BytesSource(b"first"))
    with pytest.raises(Conflict):
        await puts_of(backend).commit(session)
    assert b"first" == await read_all(backend, ref)


async def test_a_commit_before_all_bytes_are_there_is_refused(backend: Backend) -> None:
    key = new_blob_key()
    session = await puts_of(backend).append(await begun(backend, key), CONTENT[:PART])
    with pytest.raises(IntegrityMismatch):
        await puts_of(backend).commit(session)
    assert await backend.find(key) is None


# After a crash


async def test_a_new_connection_goes_on_where_the_store_has_got_to(connect: Connect) -> None:
    key = new_blob_key()
    async with connect() as first:
        kept = await begun(first, key)
        await puts_of(first).append(kept, CONTENT[:PART])
    async with connect() as second:
        session = await puts_of(second).resume(kept)
        assert PART == session.offset
        ref = await puts_of(second).commit(await sent(second, session))
        assert CONTENT == await read_all(second, ref)


async def test_an_offset_that_ran_ahead_of_the_store_is_taken_back(backend: Backend) -> None:
    session = await begun(backend, new_blob_key())
    resumed = await puts_of(backend).resume(PutSession(session.token, PART))
    assert session == resumed


async def test_all_bytes_may_be_there_already(backend: Backend) -> None:
    kept = await begun(backend, new_blob_key())
    await sent(backend, kept)
    session = await puts_of(backend).resume(kept)
    assert len(CONTENT) == session.offset
    ref = await puts_of(backend).commit(session)
    assert CONTENT == await read_all(backend, ref)


async def test_a_session_that_was_aborted_is_lost_and_leaves_nothing(
    backend: Backend, store: S3Store, bucket: str
) -> None:
    puts = puts_of(backend)
    session = await puts.append(await begun(backend, new_blob_key()), CONTENT[:PART])
    await puts.abort(session)
    await puts.abort(session)
    with pytest.raises(SessionLost):
        await puts.resume(session)
    with pytest.raises(SessionLost):
        await puts.append(session, CONTENT[PART : 2 * PART])
    assert [] == unfinished(store, bucket)


async def test_a_session_that_was_committed_is_refused_and_its_blob_stays(backend: Backend) -> None:
    key = new_blob_key()
    session = await sent(backend, await begun(backend, key))
    await puts_of(backend).commit(session)
    # Swift goes on listing the parts; there it is the key that is taken.
    with pytest.raises((SessionLost, Conflict)):
        await puts_of(backend).commit(await puts_of(backend).resume(session))
    await puts_of(backend).abort(session)
    assert CONTENT == await read_all(backend, BlobRef(key))


@pytest.mark.parametrize(
    "token", ["", "{}", "[]", "no JSON", '{"key": "../x", "upload": "1", "size": 1, "part": 1}']
)
async def test_a_token_that_is_not_ours_is_a_lost_session(backend: Backend, token: str) -> None:
    with pytest.raises(SessionLost):
        await puts_of(backend).resume(PutSession(token, 0))


async def test_a_token_holds_no_key_of_the_store(backend: Backend, store: S3Store) -> None:
    session = await begun(backend, new_blob_key())
    assert {"key", "upload", "size", "part", "sha256"} == set(json.loads(session.token))
    assert store.secret_access_key not in session.token


async def test_a_token_of_the_first_days_still_goes_on(backend: Backend) -> None:
    session = await begun(backend, new_blob_key())
    told = json.loads(session.token)
    del told["sha256"]
    ref = await puts_of(backend).commit(await sent(backend, PutSession(json.dumps(told), 0)))
    assert CONTENT == await read_all(backend, ref)


# An ordinary put of a large blob


@pytest.mark.parametrize("size", [PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 77])
async def test_a_put_larger_than_a_part_goes_in_parts(backend: Backend, size: int) -> None:
    content = pattern(size)
    ref = await backend.put(new_blob_key(), BytesSource(content))
    assert content == await read_all(backend, ref)


async def test_of_many_large_puts_of_one_key_one_wins(backend: Backend) -> None:
    key = new_blob_key()
    contents = [pattern(PART + 1, seed) for seed in range(3)]
    answers = await asyncio.gather(
        *(backend.put(key, BytesSource(content)) for content in contents), return_exceptions=True
    )
    winners = [number for number, answer in enumerate(answers) if isinstance(answer, BlobRef)]
    assert 1 == len(winners)
    assert contents[winners[0]] == await read_all(backend, BlobRef(key))


async def test_a_large_source_that_broke_leaves_no_parts(
    backend: Backend, store: S3Store, bucket: str
) -> None:
    key = new_blob_key()
    with pytest.raises(SourceBroke):
        await backend.put(key, BreakingSource(CONTENT, at=2 * PART + 5))
    assert await backend.find(key) is None
    assert [] == unfinished(store, bucket)


@pytest.mark.parametrize("claimed", [len(CONTENT) - 1, len(CONTENT) + 1])
async def test_a_large_source_of_another_size_leaves_no_parts(
    backend: Backend, store: S3Store, bucket: str, claimed: int
) -> None:
    key = new_blob_key()
    with pytest.raises(IntegrityMismatch):
        await backend.put(key, LyingSource(CONTENT, claimed))
    assert await backend.find(key) is None
    assert [] == unfinished(store, bucket)


async def test_a_large_put_cancelled_on_the_way_leaves_no_parts(
    backend: Backend, store: S3Store, bucket: str
) -> None:
    key = new_blob_key()
    source = StallingSource(CONTENT, 2 * PART + 5)
    task = asyncio.create_task(backend.put(key, source))
    await source.stalled.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await backend.find(key) is None
    assert [] == unfinished(store, bucket)
