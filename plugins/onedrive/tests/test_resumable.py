"""
Puts that go on after every fault that a OneDrive, or the way to it, can have.
"""

import pytest
from gateway_onedrive.backend import connect as connect_onedrive
from gateway_onedrive.settings import GRID, OneDriveSettings

from gateway.api import (
    Backend,
    BackendContext,
    BlobKey,
    BlobRef,
    BlobStat,
    Conflict,
    IntegrityMismatch,
    PutSession,
    SessionLost,
    Transient,
    new_blob_key,
)
from gateway.testing.conformance import Connect, listed, read_all
from gateway.testing.resumable import begun, puts_of, sent
from gateway.testing.sources import BytesSource, pattern
from tests.emulators.cloud import Account
from tests.emulators.faults import Effect
from tests.emulators.onedrive import GraphEmulator

PART = 2 * GRID
CONTENT = pattern(2 * PART + 77_777)


async def uploaded(backend: Backend, key: BlobKey, content: bytes) -> BlobRef:
    """
    Put in parts, going on after every error as the host does.
    """
    puts = puts_of(backend)
    session: PutSession | None = None
    is_unclear = False
    for _ in range(30):
        try:
            if session is None:
                found = await backend.find(key)
                if found is not None:
                    return found
                session = await begun(puts_of(backend), key, content)
            if is_unclear:
                session, is_unclear = await puts.resume(session), False
            while session.offset < len(content):
                session = await puts.append(session, content[session.offset : session.offset + PART])
            return await puts.commit(session)
        except SessionLost:
            session, is_unclear = None, False
        except Transient:
            is_unclear = session is not None
    pytest.fail("it never came to an end")


# After a fault


@pytest.mark.parametrize("is_business", [False, True], ids=["personal", "business"])
@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize(
    ("operation", "effect", "amount"),
    [
        ("append", Effect.CUT_BEFORE, 0),
        ("append", Effect.CUT_IN_BODY, 100_000),
        ("append", Effect.LOSE_ANSWER, 0),
        ("append", Effect.TAKE_LESS, 50_000),
        ("append", Effect.TAKE_LESS, 0),
        ("append", Effect.THROTTLE, 1),
        ("append", Effect.FAIL, 0),
        ("append", Effect.EXPIRE_TOKEN, 0),
    ],
)
async def test_a_part_that_went_wrong_is_gone_on_from_where_onedrive_is(
    cloud: GraphEmulator,
    account: Account,
    connect: Connect,
    is_business: bool,
    after: int,
    operation: str,
    effect: Effect,
    amount: int,
) -> None:
    cloud.is_business = is_business
    key = new_blob_key()
    async with connect() as backend:
        cloud.faults.order(operation, effect, after=after, amount=amount)
        ref = await uploaded(backend, key, CONTENT)
        assert cloud.faults.are_spent
        assert CONTENT == await read_all(backend, ref)
        assert [BlobStat(ref, len(CONTENT), (await backend.stat(ref)).digest)] == await listed(backend)
    assert [key] == cloud.blob_keys(account)
    # Nothing but the part that the fault was about is sent again.
    assert cloud.upload_bytes <= len(CONTENT) + PART


@pytest.mark.parametrize("operation", ["begin", "resume", "commit", "stat"])
@pytest.mark.parametrize(
    "effect",
    [Effect.CUT_BEFORE, Effect.LOSE_ANSWER, Effect.THROTTLE, Effect.FAIL, Effect.EXPIRE_TOKEN],
    ids=lambda effect: effect.name,
)
async def test_a_step_that_went_wrong_is_taken_again(
    cloud: GraphEmulator, account: Account, backend: Backend, operation: str, effect: Effect
) -> None:
    if operation == "resume":
        cloud.faults.order("append", Effect.FAIL)
    cloud.faults.order(operation, effect)
    key = new_blob_key()
    ref = await uploaded(backend, key, CONTENT)
    assert cloud.faults.are_spent
    assert CONTENT == await read_all(backend, ref)
    assert [key] == cloud.blob_keys(account)


@pytest.mark.parametrize("size", [0, 10, 100_000])
@pytest.mark.parametrize("effect", [Effect.CUT_BEFORE, Effect.CUT_IN_BODY, Effect.FAIL])
async def test_a_small_put_that_failed_left_nothing(
    cloud: GraphEmulator, account: Account, backend: Backend, size: int, effect: Effect
) -> None:
    cloud.faults.order("put", effect)
    key = new_blob_key()
    with pytest.raises(Transient):
        await backend.put(key, BytesSource(pattern(size)))
    assert [] == cloud.blob_keys(account)
    assert 1 == cloud.faults.requests["put"]


@pytest.mark.parametrize("size", [0, 10, 100_000])
async def test_a_small_put_whose_answer_was_lost_is_sent_once_and_found(
    cloud: GraphEmulator, backend: Backend, size: int
) -> None:
    # A connection that is kept open, so that the client might be tempted to send it again by itself.
    await backend.quota()
    cloud.faults.order("put", Effect.LOSE_ANSWER)
    key = new_blob_key()
    with pytest.raises(Transient):
        await backend.put(key, BytesSource(pattern(size)))
    assert 1 == cloud.faults.requests["put"]
    ref = await backend.find(key)
    assert ref is not None
    assert pattern(size) == await read_all(backend, ref)


async def test_a_put_that_failed_on_the_way_leaves_no_session_and_no_file(
    cloud: GraphEmulator, account: Account, backend: Backend
) -> None:
    cloud.faults.order("append", Effect.FAIL, after=1)
    with pytest.raises(Transient):
        await backend.put(new_blob_key(), BytesSource(CONTENT))
    assert ({}, {}) == (cloud.transfers.sessions, account.files)


@pytest.mark.parametrize("has_gone", ["expired", "forgotten"])
async def test_a_session_that_is_gone_is_lost_at_every_step(
    cloud: GraphEmulator, backend: Backend, has_gone: str
) -> None:
    puts = puts_of(backend)
    session = await puts.append(await begun(puts_of(backend), new_blob_key(), CONTENT), CONTENT[:PART])
    if has_gone == "expired":
        cloud.clock.advance(8 * 24 * 3600)
        cloud.oauth.expire_access_tokens()
    else:
        cloud.transfers.forget()
    with pytest.raises(SessionLost):
        await puts.resume(session)
    with pytest.raises(SessionLost):
        await puts.append(session, CONTENT[PART : 2 * PART])
    with pytest.raises(SessionLost):
        await puts.commit(session)
    await puts.abort(session)


async def test_a_session_that_is_lost_is_begun_anew_without_a_second_blob(
    cloud: GraphEmulator, account: Account, connect: Connect
) -> None:
    key = new_blob_key()
    async with connect() as backend:
        session = await puts_of(backend).append(await begun(puts_of(backend), key, CONTENT), CONTENT[:PART])
        cloud.transfers.forget()
        with pytest.raises(SessionLost):
            await puts_of(backend).resume(session)
        await uploaded(backend, key, CONTENT)
    assert [key] == cloud.blob_keys(account)


async def test_a_part_that_onedrive_has_already_is_not_an_error(backend: Backend) -> None:
    puts = puts_of(backend)
    begin = await begun(puts_of(backend), new_blob_key(), CONTENT)
    first = await puts.append(begin, CONTENT[:PART])
    assert first.offset == (await puts.append(begin, CONTENT[:PART])).offset


async def test_a_part_that_is_refused_without_a_reason_is_not_taken_for_sent(
    cloud: GraphEmulator, backend: Backend
) -> None:
    session = await begun(puts_of(backend), new_blob_key(), CONTENT)
    cloud.faults.order("append", Effect.EXPIRE_TOKEN)
    with pytest.raises(Transient):
        await puts_of(backend).append(session, CONTENT[:PART])
    assert PART == (await puts_of(backend).append(session, CONTENT[:PART])).offset


async def test_a_part_that_would_end_beside_the_grid_is_cut_to_it(backend: Backend) -> None:
    puts = puts_of(backend)
    session = await puts.append(await begun(puts_of(backend), new_blob_key(), CONTENT), CONTENT[: GRID + 5])
    assert GRID == session.offset
    with pytest.raises(IntegrityMismatch):
        await puts.append(session, CONTENT[GRID : GRID + 5])
    ref = await puts.commit(await sent(puts_of(backend), session, CONTENT))
    assert CONTENT == await read_all(backend, ref)


async def test_a_commit_before_all_bytes_are_there_is_refused(backend: Backend) -> None:
    session = await puts_of(backend).append(
        await begun(puts_of(backend), new_blob_key(), CONTENT), CONTENT[:PART]
    )
    with pytest.raises(IntegrityMismatch):
        await puts_of(backend).commit(session)


async def test_a_session_with_all_bytes_that_became_no_file_is_begun_anew(
    cloud: GraphEmulator, account: Account, backend: Backend
) -> None:
    key = new_blob_key()
    session = await begun(puts_of(backend), key, CONTENT)
    [upload] = cloud.transfers.sessions.values()
    # As where the last range was taken, and its file could not be made.
    upload.deferred = True
    session = await sent(puts_of(backend), session, CONTENT)
    assert len(CONTENT) == (await puts_of(backend).resume(session)).offset
    with pytest.raises(SessionLost):
        await puts_of(backend).commit(session)
    assert {} == cloud.transfers.sessions
    await uploaded(backend, key, CONTENT)
    assert [key] == cloud.blob_keys(account)


async def test_a_commit_whose_answer_was_lost_can_be_made_again(
    cloud: GraphEmulator, backend: Backend
) -> None:
    session = await sent(puts_of(backend), await begun(puts_of(backend), new_blob_key(), CONTENT), CONTENT)
    cloud.faults.order("commit", Effect.LOSE_ANSWER)
    with pytest.raises(Transient):
        await puts_of(backend).commit(session)
    ref = await puts_of(backend).commit(session)
    assert [ref] == [blob.ref for blob in await listed(backend)]


async def test_a_commit_over_a_taken_key_leaves_nothing_of_its_own(
    account: Account, backend: Backend
) -> None:
    key = new_blob_key()
    session = await sent(puts_of(backend), await begun(puts_of(backend), key, CONTENT), CONTENT)
    await backend.put(key, BytesSource(b"first"))
    with pytest.raises(Conflict):
        await puts_of(backend).commit(session)
    assert [key] == [stored.name for stored in account.files.values()]


async def test_aborting_a_committed_put_leaves_its_blob(backend: Backend) -> None:
    session = await sent(puts_of(backend), await begun(puts_of(backend), new_blob_key(), CONTENT), CONTENT)
    ref = await puts_of(backend).commit(session)
    await puts_of(backend).abort(session)
    assert CONTENT == await read_all(backend, ref)


async def test_aborting_a_put_that_has_all_its_bytes_leaves_nothing(
    account: Account, backend: Backend
) -> None:
    session = await sent(puts_of(backend), await begun(puts_of(backend), new_blob_key(), CONTENT), CONTENT)
    assert 1 == len(account.files)
    await puts_of(backend).abort(session)
    assert {} == account.files


async def test_parts_are_of_ten_mebibytes_unless_it_is_said_otherwise(
    cloud: GraphEmulator, account: Account, context: BackendContext
) -> None:
    content = pattern((10 << 20) + 5)
    said = OneDriveSettings(**cloud.settings())  # type: ignore[arg-type]
    async with connect_onedrive(context, said) as backend:
        ref = await backend.put(new_blob_key(), BytesSource(content))
        assert 2 == cloud.faults.requests["append"]
        assert content == await read_all(backend, ref)
