"""
That the pretend Google Drive refuses what Drive refuses.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from tests.emulators.cloud import Account
from tests.emulators.faults import Effect
from tests.emulators.gdrive import DRIVE_FILE, DriveEmulator
from tests.emulators.gdrive.drive import FOLDER
from tests.emulators.gdrive.uploads import GRID
from tests.emulators.oauth import CLIENT_ID, CLIENT_SECRET

FILES = "/drive/v3/files"
UPLOADS = "/upload/drive/v3/files"


class Caller:
    """
    Speaks to Drive by hand, as a program that an account has granted ``drive.file``.
    """

    def __init__(self, cloud: DriveEmulator, account: Account, http: aiohttp.ClientSession) -> None:
        self.cloud = cloud
        self.account = account
        self.http = http
        self.access, self.refresh = cloud.oauth.grant(account, cloud.scopes())

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
        """
        Return status, headers and body of an answer.
        """
        url = path if path.startswith("http") else self.cloud.url + path
        headers = {"Authorization": f"Bearer {self.access}", **options.pop("headers", {})}
        async with self.http.request(
            method, url, headers=headers, allow_redirects=False, **options
        ) as answer:
            body = await answer.read()
            is_json = answer.content_type == "application/json"
            return answer.status, answer.headers, json.loads(body) if is_json else body

    async def reason(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        """
        Return status and reason of an answer that is an error.
        """
        status, _, body = await self.call(method, path, **options)
        return status, body["error"]["errors"][0]["reason"]

    async def made(self, name: str = "file", content: bytes = b"", **metadata: Any) -> str:
        """
        Make a file and return its id.
        """
        stored = self.cloud.new_content()
        stored.append(content)
        return self.cloud.drive(self.account).create({"name": name, **metadata}, stored).id

    async def begun(self, **metadata: Any) -> str:
        """
        Begin a resumable upload and return its URL.
        """
        status, headers, body = await self.call(
            "POST", UPLOADS, params={"uploadType": "resumable"}, json={"name": "large", **metadata}
        )
        assert (200, b"") == (status, body)
        return str(headers["Location"])

    async def sent(self, url: str, start: int, content: bytes, total: object, *, method: str = "PUT") -> Any:
        """
        Send a part without a token: the URL is permission enough.
        """
        span = f"bytes {start}-{start + len(content) - 1}/{total}"
        async with self.http.request(
            method, url, data=content, headers={"Content-Range": span}, allow_redirects=False
        ) as answer:
            return answer.status, answer.headers.get("Range"), await answer.read()

    async def asked(self, url: str, total: object = "*") -> Any:
        """
        Ask how far an upload has come.
        """
        async with self.http.put(
            url, headers={"Content-Range": f"bytes */{total}"}, allow_redirects=False
        ) as answer:
            return answer.status, answer.headers.get("Range")


@pytest.fixture
def cloud() -> Iterator[DriveEmulator]:
    with DriveEmulator() as cloud:
        yield cloud


@pytest.fixture
async def drive(cloud: DriveEmulator) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as http:
        yield Caller(cloud, cloud.new_account(), http)


# What the discovery document says


@pytest.mark.parametrize(
    ("path", "params"),
    [
        (FILES, {"pageSize": "0"}),
        (FILES, {"pageSize": "1001"}),
        (FILES, {"pageSize": "ten"}),
        (FILES, {"page": "1"}),
        (FILES, {"fields": "files(id,nome)"}),
        (FILES, {"fields": "files(id"}),
        (FILES, {"q": "name = x"}),
        (FILES, {"q": "nome = 'x'"}),
        (FILES, {"q": "name = 'x' and"}),
        (FILES, {"q": "name = 'it's'"}),
        (FILES, {"orderBy": "size"}),
        (FILES, {"spaces": "photos"}),
        (f"{FILES}/generateIds", {"count": "1001"}),
        ("/drive/v3/about", {"fields": "storageQuota(size)"}),
    ],
)
async def test_a_parameter_that_cannot_be_is_refused(
    drive: Caller, path: str, params: dict[str, str]
) -> None:
    status, _, body = await drive.call("GET", path, params=params)
    assert status == 400
    assert body["error"]["errors"][0]["reason"] in {"invalid", "badRequest"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"nome": "x"}, (400, "badRequest")),
        ({"name": 5}, (400, "badRequest")),
        ({"parents": "root"}, (400, "badRequest")),
        ({"appProperties": {"a": 5}}, (400, "badRequest")),
        ({"trashed": "yes"}, (400, "badRequest")),
        ({"size": "5"}, (403, "fieldNotWritable")),
        ({"md5Checksum": "0" * 32}, (403, "fieldNotWritable")),
        ([], (400, "parseError")),
        ({"parents": ["nobody"]}, (404, "notFound")),
    ],
)
async def test_a_body_that_cannot_be_is_refused(drive: Caller, body: Any, expected: tuple[int, str]) -> None:
    assert expected == await drive.reason("POST", FILES, json=body)
    params = {"uploadType": "resumable"}
    assert expected == await drive.reason("POST", UPLOADS, json=body, params=params)


async def test_only_the_fields_that_were_asked_for_come(drive: Caller) -> None:
    new = await drive.made("a", b"12345", appProperties={"k": "v"})
    _, _, body = await drive.call("GET", f"{FILES}/{new}")
    assert {"kind", "id", "name", "mimeType"} == set(body)
    _, _, body = await drive.call("GET", f"{FILES}/{new}", params={"fields": "size,appProperties/k"})
    assert {"size": "5", "appProperties": {"k": "v"}} == body
    _, _, body = await drive.call("GET", FILES, params={"fields": "files(id,sha256Checksum)"})
    assert {"files": [{"id": new, "sha256Checksum": hashlib.sha256(b"12345").hexdigest()}]} == body
    _, _, body = await drive.call("GET", f"{FILES}/{new}", params={"fields": "*"})
    assert {"md5Checksum", "createdTime", "parents", "trashed"} <= set(body)


async def test_fields_are_wanted_for_what_is_told_about_the_account(drive: Caller) -> None:
    assert (400, "required") == await drive.reason("GET", "/drive/v3/about")
    await drive.made("a", b"12345")
    _, _, body = await drive.call(
        "GET", "/drive/v3/about", params={"fields": "storageQuota,user/emailAddress"}
    )
    assert {"limit": str(15 << 30), "usage": "5"}.items() <= body["storageQuota"].items()
    assert {"emailAddress": drive.account.email} == body["user"]
    drive.account.quota = None
    _, _, body = await drive.call("GET", "/drive/v3/about", params={"fields": "storageQuota"})
    assert "limit" not in body["storageQuota"]


# Who may


async def test_a_token_that_is_none_is_refused(drive: Caller) -> None:
    assert (401, "authError") == await drive.reason("GET", FILES, headers={"Authorization": "Bearer x"})
    assert (401, "authError") == await drive.reason("GET", FILES, headers={"Authorization": ""})
    drive.cloud.oauth.expire_access_tokens()
    assert (401, "authError") == await drive.reason("GET", FILES)


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", FILES, "https://www.googleapis.com/auth/drive.readonly"),
        ("DELETE", f"{FILES}/x", "https://www.googleapis.com/auth/drive.metadata"),
        ("GET", FILES, "openid"),
        ("POST", f"{UPLOADS}?uploadType=resumable", "https://www.googleapis.com/auth/drive.readonly"),
        # Deleting for good is what a narrow scope allows; emptying the trash is not.
        ("DELETE", f"{FILES}/trash", DRIVE_FILE),
    ],
)
async def test_a_scope_that_does_not_cover_the_method_is_refused(
    drive: Caller, method: str, path: str, scope: str
) -> None:
    drive.access, _ = drive.cloud.oauth.grant(drive.account, frozenset({scope}))
    status, _, body = await drive.call(method, path, json={} if method == "POST" else None)
    assert status == 403
    assert "insufficientPermissions" == body["error"]["errors"][0]["reason"]
    assert "ACCESS_TOKEN_SCOPE_INSUFFICIENT" == body["error"]["details"][0]["reason"]


async def test_another_account_s_files_are_not_there(drive: Caller) -> None:
    new = await drive.made()
    other = Caller(drive.cloud, drive.cloud.new_account(), drive.http)
    assert (404, "notFound") == await other.reason("GET", f"{FILES}/{new}")
    assert (404, "notFound") == await other.reason("DELETE", f"{FILES}/{new}")
    _, _, body = await other.call("GET", FILES)
    assert [] == body["files"]


# Files


async def test_names_need_not_differ_but_ids_are_used_once(drive: Caller) -> None:
    _, _, body = await drive.call("GET", f"{FILES}/generateIds", params={"count": "2"})
    first, second = body["ids"]
    for new in (first, second):
        status, _, body = await drive.call("POST", FILES, json={"id": new, "name": "same"})
        assert (200, new) == (status, body["id"])
    assert (409, "fileIdInUse") == await drive.reason("POST", FILES, json={"id": first, "name": "same"})
    await drive.call("DELETE", f"{FILES}/{first}")
    assert (409, "fileIdInUse") == await drive.reason("POST", FILES, json={"id": first, "name": "same"})
    status, _, _ = await drive.call("POST", FILES, json={"id": "of-my-own-making", "name": "x"})
    assert 400 <= status < 500


async def test_a_name_is_searched_without_regard_to_case_and_quotes_are_escaped(drive: Caller) -> None:
    await drive.made("It's")
    await drive.made("other")

    async def found(query: str) -> list[str]:
        _, _, body = await drive.call("GET", FILES, params={"q": query})
        return [file["name"] for file in body["files"]]

    assert ["It's"] == await found("name = 'it\\'s' and trashed = false")
    assert ["other"] == await found("not name = 'It\\'s'")
    assert {"It's", "other"} == set(await found("(name = 'other' or name contains 'it') and trashed=false"))
    assert [] == await found("trashed = true")
    assert ["other"] == await found(
        "mimeType != 'x' and name = 'other' and modifiedTime > '2020-01-01T00:00:00'"
    )


async def test_a_listing_comes_in_pages(drive: Caller) -> None:
    made = {await drive.made(str(number)) for number in range(7)}
    found: list[str] = []
    params = {"pageSize": "3", "orderBy": "createdTime"}
    pages = 0
    while True:
        _, _, body = await drive.call("GET", FILES, params=params)
        found += [file["id"] for file in body["files"]]
        pages += 1
        if "nextPageToken" not in body:
            break
        params["pageToken"] = body["nextPageToken"]
    assert (3, 7, made) == (pages, len(found), set(found))
    assert 400 == (await drive.call("GET", FILES, params={"pageToken": "?"}))[0]


async def test_a_listing_lags_and_an_id_does_not(drive: Caller) -> None:
    drive.cloud.listing_lag_s = 60
    new = await drive.made("a")

    async def names() -> list[str]:
        _, _, body = await drive.call("GET", FILES)
        return [file["name"] for file in body["files"]]

    assert [] == await names()
    assert 200 == (await drive.call("GET", f"{FILES}/{new}"))[0]
    drive.cloud.clock.advance(60)
    assert ["a"] == await names()
    await drive.call("PATCH", f"{FILES}/{new}", json={"name": "b"})
    assert ["a"] == await names()
    drive.cloud.clock.advance(60)
    assert ["b"] == await names()
    assert 204 == (await drive.call("DELETE", f"{FILES}/{new}"))[0]
    assert ["b"] == await names()
    assert 404 == (await drive.call("GET", f"{FILES}/{new}"))[0]
    drive.cloud.clock.advance(60)
    assert [] == await names()


@pytest.mark.parametrize(
    ("asked", "status", "content", "told"),
    [
        (None, 200, b"0123456789", None),
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
    ],
)
async def test_content_comes_whole_or_by_range(
    drive: Caller, asked: str | None, status: int, content: bytes, told: str | None
) -> None:
    new = await drive.made("a", b"0123456789")
    headers = {} if asked is None else {"Range": asked}
    answer = await drive.call("GET", f"{FILES}/{new}", params={"alt": "media"}, headers=headers)
    assert (status, content, told) == (answer[0], answer[2], answer[1].get("Content-Range"))


@pytest.mark.parametrize(("content", "asked"), [(b"", "bytes=0-0"), (b"01", "bytes=2-3")])
async def test_a_range_of_nothing_cannot_be_had(drive: Caller, content: bytes, asked: str) -> None:
    new = await drive.made("a", content)
    status, headers, _ = await drive.call(
        "GET", f"{FILES}/{new}", params={"alt": "media"}, headers={"Range": asked}
    )
    assert (416, f"bytes */{len(content)}") == (status, headers["Content-Range"])


async def test_the_trash_counts_and_takes_a_folder_s_content_with_it(drive: Caller) -> None:
    folder = await drive.made("f", mimeType=FOLDER)
    new = await drive.made("a", b"12345", parents=[folder])
    await drive.call("PATCH", f"{FILES}/{folder}", json={"trashed": True})
    _, _, body = await drive.call("GET", f"{FILES}/{new}", params={"fields": "trashed,explicitlyTrashed"})
    assert {"trashed": True, "explicitlyTrashed": False} == body
    assert 5 == drive.account.used
    await drive.call("DELETE", f"{FILES}/{folder}")
    assert {} == drive.account.files


async def test_private_properties_are_merged_and_cleared_by_null(drive: Caller) -> None:
    new = await drive.made("a", appProperties={"a": "1", "b": "2"})
    params = {"fields": "appProperties"}
    _, _, body = await drive.call(
        "PATCH", f"{FILES}/{new}", json={"appProperties": {"a": None, "c": "3"}}, params=params
    )
    assert {"b": "2", "c": "3"} == body["appProperties"]
    query = "appProperties has { key='c' and value='3' }"
    _, _, body = await drive.call("GET", FILES, params={"q": query})
    assert [new] == [file["id"] for file in body["files"]]


# Uploads


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_resumable_upload_goes_on_where_drive_has_got_to(drive: Caller, method: str) -> None:
    content = bytes(range(256)) * 2048 + b"end"
    url = await drive.begun(name="a")
    assert (308, None) == await drive.asked(url)
    answer = await drive.sent(url, 0, content[:GRID], len(content), method=method)
    assert (308, f"bytes=0-{GRID - 1}") == answer[:2]
    assert answer[:2] == await drive.asked(url, len(content))
    # What is stored already may come again.
    answer = await drive.sent(url, 0, content[: 2 * GRID], "*", method=method)
    assert (308, f"bytes=0-{2 * GRID - 1}") == answer[:2]
    assert {} == drive.account.files
    status, _, body = await drive.sent(url, 2 * GRID, content[2 * GRID :], len(content), method=method)
    new = json.loads(body)["id"]
    assert (200, content) == (status, drive.account.files[new].content.read())
    assert (200, None) == await drive.asked(url)
    status, _, body = await drive.sent(url, 2 * GRID, content[2 * GRID :], len(content), method=method)
    assert (200, new) == (status, json.loads(body)["id"])
    assert 1 == len(drive.account.files)


@pytest.mark.parametrize(
    ("start", "length", "total"),
    [
        (0, GRID + 1, "*"),
        (0, 1000, 10_000),
        (GRID, GRID, "*"),
        (0, 2000, 1000),
    ],
)
async def test_a_part_off_the_grid_or_behind_a_gap_is_refused(
    drive: Caller, start: int, length: int, total: object
) -> None:
    url = await drive.begun()
    assert 400 == (await drive.sent(url, start, bytes(length), total))[0]
    assert (308, None) == await drive.asked(url)


async def test_a_file_of_nothing_is_uploaded_without_a_range(drive: Caller) -> None:
    url = await drive.begun()
    status, _, _ = await drive.call("PUT", url, data=b"")
    assert 200 == status
    [stored] = drive.account.files.values()
    assert 0 == stored.content.size


async def test_a_session_lives_a_week(drive: Caller) -> None:
    url = await drive.begun()
    drive.cloud.clock.advance(7 * 86_400 - 60)
    assert 308 == (await drive.sent(url, 0, bytes(GRID), "*"))[0]
    drive.cloud.clock.advance(60)
    assert 404 == (await drive.sent(url, GRID, bytes(GRID), "*"))[0]
    assert 404 == (await drive.asked(url))[0]
    assert 404 == (await drive.asked(url + "x"))[0]


async def test_a_session_can_be_cancelled(drive: Caller) -> None:
    url = await drive.begun()
    assert 499 == (await drive.call("DELETE", url))[0]
    assert 404 == (await drive.asked(url))[0]


async def test_faults_leave_what_they_say(drive: Caller) -> None:
    faults = drive.cloud.faults
    url = await drive.begun()
    faults.order("append", Effect.TAKE_LESS, amount=GRID + 5)
    assert (308, f"bytes=0-{GRID - 1}") == (await drive.sent(url, 0, bytes(3 * GRID), "*"))[:2]
    faults.order("append", Effect.CUT_IN_BODY, amount=GRID)
    with pytest.raises(aiohttp.ClientError):
        await drive.sent(url, GRID, bytes(3 * GRID), "*", method="POST")
    assert (308, f"bytes=0-{2 * GRID - 1}") == await drive.asked(url)
    faults.order("append", Effect.LOSE_ANSWER)
    with pytest.raises(aiohttp.ClientError):
        await drive.sent(url, 2 * GRID, b"end", 2 * GRID + 3, method="POST")
    assert 1 == len(drive.account.files)
    faults.order("list", Effect.THROTTLE, amount=17)
    status, headers, body = await drive.call("GET", FILES)
    assert (403, "17") == (status, headers["Retry-After"])
    assert "userRateLimitExceeded" == body["error"]["errors"][0]["reason"]
    assert faults.are_spent


async def test_no_room_is_told_at_the_beginning_if_the_size_is_and_else_at_the_end(drive: Caller) -> None:
    drive.account.quota = 1000
    headers = {"X-Upload-Content-Length": "1001"}
    params = {"uploadType": "resumable"}
    full = (403, "storageQuotaExceeded")
    assert full == await drive.reason("POST", UPLOADS, json={}, params=params, headers=headers)
    url = await drive.begun()
    status, _, body = await drive.sent(url, 0, bytes(1001), 1001)
    assert full == (status, json.loads(body)["error"]["errors"][0]["reason"])


@pytest.mark.parametrize("end_of_line", ["\r\n", "\n"])
async def test_a_small_file_comes_with_its_metadata(drive: Caller, end_of_line: str) -> None:
    content = b"\r\n\n\r--not a boundary\r\n\r"
    lines = ["--b", "Content-Type: application/json", "", '{"name": "a"}', "--b", "Content-Type: x/y", "", ""]
    body = end_of_line.join(lines).encode() + content + f"{end_of_line}--b--".encode()
    status, _, answer = await drive.call(
        "POST",
        UPLOADS,
        params={"uploadType": "multipart", "fields": "id,size,md5Checksum"},
        data=body,
        headers={"Content-Type": 'multipart/related; boundary="b"'},
    )
    assert status == 200
    assert hashlib.md5(content).hexdigest() == answer["md5Checksum"]
    assert content == drive.account.files[answer["id"]].content.read()


# OAuth


async def test_both_ways_of_naming_the_client_work_and_a_refresh_brings_no_refresh_token(
    drive: Caller,
) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": drive.refresh}
    client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    token_url = f"{drive.cloud.url}/token"
    async with drive.http.post(token_url, data={**form, **client}) as answer:
        first = await answer.json()
    headers = {"Authorization": aiohttp.encode_basic_auth(CLIENT_ID, CLIENT_SECRET)}
    async with drive.http.post(token_url, data=form, headers=headers) as answer:
        second = await answer.json()
    for document in (first, second):
        assert "refresh_token" not in document
        assert (DRIVE_FILE, "Bearer") == (document["scope"], document["token_type"])
    async with drive.http.post(token_url, data={**form, **client, "client_secret": "wrong"}) as answer:
        assert (401, "invalid_client") == (answer.status, (await answer.json())["error"])


async def test_a_revoked_grant_takes_all_of_the_account_s_with_it(drive: Caller) -> None:
    beside, _ = drive.cloud.oauth.grant(drive.account, frozenset({"openid", "email"}))
    async with drive.http.post(f"{drive.cloud.url}/revoke", data={"token": drive.refresh}) as answer:
        assert 200 == answer.status
    assert (401, "authError") == await drive.reason("GET", FILES)
    status, _, _ = await drive.call("GET", "/v1/userinfo", headers={"Authorization": f"Bearer {beside}"})
    assert status == 401
    async with drive.http.post(f"{drive.cloud.url}/revoke", data={"token": drive.refresh}) as answer:
        assert 400 == answer.status
    form = {
        "grant_type": "refresh_token",
        "refresh_token": drive.refresh,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }
    async with drive.http.post(f"{drive.cloud.url}/token", data=form) as answer:
        assert (400, "invalid_grant") == (answer.status, (await answer.json())["error"])
