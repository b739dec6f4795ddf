"""
A pretend Dropbox, as an app that has an app folder sees it: accounts of persons, an API host and a content host.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any, Final

from aiohttp import web

from dropbox import auth, check, common, files, team_common, users, users_common
from tests.emulators.cloud import Account, Cloud, Content, StoredFile
from tests.emulators.dropbox import folder, wire
from tests.emulators.dropbox.oauth import DropboxOAuth
from tests.emulators.dropbox.uploads import Sessions
from tests.emulators.dropbox.wire import Answered, BadInput, Call, Route, RouteError
from tests.emulators.emulator import FAULT, PIECE
from tests.emulators.faults import Effect
from tests.emulators.oauth import CLIENT_ID, CLIENT_SECRET
from tests.emulators.pages import add_pages

SCOPES: Final = frozenset(
    {"account_info.read", "files.content.read", "files.content.write", "files.metadata.read"}
)

MAX_PAYLOAD: Final = 150 << 20


class DropboxEmulator(Cloud):
    """
    Dropbox on two loopback ports, one for each of its hosts.

    Attributes:
        content_url: where bytes are sent and fetched; `url` is the API's, and everything else.
        page_size: the most entries of one page of a listing, whatever was asked for.
        teams: by account, the bytes that its team uses and may use; accounts without are of persons.
    """

    kind = "dropbox"
    title = "Dropbox"

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.oauth = DropboxOAuth(self)
        self.sessions = Sessions(self)
        self.content_url = ""
        self.page_size = 2000
        self.teams: dict[str, tuple[int, int]] = {}
        self._cursors: dict[str, list[Any]] = {}
        self._jobs: dict[str, Any] = {}
        self._changing: set[str] = set()

    # For tests

    def new_account(self, name: str = "Ada", *, quota: int | None = 15 << 30) -> Account:
        account = super().new_account(name, quota=quota)
        del self.accounts[account.subject]
        account.subject = f"dbid:{secrets.token_urlsafe(32)[:35]}"
        self.accounts[account.subject] = account
        return account

    def settings(self) -> dict[str, object]:
        """
        Return the operator's settings of the plugin, for this cloud.
        """
        return {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "api_root": self.url,
            "content_root": self.content_url,
            "web_root": self.url,
        }

    def scopes(self) -> frozenset[str]:
        """
        Return the scopes that the plugin needs.
        """
        return SCOPES

    def blob_bytes(self, account: Account, key: str) -> bytes | None:
        """
        Return what is stored under *key*, or None if nothing is.
        """
        stored = folder.at(account, f"/{key}")
        return None if stored is None else stored.content.read()

    def blob_keys(self, account: Account) -> list[str]:
        """
        Return the keys under which something is stored, sorted.
        """
        return sorted(stored.name for stored in account.files.values() if len(stored.name) == 64)

    def forget_cursors(self) -> None:
        """
        Have all listings that are not at their end begun anew.
        """
        self._cursors.clear()

    # What the base asks for

    def throttled(self, retry_after_s: int) -> web.Response:
        return wire.throttled("too_many_requests", retry_after_s)

    def failed(self) -> web.Response:
        return web.Response(status=500, text="Internal Server Error")

    def token_expired(self) -> web.Response:
        return wire.error_answer(401, {".tag": "expired_access_token"})

    def add_routes(self, app: web.Application) -> None:
        app.router.add_route("*", "/oauth2/authorize", self.oauth.authorize)
        for path in ("/oauth2/token", "/1/oauth2/token"):
            app.router.add_post(path, self.served("token", self.oauth.token))
        for route in self._routes():
            app.router.add_post(f"/2/{route.name}", self._endpoint(route))
        app.router.add_post("/2/{name:.*}", self._unknown)
        add_pages(app, self)

    async def _start(self) -> None:
        await super()._start()
        assert self._runner is not None
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[1][:2]
        self.content_url = f"http://{host}:{port}"

    # Routes

    def _routes(self) -> list[Route]:
        write, read, look, info = (
            "files.content.write",
            "files.content.read",
            "files.metadata.read",
            "account_info.read",
        )
        batch = "upload_session/finish_batch"
        of = files.ROUTES
        return [
            Route("put", "files", of["upload"], write, self._upload),
            Route("begin", "files", of["upload_session/start"], write, self._session_start),
            Route("append", "files", of["upload_session/append:2"], write, self._session_append),
            Route("commit", "files", of["upload_session/finish"], write, self._session_finish),
            Route("commit", "files", of[batch], write, self._finish_batch_later),
            Route("commit", "files", of[f"{batch}:2"], write, self._finish_batch),
            Route("commit", "files", of[f"{batch}/check"], write, self._finish_batch_check),
            Route("read", "files", of["download"], read, self._download),
            Route("stat", "files", of["get_metadata"], look, self._get_metadata),
            Route("list", "files", of["list_folder"], look, self._list_folder),
            Route("list", "files", of["list_folder/continue"], look, self._list_folder_continue),
            Route("delete", "files", of["delete:2"], write, self._delete),
            Route("delete", "files", of["permanently_delete"], "files.permanent_delete", self._purge),
            Route("quota", "users", users.ROUTES["get_space_usage"], info, self._space_usage),
            Route("identity", "users", users.ROUTES["get_current_account"], info, self._current_account),
            Route("identity", "check", check.ROUTES["user"], info, self._check_user),
            Route("revoke", "auth", auth.ROUTES["token/revoke"], None, self._revoke),
        ]

    def _endpoint(self, route: Route) -> Any:
        async def called(request: web.Request) -> web.StreamResponse:
            try:
                result = await self._called(route, request)
            except BadInput as bad:
                return web.Response(
                    status=400, text=f'Error in call to API function "{route.stone.name}": {bad}'
                )
            except RouteError as refused:
                return wire.error_of_route(route, refused.error)
            except Answered as answered:
                return answered.response
            finally:
                # Read to the end, or the client would see a broken pipe in place of the answer.
                async for _ in request.content.iter_chunked(PIECE):
                    pass
            return result if isinstance(result, web.StreamResponse) else wire.result_answer(route, result)

        endpoint = self.served(route.operation, called)
        # An append of nothing is how one asks for the offset.
        asking = self.served("resume", called)

        async def served(request: web.Request) -> web.StreamResponse:
            is_question = route.operation == "append" and request.content_length == 0
            return await (asking if is_question else endpoint)(request)

        return served

    async def _called(self, route: Route, request: web.Request) -> Any:
        assert request.transport is not None
        port = request.transport.get_extra_info("sockname")[1]
        if port != int({"api": self.url, "content": self.content_url}[route.host].rpartition(":")[2]):
            raise BadInput(f"You must call this function at the {route.host} host.")
        account = self._authorized(route, request)
        body, content = b"", None
        if route.style == "rpc":
            body = await request.read()
        arg = wire.argument(route, request, body)
        if route.style == "upload":
            content = await self._received(request)
        return await route.handler(Call(request, account, arg, content))

    def _authorized(self, route: Route, request: web.Request) -> Account:
        if "Authorization" not in request.headers:
            raise BadInput('Must provide HTTP header "Authorization" or URL parameter "authorization".')
        if not request.headers["Authorization"].startswith(f"Bearer {self.oauth.token_prefix}"):
            raise BadInput("The given OAuth 2 access token is malformed.")
        known = self.oauth.account_of(request)
        if known is None:
            if self.oauth.is_expired(request):
                raise Answered(self.token_expired())
            raise Answered(wire.error_answer(401, {".tag": "invalid_access_token"}))
        account, scopes = known
        if route.scope is not None and route.scope not in scopes:
            error = {".tag": "missing_scope", "required_scope": route.scope}
            raise Answered(wire.error_answer(401, error))
        return account

    async def _received(self, request: web.Request) -> Content:
        content = self.new_content()
        pieces: AsyncIterator[bytes] = self.body(request)
        async for piece in pieces:
            content.append(piece)
        if content.size > MAX_PAYLOAD:
            raise BadInput("The request payload must be at most 150 MiB.")
        if self.is_cut_in_body(request):
            # The connection breaks before the answer, and nothing of what came is kept.
            raise Answered(web.Response(status=499))
        return content

    async def _unknown(self, request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=400, text=f'Unknown API function: "{request.match_info["name"]}"')

    # Writing

    async def _upload(self, call: Call) -> Any:
        content = _content(call)
        if call.arg.content_hash not in (None, folder.content_hash(content)):
            raise RouteError(files.UploadError.content_hash_mismatch)
        try:
            return folder.metadata(await self._saved(call.account, content, call.arg))
        except RouteError as refused:
            failed = files.UploadWriteFailed(refused.error, "pid_upload_session:" + secrets.token_urlsafe(32))
            raise RouteError(files.UploadError.path(failed)) from None

    async def _session_start(self, call: Call) -> Any:
        return self.sessions.start(call.account, call.arg, _content(call))

    async def _session_append(self, call: Call) -> None:
        fault = call.request.get(FAULT)
        is_cut_short = fault is not None and fault.effect is Effect.TAKE_LESS
        self.sessions.append(call.account, call.arg, _content(call), is_cut_short=is_cut_short)

    async def _session_finish(self, call: Call) -> Any:
        return await self._finished(call.account, call.arg, _content(call), in_batch=False)

    async def _finish_batch(self, call: Call) -> Any:
        entries = []
        for entry in call.arg.entries:
            kind = files.UploadSessionFinishBatchResultEntry
            try:
                entries.append(kind.success(await self._finished(call.account, entry, None, in_batch=True)))
            except RouteError as refused:
                entries.append(kind.failure(refused.error))
        return files.UploadSessionFinishBatchResult(entries)

    async def _finish_batch_later(self, call: Call) -> Any:
        job = "dbjid:" + secrets.token_urlsafe(32)
        self._jobs[job] = await self._finish_batch(call)
        return files.UploadSessionFinishBatchLaunch.async_job_id(job)

    async def _finish_batch_check(self, call: Call) -> Any:
        job = self._jobs.get(call.arg.async_job_id)
        if job is None:
            raise BadInput("async_job_id: unknown")
        return files.UploadSessionFinishBatchJobStatus.complete(job)

    async def _finished(self, account: Account, arg: Any, content: Content | None, *, in_batch: bool) -> Any:
        session = self.sessions.finished(account, arg, content, in_batch=in_batch)
        try:
            stored = await self._saved(account, session.content, arg.commit)
        except RouteError as refused:
            # The data stays: the same session may be finished again, at another path or when there is room.
            raise RouteError(files.UploadSessionFinishError.path(refused.error)) from None
        session.is_saved = True
        return folder.metadata(stored)

    async def _saved(self, account: Account, content: Content, commit: Any) -> StoredFile:
        async with _OneAtATime(self._changing, account):
            return folder.save(self, account, content, commit)

    async def _delete(self, call: Call) -> Any:
        error = files.DeleteError
        async with _OneAtATime(self._changing, call.account):
            stored = folder.at(call.account, call.arg.path)
            inside = folder.below(call.account, call.arg.path)
            if stored is None and not inside:
                raise RouteError(error.path_lookup(files.LookupError.not_found))
            if stored is not None and call.arg.parent_rev not in (None, stored.extra["rev"]):
                conflict = files.WriteError.conflict(files.WriteConflictError.file)
                raise RouteError(error.path_write(conflict))
            for gone in inside if stored is None else [stored]:
                # Not for good: for thirty days its owner can bring it back.
                call.account.trash[gone.id] = call.account.files.pop(gone.id)
        told = folder.folder_metadata(call.arg.path) if stored is None else folder.metadata(stored)
        return files.DeleteResult(told)

    async def _purge(self, call: Call) -> Any:
        error = {".tag": "invalid_account_type", "invalid_account_type": {".tag": "endpoint"}}
        raise Answered(wire.error_answer(403, error))

    # Reading

    async def _download(self, call: Call) -> web.StreamResponse:
        stored = folder.at(call.account, call.arg.path)
        if stored is None:
            raise RouteError(files.DownloadError.path(self._why_no_file(call.account, call.arg.path)))
        size = stored.content.size
        headers = {
            "Dropbox-API-Result": wire.result_header(files.download, folder.metadata(stored)),
            "ETag": f'W/"{stored.extra["rev"]}"',
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        try:
            wanted = call.request.http_range
        except ValueError:
            # As if none had been asked for (RFC 9110 §14.2).
            wanted = slice(None)
        if wanted.start is None and wanted.stop is None:
            start, end, status = 0, size, 200
        else:
            start, end, _ = wanted.indices(size)
            status = 206
            if start >= size:
                unsatisfied = {"Content-Range": f"bytes */{size}"}
                raise Answered(web.Response(status=416, headers=unsatisfied))
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = end - start
        await response.prepare(call.request)
        fault = call.request.get(FAULT)
        if fault is not None and fault.effect is Effect.CUT_IN_BODY:
            for piece in stored.content.pieces(start, min(end, start + fault.amount)):
                await response.write(piece)
            # What was promised does not come, and the connection ends.
            return response
        for piece in stored.content.pieces(start, end):
            await response.write(piece)
        await response.write_eof()
        return response

    async def _get_metadata(self, call: Call) -> Any:
        stored = folder.at(call.account, call.arg.path)
        if stored is not None:
            return folder.metadata(stored)
        if folder.below(call.account, call.arg.path):
            return folder.folder_metadata(call.arg.path)
        raise RouteError(files.GetMetadataError.path(files.LookupError.not_found))

    async def _list_folder(self, call: Call) -> Any:
        path = call.arg.path
        if path == "/":
            raise BadInput('path: Specify the root folder as an empty string rather than as "/".')
        if path and not folder.below(call.account, path):
            reason = files.LookupError.not_found
            if folder.at(call.account, path) is not None:
                reason = files.LookupError.not_folder
            raise RouteError(files.ListFolderError.path(reason))
        found = list(folder.entries(call.account, path, is_recursive=bool(call.arg.recursive)))
        return self._page(found, call.arg.limit or self.page_size)

    async def _list_folder_continue(self, call: Call) -> Any:
        limit, _, cursor = call.arg.cursor.partition(":")
        if cursor not in self._cursors:
            raise RouteError(files.ListFolderContinueError.reset)
        return self._page(self._cursors[cursor], int(limit))

    def _page(self, found: list[Any], limit: int) -> Any:
        size = min(limit, self.page_size)
        cursor = secrets.token_urlsafe(48)
        self._cursors[cursor] = found[size:]
        return files.ListFolderResult(found[:size], f"{limit}:{cursor}", len(found) > size)

    def _why_no_file(self, account: Account, path: str) -> Any:
        return files.LookupError.not_file if folder.below(account, path) else files.LookupError.not_found

    # Accounts

    async def _space_usage(self, call: Call) -> Any:
        account = call.account
        allocation = users.SpaceAllocation
        if account.subject in self.teams:
            used, allocated = self.teams[account.subject]
            limit_type = team_common.MemberSpaceLimitType.off
            team = users.TeamSpaceAllocation(used, allocated, 0, limit_type, account.used)
            return users.SpaceUsage(account.used, allocation.team(team))
        limit = (1 << 50) if account.quota is None else account.quota
        return users.SpaceUsage(account.used, allocation.individual(users.IndividualSpaceAllocation(limit)))

    async def _current_account(self, call: Call) -> Any:
        account = call.account
        name = users.Name(account.name, "Test", account.name, f"{account.name} Test", account.name[:1])
        return users.FullAccount(
            account_id=account.subject,
            name=name,
            email=account.email,
            email_verified=True,
            disabled=False,
            locale="en",
            referral_link="https://www.dropbox.com/referrals/none",
            is_paired=False,
            account_type=users_common.AccountType.basic,
            root_info=common.UserRootInfo("1", "1"),
        )

    async def _check_user(self, call: Call) -> Any:
        return check.EchoResult(call.arg.query)

    async def _revoke(self, call: Call) -> None:
        self.oauth.revoke_token(call.request.headers["Authorization"].partition(" ")[2])


class _OneAtATime:
    """
    An account's changes, of which Dropbox makes one at a time and refuses those that come meanwhile.
    """

    def __init__(self, changing: set[str], account: Account) -> None:
        self._changing = changing
        self._subject = account.subject

    async def __aenter__(self) -> None:
        if self._subject in self._changing:
            raise Answered(wire.throttled("too_many_write_operations", 1))
        self._changing.add(self._subject)
        # Long enough for another request to come in.
        for _ in range(10):
            await asyncio.sleep(0)

    async def __aexit__(self, *_: object) -> None:
        self._changing.discard(self._subject)


def _content(call: Call) -> Content:
    assert call.content is not None
    return call.content
