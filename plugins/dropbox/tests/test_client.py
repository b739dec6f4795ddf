"""
What goes wrong between the plugin and Dropbox, and what comes of it: never a second blob, never a secret in a message.
"""

import asyncio
import hashlib
import io
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from gateway_dropbox.backend import STRETCH_SIZE, connect
from gateway_dropbox.settings import BLOCK_SIZE, DropboxSettings

from gateway.api import (
    AccessDenied,
    AuthRevoked,
    Backend,
    BackendContext,
    BackendError,
    BlobRef,
    Conflict,
    IntegrityMismatch,
    Misconfigured,
    Quota,
    QuotaExceeded,
    RateLimited,
    Transient,
    new_blob_key,
)
from gateway.testing.conformance import listed, read_all
from gateway.testing.sources import BytesSource, pattern
from plugins.dropbox.tests.linked import CONTENT, Linked
from tests.emulators.cloud import Account
from tests.emulators.dropbox import DropboxEmulator
from tests.emulators.faults import Effect
from tests.support.lent import lent_context

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


# What is told, and what is not


async def test_no_error_tells_of_the_upload_that_dropbox_kept_for_a_refused_put(linked: Linked) -> None:
    backend = await linked.connect()
    key = new_blob_key()
    await backend.put(key, BytesSource(b"x"))
    linked.account.quota = 10
    for refused in (key, new_blob_key()):
        with pytest.raises((Conflict, QuotaExceeded)) as caught:
            await backend.put(refused, BytesSource(pattern(100)))
        assert "upload_session" not in "".join(traceback.format_exception(caught.value))


async def test_the_machines_netrc_does_not_take_the_tokens_place(
    linked: Linked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login ada password sesame\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert await (await linked.connect()).find(new_blob_key()) is None


# What Dropbox makes of the bytes


async def test_bytes_that_were_changed_on_the_way_are_refused_by_dropbox(linked: Linked) -> None:
    backend = await linked.connect()
    key = new_blob_key()
    linked.cloud.faults.order("put", Effect.TAKE_LESS, amount=10)
    with pytest.raises(IntegrityMismatch):
        await backend.put(key, BytesSource(CONTENT[:1000]))
    assert await backend.find(key) is None


async def test_the_digest_is_dropboxes_own(backend: Backend) -> None:
    blocks = [CONTENT[start : start + BLOCK_SIZE] for start in range(0, len(CONTENT), BLOCK_SIZE)]
    expected = hashlib.sha256(b"".join(hashlib.sha256(block).digest() for block in blocks)).hexdigest()
    ref = await backend.put(new_blob_key(), BytesSource(CONTENT))
    assert expected == (await backend.stat(ref)).digest
    assert [expected] == [blob.digest for blob in await listed(backend)]


async def test_a_taken_key_is_refused_even_for_the_same_bytes(linked: Linked) -> None:
    backend = await linked.connect()
    key = new_blob_key()
    for content in (CONTENT, CONTENT[:1000]):
        await backend.put(key, BytesSource(content))
        with pytest.raises(Conflict):
            await backend.put(key, BytesSource(content))
        await backend.delete(BlobRef(key))


# Refusals


async def test_a_throttle_carries_the_time_to_wait(linked: Linked) -> None:
    backend = await linked.connect()
    for operation, call in (
        ("put", lambda: backend.put(new_blob_key(), BytesSource(b"x"))),
        ("stat", lambda: backend.find(new_blob_key())),
        ("delete", lambda: backend.delete(BlobRef(new_blob_key()))),
        ("list", lambda: listed(backend)),
        ("quota", backend.quota),
    ):
        before = linked.cloud.faults.requests[operation]
        linked.cloud.faults.order(operation, Effect.THROTTLE, amount=300)
        with pytest.raises(RateLimited) as caught:
            await call()
        assert timedelta(seconds=300) == caught.value.retry_after
        assert before + 1 == linked.cloud.faults.requests[operation]


async def test_changes_of_one_account_are_made_one_after_the_other(linked: Linked) -> None:
    backend = await linked.connect(max_concurrency=8)
    keys = [new_blob_key() for _ in range(16)]
    refs = await asyncio.gather(*(backend.put(key, BytesSource(b"x")) for key in keys))
    assert sorted(keys) == linked.cloud.blob_keys(linked.account)
    await asyncio.gather(*(backend.delete(ref) for ref in refs))
    assert [] == linked.cloud.blob_keys(linked.account)


async def test_a_token_that_ran_out_is_renewed_once_and_the_bytes_come_once_more(linked: Linked) -> None:
    backend = await linked.connect()
    linked.cloud.faults.order("put", Effect.EXPIRE_TOKEN)
    await backend.put(new_blob_key(), BytesSource(CONTENT[:1000]))
    assert 1 == linked.tokens.renewals
    assert 2 == linked.cloud.faults.requests["put"]
    assert 2000 == linked.cloud.upload_bytes


async def test_a_token_that_is_refused_again_means_that_the_link_is_gone(linked: Linked) -> None:
    backend = await linked.connect()
    linked.cloud.faults.order("stat", Effect.EXPIRE_TOKEN, times=2)
    with pytest.raises(AuthRevoked):
        await backend.find(new_blob_key())
    assert 2 == linked.cloud.faults.requests["stat"]


async def test_a_revoked_grant_needs_the_user(linked: Linked) -> None:
    backend = await linked.connect()
    linked.cloud.oauth.revoke(linked.account)
    with pytest.raises(AuthRevoked):
        await backend.put(new_blob_key(), BytesSource(b"x"))


async def test_a_scope_that_is_missing_is_named(cloud: DropboxEmulator, account: Account) -> None:
    settings = DropboxSettings(**cloud.settings())
    async with (
        lent_context(cloud, account, frozenset({"files.metadata.read"}), lane=2) as context,
        connect(context, settings) as backend,
    ):
        with pytest.raises(AccessDenied, match=r"files\.content\.write"):
            await backend.probe()


# Reading


async def test_a_large_blob_is_fetched_in_stretches(linked: Linked) -> None:
    backend = await linked.connect()
    content = pattern(3 * STRETCH_SIZE - 5)
    ref = await backend.put(new_blob_key(), BytesSource(content))
    async with backend.read(ref) as pieces:
        assert 1 == linked.cloud.faults.requests["read"]
        assert content == b"".join([piece async for piece in pieces])
    assert 3 == linked.cloud.faults.requests["read"]


@pytest.mark.parametrize("effect", [Effect.CUT_BEFORE, Effect.FAIL])
async def test_a_connection_that_breaks_in_the_middle_of_a_blob_is_transient(
    linked: Linked, effect: Effect
) -> None:
    backend = await linked.connect()
    ref = await backend.put(new_blob_key(), BytesSource(CONTENT))
    linked.cloud.faults.order("read", effect, after=1)
    async with backend.read(ref) as pieces:
        await anext(pieces)
        with pytest.raises(Transient):
            async for _ in pieces:
                pass


async def test_a_blob_deleted_by_hand_is_not_found(linked: Linked) -> None:
    backend = await linked.connect()
    ref = await backend.put(new_blob_key(), BytesSource(b"x"))
    linked.cloud.delete_by_hand(linked.account, ref.key)
    assert await backend.find(ref.key) is None


async def test_a_blob_damaged_at_the_provider_is_given_as_it_is(linked: Linked) -> None:
    backend = await linked.connect()
    ref = await backend.put(new_blob_key(), BytesSource(b"xyz"))
    linked.cloud.damage(linked.account, ref.key)
    assert b"xyz" != await read_all(backend, ref)


# Listing, quota, deletion


async def test_a_listing_leaves_out_what_is_no_blob(linked: Linked) -> None:
    backend = await linked.connect()
    ref = await backend.put(new_blob_key(), BytesSource(b"x"))
    (stored,) = linked.account.files.values()
    for number, path in enumerate(("/holiday.jpg", f"/{new_blob_key().upper()}", f"/sub/{new_blob_key()}")):
        extra = {**stored.extra, "path": path, "rev": f"{number:09x}"}
        linked.account.files[f"id:{number}"] = replace(
            stored, id=f"id:{number}", name=path.rpartition("/")[2], extra=extra
        )
    assert [ref] == [blob.ref for blob in await listed(backend)]


async def test_a_listing_that_has_to_be_begun_anew_is_transient(linked: Linked) -> None:
    backend = await linked.connect(list_page_size=1)
    for _ in range(3):
        await backend.put(new_blob_key(), BytesSource(b"x"))
    blobs = backend.scan()
    await anext(aiter(blobs))
    linked.cloud.forget_cursors()
    with pytest.raises(Transient):
        async for _ in blobs:
            pass


async def test_a_member_of_a_team_shares_the_teams_room(linked: Linked) -> None:
    backend = await linked.connect()
    await backend.put(new_blob_key(), BytesSource(pattern(700)))
    linked.account.quota = 5000
    assert Quota(used=700, limit=5000) == await backend.quota()
    linked.cloud.teams[linked.account.subject] = (9000, 10_000)
    assert Quota(used=9000, limit=10_000) == await backend.quota()


async def test_a_deleted_blob_lies_in_the_trash_and_the_traits_say_so(linked: Linked) -> None:
    backend = await linked.connect()
    await backend.delete(await backend.put(new_blob_key(), BytesSource(b"x")))
    assert 1 == len(linked.account.trash)
    assert timedelta(days=30) == backend.traits.delete_recoverable_for
    assert (await linked.connect(delete_recoverable_days=None)).traits.delete_recoverable_for is None


async def test_a_delete_whose_answer_was_lost_can_be_repeated(linked: Linked) -> None:
    backend = await linked.connect()
    ref = await backend.put(new_blob_key(), BytesSource(b"x"))
    linked.cloud.faults.order("delete", Effect.LOSE_ANSWER)
    with pytest.raises(Transient):
        await backend.delete(ref)
    await backend.delete(ref)


# Servers that are no Dropbox


@asynccontextmanager
async def answering(
    cloud: DropboxEmulator, account: Account, handler: Handler, **roots: str
) -> AsyncIterator[Backend]:
    """
    Connect to a server that answers as *handler* says.
    """
    app = web.Application()
    app.router.add_route("*", "/{name:.*}", handler)
    async with (
        TestServer(app) as server,
        lent_context(cloud, account, cloud.scopes(), lane=2) as context,
    ):
        url = str(server.make_url("")).rstrip("/")
        settings = DropboxSettings(client_id="key", **{"api_root": url, "content_root": url, **roots})
        async with connect(context, settings) as backend:
            yield backend


@pytest.mark.parametrize(
    ("response", "meaning"),
    [
        ({"status": 200, "text": "<html>"}, Transient),
        ({"status": 200, "body": b"{", "content_type": "application/json"}, Transient),
        ({"status": 200, "body": b"{}", "content_type": "application/json"}, Transient),
        ({"status": 401, "text": "no"}, Transient),
        ({"status": 409, "body": b"[]", "content_type": "application/json"}, Transient),
        ({"status": 307, "headers": {"Location": "/elsewhere"}}, Misconfigured),
        ({"status": 403, "text": "no"}, AccessDenied),
        ({"status": 404, "text": "no"}, Misconfigured),
        ({"status": 502, "text": "no"}, Transient),
    ],
)
async def test_an_answer_that_is_not_dropboxes_is_a_backend_error(
    cloud: DropboxEmulator, account: Account, response: dict[str, Any], meaning: type[BackendError]
) -> None:
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.path)
        await request.read()
        return web.Response(**response)

    async with answering(cloud, account, handler) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.find(new_blob_key())
        assert meaning is type(caught.value)
        with pytest.raises(BackendError):
            await backend.put(new_blob_key(), BytesSource(b"x"))
    assert ["/2/files/get_metadata", "/2/files/upload"] == seen


async def test_a_server_that_ignores_the_range_is_found_out(cloud: DropboxEmulator, account: Account) -> None:
    whole = bytes(STRETCH_SIZE + 1)
    ref = BlobRef(new_blob_key())
    told = json.dumps(
        {
            ".tag": "file",
            "name": ref.key,
            "id": "id:abcdefghijkl",
            "client_modified": "2026-01-01T00:00:00Z",
            "server_modified": "2026-01-01T00:00:00Z",
            "rev": "0123456789",
            "size": len(whole),
            "content_hash": "0" * 64,
        }
    )

    async def handler(request: web.Request) -> web.Response:
        if request.path.endswith("get_metadata"):
            return web.Response(body=told.encode(), content_type="application/json")
        return web.Response(body=io.BytesIO(whole), headers={"Dropbox-API-Result": told})

    async with answering(cloud, account, handler) as backend:
        with pytest.raises(Transient):
            await backend.read(ref).__aenter__()


@pytest.mark.parametrize("operation", ["put", "delete"])
async def test_a_cancelled_change_waits_for_what_was_sent_already(
    cloud: DropboxEmulator, account: Account, operation: str
) -> None:
    reached, answer = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        await request.read()
        reached.set()
        await answer.wait()
        return web.Response(status=500)

    async with answering(cloud, account, handler) as backend:
        key = new_blob_key()
        call = backend.put(key, BytesSource(b"x")) if operation == "put" else backend.delete(BlobRef(key))
        task = asyncio.ensure_future(call)
        await reached.wait()
        task.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not task.done()
        answer.set()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_dropbox_that_is_not_there_is_transient(cloud: DropboxEmulator, account: Account) -> None:
    settings = DropboxSettings(**{**cloud.settings(), "api_root": "http://127.0.0.1:1"})
    async with (
        lent_context(cloud, account, cloud.scopes(), lane=2) as context,
        connect(context, settings) as backend,
    ):
        with pytest.raises(Transient):
            await backend.find(new_blob_key())


async def test_a_connection_without_tokens_or_a_lane_is_refused() -> None:
    with pytest.raises(Misconfigured):
        await connect(BackendContext(account="dropbox"), DropboxSettings(client_id="key")).__aenter__()


# Settings


def test_settings_shown_show_no_secret() -> None:
    assert "sesame" not in repr(DropboxSettings(client_id="key", client_secret="sesame"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": ""},
        {"client_secret": ""},
        {"api_root": "ftp://dropbox.test"},
        {"content_root": "https://dropbox.test/"},
        {"delete_recoverable_days": -1},
        {"part_size": BLOCK_SIZE + 1},
        {"read_timeout_s": 0},
        {"max_concurrency": 0},
        {"list_page_size": 2001},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(DropboxSettings(client_id="key"), **wrong)
