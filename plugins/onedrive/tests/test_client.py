"""
What a OneDrive that fails in its own ways does to reads and deletes, and what is not told to anybody.
"""

import asyncio
import json
import logging
import threading
import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from gateway_onedrive.backend import connect as connect_onedrive
from gateway_onedrive.settings import GRID, OneDriveSettings

from gateway.api import (
    AccessDenied,
    AuthRevoked,
    Backend,
    BackendContext,
    BackendError,
    IntegrityMismatch,
    Misconfigured,
    NotFound,
    PutSession,
    Quota,
    QuotaExceeded,
    RateLimited,
    SessionLost,
    Span,
    Transient,
    new_blob_key,
)
from gateway.testing.conformance import Connect, listed, read_all
from gateway.testing.resumable import begun, puts_of, sent
from gateway.testing.sources import BytesSource, pattern
from tests.emulators.cloud import Account
from tests.emulators.faults import Effect
from tests.emulators.onedrive import GraphEmulator
from tests.support.lent import LentTokens, lent_context

PART = 2 * GRID
CONTENT = pattern(2 * PART + 77_777)


# Room


@pytest.mark.parametrize("is_business", [False, True], ids=["personal", "business"])
async def test_a_drive_without_room_says_so(
    cloud: GraphEmulator, account: Account, connect: Connect, is_business: bool
) -> None:
    cloud.is_business = is_business
    account.quota = 100_000
    async with connect() as backend:
        with pytest.raises(QuotaExceeded):
            await backend.put(new_blob_key(), BytesSource(CONTENT))
        with pytest.raises(QuotaExceeded):
            await backend.put(new_blob_key(), BytesSource(pattern(100_001)))
        await backend.put(new_blob_key(), BytesSource(pattern(99_000)))
    # A person's drive is asked beforehand.
    assert is_business == (cloud.faults.requests["append"] > 0)


async def test_the_quota_counts_what_lies_in_the_recycle_bin(account: Account, backend: Backend) -> None:
    account.quota = 1_000_000
    ref = await backend.put(new_blob_key(), BytesSource(pattern(1000)))
    await backend.delete(ref)
    assert Quota(used=1000, limit=1_000_000) == await backend.quota()


async def test_a_quota_that_the_grant_does_not_reach_is_unknown(
    cloud: GraphEmulator, backend: Backend
) -> None:
    cloud.app_folder_may_ask_quota = False
    assert await backend.quota() is None


async def test_a_quota_of_zeros_is_unknown(account: Account, backend: Backend) -> None:
    account.quota = None
    assert await backend.quota() is None


# Hashes


@pytest.mark.parametrize("tells_hashes", [False, True])
async def test_a_hash_is_told_where_onedrive_tells_one(
    cloud: GraphEmulator, backend: Backend, tells_hashes: bool
) -> None:
    cloud.tells_hashes = tells_hashes
    ref = await backend.put(new_blob_key(), BytesSource(b"J"))
    # One of the published values, turned to hex.
    assert (await backend.stat(ref)).digest == ("4a" + 11 * "00" + "01" + 7 * "00" if tells_hashes else None)
    assert "quickxor" == backend.traits.hash_offered


@pytest.mark.parametrize("is_business", [False, True], ids=["personal", "business"])
@pytest.mark.parametrize("is_after_crash", [False, True])
async def test_other_bytes_than_were_sent_are_noticed_at_the_commit(
    cloud: GraphEmulator, account: Account, connect: Connect, is_business: bool, is_after_crash: bool
) -> None:
    cloud.is_business = is_business
    async with connect() as backend:
        session = await begun(puts_of(backend), new_blob_key(), CONTENT)
        [upload] = cloud.transfers.sessions.values()
        session = await puts_of(backend).append(session, CONTENT[:PART])
        damaged = bytearray(upload.content.read())
        damaged[1000] ^= 1
        upload.content.path.write_bytes(damaged)
        session = await sent(puts_of(backend), session, CONTENT)
        if is_after_crash:
            session = await puts_of(backend).resume(session)
        with pytest.raises(IntegrityMismatch):
            await puts_of(backend).commit(session)
    assert {} == account.files


# Cancelling


async def test_a_cancelled_put_waits_for_the_answer_to_what_it_has_sent(
    cloud: GraphEmulator, account: Account, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = cloud.drive_of(account)
    make, arrived, released = drive.put, threading.Event(), threading.Event()

    def make_late(*arguments: Any) -> Any:
        arrived.set()
        released.wait(30)
        return make(*arguments)

    monkeypatch.setattr(drive, "put", make_late)
    key = new_blob_key()
    task = asyncio.create_task(backend.put(key, BytesSource(b"abc")))
    await asyncio.to_thread(arrived.wait, 30)
    task.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    # Or a look for the blob would find nothing, and it would appear after that.
    assert not task.done()
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await backend.find(key) is not None


# Reading


async def test_a_download_that_takes_no_notice_of_the_range_gives_its_bytes_all_the_same(
    cloud: GraphEmulator, backend: Backend
) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(CONTENT))
    cloud.transfers.ignores_range = True
    assert CONTENT[300_000:300_100] == await read_all(backend, ref, Span(300_000, 100))
    with pytest.raises(IntegrityMismatch):
        await read_all(backend, ref, Span(len(CONTENT) - 1, 2))


async def test_a_download_url_that_has_run_out_is_fetched_anew(
    cloud: GraphEmulator, backend: Backend
) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(b"abc"))
    cloud.faults.order("read", Effect.EXPIRE_TOKEN)
    assert b"abc" == await read_all(backend, ref)
    assert 2 == cloud.faults.requests["read"]
    cloud.faults.order("read", Effect.EXPIRE_TOKEN, times=2)
    with pytest.raises(Transient):
        await read_all(backend, ref)


async def test_the_other_host_gets_no_token(cloud: GraphEmulator, backend: Backend) -> None:
    # It refuses any request that brings one.
    ref = await backend.put(new_blob_key(), BytesSource(CONTENT))
    assert CONTENT == await read_all(backend, ref)
    assert cloud.faults.requests["append"] >= 3
    assert cloud.faults.requests["read"] == 1


async def test_a_reader_that_stops_early_reads_no_more(cloud: GraphEmulator, backend: Backend) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(pattern(3 << 20)))
    async with asyncio.timeout(30), backend.read(ref) as pieces:
        await anext(pieces)
    assert 1 == cloud.faults.requests["read"]


# Deleting


async def test_a_personal_drive_keeps_what_was_deleted_in_its_recycle_bin(
    account: Account, backend: Backend
) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(b"abc"))
    await backend.delete(ref)
    assert [b"abc"] == [stored.content.read() for stored in account.trash.values()]
    assert timedelta(days=30) == backend.traits.delete_recoverable_for


@pytest.mark.parametrize("permanent", [False, True])
async def test_a_business_drive_keeps_nothing_unless_it_is_told_to(
    cloud: GraphEmulator,
    account: Account,
    context: BackendContext,
    settings: OneDriveSettings,
    permanent: bool,
) -> None:
    cloud.is_business = True
    settings = replace(settings, permanent_delete=permanent)
    async with connect_onedrive(context, settings) as backend:
        ref = await backend.put(new_blob_key(), BytesSource(CONTENT))
        await backend.delete(ref)
        await backend.probe()
        assert (timedelta(0) if permanent else None) == backend.traits.delete_recoverable_for
    assert ({}, permanent) == (account.files, account.trash == {})


async def test_a_drive_that_cannot_delete_for_good_does_not_pretend_to(
    cloud: GraphEmulator, account: Account, backend: Backend, connect: Connect
) -> None:
    cloud.is_business = True
    account = cloud.new_account("Eve")
    # It says that it is of an organisation, and then refuses as a person's does.
    tokens = LentTokens(cloud, account, cloud.scopes())
    async with AsyncExitStack() as stack:
        context = await stack.enter_async_context(lent_context(cloud, account, cloud.scopes(), tokens=tokens))
        said = OneDriveSettings(**cloud.settings())  # type: ignore[arg-type]
        backend = await stack.enter_async_context(connect_onedrive(context, said))
        ref = await backend.put(new_blob_key(), BytesSource(b"abc"))
        cloud.drive_of(account).is_business = False
        with pytest.raises(Misconfigured, match="permanent_delete"):
            await backend.delete(ref)
    assert {} == account.trash
    assert 1 == len(account.files)


async def test_what_its_owner_deleted_is_gone_and_can_be_deleted(
    cloud: GraphEmulator, account: Account, backend: Backend
) -> None:
    ref = await backend.put(new_blob_key(), BytesSource(b"abc"))
    cloud.delete_by_hand(account, ref.key)
    assert await backend.find(ref.key) is None
    with pytest.raises(NotFound):
        await read_all(backend, ref)
    await backend.delete(ref)


async def test_other_files_in_the_folder_are_let_be(
    cloud: GraphEmulator, account: Account, backend: Backend
) -> None:
    drive = cloud.drive_of(account)
    content = cloud.new_content()
    content.append(b"holiday")
    assert drive.app_folder is not None
    drive.put(drive.app_folder, "photo.jpg", content, 0.0, "fail")
    drive.make_folder(drive.app_folder, new_blob_key(), 0.0)
    ref = await backend.put(new_blob_key(), BytesSource(b"abc"))
    assert [ref] == [blob.ref for blob in await listed(backend)]


# Tokens and grants


async def test_a_token_that_ran_out_is_replaced_in_the_middle_of_a_put(
    cloud: GraphEmulator, account: Account, backend: Backend, tokens: LentTokens
) -> None:
    key = new_blob_key()
    session = await puts_of(backend).append(await begun(puts_of(backend), key, CONTENT), CONTENT[:PART])
    cloud.oauth.expire_access_tokens()
    ref = await puts_of(backend).commit(await sent(puts_of(backend), session, CONTENT))
    assert CONTENT == await read_all(backend, ref)
    assert 1 == tokens.renewals
    assert [key] == cloud.blob_keys(account)


async def test_a_token_that_ran_out_before_a_small_put_is_replaced(
    cloud: GraphEmulator, backend: Backend, tokens: LentTokens
) -> None:
    cloud.oauth.expire_access_tokens()
    ref = await backend.put(new_blob_key(), BytesSource(b"abc"))
    assert b"abc" == await read_all(backend, ref)
    assert 1 == tokens.renewals


async def test_a_second_token_that_is_refused_is_the_end_of_the_grant(
    cloud: GraphEmulator, backend: Backend, tokens: LentTokens
) -> None:
    cloud.faults.order("stat", Effect.EXPIRE_TOKEN, times=2)
    with pytest.raises(AuthRevoked):
        await backend.find(new_blob_key())
    assert 1 == tokens.renewals


@pytest.mark.parametrize("code", ["accessDenied", "serviceReadOnly"])
async def test_a_grant_that_does_not_reach_the_app_folder_is_denied_until_a_wider_one_was_given(
    cloud: GraphEmulator, account: Account, connect: Connect, settings: OneDriveSettings, code: str
) -> None:
    cloud.app_folder_is_broken = True
    cloud.broken_code = code
    with pytest.raises(AccessDenied):
        async with connect():
            pytest.fail("it is broken")
    wider = cloud.scopes() | {"Files.ReadWrite"}
    async with (
        lent_context(cloud, account, wider) as context,
        connect_onedrive(context, settings) as backend,
    ):
        await backend.probe()
    # It stays mended for the narrow one.
    async with connect() as backend:
        await backend.probe()


async def test_a_throttled_call_quotes_the_time_to_wait(cloud: GraphEmulator, backend: Backend) -> None:
    cloud.faults.order("append", Effect.THROTTLE, amount=41)
    with pytest.raises(RateLimited) as caught:
        await backend.put(new_blob_key(), BytesSource(CONTENT))
    assert timedelta(seconds=41) == caught.value.retry_after


# What is not told, and where it does not go


async def test_no_token_and_no_url_gets_into_a_message_or_a_log(
    cloud: GraphEmulator,
    account: Account,
    backend: Backend,
    tokens: LentTokens,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    told = ""
    urls: set[str] = set()
    for operation in (
        "begin",
        "append",
        "resume",
        "commit",
        "stat",
        "put",
        "list",
        "read",
        "delete",
        "quota",
    ):
        for effect in (Effect.FAIL, Effect.LOSE_ANSWER):
            if operation == "resume":
                cloud.faults.order("append", Effect.FAIL)
            cloud.faults.order(operation, effect, times=2)
            for content in (CONTENT, b"abc"):
                key = new_blob_key()
                try:
                    session = await begun(puts_of(backend), key, content)
                    urls.add(json.loads(session.token)["url"])
                    session = await puts_of(backend).resume(await sent(puts_of(backend), session, content))
                    ref = await puts_of(backend).commit(session)
                    await backend.put(new_blob_key(), BytesSource(content))
                    await read_all(backend, ref)
                    await listed(backend)
                    await backend.quota()
                    await backend.delete(ref)
                except BackendError as exc:
                    told += "".join(traceback.format_exception(exc)) + repr(exc)
            cloud.faults.clear()
    told += caplog.text
    assert "Transient" in told
    assert len(urls) > 10
    secrets = [part for url in urls for part in (url, url.rpartition("tempauth=")[2])]
    secrets += [*tokens.handed_out, *(url.rpartition("/")[2].partition("?")[0] for url in urls)]
    assert [] == [secret for secret in secrets if secret in told]


@pytest.fixture
async def strange() -> AsyncIterator[TestServer]:
    """
    A host that must not be spoken to.
    """
    app = web.Application()
    async with TestServer(app) as server:
        yield server


async def test_a_listing_that_goes_on_elsewhere_is_not_followed(
    backend: Backend, strange: TestServer, monkeypatch: pytest.MonkeyPatch, cloud: GraphEmulator
) -> None:
    cloud.page_size = 1
    for _ in range(2):
        await backend.put(new_blob_key(), BytesSource(b"abc"))
    monkeypatch.setattr(cloud, "_root", lambda _: str(strange.make_url("")).rstrip("/"))
    with pytest.raises(Misconfigured):
        await listed(backend)


async def test_a_url_without_tls_is_refused_unless_graph_itself_is_plain(
    context: BackendContext, settings: OneDriveSettings
) -> None:
    from gateway_onedrive.client import Graph

    assert context.http is not None
    assert context.tokens is not None
    strict = Graph(context.http, context.tokens, replace(settings, graph_url="https://graph.test/v1.0"))
    with pytest.raises(Misconfigured):
        await strict.position("http://127.0.0.1:1/up", 1)
    with pytest.raises(BackendError):
        await strict.position("file:///etc/passwd", 1)


async def test_a_connection_needs_a_linked_account(settings: OneDriveSettings) -> None:
    with pytest.raises(Misconfigured):
        async with connect_onedrive(BackendContext(account="onedrive"), settings):
            pytest.fail("nobody signed in")


@pytest.mark.parametrize("token", ["", "{}", "[]", '{"key": "x"}', "null"])
async def test_a_token_of_somebody_elses_making_is_a_lost_session(backend: Backend, token: str) -> None:
    with pytest.raises(SessionLost):
        await puts_of(backend).resume(PutSession(token, 0))
