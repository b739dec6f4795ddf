"""
Puts in parts go on after whatever goes wrong between the plugin and Dropbox, and never make a second blob.
"""

import asyncio
import json
import logging
import traceback

import pytest
from gateway_dropbox.backend import KEPT_BLOCKS, MAX_BLOB_SIZE
from gateway_dropbox.settings import BLOCK_SIZE

from gateway.api import (
    Backend,
    BackendError,
    BlobKey,
    BlobRef,
    IntegrityMismatch,
    PutSession,
    QuotaExceeded,
    SessionLost,
    Transient,
    new_blob_key,
)
from gateway.testing.conformance import read_all
from gateway.testing.sources import BytesSource, StallingSource, pattern
from plugins.dropbox.tests.linked import CONTENT, PART, SHA256, Linked, begun, puts_of, sent
from tests.emulators.faults import Effect

WEEK_S = 7 * 24 * 3600


async def carried_through(linked: Linked, key: BlobKey) -> list[BackendError]:
    """
    Put `CONTENT` in parts as the host does, with a new connection after every error; return the errors.
    """
    backend, session, errors = await linked.connect(), None, []
    for _ in range(6):
        try:
            if errors:
                backend = await linked.connect()
                if await backend.find(key) is not None:
                    return errors
                session = None if session is None else await puts_of(backend).resume(session)
            session = session or await begun(backend, key)
            while session.offset < len(CONTENT):
                part = CONTENT[session.offset : session.offset + PART]
                session = await puts_of(backend).append(session, part)
            await puts_of(backend).commit(session)
        except SessionLost as error:
            errors.append(error)
            session = None
        except Transient as error:
            errors.append(error)
        else:
            return errors
    pytest.fail(f"it never got through: {errors}")


# Going on after faults

FAULTS = [
    *((operation, effect) for operation in ("begin", "append", "commit") for effect in (
        Effect.CUT_BEFORE, Effect.LOSE_ANSWER, Effect.FAIL, Effect.THROTTLE, Effect.EXPIRE_TOKEN,
    )),
    ("append", Effect.CUT_IN_BODY),
    ("append", Effect.TAKE_LESS),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "effect"), FAULTS)
async def test_a_put_in_parts_gets_through_every_fault_with_one_blob_and_no_secret_told(
    linked: Linked, caplog: pytest.LogCaptureFixture, operation: str, effect: Effect
) -> None:
    cloud, key = linked.cloud, new_blob_key()
    after = 1 if operation == "append" else 0
    cloud.faults.order(operation, effect, after=after, amount=PART // 2)
    with caplog.at_level(logging.DEBUG):
        errors = await carried_through(linked, key)
    assert cloud.faults.are_spent
    assert [key] == cloud.blob_keys(linked.account)
    assert CONTENT == cloud.blob_bytes(linked.account, key)
    # A part that was cut or refused comes again; one whose answer was lost does not.
    resent = operation == "append" and effect is not Effect.LOSE_ANSWER
    assert cloud.upload_bytes <= len(CONTENT) + (PART if resent else 0)
    told = caplog.text + "".join("".join(traceback.format_exception(error)) for error in errors)
    assert told
    assert [] == [secret for secret in linked.secrets if secret in told]


async def test_an_answer_to_a_part_that_was_lost_costs_no_bytes(linked: Linked) -> None:
    backend = await linked.connect()
    linked.cloud.faults.order("append", Effect.LOSE_ANSWER)
    kept = await begun(backend, new_blob_key())
    with pytest.raises(Transient):
        await puts_of(backend).append(kept, CONTENT[:PART])
    session = await sent(backend, await puts_of(backend).resume(kept))
    assert CONTENT == await read_all(backend, await puts_of(backend).commit(session))
    assert len(CONTENT) == linked.cloud.upload_bytes


async def test_a_part_that_was_taken_by_halves_is_gone_on_with_from_there(linked: Linked) -> None:
    backend = await linked.connect()
    linked.cloud.faults.order("append", Effect.TAKE_LESS, amount=1000)
    session = await sent(backend, await begun(backend, new_blob_key()))
    assert CONTENT == await read_all(backend, await puts_of(backend).commit(session))
    # All of the first part arrived, and of that all but what was taken came again.
    assert len(CONTENT) + PART - 1000 == linked.cloud.upload_bytes


async def test_a_commit_whose_answer_was_lost_finds_what_it_made(linked: Linked) -> None:
    backend = await linked.connect()
    key = new_blob_key()
    session = await sent(backend, await begun(backend, key))
    linked.cloud.faults.order("commit", Effect.LOSE_ANSWER)
    with pytest.raises(Transient):
        await puts_of(backend).commit(session)
    assert BlobRef(key) == await puts_of(backend).commit(session)
    assert [key] == linked.cloud.blob_keys(linked.account)


async def test_a_lost_session_is_not_taken_for_committed_because_of_another_blob(linked: Linked) -> None:
    backend = await linked.connect()
    key = new_blob_key()
    session = await sent(backend, await begun(backend, key))
    linked.cloud.sessions.forget()
    await backend.put(key, BytesSource(b"another"))
    with pytest.raises(SessionLost):
        await puts_of(backend).commit(session)


@pytest.mark.parametrize("age_s", [WEEK_S - 60, WEEK_S])
async def test_a_session_lasts_seven_days(linked: Linked, age_s: int) -> None:
    backend = await linked.connect()
    session = await puts_of(backend).append(await begun(backend, new_blob_key()), CONTENT[:PART])
    linked.cloud.clock.advance(age_s)
    linked.tokens.current = linked.cloud.oauth.new_access_token(linked.tokens._grant)
    if age_s < WEEK_S:
        assert PART == (await puts_of(backend).resume(session)).offset
        return
    for call in (
        puts_of(backend).resume(session),
        puts_of(backend).append(session, CONTENT[PART : 2 * PART]),
    ):
        with pytest.raises(SessionLost):
            await call


@pytest.mark.parametrize(
    "token",
    ["", "{}", "[]", "no JSON", '{"key": "../x", "upload": "1", "size": 1, "stored": 0, "digests": ""}'],
)
async def test_a_token_that_is_not_ours_is_a_lost_session(backend: Backend, token: str) -> None:
    with pytest.raises(SessionLost):
        await puts_of(backend).resume(PutSession(token, 0))


async def test_a_token_has_room_for_all_digests_that_are_kept(linked: Linked, backend: Backend) -> None:
    session = await begun(backend, new_blob_key())
    most = KEPT_BLOCKS * BLOCK_SIZE
    told = {**json.loads(session.token), "size": most, "stored": most, "digests": "A" * (KEPT_BLOCKS * 44)}
    assert len(json.dumps(told)) <= 16 << 10
    assert [] == [token for token in linked.tokens.handed_out if token in session.token]


async def test_what_dropbox_takes_is_what_a_blob_may_have(backend: Backend) -> None:
    assert MAX_BLOB_SIZE == backend.traits.max_blob_size
    assert 0 == MAX_BLOB_SIZE % BLOCK_SIZE


@pytest.mark.parametrize("size", [KEPT_BLOCKS * BLOCK_SIZE + 1, 3 << 30, MAX_BLOB_SIZE])
async def test_the_token_of_a_very_large_blob_does_not_grow(linked: Linked, size: int) -> None:
    backend = await linked.connect()
    session = await puts_of(backend).begin(new_blob_key(), size=size, sha256=SHA256)
    for start in (0, PART):
        session = await puts_of(backend).append(session, CONTENT[start : start + PART])
    assert 2 * PART == session.offset
    # An answer that is lost, and a new connection with the token from before.
    linked.cloud.faults.order("append", Effect.LOSE_ANSWER)
    with pytest.raises(Transient):
        await puts_of(backend).append(session, CONTENT[:PART])
    backend = await linked.connect()
    session = await puts_of(backend).resume(session)
    assert 3 * PART == session.offset == linked.cloud.upload_bytes
    assert len(session.token) < 512
    with pytest.raises(IntegrityMismatch):
        await puts_of(backend).commit(session)


async def test_a_blob_without_digests_goes_on_from_whole_blocks_and_sends_nothing_twice(
    linked: Linked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway_dropbox.backend.KEPT_BLOCKS", 1)
    backend = await linked.connect()
    key = new_blob_key()
    linked.cloud.faults.order("append", Effect.TAKE_LESS, amount=1000)
    session = await puts_of(backend).append(await begun(backend, key), CONTENT[:PART])
    assert 0 == session.offset
    session = await sent(backend, session)
    assert len(CONTENT) + PART - 1000 == linked.cloud.upload_bytes
    assert CONTENT == await read_all(backend, await puts_of(backend).commit(session))
    # Whether the blob there is this one is for the host to say, who looks at it.
    with pytest.raises(SessionLost):
        await puts_of(backend).commit(session)
    assert [key] == linked.cloud.blob_keys(linked.account)


@pytest.mark.parametrize(("start", "end"), [(0, PART - 1), (PART, 2 * PART), (0, len(CONTENT) + 1)])
async def test_parts_that_do_not_fit_are_refused_unsent(
    linked: Linked, backend: Backend, start: int, end: int
) -> None:
    session = await begun(backend, new_blob_key())
    with pytest.raises(IntegrityMismatch):
        await puts_of(backend).append(PutSession(session.token, start), (CONTENT + b"x")[start:end])
    assert 0 == linked.cloud.upload_bytes


async def test_a_commit_before_all_bytes_are_there_is_refused(linked: Linked, backend: Backend) -> None:
    session = await puts_of(backend).append(await begun(backend, new_blob_key()), CONTENT[:PART])
    with pytest.raises(IntegrityMismatch):
        await puts_of(backend).commit(session)
    assert 0 == linked.cloud.faults.requests["commit"]


# What Dropbox made of the bytes, and whether there is room


async def test_a_file_that_is_not_what_was_sent_is_found_out_after_a_restart_and_removed(
    linked: Linked,
) -> None:
    key = new_blob_key()
    first = await linked.connect()
    session = await sent(first, await begun(first, key))
    (held,) = linked.cloud.sessions._sessions.values()
    held.content.truncate(len(CONTENT) - 1)
    held.content.append(b"?")
    second = await linked.connect()
    session = await puts_of(second).resume(session)
    with pytest.raises(IntegrityMismatch):
        await puts_of(second).commit(session)
    assert await second.find(key) is None


async def test_a_full_account_keeps_what_was_sent_for_when_there_is_room(linked: Linked) -> None:
    backend = await linked.connect()
    key = new_blob_key()
    linked.account.quota = 1000
    session = await sent(backend, await begun(backend, key))
    with pytest.raises(QuotaExceeded):
        await puts_of(backend).commit(session)
    with pytest.raises(QuotaExceeded):
        await backend.put(new_blob_key(), BytesSource(pattern(1001)))
    assert [] == linked.cloud.blob_keys(linked.account)
    linked.account.quota = 1 << 30
    assert CONTENT == await read_all(backend, await puts_of(backend).commit(session))


async def test_a_put_in_parts_that_is_cancelled_gives_its_session_up(linked: Linked) -> None:
    backend = await linked.connect()
    source = StallingSource(CONTENT, 2 * PART + 5)
    task = asyncio.create_task(backend.put(new_blob_key(), source))
    await source.stalled.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (session,) = linked.cloud.sessions._sessions.values()
    assert session.is_closed
