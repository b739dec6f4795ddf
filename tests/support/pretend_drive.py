"""
A pretend storage provider whose accounts are linked by OAuth: real HTTP for all that is about sign-in, blobs in memory.

A call of its backend asks the provider first whether the access token is good, as a real plugin's would.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

from gateway.api import (
    API_VERSION,
    AccessDenied,
    AccountIdentity,
    AuthRevoked,
    BackendContext,
    BackendKind,
    BlobRef,
    BlobStat,
    Misconfigured,
    OAuthProfile,
    Quota,
    QuotaExceeded,
    Span,
    Transient,
)
from gateway.backends.loader import PluginSet, load_plugins
from gateway.backends.wrapped import WrappedBackend
from gateway.testing.memory import MemoryBackend, MemoryPlace
from tests.emulators.cloud import Account, Cloud
from tests.emulators.oauth import CLIENT_ID, CLIENT_SECRET, OAuthServer

ResultT = TypeVar("ResultT")

FILES = "files.write"
WHO = "who"
EVERYTHING = "files.everything"

_MEANING: dict[int, type[AccessDenied | QuotaExceeded | Misconfigured]] = {
    403: AccessDenied,
    507: QuotaExceeded,
    400: Misconfigured,
}


class PretendOAuth(OAuthServer):
    """
    OAuth whose grants may end by themselves.
    """

    grant_lasts_s: int | None = None

    def token_document(self, grant: Any, asked: Mapping[str, str], tokens: dict[str, Any]) -> dict[str, Any]:
        if self.grant_lasts_s is not None:
            tokens["refresh_token_expires_in"] = self.grant_lasts_s
        return tokens


class PretendDrive(Cloud):
    """
    The provider.

    Attributes:
        refuses: the status that every use of an account is answered with; 0: none.
        needs: the scope without which an account is not to be used.
        revoked: the tokens that the gateway gave back.
    """

    kind = "pretend"
    title = "Pretend Drive"

    def __init__(self) -> None:
        super().__init__()
        self.oauth = PretendOAuth(self)
        self.refuses = 0
        self.needs = FILES
        self.revoked: list[str] = []
        self.places: dict[str, MemoryPlace] = {}

    def add_routes(self, app: web.Application) -> None:
        app.router.add_route("*", "/authorize", self.oauth.authorize)
        app.router.add_post("/token", self.served("token", self.oauth.token))
        app.router.add_post("/revoke", self.served("revoke", self._revoke))
        app.router.add_get("/identity", self.served("identity", self._identity))
        app.router.add_get("/use", self.served("use", self._use))

    def place_of(self, account: Account) -> MemoryPlace:
        """
        Return where the account's blobs are.
        """
        return self.places.setdefault(account.subject, MemoryPlace())

    def throttled(self, retry_after_s: int) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": str(retry_after_s)})

    def failed(self) -> web.Response:
        return web.Response(status=500)

    def token_expired(self) -> web.Response:
        return web.Response(status=401)

    async def _revoke(self, request: web.Request) -> web.Response:
        token = str((await request.post())["token"])
        self.revoked.append(token)
        return web.Response(status=200 if self.oauth.revoke_token(token) else 400)

    async def _identity(self, request: web.Request) -> web.Response:
        allowed = self.oauth.account_of(request)
        if allowed is None:
            return web.Response(status=401)
        return web.json_response({"id": allowed[0].subject, "email": allowed[0].email})

    async def _use(self, request: web.Request) -> web.Response:
        allowed = self.oauth.account_of(request)
        if allowed is None:
            return web.Response(status=401)
        account, scopes = allowed
        if self.refuses:
            return web.Response(status=self.refuses)
        if self.needs not in scopes:
            return web.Response(status=403)
        return web.json_response({"id": account.subject, "used": account.used, "quota": account.quota})

    # The plugin

    def settings(self, **more: object) -> dict[str, object]:
        """
        Return what an operator writes below ``[links.kinds.pretend]``.
        """
        return {"url": self.url, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, **more}

    def plugins(self) -> PluginSet:
        """
        Return the installed plugins and this one.
        """
        kind = BackendKind(
            name=self.kind,
            api_version=API_VERSION,
            settings_type=PretendSettings,
            connect=self._connect,
            title=self.title,
            oauth=profile_of,
        )
        installed = load_plugins()
        return PluginSet(MappingProxyType({**installed.kinds, self.kind: kind}), installed.faults)

    @asynccontextmanager
    async def _connect(
        self, context: BackendContext, settings: "PretendSettings"
    ) -> AsyncIterator["PretendBackend"]:
        yield PretendBackend(self, context, settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class PretendSettings:
    """
    The operator's settings.
    """

    url: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    has_wider: bool = False
    can_revoke: bool = True


class PretendBackend(WrappedBackend):
    """
    Blobs in memory, behind a token that the provider looks at.
    """

    def __init__(self, drive: PretendDrive, context: BackendContext, settings: PretendSettings) -> None:
        self._memory = MemoryBackend(MemoryPlace())
        super().__init__(self._memory)
        self._drive = drive
        self._context = context
        self._settings = settings
        self._account: dict[str, Any] = {}

    @property
    def resumable(self) -> None:
        return None

    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        await self._sign_in()
        async with self._inner.read(ref, span) as pieces:
            yield pieces

    async def scan(self) -> AsyncIterator[BlobStat]:
        await self._sign_in()
        async for blob in self._inner.scan():
            yield blob

    async def quota(self) -> Quota | None:
        await self._sign_in()
        return Quota(used=self._account["used"], limit=self._account["quota"])

    async def _through(self, _operation: str, call: Callable[[], Awaitable[ResultT]], /) -> ResultT:
        await self._sign_in()
        return await call()

    async def _sign_in(self) -> None:
        tokens, http = self._context.tokens, self._context.http
        assert tokens is not None
        assert http is not None
        token = await tokens.access_token()
        status = await self._ask(http, token)
        if status == 401:
            status = await self._ask(http, await tokens.access_token(stale=token))
        if status == 401:
            raise AuthRevoked("The provider accepts no token of this account.", provider_code="401")
        if status in _MEANING:
            raise _MEANING[status](f"The provider answered {status}.")
        if status != 200:
            raise Transient(f"The provider answered {status}.")

    async def _ask(self, http: aiohttp.ClientSession, token: str) -> int:
        try:
            async with http.get(
                f"{self._settings.url}/use", headers={"Authorization": f"Bearer {token}"}
            ) as response:
                if response.status == 200:
                    self._account = await response.json()
                    self._memory.place = self._drive.places.setdefault(self._account["id"], MemoryPlace())
                return response.status
        except aiohttp.ClientError as exc:
            raise Transient(f"The provider does not answer: {type(exc).__name__}.") from exc


def profile_of(settings: PretendSettings) -> OAuthProfile:
    """
    State the facts about the provider's OAuth.
    """

    async def identify(http: aiohttp.ClientSession, token: str) -> AccountIdentity:
        async with http.get(
            f"{settings.url}/identity", headers={"Authorization": f"Bearer {token}"}
        ) as response:
            if response.status != 200:
                raise Transient(f"The provider answered {response.status}.")
            told = await response.json()
        return AccountIdentity(subject=told["id"], label=told["email"])

    async def revoke(http: aiohttp.ClientSession, token: str) -> None:
        async with http.post(f"{settings.url}/revoke", data={"token": token}) as response:
            response.raise_for_status()

    return OAuthProfile(
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        authorize_url=f"{settings.url}/authorize?prompt=consent",
        token_url=f"{settings.url}/token",
        scopes=(FILES, WHO),
        needed_scopes=frozenset({FILES}),
        identify=identify,
        wider_scopes=(FILES, WHO, EVERYTHING) if settings.has_wider else None,
        authorize_parameters={"access_type": "offline"},
        revoke=revoke if settings.can_revoke else None,
        manage_url=f"{settings.url}/apps",
    )
