"""
What happens when Drive, or the way to it, fails at any point of a put.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
from aiohttp import web
from gateway_gdrive.backend import DriveBackend
from gateway_gdrive.backend import connect as connect_drive
from gateway_gdrive.settings import GRID, GDriveSettings

from gateway.api import (
    AccessDenied,
    AuthRevoked,
    BlobRef,
    Conflict,
    IntegrityMismatch,
    PutSession,
    QuotaExceeded,
    RateLimited,
    ResumablePuts,
    SessionLost,
    Transient,
    new_blob_key,
)
from gateway.testing.conformance import PIECE, listed, read_all
from gateway.testing.sources import BytesSource, pattern
from plugins.gdrive.tests.drives import LARGE, SMALL, Connected, begun, is_alone, sent
from tests.emulators.cloud import Account, Content, StoredFile
from tests.emulators.faults import Effect
from tests.emulators.gdrive import DriveEmulator
from tests.emulators.gdrive.drive import FOLDER
from tests.emulators.gdrive.uploads import Pieces, Uploads
from tests.support.lent import LentTokens, lent_context

# Blobs in one request


async def test_a_create_whose_answer_is_lost_is_settled_by_its_id(
    cloud: DriveEmulator, account: Account, backend: DriveBackend
) -> None:
    key = new_blob_key()
    cloud.faults.order("put", Effect.LOSE_ANSWER)
    ref = await backend.put(key, BytesSource(SMALL))
    assert SMALL == await read_all(backend, ref)
    assert is_alone(cloud, account, key, SMALL)
    # The library would send all once more, if it were let.
    assert 1 == cloud.faults.requests["put"]


async def test_a_create_that_never_came_in_is_made_again_with_the_same_id(
    cloud: DriveEmulator, account: Account, backend: DriveBackend
) -> None:
    key = new_blob_key()
    cloud.faults.order("put", Effect.CUT_BEFORE)
    with pytest.raises(Transient):
        await backend.put(key, BytesSource(SMALL))
    assert await backend.find(key) is None
    await backend.put(key, BytesSource(SMALL))
    assert is_alone(cloud, account, key, SMALL)


async def test_a_blob_that_nobody_answered_for_is_found_though_searches_lag(
    cloud: DriveEmulator, account: Account, backend: DriveBackend
) -> None:
    cloud.listing_lag_s = 3600
    key = new_blob_key()
    cloud.faults.order("put", Effect.LOSE_ANSWER)
    cloud.faults.order("stat", Effect.FAIL)
    with pytest.raises(Transient):
        await backend.put(key, BytesSource(SMALL))
    ref = await backend.find(key)
    assert ref is not None
    assert SMALL == await read_all(backend, ref)
    with pytest.raises(Conflict):
        await backend.put(key, BytesSource(SMALL))
    assert is_alone(cloud, account, key, SMALL)


async def test_a_create_that_arrives_after_all_is_the_blob_and_not_a_second_one(
    cloud: DriveEmulator, account: Account, backend: DriveBackend
) -> None:
    key = new_blob_key()
    cloud.faults.order("put", Effect.CUT_BEFORE)
    with pytest.raises(Transient):
        await backend.put(key, BytesSource(SMALL))
    drive = cloud.drive(account)
    create = drive.create

    def late(metadata: dict[str, Any], content: Content) -> StoredFile:
        # The first one, just before the second.
        drive.create = create
        first = cloud.new_content()
        first.append(SMALL)
        create(metadata, first)
        return create(metadata, content)

    drive.create = late
    ref = await backend.put(key, BytesSource(SMALL))
    assert SMALL == await read_all(backend, ref)
    assert is_alone(cloud, account, key, SMALL)


async def test_an_id_that_is_used_up_is_given_up(
    cloud: DriveEmulator, account: Account, backend: DriveBackend
) -> None:
    key = new_blob_key()
    await backend.put(key, BytesSource(SMALL))
    cloud.delete_by_hand(account, key)
    with pytest.raises(Transient):
        await backend.put(key, BytesSource(SMALL))
    await backend.put(key, BytesSource(SMALL))
    assert is_alone(cloud, account, key, SMALL)


class FlippedContent(Content):
    def append(self, piece: bytes) -> None:
        super().append(bytes([piece[0] ^ 1]) + piece[1:] if piece and not self.size else piece)


@pytest.mark.parametrize("content", [SMALL, LARGE])
async def test_other_bytes_than_were_sent_are_refused_by_their_hash_and_nothing_stays(
    cloud: DriveEmulator, account: Account, backend: DriveBackend, content: bytes
) -> None:
    key = new_blob_key()
    cloud._uploads._new_content = lambda: FlippedContent(cloud._folder)
    with pytest.raises(IntegrityMismatch):
        await backend.put(key, BytesSource(content))
    assert await backend.find(key) is None
    assert [FOLDER] == [stored.extra["mimeType"] for stored in account.files.values()]
    assert 0 == cloud.faults.requests["read"]


async def test_what_is_too_large_for_one_request_goes_in_a_part_of_its_own(
    cloud: DriveEmulator, account: Account, connected: Connected
) -> None:
    key, content = new_blob_key(), pattern(5_000_001)
    async with connected(part_size=8 << 20) as backend:
        await backend.put(key, BytesSource(content))
    assert is_alone(cloud, account, key, content)
    assert (0, 1) == (cloud.faults.requests["put"], cloud.faults.requests["append"])


async def test_of_many_small_puts_of_one_key_one_wins(
    cloud: DriveEmulator, account: Account, backend: DriveBackend
) -> None:
    key = new_blob_key()
    contents = [pattern(1000, seed) for seed in range(4)]
    answers = await asyncio.gather(
        *(backend.put(key, BytesSource(content)) for content in contents), return_exceptions=True
    )
    [winner] = [number for number, answer in enumerate(answers) if isinstance(answer, BlobRef)]
    assert 3 == sum(isinstance(answer, Conflict) for answer in answers)
    assert is_alone(cloud, account, key, contents[winner])


# Cancelling what a thread goes on with


class Held:
    """
    Holds what Drive does with the last bytes of the next blob, once they have come in, until it is let go.
    """

    def __init__(self, uploads: Uploads) -> None:
        self.has_begun = threading.Event()
        self.may_go_on = threading.Event()
        self.has_ended = threading.Event()
        whole = uploads.whole

        async def held_append(request: web.Request, pieces: Pieces) -> web.Response:
            session = uploads.session(request)
            span = request.headers["Content-Range"]
            work = session.append(span, request.content_length, pieces)
            is_last = session.content.size + PIECE >= len(LARGE)
            return await (self._held(work) if is_last else work)

        async def held_whole(*arguments: Any) -> web.Response:
            return await self._held(whole(*arguments))

        uploads.append = held_append  # type: ignore[method-assign]
        uploads.whole = held_whole  # type: ignore[method-assign]
        # As if Drive could not forget an upload, of which its manual says nothing.
        uploads.abort = lambda _: web.Response(status=404)  # type: ignore[method-assign]

    async def _held(self, work: Coroutine[Any, Any, web.Response]) -> web.Response:
        self.has_begun.set()
        await asyncio.to_thread(self.may_go_on.wait)
        try:
            return await work
        finally:
            self.has_ended.set()


@pytest.mark.parametrize("content", [SMALL, LARGE])
async def test_a_put_that_is_cancelled_waits_for_what_was_sent_already(
    cloud: DriveEmulator, account: Account, backend: DriveBackend, content: bytes
) -> None:
    key = new_blob_key()
    held = Held(cloud._uploads)
    task = asyncio.create_task(backend.put(key, BytesSource(content)))
    await asyncio.to_thread(held.has_begun.wait)
    task.cancel()
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.2, held.may_go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    ref = await backend.find(key)
    if ref is not None:
        await backend.delete(ref)
    await asyncio.to_thread(held.has_ended.wait)
    assert [FOLDER] == [stored.extra["mimeType"] for stored in account.files.values()]


# Puts in parts


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize(
    "effect", [Effect.CUT_BEFORE, Effect.CUT_IN_BODY, Effect.LOSE_ANSWER, Effect.FAIL, Effect.THROTTLE]
)
async def test_a_put_goes_on_where_drive_has_got_to(
    cloud: DriveEmulator, account: Account, connected: Connected, effect: Effect, after: int
) -> None:
    key = new_blob_key()
    async with connected() as first:
        assert first.resumable is not None
        session = await begun(first.resumable, key)
        cloud.faults.order("append", effect, after=after, amount=GRID + 1)
        with pytest.raises(Transient):
            await sent(first.resumable, session)
    async with connected() as second:
        assert second.resumable is not None
        session = await second.resumable.resume(session)
        ref = await second.resumable.commit(await sent(second.resumable, session))
        assert LARGE == await read_all(second, ref)
    assert is_alone(cloud, account, key, LARGE)
    assert cloud.faults.are_spent
    # No more than the one part that was under way is sent twice.
    assert cloud.upload_bytes <= len(LARGE) + PIECE


async def test_drive_may_take_less_of_a_part(
    cloud: DriveEmulator, account: Account, backend: DriveBackend, puts: ResumablePuts
) -> None:
    key, other = new_blob_key(), new_blob_key()
    session = await begun(puts, key)
    cloud.faults.order("append", Effect.TAKE_LESS, amount=3 * GRID + 5)
    session = await puts.append(session, LARGE[:PIECE])
    assert 3 * GRID == session.offset
    await puts.commit(await sent(puts, session))
    assert LARGE == cloud.blob_bytes(account, key)
    cloud.faults.order("append", Effect.TAKE_LESS, after=1, amount=GRID)
    await backend.put(other, BytesSource(LARGE))
    assert LARGE == cloud.blob_bytes(account, other)


async def test_a_token_that_runs_out_on_the_way_is_replaced_once(
    cloud: DriveEmulator, account: Account, puts: ResumablePuts, lent_tokens: LentTokens
) -> None:
    key = new_blob_key()
    session = await sent(puts, await begun(puts, key), until=PIECE)
    cloud.faults.order("append", Effect.EXPIRE_TOKEN)
    session = await sent(puts, session, until=2 * PIECE)
    cloud.oauth.expire_access_tokens()
    await puts.commit(await sent(puts, session))
    assert is_alone(cloud, account, key, LARGE)
    assert 2 == lent_tokens.renewals


async def test_a_token_that_is_refused_twice_is_a_revoked_grant(
    cloud: DriveEmulator, puts: ResumablePuts, lent_tokens: LentTokens
) -> None:
    session = await begun(puts, new_blob_key())
    cloud.faults.order("append", Effect.EXPIRE_TOKEN, times=2)
    with pytest.raises(AuthRevoked):
        await sent(puts, session)
    assert 1 == lent_tokens.renewals
    assert 2 == cloud.faults.requests["append"]


async def test_a_grant_that_lacks_the_scope_is_told_from_one_that_is_gone(
    cloud: DriveEmulator, account: Account, connected: Connected
) -> None:
    tokens = LentTokens(cloud, account, frozenset({"https://www.googleapis.com/auth/drive.readonly"}))
    async with (
        lent_context(cloud, account, cloud.scopes(), lane=1, tokens=tokens) as context,
        connect_drive(context, GDriveSettings(**cloud.settings())) as backend,  # type: ignore[arg-type]
    ):
        with pytest.raises(AccessDenied):
            await backend.probe()


@pytest.mark.parametrize("is_a_week_old", [True, False])
async def test_a_session_that_drive_forgot_is_lost_and_the_next_one_makes_the_blob(
    cloud: DriveEmulator, account: Account, puts: ResumablePuts, is_a_week_old: bool
) -> None:
    key = new_blob_key()
    session = await sent(puts, await begun(puts, key), until=PIECE)
    if is_a_week_old:
        cloud.clock.advance(7 * 86_400)
    else:
        cloud.forget_sessions()
    for call in (puts.resume(session), puts.append(session, LARGE[PIECE : 2 * PIECE]), puts.commit(session)):
        with pytest.raises(SessionLost):
            await call
    await puts.abort(session)
    await puts.commit(await sent(puts, await begun(puts, key)))
    assert is_alone(cloud, account, key, LARGE)


async def test_a_session_that_drive_forgot_after_the_last_byte_can_still_be_committed(
    cloud: DriveEmulator, account: Account, puts: ResumablePuts
) -> None:
    key = new_blob_key()
    session = await sent(puts, await begun(puts, key))
    cloud.forget_sessions()
    assert len(LARGE) == (await puts.resume(session)).offset
    await puts.commit(session)
    assert is_alone(cloud, account, key, LARGE)


async def test_a_commit_whose_answer_is_lost_is_settled_by_the_id(
    cloud: DriveEmulator, account: Account, backend: DriveBackend, puts: ResumablePuts
) -> None:
    cloud.listing_lag_s = 3600
    key = new_blob_key()
    session = await sent(puts, await begun(puts, key))
    cloud.faults.order("commit", Effect.LOSE_ANSWER)
    ref = await puts.commit(session)
    assert ref == await puts.commit(session)
    assert ref == await backend.find(key)
    # Too late: it is a blob now.
    await puts.abort(session)
    assert is_alone(cloud, account, key, LARGE)


async def test_a_commit_that_failed_can_be_made_again(
    cloud: DriveEmulator, account: Account, puts: ResumablePuts
) -> None:
    key = new_blob_key()
    session = await sent(puts, await begun(puts, key))
    cloud.faults.order("commit", Effect.FAIL)
    with pytest.raises(Transient):
        await puts.commit(session)
    await puts.commit(session)
    assert is_alone(cloud, account, key, LARGE)


async def test_parts_with_another_hash_than_announced_are_no_blob(
    account: Account, backend: DriveBackend, puts: ResumablePuts
) -> None:
    key = new_blob_key()
    session = await puts.begin(key, size=len(LARGE), sha256=bytes(32))
    session = await sent(puts, session)
    with pytest.raises(IntegrityMismatch):
        await puts.commit(session)
    assert [FOLDER] == [stored.extra["mimeType"] for stored in account.files.values()]
    with pytest.raises(SessionLost):
        await puts.commit(session)


async def test_a_commit_before_the_last_byte_is_refused(puts: ResumablePuts) -> None:
    session = await sent(puts, await begun(puts, new_blob_key()), until=2 * PIECE)
    with pytest.raises(IntegrityMismatch):
        await puts.commit(session)
    await puts.abort(session)


@pytest.mark.parametrize(("offset", "length"), [(0, 1000), (0, GRID + 1), (0, 0), (3 * PIECE, 18)])
async def test_a_part_that_fits_nowhere_is_not_sent(
    cloud: DriveEmulator, puts: ResumablePuts, offset: int, length: int
) -> None:
    session = await begun(puts, new_blob_key())
    with pytest.raises(IntegrityMismatch):
        await puts.append(PutSession(session.token, offset), bytes(length))
    assert 0 == cloud.faults.requests["append"]


@pytest.mark.parametrize("token", ["", "[]", "{}", '{"key": "x"}'])
async def test_a_token_of_somebody_else_is_a_lost_session(puts: ResumablePuts, token: str) -> None:
    with pytest.raises(SessionLost):
        await puts.resume(PutSession(token, 0))


async def test_no_room_is_told_before_anything_is_sent(
    cloud: DriveEmulator, account: Account, backend: DriveBackend, puts: ResumablePuts
) -> None:
    await backend.probe()
    account.quota = account.used + len(SMALL) - 1
    before = cloud.upload_bytes
    with pytest.raises(QuotaExceeded):
        await begun(puts, new_blob_key())
    assert before == cloud.upload_bytes
    with pytest.raises(QuotaExceeded):
        await backend.put(new_blob_key(), BytesSource(SMALL))
    assert await listed(backend) == []


async def test_a_put_that_ran_out_of_room_goes_on_when_there_is_some(
    cloud: DriveEmulator, account: Account, puts: ResumablePuts
) -> None:
    key = new_blob_key()
    session = await sent(puts, await begun(puts, key), until=2 * PIECE)
    account.quota = account.used
    with pytest.raises(QuotaExceeded):
        await sent(puts, session)
    account.quota = None
    await puts.commit(await sent(puts, await puts.resume(session)))
    assert is_alone(cloud, account, key, LARGE)


async def test_a_throttled_call_is_told_with_its_class(cloud: DriveEmulator, backend: DriveBackend) -> None:
    cloud.faults.order("quota", Effect.THROTTLE)
    with pytest.raises(RateLimited) as caught:
        await backend.quota()
    assert caught.value.retry_after is None
    assert "userRateLimitExceeded" == caught.value.provider_code
