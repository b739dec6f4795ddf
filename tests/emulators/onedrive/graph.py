"""
A pretend Microsoft Graph v1.0 with its OneDrive and its sign-in, strict where the real one is.
"""

import urllib.parse
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from aiohttp import web

from tests.emulators.cloud import Account, Cloud, StoredFile
from tests.emulators.emulator import Handler
from tests.emulators.oauth import CLIENT_ID, CLIENT_SECRET
from tests.emulators.onedrive.answers import (
    DENIED,
    FULL,
    NOT_FOUND,
    TAKEN,
    Address,
    Refused,
    address,
    refusal,
    require_name,
)
from tests.emulators.onedrive.drives import Drive, Folder, Item, NameTaken
from tests.emulators.onedrive.identity import MicrosoftIdentity
from tests.emulators.onedrive.schema import checked, violations
from tests.emulators.onedrive.transfers import Transfers
from tests.emulators.pages import add_pages

APP_FOLDER_SCOPE: Final = "Files.ReadWrite.AppFolder"
WIDE_SCOPES: Final = frozenset({"Files.ReadWrite", "Files.ReadWrite.All"})
SIMPLE_PUT_MOST: Final = 250 << 20
ADDRESS: Final = web.RequestKey("address", Address)

Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]


class GraphEmulator(Cloud):
    """
    Graph on one port, uploads and downloads on another.

    Attributes:
        oauth: the sign-in.
        transfers: what goes on at the other port.
        is_business: whether drives made from now on are of work accounts.
        app_folder_is_broken: whether accounts that never granted more than the app folder get 403, as new ones do.
        broken_code: what that 403 says; ``serviceReadOnly`` has been seen as well.
        app_folder_may_ask_quota: whether the app folder's scope is enough for the quota.
        tells_hashes: whether files come with their hashes.
        inner_error_key: how the details of an error are spelt.
        page_size: the most items of one page.
    """

    kind = "onedrive"
    title = "Microsoft OneDrive"

    def __init__(self, *, port: int = 0, is_business: bool = False) -> None:
        super().__init__(port=port)
        self.oauth = MicrosoftIdentity(self)
        self.transfers = Transfers(self)
        self.is_business = is_business
        self.app_folder_is_broken = False
        self.broken_code = "accessDenied"
        self.app_folder_may_ask_quota = True
        self.tells_hashes = True
        self.inner_error_key = "innerError"
        self.page_size = 1000
        self._drives: dict[str, Drive] = {}
        self._repaired: set[str] = set()
        self._transfer_runner: web.AppRunner | None = None
        self._endpoints: dict[tuple[str, str], Handler] = {}

    def add_routes(self, app: web.Application) -> None:
        add_pages(app, self)
        app.router.add_get("/{tenant}/v2.0/.well-known/openid-configuration", self.oauth.discovery)
        app.router.add_route("*", "/{tenant}/oauth2/v2.0/authorize", self.oauth.authorize)
        app.router.add_post("/{tenant}/oauth2/v2.0/token", self.served("token", self.oauth.token))
        app.router.add_get("/v1.0/me", self.served("identity", self._answering(self._me)))
        app.router.add_route("*", "/v1.0/{tail:.+}", self._dispatch)
        for method, action, operation, endpoint in (
            ("GET", "drive", "quota", self._drive_document),
            ("GET", "drives", "quota", self._drives_document),
            ("GET", "item", "stat", self._item),
            ("PATCH", "item", "commit", self._change),
            ("PUT", "item", "commit", self._complete),
            ("DELETE", "item", "delete", self._delete),
            ("POST", "permanentDelete", "delete", self._delete_for_good),
            ("GET", "children", "list", self._children),
            ("POST", "children", "put", self._make_folder),
            ("GET", "content", "stat", self._content),
            ("PUT", "content", "put", self._put),
            ("POST", "createUploadSession", "begin", self._begin),
        ):
            self._endpoints[method, action] = self.served(operation, self._answering(endpoint))

    # How it fails

    def throttled(self, retry_after_s: int) -> web.Response:
        headers = {"Retry-After": str(retry_after_s)}
        return self._refusal(
            Refused(429, "activityLimitReached", "Slow down.", inner="throttledRequest", headers=headers)
        )

    def failed(self) -> web.Response:
        return self._refusal(Refused(500, "generalException", "An unspecified error has occurred."))

    def token_expired(self) -> web.Response:
        headers = {
            "WWW-Authenticate": 'Bearer realm="", error="invalid_token", error_description="expired_token"'
        }
        return self._refusal(
            Refused(401, "InvalidAuthenticationToken", "Lifetime has expired.", headers=headers)
        )

    def _refusal(self, refused: Refused) -> web.Response:
        return refusal(refused, self.clock.now(), inner_key=self.inner_error_key)

    # For tests

    def settings(self) -> dict[str, object]:
        """
        Return what an operator writes to use this cloud.
        """
        return {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "login_url": self.url,
            "graph_url": f"{self.url}/v1.0",
        }

    def scopes(self) -> frozenset[str]:
        """
        Return what a user is asked to grant.
        """
        return frozenset({APP_FOLDER_SCOPE, "User.Read", "offline_access"})

    def drive_of(self, account: Account) -> Drive:
        """
        Return the account's drive.
        """
        if account.subject not in self._drives:
            number = next(self._numbers)
            now = self.clock.now()
            self._drives[account.subject] = Drive(account, number, now, is_business=self.is_business)
        return self._drives[account.subject]

    def blob_bytes(self, account: Account, key: str) -> bytes | None:
        """
        Return what is stored under *key*, or None.
        """
        found = [stored for stored in list(account.files.values()) if stored.name == key]
        return found[0].content.read() if found else None

    def blob_keys(self, account: Account) -> list[str]:
        """
        Return the names of all files in the app folder.
        """
        drive = self.drive_of(account)
        return [stored.name for stored in list(account.files.values()) if drive.is_in_app_folder(stored)]

    # Running

    async def _start(self) -> None:
        await super()._start()
        app = web.Application(client_max_size=1 << 40)
        self.transfers.add_routes(app)
        self._transfer_runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._transfer_runner.setup()
        await web.TCPSite(self._transfer_runner, "127.0.0.1", 0).start()
        host, port = self._transfer_runner.addresses[0][:2]
        self.transfers.url = f"http://{host}:{port}"

    async def _stop(self) -> None:
        self._let_held_go()
        assert self._transfer_runner is not None
        await self._transfer_runner.cleanup()
        await super()._stop()

    async def drained(self, request: web.Request, response: web.Response) -> web.Response:
        """
        Return *response*, having read the request's body to its end.
        """
        return await self._refused(request, response)

    # Before an endpoint

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        raw = request.rel_url.raw_path.removeprefix("/v1.0/")
        if raw == "me/drives":
            request[ADDRESS] = Address(None, None, is_item=False, path=(), action="drives")
            return await self._endpoints["GET", "drives"](request)
        found = address(raw)
        if found is None:
            return await self.drained(
                request, self._refusal(Refused(400, "invalidRequest", f"No such resource: {raw}"))
            )
        request[ADDRESS] = found
        action = found.action or ("drive" if found.base is None else "item")
        endpoint = self._endpoints.get((request.method, action))
        if endpoint is None:
            return await self.drained(
                request, self._refusal(Refused(405, "notSupported", "No such method here."))
            )
        return await endpoint(request)

    def _answering(self, endpoint: Endpoint) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            try:
                return await endpoint(request)
            except Refused as refused:
                return await self.drained(request, self._refusal(refused))

        return handler

    def _caller(self, request: web.Request) -> tuple[Account, frozenset[str]]:
        caller = self.oauth.account_of(request)
        if caller is None:
            headers = {"WWW-Authenticate": 'Bearer realm="", error="invalid_token"'}
            raise Refused(401, "InvalidAuthenticationToken", "Access token is not valid.", headers=headers)
        return caller

    def _drive(self, request: web.Request) -> tuple[Drive, bool]:
        """
        Return the drive that is meant, and whether all of it may be seen.
        """
        account, scopes = self._caller(request)
        is_wide = bool(scopes & WIDE_SCOPES)
        if is_wide:
            self._repaired.add(account.subject)
        elif APP_FOLDER_SCOPE not in scopes:
            raise DENIED
        elif self.app_folder_is_broken and account.subject not in self._repaired:
            raise Refused(403, self.broken_code, "Database Is Read Only")
        drive = self.drive_of(account)
        if request[ADDRESS].drive not in {None, drive.id}:
            raise NOT_FOUND
        return drive, is_wide

    def _resolved(self, request: web.Request, *, depth: int | None = None) -> tuple[Drive, Item]:
        """
        Return the item that is meant, or of its path the first *depth* parts.
        """
        drive, is_wide = self._drive(request)
        where = request[ADDRESS]
        item: Item | None
        if where.is_item and where.base != "root":
            item = drive.by_id(where.base or "")
        else:
            item = drive.app_folder if where.base == "approot" else drive.root
        for part in where.path[:depth]:
            item = drive.child(item, part) if isinstance(item, Folder) else None
        if item is None:
            raise NOT_FOUND
        if not is_wide and not drive.is_in_app_folder(item):
            raise DENIED
        return drive, item

    def _new_place(self, request: web.Request) -> tuple[Drive, Folder, str]:
        """
        Return the folder in which a file is to be made, and the file's name.
        """
        where = request[ADDRESS]
        if not where.path:
            # An item that is there already, by its id.
            drive, item = self._resolved(request)
            parent = drive.parent_of(item)
            if parent is None or isinstance(item, Folder):
                raise Refused(400, "invalidRequest", "A folder has no content.")
            return drive, parent, item.name
        drive, folder = self._resolved(request, depth=len(where.path) - 1)
        if not isinstance(folder, Folder):
            raise NOT_FOUND
        return drive, folder, require_name(where.path[-1])

    async def _json(self, request: web.Request, type_name: str) -> dict[str, Any]:
        try:
            document = await request.json()
        except ValueError:
            raise Refused(400, "invalidRequest", "The body is not JSON.") from None
        found = violations(type_name, document)
        if found:
            raise Refused(400, "invalidRequest", found[0])
        asked: dict[str, Any] = document
        return asked

    # Endpoints

    async def _me(self, request: web.Request) -> web.StreamResponse:
        account, scopes = self._caller(request)
        if "User.Read" not in scopes:
            raise Refused(
                403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."
            )
        document = {
            "@odata.context": f"{self._root(request)}/v1.0/$metadata#users/$entity",
            "id": account.subject,
            "displayName": account.name,
            "mail": None,
            "userPrincipalName": account.email,
        }
        return web.json_response(checked("user", document))

    async def _drive_document(self, request: web.Request) -> web.StreamResponse:
        drive, is_wide = self._drive(request)
        if not is_wide and not self.app_folder_may_ask_quota:
            raise DENIED
        return web.json_response(drive.drive_document())

    async def _drives_document(self, request: web.Request) -> web.StreamResponse:
        drive, is_wide = self._drive(request)
        if not is_wide:
            raise DENIED
        return web.json_response(checked("drives", {"value": [drive.drive_document()]}))

    async def _item(self, request: web.Request) -> web.StreamResponse:
        if request[ADDRESS].base == "approot" and not request[ADDRESS].path:
            drive, _ = self._drive(request)
            drive.make_app_folder(self.clock.now())
        drive, item = self._resolved(request)
        return web.json_response(self._selected(request, self._document(drive, item)))

    async def _content(self, request: web.Request) -> web.StreamResponse:
        drive, item = self._resolved(request)
        if isinstance(item, Folder):
            raise Refused(400, "invalidRequest", "A folder has no content.")
        location = self.transfers.download_url(drive.account, item)
        return web.Response(status=302, headers={"Location": location})

    async def _put(self, request: web.Request) -> web.StreamResponse:
        if request[ADDRESS].base == "approot":
            drive, _ = self._drive(request)
            drive.make_app_folder(self.clock.now())
        drive, folder, name = self._new_place(request)
        behavior = request.query.get("@microsoft.graph.conflictBehavior", "replace")
        if behavior not in {"fail", "replace", "rename"}:
            raise Refused(400, "invalidRequest", "No such conflictBehavior.")
        content = self.new_content()
        async for piece in self.body(request):
            content.append(piece)
        if self.is_cut_in_body(request):
            content.drop()
            return web.Response(status=500)
        if content.size > SIMPLE_PUT_MOST:
            raise Refused(413, "requestTooLarge", "Files as large as this need an upload session.")
        if not drive.has_room_for(content.size):
            raise FULL
        try:
            stored, is_new = drive.put(folder, name, content, self.clock.now(), behavior)
        except NameTaken:
            content.drop()
            raise TAKEN from None
        return web.json_response(self._document(drive, stored), status=201 if is_new else 200)

    async def _begin(self, request: web.Request) -> web.StreamResponse:
        asked = await self._json(request, "createUploadSession")
        drive, _ = self._drive(request)
        if request[ADDRESS].base == "approot" and drive.app_folder is None:
            # It comes into being with a GET of it, and not with this.
            raise DENIED
        drive, folder, name = self._new_place(request)
        if asked.get("item", {}).get("name", name) != name:
            raise Refused(400, "invalidRequest", "The name is not that of the path.")
        session = self.transfers.begin(drive, folder, name, asked)
        return web.json_response(self.transfers.document(session, with_url=True))

    async def _change(self, request: web.Request) -> web.StreamResponse:
        asked = await self._json(request, "changeItem")
        drive, item = self._resolved(request)
        parent = drive.parent_of(item)
        if parent is None:
            raise Refused(400, "invalidRequest", "The root stays as it is.")
        wanted = asked.get("parentReference", {}).get("id", parent.id)
        if wanted not in drive.folders:
            raise NOT_FOUND
        if wanted != parent.id or asked.get("name", item.name) != item.name:
            try:
                drive.rename(item, drive.folders[wanted], require_name(asked.get("name", item.name)))
            except NameTaken:
                raise TAKEN from None
        if isinstance(item, StoredFile) and "fileSystemInfo" in asked:
            item.extra["fileSystemInfo"] = asked["fileSystemInfo"]
        return web.json_response(self._document(drive, item))

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        asked = await self._json(request, "changeItem")
        drive, _folder, _name = self._new_place(request)
        if drive.is_business or "@microsoft.graph.sourceUrl" not in asked:
            raise Refused(400, "invalidRequest", "Not supported on this account.")
        behavior = asked.get("@microsoft.graph.conflictBehavior", "fail")
        stored, is_new = self.transfers.complete(asked["@microsoft.graph.sourceUrl"], behavior)
        return web.json_response(self._document(drive, stored), status=201 if is_new else 200)

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        drive, item = self._resolved(request)
        if item is drive.root:
            raise Refused(400, "invalidRequest", "The root stays where it is.")
        drive.remove(item, self.clock.now(), for_good=False)
        return web.Response(status=204)

    async def _delete_for_good(self, request: web.Request) -> web.StreamResponse:
        drive, item = self._resolved(request)
        if not drive.is_business:
            raise Refused(400, "notSupported", "Not supported on this account.")
        drive.remove(item, self.clock.now(), for_good=True)
        return web.Response(status=204)

    async def _make_folder(self, request: web.Request) -> web.StreamResponse:
        asked = await self._json(request, "newFolder")
        drive, parent = self._resolved(request)
        if not isinstance(parent, Folder):
            raise Refused(400, "invalidRequest", "A file has no children.")
        try:
            made = drive.make_folder(parent, require_name(asked["name"]), self.clock.now())
        except NameTaken:
            raise TAKEN from None
        return web.json_response(self._document(drive, made), status=201)

    async def _children(self, request: web.Request) -> web.StreamResponse:
        drive, folder = self._resolved(request)
        if not isinstance(folder, Folder):
            raise Refused(400, "invalidRequest", "A file has no children.")
        top = request.query.get("$top", "200")
        if not top.isdigit() or not 1 <= int(top) <= 1000:
            raise Refused(400, "invalidRequest", "$top must be from 1 to 1000.")
        after = request.query.get("$skiptoken", "")
        found = sorted(self._listed(drive, folder), key=lambda item: item.name)
        found = [item for item in found if item.name > after]
        size = min(int(top), self.page_size)
        page = found[:size]
        document: dict[str, Any] = {
            "@odata.context": f"{self._root(request)}/v1.0/$metadata#children",
            "value": [self._selected(request, self._document(drive, item)) for item in page],
        }
        if len(found) > size:
            query = dict(request.query) | {"$skiptoken": page[-1].name}
            document["@odata.nextLink"] = (
                f"{self._root(request)}{request.rel_url.raw_path}?{urllib.parse.urlencode(query)}"
            )
        return web.json_response(checked("driveItems", document))

    def _listed(self, drive: Drive, folder: Folder) -> Iterator[Item]:
        since = self.clock.now() - self.listing_lag_s
        for item in drive.children(folder):
            if not self.listing_lag_s or item.created_at <= since:
                yield item
        for at, stored in drive.deleted:
            if at > since and stored.created_at <= since and stored.extra["parent"] == folder.id:
                yield stored

    def _document(self, drive: Drive, item: Item) -> dict[str, Any]:
        url = self.transfers.download_url(drive.account, item) if isinstance(item, StoredFile) else None
        return drive.document(item, tells_hashes=self.tells_hashes, download_url=url)

    def _selected(self, request: web.Request, document: dict[str, Any]) -> dict[str, Any]:
        wanted = request.query.get("$select")
        if wanted is None:
            return document
        names = set(wanted.split(",")) | {"@odata.context", "@odata.etag"}
        if not names & {"id", "name"}:
            names |= {"id"}
        return {name: value for name, value in document.items() if name in names}

    def _root(self, request: web.Request) -> str:
        # Behind a proxy that speaks TLS for it, it is known by its real name.
        return (
            f"http://{request.host}" if request.host.startswith("127.0.0.1:") else f"https://{request.host}"
        )
