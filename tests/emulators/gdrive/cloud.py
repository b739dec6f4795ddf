"""
Google Drive v3 on a loopback port: the endpoints, over `Drive`, `Uploads` and the discovery document.
"""

import base64
import re
from typing import Any, Final

from aiohttp import web

from tests.emulators.cloud import Account, Cloud, StoredFile
from tests.emulators.emulator import FAULT, Handler
from tests.emulators.faults import Effect
from tests.emulators.gdrive.contract import Method
from tests.emulators.gdrive.drive import FOLDER, Drive
from tests.emulators.gdrive.oauth import DRIVE_FILE, GoogleOAuth
from tests.emulators.gdrive.refusals import Refused, file_not_found, invalid, unauthenticated
from tests.emulators.gdrive.search import parsed
from tests.emulators.gdrive.uploads import Uploads, is_question
from tests.emulators.oauth import CLIENT_ID, CLIENT_SECRET
from tests.emulators.pages import add_pages

_BLOB: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_RANGE: Final = re.compile(r"bytes=(?P<first>\d*)-(?P<last>\d*)")
_ORDERS: Final = {
    "name",
    "createdTime",
    "modifiedTime",
    "folder",
    "quotaBytesUsed",
    "recency",
    "name_natural",
}

_ABOUT: Final = Method("drive.about.get")
_CREATE: Final = Method("drive.files.create")
_DELETE: Final = Method("drive.files.delete")
_EMPTY_TRASH: Final = Method("drive.files.emptyTrash")
_GENERATE_IDS: Final = Method("drive.files.generateIds")
_GET: Final = Method("drive.files.get")
_LIST: Final = Method("drive.files.list")
_UPDATE: Final = Method("drive.files.update")


class DriveEmulator(Cloud):
    """
    A pretend Google Drive with the accounts that a test opens.

    Attributes:
        oauth: its sign-in and tokens.
    """

    kind = "gdrive"
    title = "Google Drive"

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.oauth = GoogleOAuth(self)
        self._drives: dict[str, Drive] = {}
        self._uploads = Uploads(lambda: self.url, self.clock.now, self.new_content)

    # For tests

    def settings(self) -> dict[str, object]:
        """
        Return the plugin's settings that lead here.
        """
        return {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "api_url": f"{self.url}/",
            "authorize_url": f"{self.url}/o/oauth2/v2/auth",
            "token_url": f"{self.url}/token",
            "revoke_url": f"{self.url}/revoke",
        }

    def scopes(self) -> frozenset[str]:
        """
        Return what the plugin asks for.
        """
        return frozenset({DRIVE_FILE})

    def drive(self, account: Account) -> Drive:
        """
        Return the account's files as the API has them.
        """
        if account.subject not in self._drives:
            self._drives[account.subject] = Drive(self, account)
        return self._drives[account.subject]

    def blob_keys(self, account: Account) -> list[str]:
        """
        Return the keys of the blobs that are finished and not in the trash.
        """
        return [
            stored.name
            for stored in account.files.values()
            if _BLOB.fullmatch(stored.name) and not self.drive(account).document(stored)["trashed"]
        ]

    def blob_bytes(self, account: Account, key: str) -> bytes | None:
        """
        Return what is stored under *key*.
        """
        found = [stored for stored in account.files.values() if stored.name == key]
        return found[0].content.read() if found else None

    def remove(self, account: Account, stored: StoredFile) -> None:
        self.drive(account).delete(stored.id)

    def forget_sessions(self) -> None:
        """
        Lose all uploads that are under way, as after a week.
        """
        self._uploads.sessions.clear()

    # What a cloud brings

    def add_routes(self, app: web.Application) -> None:
        router = app.router
        router.add_get(_ABOUT.path, self._dispatching_about())
        router.add_get(_GENERATE_IDS.path, self._endpoint("ids", self._generate_ids))
        router.add_get(_LIST.path, self._endpoint("list", self._list))
        router.add_post(_CREATE.path, self._endpoint("folder", self._create))
        router.add_delete(_EMPTY_TRASH.path, self._endpoint("delete", self._empty_trash))
        router.add_get(_GET.path, self._dispatching_get(), allow_head=False)
        router.add_delete(_DELETE.path, self._endpoint("delete", self._delete))
        router.add_patch(_UPDATE.path, self._endpoint("commit", self._update))
        upload = self._dispatching_upload()
        for path in (*_CREATE.upload_paths, *_UPDATE.upload_paths):
            router.add_route("*", path, upload)
        router.add_route("*", "/o/oauth2/v2/auth", self.oauth.authorize)
        router.add_post("/token", self.served("token", self.oauth.token))
        router.add_post("/revoke", self.served("revoke", self.oauth.revoked))
        router.add_get("/v1/userinfo", self.served("identity", self.oauth.userinfo))
        add_pages(app, self)

    def throttled(self, retry_after_s: int) -> web.Response:
        refused = Refused(403, "userRateLimitExceeded", "User Rate Limit Exceeded.", domain="usageLimits")
        response = refused.response()
        if retry_after_s:
            response.headers["Retry-After"] = str(retry_after_s)
        return response

    def failed(self) -> web.Response:
        return Refused(500, "internalError", "Internal Error").response()

    def token_expired(self) -> web.Response:
        return unauthenticated().response()

    # Dispatching, where one address serves several operations

    def _dispatching_about(self) -> Handler:
        identity, quota = (self._endpoint(name, self._about) for name in ("identity", "quota"))

        async def dispatch(request: web.Request) -> web.StreamResponse:
            is_quota = "storageQuota" in request.query.get("fields", "")
            return await (quota if is_quota else identity)(request)

        return dispatch

    def _dispatching_get(self) -> Handler:
        read, stat = self._endpoint("read", self._read), self._endpoint("stat", self._stat)

        async def dispatch(request: web.Request) -> web.StreamResponse:
            return await (read if request.query.get("alt") == "media" else stat)(request)

        return dispatch

    def _dispatching_upload(self) -> Handler:
        by_name = {
            "put": self._endpoint("put", self._put),
            "begin": self._endpoint("begin", self._begin),
            "append": self._endpoint("append", self._append),
            "resume": self._endpoint("resume", self._resume),
            "abort": self._endpoint("abort", self._abort),
        }

        async def dispatch(request: web.Request) -> web.StreamResponse:
            if "upload_id" in request.query:
                if request.method == "DELETE":
                    name = "abort"
                else:
                    name = "resume" if is_question(request) else "append"
            else:
                name = "begin" if request.query.get("uploadType") == "resumable" else "put"
            return await by_name[name](request)

        return dispatch

    def _endpoint(self, operation: str, handler: Handler) -> Handler:
        async def answering(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except Refused as refused:
                # Read to the end, or the client would see a broken pipe in place of the answer.
                async for _ in self.body(request):
                    pass
                return refused.response()

        return self.served(operation, answering)

    def _checked(
        self, request: web.Request, method: Method, *, upload: bool = False
    ) -> tuple[Drive, dict[str, str]]:
        found = self.oauth.account_of(request)
        if found is None:
            raise unauthenticated()
        account, scopes = found
        return self.drive(account), method.check(request.query, scopes, upload=upload)

    # Endpoints

    async def _about(self, request: web.Request) -> web.StreamResponse:
        drive, query = self._checked(request, _ABOUT)
        if "fields" not in query:
            raise Refused(
                400,
                "required",
                "The 'fields' parameter is required for this method.",
                location=("fields", "parameter"),
            )
        account = drive.account
        quota = {
            "usage": str(account.used),
            "usageInDrive": str(account.used),
            "usageInDriveTrash": "0",
        }
        if account.quota is not None:
            quota["limit"] = str(account.quota)
        user = {
            "kind": "drive#user",
            "displayName": account.name,
            "me": True,
            "permissionId": account.subject,
            "emailAddress": account.email,
        }
        return _ABOUT.answered({"kind": "drive#about", "user": user, "storageQuota": quota}, query)

    async def _generate_ids(self, request: web.Request) -> web.StreamResponse:
        drive, query = self._checked(request, _GENERATE_IDS)
        if query["space"] != "drive":
            raise invalid("space", f"Invalid value: {query['space']}")
        ids = [drive.new_id() for _ in range(int(query["count"]))]
        return _GENERATE_IDS.answered({"kind": "drive#generatedIds", "space": "drive", "ids": ids}, query)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        drive, query = self._checked(request, _LIST)
        matches = parsed(query["q"]) if query.get("q") else lambda _: True
        if query.get("spaces", "drive") != "drive":
            raise invalid("spaces", f"Invalid value: {query['spaces']}")
        found = [document for document in drive.listed(self.listing_lag_s) if matches(document)]
        for order in reversed([order for order in query.get("orderBy", "").split(",") if order]):
            name, _, direction = order.strip().partition(" ")
            if name not in _ORDERS or direction not in {"", "desc"}:
                raise invalid("orderBy", f"Invalid value: {order}")
            found.sort(key=lambda file, name=name: _order(file, name), reverse=bool(direction))
        start = _page_start(query.get("pageToken"))
        end = start + int(query["pageSize"])
        answer: dict[str, Any] = {
            "kind": "drive#fileList",
            "incompleteSearch": False,
            "files": found[start:end],
        }
        if end < len(found):
            answer["nextPageToken"] = base64.urlsafe_b64encode(f"from {end}".encode()).decode()
        return _LIST.answered(answer, query)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        drive, query = self._checked(request, _CREATE)
        metadata = _CREATE.check_body(await _json(request))
        _CREATE.mask(query)
        stored = drive.create(metadata, self.new_content())
        return _CREATE.answered(drive.document(stored), query)

    async def _update(self, request: web.Request) -> web.StreamResponse:
        drive, query = self._checked(request, _UPDATE)
        file_id = request.match_info["fileId"]
        metadata = _UPDATE.check_body(await _json(request)) if request.can_read_body else {}
        _UPDATE.mask(query)
        moves = [
            [part for part in query.get(name, "").split(",") if part]
            for name in ("addParents", "removeParents")
        ]
        if any(moves):
            drive.move(file_id, *moves)
        return _UPDATE.answered(drive.document(drive.update(file_id, metadata)), query)

    async def _stat(self, request: web.Request) -> web.StreamResponse:
        drive, query = self._checked(request, _GET)
        return _GET.answered(drive.document(drive.file(request.match_info["fileId"])), query)

    async def _read(self, request: web.Request) -> web.StreamResponse:
        drive, _ = self._checked(request, _GET)
        stored = drive.file(request.match_info["fileId"])
        if stored.extra["mimeType"] == FOLDER:
            raise Refused(403, "fileNotDownloadable", "Only files with binary content can be downloaded.")
        size = stored.content.size
        span = _span(request.headers.get("Range"), size)
        if span is None:
            refused = Refused(
                416,
                "requestedRangeNotSatisfiable",
                "Request range not satisfiable",
                location=("Range", "header"),
                headers={"Content-Range": f"bytes */{size}"},
            )
            raise refused
        start, end = span
        is_part = "Range" in request.headers
        response = web.StreamResponse(status=206 if is_part else 200)
        response.content_type = stored.extra["mimeType"]
        response.content_length = end - start
        if is_part:
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        fault = request.get(FAULT)
        if fault is not None and fault.effect is Effect.LOSE_ANSWER:
            return response
        await response.prepare(request)
        if fault is not None and fault.effect is Effect.CUT_IN_BODY:
            end = min(end, start + fault.amount)
        for piece in stored.content.pieces(start, end):
            await response.write(piece)
        return response

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        drive, _ = self._checked(request, _DELETE)
        drive.delete(request.match_info["fileId"])
        return web.Response(status=204)

    async def _empty_trash(self, request: web.Request) -> web.StreamResponse:
        drive, _ = self._checked(request, _EMPTY_TRASH)
        for stored in list(drive.account.files.values()):
            if stored.extra.get("trashed") and stored.id in drive.account.files:
                drive.delete(stored.id)
        return web.Response(status=204)

    # Uploads

    async def _put(self, request: web.Request) -> web.StreamResponse:
        method = self._upload_method(request)
        drive, query = self._checked(request, method, upload=True)
        if query.get("uploadType") not in {"media", "multipart"}:
            raise invalid("uploadType", "Invalid upload type.")
        if self.is_cut_in_body(request):
            async for _ in self.body(request):
                pass
            return web.Response()
        return await self._uploads.whole(request, drive, method, query, self.body(request))

    async def _begin(self, request: web.Request) -> web.StreamResponse:
        method = self._upload_method(request)
        drive, query = self._checked(request, method, upload=True)
        return self._uploads.begin(request, drive, method, query, await request.read())

    async def _append(self, request: web.Request) -> web.StreamResponse:
        if request.method not in {"PUT", "POST"}:
            raise web.HTTPMethodNotAllowed(request.method, ["PUT", "POST"])
        return await self._uploads.append(request, self.body(request))

    async def _resume(self, request: web.Request) -> web.StreamResponse:
        return self._uploads.resume(request)

    async def _abort(self, request: web.Request) -> web.StreamResponse:
        return self._uploads.abort(request)

    def _upload_method(self, request: web.Request) -> Method:
        method, wanted = (_UPDATE, "PATCH") if "fileId" in request.match_info else (_CREATE, "POST")
        if request.method != wanted:
            raise file_not_found(request.path)
        return method


async def _json(request: web.Request) -> Any:
    try:
        return await request.json()
    except ValueError:
        raise Refused(400, "parseError", "Parse Error") from None


def _order(file: dict[str, Any], name: str) -> Any:
    match name:
        case "folder":
            return file["mimeType"] != FOLDER
        case "quotaBytesUsed":
            return int(file.get("quotaBytesUsed", 0))
        case "recency":
            return file["modifiedTime"]
        case "name_natural":
            return file["name"]
    return file[name]


def _page_start(token: str | None) -> int:
    if token is None:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token).decode().removeprefix("from "))
    except ValueError:
        raise invalid("pageToken", "Invalid Value") from None


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    """
    Return the bytes that a Range header asks for; all without one; None where there are none such.
    """
    if header is None:
        return 0, size
    found = _RANGE.fullmatch(header)
    if found is None or not (found["first"] or found["last"]):
        return 0, size
    if not found["first"]:
        start, end = max(0, size - int(found["last"])), size
    else:
        start = int(found["first"])
        end = min(size, int(found["last"]) + 1) if found["last"] else size
    return (start, end) if start < end else None
