"""
That the pretend Dropbox refuses what Dropbox refuses, and that rclone, which has met the real one, gets on with it.
"""

import hashlib
import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from dropbox.content_hash import content_hash

from tests.emulators.cloud import Account
from tests.emulators.dropbox import DropboxEmulator
from tests.emulators.faults import Effect
from tests.emulators.oauth import CLIENT_ID, CLIENT_SECRET
from tests.emulators.rclone import Rclone

BLOCK = 4 << 20


class Caller:
    """
    Speaks to Dropbox by hand, as an app that an account has granted everything.
    """

    def __init__(self, cloud: DropboxEmulator, account: Account, http: aiohttp.ClientSession) -> None:
        self.cloud = cloud
        self.account = account
        self.http = http
        self.access, self.refresh = cloud.oauth.grant(account, cloud.scopes())

    async def rpc(self, route: str, arg: Any, **headers: str) -> tuple[int, Any]:
        return await self.post(
            f"{self.cloud.url}/2/{route}",
            json.dumps(arg).encode(),
            **{"Content-Type": "application/json", **headers},
        )

    async def send(self, route: str, arg: Any, content: bytes = b"", **headers: str) -> tuple[int, Any]:
        return await self.post(
            f"{self.cloud.content_url}/2/{route}",
            content,
            **{
                "Content-Type": "application/octet-stream",
                "Dropbox-API-Arg": json.dumps(arg),
                **headers,
            },
        )

    async def post(self, url: str, content: bytes, **headers: str) -> tuple[int, Any]:
        sent = {"Authorization": f"Bearer {self.access}", **headers}
        async with self.http.post(
            url, data=io.BytesIO(content), headers=sent, allow_redirects=False
        ) as response:
            text = await response.text()
            # Dropbox's own library looks at it exactly.
            if response.headers["Content-Type"] == "application/json":
                return response.status, json.loads(text)
            assert response.status == 400 or response.status >= 500
            return response.status, text

    async def upload(self, path: str, content: bytes, **more: Any) -> tuple[int, Any]:
        return await self.send("files/upload", {"path": path, **more}, content)

    async def start(self, content: bytes = b"", *, close: bool = False) -> str:
        _, started = await self.send("files/upload_session/start", {"close": close}, content)
        return str(started["session_id"])

    async def append(self, session: str, offset: int, content: bytes = b"", **more: Any) -> tuple[int, Any]:
        arg = {"cursor": {"session_id": session, "offset": offset}, **more}
        return await self.send("files/upload_session/append_v2", arg, content)

    async def finish(self, session: str, offset: int, path: str, content: bytes = b"") -> tuple[int, Any]:
        arg = {"cursor": {"session_id": session, "offset": offset}, "commit": {"path": path}}
        return await self.send("files/upload_session/finish", arg, content)


@pytest.fixture
def cloud() -> Iterator[DropboxEmulator]:
    with DropboxEmulator() as cloud:
        yield cloud


@pytest.fixture
async def caller(cloud: DropboxEmulator) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as http:
        yield Caller(cloud, cloud.new_account(), http)


def summary(answer: tuple[int, Any]) -> tuple[int, str]:
    status, document = answer
    return status, document["error_summary"].rstrip(".").rstrip("/")


# How it is spoken to


@pytest.mark.parametrize(
    ("route", "arg"),
    [
        ("files/get_metadata", {}),
        ("files/get_metadata", {"path": 1}),
        ("files/get_metadata", {"path": ""}),
        ("files/get_metadata", {"path": "/x", "made_up": True}),
        ("files/list_folder", {"path": "/"}),
        ("files/list_folder", {"path": "", "limit": 2001}),
        ("users/get_space_usage", {}),
        ("files/made_up", {}),
    ],
)
async def test_an_argument_that_is_none_is_refused_in_words(caller: Caller, route: str, arg: Any) -> None:
    status, text = await caller.rpc(route, arg)
    assert (400, str) == (status, type(text))


async def test_a_header_that_is_wrong_or_missing_is_refused(caller: Caller) -> None:
    arg = {"path": "/x"}
    for headers in (
        {"Content-Type": "application/json"},
        {"Dropbox-API-Arg": '{"path": "/ü"}'},
        {"Dropbox-API-Arg": "{"},
        {"Authorization": "Bearer of-another-form"},
    ):
        status, _ = await caller.send("files/upload", arg, b"x", **headers)
        assert 400 == status
    status, _ = await caller.rpc("files/get_metadata", arg, **{"Content-Type": "text/plain"})
    assert 400 == status
    assert {} == caller.account.files


async def test_each_host_has_its_own_routes(caller: Caller) -> None:
    metadata = json.dumps({"path": "/x"}).encode()
    status, _ = await caller.post(
        f"{caller.cloud.content_url}/2/files/get_metadata", metadata, **{"Content-Type": "application/json"}
    )
    assert 400 == status
    status, _ = await caller.post(
        f"{caller.cloud.url}/2/files/upload",
        b"x",
        **{"Content-Type": "application/octet-stream", "Dropbox-API-Arg": metadata.decode()},
    )
    assert 400 == status


async def test_a_route_without_argument_takes_null_and_nothing(caller: Caller) -> None:
    for headers, body in (({"Content-Type": "application/json"}, b"null"), ({}, b"")):
        url = f"{caller.cloud.url}/2/users/get_space_usage"
        status, usage = await caller.post(url, body, **headers)
        assert (200, "individual") == (status, usage["allocation"][".tag"])


async def test_names_that_are_not_ascii_come_as_ascii(caller: Caller) -> None:
    await caller.upload("/Größe.txt", b"x")
    url = f"{caller.cloud.content_url}/2/files/download"
    headers = {
        "Authorization": f"Bearer {caller.access}",
        "Dropbox-API-Arg": json.dumps({"path": "/größe.TXT"}),
    }
    async with caller.http.post(url, headers=headers) as response:
        assert b"x" == await response.read()
        told = response.headers["Dropbox-API-Result"]
    assert told.isascii()
    assert "Größe.txt" == json.loads(told)["name"]


# Who may do what


async def test_a_token_that_is_not_valid_is_refused_by_why(caller: Caller) -> None:
    call = ("files/get_metadata", {"path": "/x"})
    assert (401, "invalid_access_token") == summary(
        await caller.rpc(*call, Authorization="Bearer sl.never-was")
    )
    caller.cloud.clock.advance(14_400)
    assert (401, "expired_access_token") == summary(await caller.rpc(*call))


@pytest.mark.parametrize(
    ("scope", "route"),
    [
        ("files.metadata.read", "files/get_metadata"),
        ("files.content.write", "files/delete_v2"),
        ("files.permanent_delete", "files/permanently_delete"),
    ],
)
async def test_a_scope_that_is_missing_is_named(caller: Caller, scope: str, route: str) -> None:
    caller.access, _ = caller.cloud.oauth.grant(caller.account, caller.cloud.scopes() - {scope})
    status, document = await caller.rpc(route, {"path": "/x"})
    assert (401, {".tag": "missing_scope", "required_scope": scope}) == (status, document["error"])


async def test_nobody_but_a_team_can_delete_for_good(caller: Caller) -> None:
    scopes = caller.cloud.scopes() | {"files.permanent_delete"}
    caller.access, _ = caller.cloud.oauth.grant(caller.account, scopes)
    assert (403, "invalid_account_type/endpoint") == summary(
        await caller.rpc("files/permanently_delete", {"path": "/x"})
    )


async def test_a_refresh_token_stays_the_same_until_it_is_revoked(caller: Caller) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": caller.refresh}
    plain = {"Content-Type": "application/x-www-form-urlencoded"}
    basic = {"Authorization": aiohttp.encode_basic_auth(CLIENT_ID, CLIENT_SECRET)}
    for path, headers, more in (
        ("/oauth2/token", plain, {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}),
        ("/oauth2/token", plain, {"client_id": CLIENT_ID}),
        ("/1/oauth2/token", plain | basic, {}),
    ):
        async with caller.http.post(caller.cloud.url + path, data=form | more, headers=headers) as response:
            answer = await response.json()
        assert {"access_token", "token_type", "expires_in"} == set(answer)
        assert (200, 14_400) == (response.status, answer["expires_in"])
        caller.access = answer["access_token"]
    assert (200, None) == await caller.rpc("auth/token/revoke", None)
    async with caller.http.post(
        caller.cloud.url + "/oauth2/token", data=form | {"client_id": CLIENT_ID}, headers=plain
    ) as response:
        assert 400 == response.status
        assert {
            "error": "invalid_grant",
            "error_description": "refresh token is invalid or revoked",
        } == await response.json()


async def test_a_throttle_says_how_long_to_wait_in_both_places(caller: Caller) -> None:
    caller.cloud.faults.order("stat", Effect.THROTTLE, amount=15)
    url = f"{caller.cloud.url}/2/files/get_metadata"
    async with caller.http.post(url, data=b"{}") as response:
        document = await response.json()
        assert (429, "15", "application/json") == (
            response.status,
            response.headers["Retry-After"],
            response.headers["Content-Type"],
        )
    assert {"reason": {".tag": "too_many_requests"}, "retry_after": 15} == document["error"]


# Writing


async def test_a_name_is_taken_without_regard_to_case(caller: Caller) -> None:
    await caller.upload("/Call.bin", b"one")
    assert (409, "path/conflict/file") == summary(await caller.upload("/cALL.bin", b"two"))
    status, found = await caller.rpc("files/get_metadata", {"path": "/CALL.BIN"})
    assert (200, "Call.bin", "/call.bin") == (status, found["name"], found["path_lower"])


async def test_the_same_bytes_are_no_conflict_unless_it_is_strict(caller: Caller) -> None:
    _, first = await caller.upload("/x", b"same")
    status, again = await caller.upload("/x", b"same")
    assert (200, first["rev"]) == (status, again["rev"])
    assert (409, "path/conflict/file") == summary(await caller.upload("/x", b"same", strict_conflict=True))


async def test_a_taken_name_can_be_replaced_or_added_to(caller: Caller) -> None:
    _, first = await caller.upload("/x.txt", b"one")
    _, renamed = await caller.upload("/x.txt", b"two", autorename=True)
    assert "x (1).txt" == renamed["name"]
    status, replaced = await caller.upload("/x.txt", b"three", mode="overwrite")
    assert (200, first["id"], 5) == (status, replaced["id"], replaced["size"])
    stale = {".tag": "update", "update": first["rev"]}
    assert (409, "path/conflict/file") == summary(await caller.upload("/x.txt", b"four", mode=stale))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/desktop.ini", "disallowed_name"),
        (f"/{'x' * 256}", "disallowed_name"),
        ("/back\\slash", "malformed_path"),
        ("/trailing ", "malformed_path"),
        ("/taken/below", "conflict/file_ancestor"),
        ("/folder", "conflict/folder"),
    ],
)
async def test_a_path_that_cannot_be_is_refused(caller: Caller, path: str, reason: str) -> None:
    await caller.upload("/taken", b"x")
    await caller.upload("/folder/inside", b"x")
    assert (409, f"path/{reason}") == summary(await caller.upload(path, b"y"))


async def test_bytes_that_do_not_have_the_hash_are_refused(caller: Caller) -> None:
    right, wrong = content_hash(b"content"), content_hash(b"other")
    assert (409, "content_hash_mismatch") == summary(
        await caller.upload("/x", b"content", content_hash=wrong)
    )
    session = await caller.start()
    assert (409, "content_hash_mismatch") == summary(
        await caller.append(session, 0, b"content", content_hash=wrong)
    )
    assert (200, None) == await caller.append(session, 0, b"content", content_hash=right)


async def test_the_content_hash_is_made_of_blocks(caller: Caller) -> None:
    content = bytes(BLOCK) + b"more"
    blocks = hashlib.sha256(bytes(BLOCK)).digest() + hashlib.sha256(b"more").digest()
    _, stored = await caller.upload("/x", content)
    assert hashlib.sha256(blocks).hexdigest() == stored["content_hash"]


async def test_an_offset_that_is_wrong_is_told_the_right_one(caller: Caller) -> None:
    session = await caller.start(b"abc")
    status, document = await caller.append(session, 0, b"xyz")
    assert (409, {".tag": "incorrect_offset", "correct_offset": 3}) == (status, document["error"])
    assert (200, None) == await caller.append(session, 3)
    status, document = await caller.finish(session, 2, "/x")
    assert {".tag": "incorrect_offset", "correct_offset": 3} == document["error"]["lookup_failed"]


async def test_a_session_ends_when_closed_saved_or_a_week_old(caller: Caller) -> None:
    closed = await caller.start(b"abc", close=True)
    assert (409, "closed") == summary(await caller.append(closed, 3, b"d"))
    status, _ = await caller.finish(closed, 3, "/closed")
    assert 200 == status
    assert (409, "closed") == summary(await caller.append(closed, 3))
    assert (409, "lookup_failed/not_found") == summary(await caller.finish(closed, 3, "/again"))
    old = await caller.start(b"abc")
    caller.cloud.clock.advance(7 * 24 * 3600)
    caller.access, _ = caller.cloud.oauth.grant(caller.account, caller.cloud.scopes())
    assert (409, "not_found") == summary(await caller.append(old, 3))
    assert (409, "lookup_failed/not_found") == summary(await caller.finish(old, 3, "/old"))


async def test_a_session_is_the_accounts_that_began_it(caller: Caller) -> None:
    session = await caller.start(b"abc")
    other = Caller(caller.cloud, caller.cloud.new_account("Bob"), caller.http)
    assert (409, "not_found") == summary(await other.append(session, 3))


async def test_an_account_without_room_keeps_the_session(caller: Caller) -> None:
    caller.account.quota = 5
    session = await caller.start(b"abc")
    assert (409, "path/insufficient_space") == summary(await caller.finish(session, 3, "/x", b"def"))
    assert (409, "path/insufficient_space") == summary(await caller.upload("/y", b"abcdef"))
    caller.account.quota = 6
    status, stored = await caller.finish(session, 6, "/x")
    assert (200, 6) == (status, stored["size"])


async def test_a_batch_wants_closed_sessions_and_answers_for_each(caller: Caller) -> None:
    entries = [
        {"cursor": {"session_id": session, "offset": 3}, "commit": {"path": f"/{number}"}}
        for number, session in enumerate([await caller.start(b"abc", close=True), await caller.start(b"abc")])
    ]
    status, document = await caller.rpc("files/upload_session/finish_batch_v2", {"entries": entries})
    first, second = document["entries"]
    assert (200, "success", 3) == (status, first[".tag"], first["size"])
    assert {".tag": "not_closed"} == second["failure"]["lookup_failed"]


@pytest.mark.parametrize("effect", [Effect.CUT_IN_BODY, Effect.CUT_BEFORE])
async def test_an_append_that_was_cut_takes_nothing(caller: Caller, effect: Effect) -> None:
    session = await caller.start()
    caller.cloud.faults.order("append", effect, amount=2)
    with pytest.raises(aiohttp.ClientError):
        await caller.append(session, 0, b"abc")
    assert (200, None) == await caller.append(session, 0)


# Reading and deleting


@pytest.mark.parametrize(
    ("wanted", "status", "content"),
    [
        ("bytes=2-4", 206, b"234"),
        ("bytes=8-99", 206, b"89"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-2", 206, b"89"),
        ("bytes=10-", 416, b""),
        ("furlongs=1-2", 200, b"0123456789"),
    ],
)
async def test_a_range_is_answered_as_http_says(
    caller: Caller, wanted: str, status: int, content: bytes
) -> None:
    await caller.upload("/x", b"0123456789")
    headers = {
        "Authorization": f"Bearer {caller.access}",
        "Dropbox-API-Arg": json.dumps({"path": "/x"}),
        "Range": wanted,
    }
    async with caller.http.post(f"{caller.cloud.content_url}/2/files/download", headers=headers) as response:
        assert (status, content) == (response.status, await response.read())


async def test_a_listing_comes_in_pages_and_may_have_to_be_begun_anew(caller: Caller) -> None:
    for number in range(5):
        await caller.upload(f"/{number}", b"x")
    await caller.upload("/folder/inside", b"x")
    _, page = await caller.rpc("files/list_folder", {"path": "", "limit": 4})
    names = [entry["name"] for entry in page["entries"]]
    _, last = await caller.rpc("files/list_folder/continue", {"cursor": page["cursor"]})
    names += [entry["name"] for entry in last["entries"]]
    assert (True, False) == (page["has_more"], last["has_more"])
    assert ["0", "1", "2", "3", "4", "folder"] == names
    caller.cloud.forget_cursors()
    assert (409, "reset") == summary(
        await caller.rpc("files/list_folder/continue", {"cursor": page["cursor"]})
    )
    assert (409, "path/not_found") == summary(await caller.rpc("files/list_folder", {"path": "/nowhere"}))


async def test_what_is_deleted_lies_in_the_trash_and_takes_up_no_room(caller: Caller) -> None:
    _, stored = await caller.upload("/x", b"abc")
    assert 3 == caller.account.used
    status, gone = await caller.rpc("files/delete_v2", {"path": stored["id"]})
    assert (200, "x") == (status, gone["metadata"]["name"])
    assert (409, "path_lookup/not_found") == summary(await caller.rpc("files/delete_v2", {"path": "/x"}))
    assert (0, [stored["id"]]) == (caller.account.used, list(caller.account.trash))


async def test_its_owner_can_look_at_it_and_delete_by_hand(caller: Caller) -> None:
    await caller.upload("/x.bin", b"abc")
    async with caller.http.get(caller.cloud.url) as page:
        assert "x.bin" in await page.text()
    caller.cloud.delete_by_hand(caller.account, "x.bin")
    assert (409, "path/not_found") == summary(await caller.rpc("files/get_metadata", {"path": "/x.bin"}))


# The real rclone


@pytest.fixture
def rclone(cloud: DropboxEmulator, tmp_path: Path) -> Iterator[Rclone]:
    hosts = {"api.dropboxapi.com": cloud.url, "content.dropboxapi.com": cloud.content_url}
    access, refresh = cloud.oauth.grant(cloud.new_account(), cloud.scopes())
    # It has run out, so that the first thing rclone does is to refresh it.
    token = {
        "access_token": access,
        "token_type": "bearer",
        "refresh_token": refresh,
        "expiry": "2020-01-01T00:00:00Z",
    }
    with Rclone(tmp_path, hosts) as rclone:
        rclone.configure(
            "dropbox",
            type="dropbox",
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            token=json.dumps(token),
        )
        yield rclone


@pytest.mark.parametrize(
    "options",
    [
        ("--dropbox-batch-mode", "off", "--transfers", "1"),
        ("--dropbox-batch-mode", "sync", "--dropbox-batch-timeout", "100ms"),
        ("--dropbox-batch-mode", "async", "--dropbox-batch-timeout", "100ms"),
    ],
    ids=lambda options: options[1],
)
def test_rclone_copies_checks_reads_and_deletes(
    rclone: Rclone, cloud: DropboxEmulator, tmp_path: Path, options: tuple[str, ...]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    contents = {"empty": b"", "small.bin": b"small", "large.bin": bytes(range(256)) * (9 << 12)}
    for name, content in contents.items():
        (source / name).write_bytes(content)
    rclone.run("copy", str(source), "dropbox:", "--dropbox-chunk-size", "4M", *options)
    (account,) = cloud.accounts.values()
    assert contents == {stored.name: stored.content.read() for stored in account.files.values()}
    assert 1 == cloud.faults.requests["token"]
    # By Dropbox's hash, and then by the bytes.
    rclone.run("check", str(source), "dropbox:")
    rclone.run("check", "--download", str(source), "dropbox:")
    assert contents["large.bin"][5 << 20 :][:77] == rclone.run(
        "cat", "--offset", str(5 << 20), "--count", "77", "dropbox:large.bin"
    )
    sizes = {entry["Name"]: entry["Size"] for entry in json.loads(rclone.run("lsjson", "dropbox:"))}
    assert {name: len(content) for name, content in contents.items()} == sizes
    assert sum(sizes.values()) == json.loads(rclone.run("about", "--json", "dropbox:"))["used"]
    rclone.run("deletefile", "dropbox:small.bin")
    assert ["empty", "large.bin"] == sorted(stored.name for stored in account.files.values())
    assert [] == rclone.refused
