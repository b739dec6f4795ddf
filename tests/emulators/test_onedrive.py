"""
That the pretend Graph refuses what the real one refuses.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import aiohttp
import pytest
from yarl import URL

from gateway.testing.sources import pattern
from tests.emulators.cloud import Account
from tests.emulators.onedrive import GraphEmulator
from tests.emulators.onedrive.schema import violations
from tests.emulators.onedrive.transfers import GRID, MOST_AT_ONCE

WIDE: Final = frozenset({"Files.ReadWrite", "User.Read", "offline_access"})
REDIRECT: Final = "http://127.0.0.1:9/back"


@pytest.fixture
def cloud() -> Iterator[GraphEmulator]:
    with GraphEmulator() as cloud:
        yield cloud


@pytest.fixture
def account(cloud: GraphEmulator) -> Account:
    return cloud.new_account()


class Client:
    """
    Says plain HTTP to the emulator.
    """

    def __init__(self, cloud: GraphEmulator, session: aiohttp.ClientSession, token: str) -> None:
        self.cloud = cloud
        self.session = session
        self.token = token

    async def graph(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """
        Call Graph below ``/v1.0/``; return the status and the document.
        """
        url = URL(f"{self.cloud.url}/v1.0/{path}", encoded=True)
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return await self.plain(method, url, headers=headers, **options)

    async def plain(self, method: str, url: URL | str, **options: Any) -> tuple[int, Any]:
        target = URL(url, encoded=True) if isinstance(url, str) else url
        async with self.session.request(method, target, allow_redirects=False, **options) as answer:
            self.headers = answer.headers
            body = await answer.read()
            is_json = answer.content_type == "application/json"
            return answer.status, json.loads(body) if is_json else body

    async def begun(self, name: str = "blob", **item: Any) -> str:
        """
        Begin an upload into the app folder; return its URL.
        """
        await self.graph("GET", "me/drive/special/approot")
        status, told = await self.graph(
            "POST", f"me/drive/special/approot:/{name}:/createUploadSession", json={"item": item}
        )
        assert status == 200
        url: str = told["uploadUrl"]
        return url

    async def sent(self, url: str, content: bytes, start: int, end: int, **headers: str) -> tuple[int, Any]:
        """
        Send the bytes of *content* from *start* to *end*.
        """
        span = {"Content-Range": f"bytes {start}-{end - 1}/{len(content)}", **headers}
        return await self.plain("PUT", url, data=content[start:end], headers=span)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def client(cloud: GraphEmulator, account: Account, session: aiohttp.ClientSession) -> Client:
    return Client(cloud, session, cloud.oauth.grant(account, cloud.scopes())[0])


@pytest.fixture
def wide(cloud: GraphEmulator, account: Account, session: aiohttp.ClientSession) -> Client:
    return Client(cloud, session, cloud.oauth.grant(account, WIDE)[0])


def code_of(document: Any) -> str:
    assert violations("error", document) == []
    code: str = document["error"]["code"]
    return code


# Upload sessions


async def test_a_file_comes_into_being_with_its_last_range(client: Client, account: Account) -> None:
    content = pattern(GRID + 99)
    url = await client.begun()
    assert client.cloud.url not in url
    status, told = await client.sent(url, content, 0, GRID)
    assert (202, [f"{GRID}-"]) == (status, told["nextExpectedRanges"])
    assert {} == account.files
    status, told = await client.sent(url, content, GRID, len(content))
    assert (201, "blob", len(content)) == (status, told["name"], told["size"])
    assert content == client.cloud.blob_bytes(account, "blob")
    assert 404 == (await client.plain("GET", url))[0]


async def test_a_session_cannot_begin_before_the_app_folder_was_asked_for(client: Client) -> None:
    begin = "me/drive/special/approot:/blob:/createUploadSession"
    status, told = await client.graph("POST", begin, json={})
    assert (403, "accessDenied") == (status, code_of(told))
    await client.graph("GET", "me/drive/special/approot")
    assert 200 == (await client.graph("POST", begin, json={}))[0]


async def test_a_simple_put_makes_the_app_folder_too(client: Client) -> None:
    assert 201 == (await client.graph("PUT", "me/drive/special/approot:/a:/content", data=b"x"))[0]
    assert (
        200 == (await client.graph("POST", "me/drive/special/approot:/blob:/createUploadSession", json={}))[0]
    )


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
async def test_an_upload_url_refuses_a_bearer(client: Client, method: str) -> None:
    url = await client.begun()
    headers = {"Authorization": f"Bearer {client.token}", "Content-Range": "bytes 0-0/1"}
    status, told = await client.plain(method, url, data=b"x", headers=headers)
    assert (401, "unauthenticated") == (status, code_of(told))


async def test_an_upload_url_that_was_encoded_anew_is_unknown(client: Client) -> None:
    url = await client.begun()
    assert 200 == (await client.plain("GET", url))[0]
    assert 404 == (await client.plain("GET", url.replace("%2B", "+")))[0]


async def test_a_range_beside_the_grid_spoils_the_upload_at_its_end_and_not_before(client: Client) -> None:
    content = pattern(2 * GRID)
    url = await client.begun()
    assert 202 == (await client.sent(url, content, 0, GRID + 1))[0]
    status, told = await client.sent(url, content, GRID + 1, len(content))
    assert (400, "invalidRequest") == (status, code_of(told))


@pytest.mark.parametrize(("start", "end"), [(0, GRID), (2 * GRID, 3 * GRID)])
async def test_a_range_that_is_not_the_next_is_refused(client: Client, start: int, end: int) -> None:
    content = pattern(3 * GRID)
    url = await client.begun()
    await client.sent(url, content, 0, GRID)
    status, told = await client.sent(url, content, start, end)
    assert (416, "invalidRange") == (status, code_of(told))
    assert [f"{GRID}-"] == (await client.plain("GET", url))[1]["nextExpectedRanges"]


@pytest.mark.parametrize("span", ["bytes 0-8/10", "bytes 0-9/5", "bytes 9-0/10", "bytes 0-9/*", "0-9/10", ""])
async def test_a_range_that_does_not_fit_its_body_is_refused(client: Client, span: str) -> None:
    url = await client.begun()
    status, told = await client.plain("PUT", url, data=bytes(10), headers={"Content-Range": span})
    assert (400, "invalidRequest") == (status, code_of(told))


async def test_a_total_that_changes_is_refused(client: Client) -> None:
    url = await client.begun()
    await client.sent(url, pattern(3 * GRID), 0, GRID)
    assert 400 == (await client.sent(url, pattern(2 * GRID), GRID, 2 * GRID))[0]
    claimed = await client.begun("other", fileSize=5)
    assert 400 == (await client.sent(claimed, b"1234", 0, 4))[0]


async def test_a_range_of_more_than_60_mib_is_refused(client: Client) -> None:
    url = await client.begun()
    size = MOST_AT_ONCE + GRID

    async def body() -> AsyncIterator[bytes]:
        for _ in range(0, size, GRID):
            yield bytes(GRID)

    headers = {"Content-Range": f"bytes 0-{size - 1}/{size}", "Content-Length": str(size)}
    assert 413 == (await client.plain("PUT", url, data=body(), headers=headers))[0]


async def test_a_taken_name_is_refused_at_the_end_and_the_session_lives(
    client: Client, account: Account
) -> None:
    url = await client.begun(**{"@microsoft.graph.conflictBehavior": "fail"})
    await client.graph("PUT", "me/drive/special/approot:/blob:/content", data=b"first")
    status, told = await client.sent(url, b"second", 0, 6)
    assert (409, "nameAlreadyExists") == (status, code_of(told))
    assert [] == (await client.plain("GET", url))[1]["nextExpectedRanges"]
    assert b"first" == client.cloud.blob_bytes(account, "blob")


async def test_a_session_that_survived_a_conflict_is_finished_by_its_url(
    client: Client, account: Account
) -> None:
    url = await client.begun()
    await client.graph("PUT", "me/drive/special/approot:/blob:/content", data=b"first")
    await client.sent(url, b"second", 0, 6)
    wanted = {"@microsoft.graph.sourceUrl": url, "@microsoft.graph.conflictBehavior": "rename"}
    status, told = await client.graph("PUT", "me/drive/special/approot:/blob", json=wanted)
    assert (201, "blob 1") == (status, told["name"])
    assert b"second" == client.cloud.blob_bytes(account, "blob 1")


async def test_a_business_session_may_be_finished_by_an_empty_post(client: Client, account: Account) -> None:
    client.cloud.is_business = True
    await client.graph("GET", "me/drive/special/approot")
    _, told = await client.graph(
        "POST", "me/drive/special/approot:/blob:/createUploadSession", json={"deferCommit": True}
    )
    url = told["uploadUrl"]
    assert 400 == (await client.plain("POST", url))[0]
    status, told = await client.sent(url, b"abc", 0, 3)
    assert (202, []) == (status, told["nextExpectedRanges"])
    assert {} == account.files
    assert 201 == (await client.plain("POST", url))[0]
    assert b"abc" == client.cloud.blob_bytes(account, "blob")


async def test_a_session_runs_out_unless_it_is_used(client: Client) -> None:
    content = pattern(2 * GRID)
    url = await client.begun()
    client.cloud.clock.advance(23 * 3600)
    assert 202 == (await client.sent(url, content, 0, GRID))[0]
    client.cloud.clock.advance(23 * 3600)
    assert 200 == (await client.plain("GET", url))[0]
    client.cloud.clock.advance(2 * 3600)
    assert 404 == (await client.plain("GET", url))[0]


async def test_a_cancelled_session_is_gone(client: Client) -> None:
    url = await client.begun()
    assert 204 == (await client.plain("DELETE", url))[0]
    assert 404 == (await client.plain("DELETE", url))[0]


async def test_a_full_drive_refuses_beforehand_if_told_the_size_and_else_at_the_end(
    client: Client, account: Account
) -> None:
    account.quota = 5
    await client.graph("GET", "me/drive/special/approot")
    begin = "me/drive/special/approot:/blob:/createUploadSession"
    status, told = await client.graph("POST", begin, json={"item": {"fileSize": 6}})
    assert (507, "quotaLimitReached") == (status, code_of(told))
    status, told = await client.sent(await client.begun(), b"123456", 0, 6)
    assert (507, "quotaLimitReached") == (status, code_of(told))


@pytest.mark.parametrize(
    "body",
    [
        {"item": {"size": 5}},
        {"item": {"@microsoft.graph.conflictBehavior": "overwrite"}},
        {"item": {"fileSize": "5"}},
        {"name": "x"},
        {"item": {"name": "other"}},
    ],
)
async def test_a_body_that_is_not_of_the_published_type_is_refused(client: Client, body: Any) -> None:
    await client.graph("GET", "me/drive/special/approot")
    begin = "me/drive/special/approot:/blob:/createUploadSession"
    status, told = await client.graph("POST", begin, json=body)
    assert (400, "invalidRequest") == (status, code_of(told))


# Simple puts, names and renames


@pytest.mark.parametrize("behavior", ["fail", "replace", "rename", ""])
async def test_a_simple_put_does_with_a_taken_name_what_it_is_told(
    client: Client, account: Account, behavior: str
) -> None:
    query = f"?@microsoft.graph.conflictBehavior={behavior}" if behavior else ""
    await client.graph("PUT", "me/drive/special/approot:/blob:/content", data=b"1")
    status, _ = await client.graph("PUT", f"me/drive/special/approot:/blob:/content{query}", data=b"2")
    found = {stored.name: stored.content.read() for stored in account.files.values()}
    expected = {
        "fail": (409, {"blob": b"1"}),
        "replace": (200, {"blob": b"2"}),
        "rename": (201, {"blob": b"1", "blob 1": b"2"}),
        "": (200, {"blob": b"2"}),
    }
    assert expected[behavior] == (status, found)


@pytest.mark.parametrize("name", ["a%3Cb", "~a", "a.", "a%20", "a%7Cb"])
async def test_a_name_that_onedrive_does_not_take_is_refused(client: Client, name: str) -> None:
    assert 400 == (await client.graph("PUT", f"me/drive/special/approot:/{name}:/content", data=b""))[0]


async def test_names_that_differ_in_case_alone_are_one(client: Client) -> None:
    await client.graph("PUT", "me/drive/special/approot:/Blob:/content", data=b"1")
    status, told = await client.graph("GET", "me/drive/special/approot:/bLOB")
    assert (200, "Blob") == (status, told["name"])
    assert 400 == (await client.graph("GET", "me/drive/special/AppRoot"))[0]


async def test_a_rename_onto_a_taken_name_is_refused(client: Client) -> None:
    _, first = await client.graph("PUT", "me/drive/special/approot:/a:/content", data=b"1")
    await client.graph("PUT", "me/drive/special/approot:/b:/content", data=b"2")
    item = f"me/drive/items/{first['id']}"
    status, told = await client.graph("PATCH", item, json={"name": "b"})
    assert (409, "nameAlreadyExists") == (status, code_of(told))
    assert 200 == (await client.graph("PATCH", item, json={"name": "c"}))[0]
    assert (await client.graph("GET", "me/drive/special/approot:/c"))[1]["id"] == first["id"]


# Reading and listing


async def test_content_is_on_another_host_which_refuses_a_bearer(client: Client) -> None:
    await client.graph("PUT", "me/drive/special/approot:/a:/content", data=b"0123456789")
    status, _ = await client.graph("GET", "me/drive/special/approot:/a:/content")
    location = client.headers["Location"]
    assert status == 302
    assert client.cloud.url not in location
    bearing = {"Authorization": f"Bearer {client.token}"}
    assert 401 == (await client.plain("GET", location, headers=bearing))[0]
    assert (206, b"345") == await client.plain("GET", location, headers={"Range": "bytes=3-5"})
    assert client.headers["Content-Range"] == "bytes 3-5/10"
    assert (206, b"89") == await client.plain("GET", location, headers={"Range": "bytes=8-20"})
    assert 416 == (await client.plain("GET", location, headers={"Range": "bytes=10-11"}))[0]
    assert (200, b"0123456789") == await client.plain("GET", location)
    client.cloud.transfers.ignores_range = True
    assert (200, b"0123456789") == await client.plain("GET", location, headers={"Range": "bytes=3-5"})
    client.cloud.clock.advance(3601)
    assert 401 == (await client.plain("GET", location))[0]


async def test_a_listing_goes_on_by_the_link_that_it_gives(client: Client) -> None:
    for name in "abcde":
        await client.graph("PUT", f"me/drive/special/approot:/{name}:/content", data=b"x")
    url = "me/drive/special/approot/children?$top=2&$select=name"
    names: list[str] = []
    pages = 0
    while url:
        _, told = await client.graph("GET", url)
        names += [entry["name"] for entry in told["value"]]
        url = told.get("@odata.nextLink", "").removeprefix(f"{client.cloud.url}/v1.0/")
        pages += 1
    assert (list("abcde"), 3) == (names, pages)
    assert 400 == (await client.graph("GET", "me/drive/special/approot/children?$top=1001"))[0]


@pytest.mark.parametrize("is_business", [False, True])
async def test_a_listing_lags_behind_where_it_is_told_to(client: Client, is_business: bool) -> None:
    client.cloud.is_business = is_business
    client.cloud.listing_lag_s = 60
    children = "me/drive/special/approot/children"
    _, item = await client.graph("PUT", "me/drive/special/approot:/a:/content", data=b"x")
    assert [] == (await client.graph("GET", children))[1]["value"]
    client.cloud.clock.advance(61)
    assert 1 == len((await client.graph("GET", children))[1]["value"])
    gone = ("POST", "/permanentDelete") if is_business else ("DELETE", "")
    assert 204 == (await client.graph(gone[0], f"me/drive/items/{item['id']}{gone[1]}"))[0]
    assert 1 == len((await client.graph("GET", children))[1]["value"])
    client.cloud.clock.advance(61)
    assert [] == (await client.graph("GET", children))[1]["value"]


@pytest.mark.parametrize("is_business", [False, True])
async def test_hashes_are_those_of_the_account_and_absent_where_it_is_told_to(
    client: Client, is_business: bool
) -> None:
    client.cloud.is_business = is_business
    item = (await client.graph("PUT", "me/drive/special/approot:/a:/content", data=b"J"))[1]
    hashes = item["file"]["hashes"]
    assert hashes["quickXorHash"] == "SgAAAAAAAAAAAAAAAQAAAAAAAAA="
    assert is_business == ("sha256Hash" not in hashes)
    assert hashes.get("sha256Hash", "").lower() in {"", hashlib.sha256(b"J").hexdigest()}
    _, empty = await client.graph("PUT", "me/drive/special/approot:/b:/content", data=b"")
    assert "hashes" not in empty["file"]
    client.cloud.tells_hashes = False
    assert "hashes" not in (await client.graph("GET", "me/drive/special/approot:/a"))[1]["file"]


# Deleting


@pytest.mark.parametrize("is_business", [False, True])
async def test_only_a_business_drive_deletes_past_its_recycle_bin(
    client: Client, account: Account, is_business: bool
) -> None:
    client.cloud.is_business = is_business
    _, item = await client.graph("PUT", "me/drive/special/approot:/a:/content", data=b"x")
    drive = item["parentReference"]["driveId"]
    path = f"drives/{drive}/items/{item['id']}"
    status, _ = await client.graph("POST", f"{path}/permanentDelete")
    assert status == (204 if is_business else 400)
    assert (404 if is_business else 204) == (await client.graph("DELETE", path))[0]
    assert is_business == (account.trash == {})
    quota = (await client.graph("GET", "me/drive"))[1]["quota"]
    assert ((0, 0) if is_business else (1, 1)) == (quota["deleted"], quota["used"])


# Who may do what


async def test_nothing_is_told_without_a_token(client: Client, account: Account) -> None:
    client.cloud.oauth.revoke(account)
    status, told = await client.graph("GET", "me/drive/special/approot")
    assert (401, "InvalidAuthenticationToken") == (status, code_of(told))
    assert "invalid_token" in client.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    "path", ["me/drive/root", "me/drive/root/children", "me/drive/items/root", "me/drives"]
)
async def test_the_app_folders_scope_reaches_no_further(client: Client, wide: Client, path: str) -> None:
    status, told = await client.graph("GET", path)
    assert (403, "accessDenied") == (status, code_of(told))
    assert 200 == (await wide.graph("GET", path))[0]


async def test_files_need_a_scope_of_files_and_a_name_one_of_the_user(
    cloud: GraphEmulator, account: Account, session: aiohttp.ClientSession
) -> None:
    reader = Client(cloud, session, cloud.oauth.grant(account, frozenset({"User.Read"}))[0])
    assert 403 == (await reader.graph("GET", "me/drive/special/approot"))[0]
    assert account.subject == (await reader.graph("GET", "me"))[1]["id"]
    other = Client(cloud, session, cloud.oauth.grant(account, frozenset({"Files.ReadWrite"}))[0])
    assert 403 == (await other.graph("GET", "me"))[0]


async def test_another_accounts_drive_is_not_found(client: Client) -> None:
    other = client.cloud.drive_of(client.cloud.new_account("Eve"))
    assert 404 == (await client.graph("GET", f"drives/{other.id}/special/approot"))[0]


async def test_a_broken_app_folder_is_mended_by_one_use_of_a_wider_scope(
    client: Client, wide: Client
) -> None:
    client.cloud.app_folder_is_broken = True
    assert 403 == (await client.graph("GET", "me/drive/special/approot"))[0]
    assert 200 == (await wide.graph("GET", "me/drive/special/approot"))[0]
    assert 200 == (await client.graph("GET", "me/drive/special/approot"))[0]


async def test_details_of_an_error_may_be_spelt_in_both_ways(client: Client) -> None:
    for key in ("innerError", "innererror"):
        client.cloud.inner_error_key = key
        _, told = await client.graph("GET", "me/drive/special/approot:/none")
        assert key in told["error"]
        assert "itemNotFound" == code_of(told)


# For people


async def test_a_page_shows_what_lies_there(client: Client, account: Account) -> None:
    await client.graph("PUT", "me/drive/special/approot:/blob:/content", data=b"x")
    status, page = await client.plain("GET", client.cloud.url + "/")
    assert status == 200
    assert account.email in page.decode()
    assert "blob" in page.decode()
