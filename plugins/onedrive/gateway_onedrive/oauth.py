"""
How a Microsoft account is linked. The token endpoint is msal's to speak to: it knows Microsoft's ways.

msal blocks, so it runs in a few threads of its own; its caches are switched off, for the host keeps tokens,
waits between tries, and must see an error as it is now and not as it was a minute ago.
"""

import asyncio
import functools
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import aiohttp
import msal
import requests
from msal.oauth2cli.oauth2 import Client as OAuth2Client

from gateway.api import (
    AccountIdentity,
    BackendError,
    Grant,
    Misconfigured,
    OAuthProfile,
    TokenRequest,
    Transient,
    translated,
)
from gateway_onedrive.errors import classify, refusal, token_failure, token_refusal
from gateway_onedrive.settings import OneDriveSettings

_THREADS: Final = 4

_APP_FOLDER: Final = "Files.ReadWrite.AppFolder"
_ALL_FILES: Final = "Files.ReadWrite"

_MSALS_OWN: Final = ("offline_access", "openid", "profile")
"""msal adds these to every refresh and takes them from nobody, so they are asked for from the first."""

_BESIDE: Final = ("User.Read", *_MSALS_OWN)

_GRAPH: Final = "https://graph.microsoft.com/"
"""What the names of scopes may begin with in an answer."""

# The owner of a personal account ends a grant here. For those of work it is another page, to which this one leads.
_MANAGE_URL: Final = "https://account.live.com/consent/Manage"


def profile(settings: OneDriveSettings) -> OAuthProfile:
    """
    Return the facts about linking.
    """
    root = f"{settings.login_url}/{settings.tenant}/oauth2/v2.0"
    narrow = settings.scope == _APP_FOLDER
    return OAuthProfile(
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        authorize_url=f"{root}/authorize",
        token_url=f"{root}/token",
        scopes=(settings.scope, *_BESIDE),
        needed_scopes=frozenset({settings.scope}),
        identify=functools.partial(_identify, f"{settings.graph_url}/me"),
        wider_scopes=(_APP_FOLDER, _ALL_FILES, *_BESIDE) if narrow else None,
        # Whoever has several accounts says which one is meant.
        authorize_parameters={"prompt": "select_account"},
        exchange=_token_endpoint(settings).exchange,
        manage_url=_MANAGE_URL,
    )


class TokenEndpoint:
    """
    Microsoft's token endpoint, for one app.
    """

    def __init__(self, settings: OneDriveSettings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="msal")
        self._lock = threading.Lock()
        self._app: msal.ConfidentialClientApplication | None = None

    async def exchange(self, request: TokenRequest) -> Grant:
        """
        Give a code or a refresh token for what `gateway.api.Grant` holds.
        """
        loop = asyncio.get_running_loop()
        with translated(_classify):
            answer = await loop.run_in_executor(self._threads, self._ask, request)
        if "access_token" not in answer:
            raise token_refusal(answer)
        expires_in = answer.get("expires_in")
        return Grant(
            access_token=str(answer["access_token"]),
            expires_in_s=None if expires_in is None else int(expires_in),
            refresh_token=answer.get("refresh_token"),
            scopes=_granted(answer.get("scope"), request.scopes),
        )

    def _ask(self, request: TokenRequest) -> Any:
        app = self._connected()
        scopes = [scope for scope in request.scopes if scope not in _MSALS_OWN]
        if request.refresh_token is not None:
            return app.acquire_token_by_refresh_token(request.refresh_token, scopes)
        # The layer below OpenID Connect, which wants a nonce: nobody signs in with the id token here.
        # The host has compared the state.
        flow = {
            "state": "compared",
            "redirect_uri": request.redirect_uri,
            "code_verifier": request.code_verifier,
            "scope": [*scopes, *_MSALS_OWN],
        }
        answer = {"state": "compared", "code": request.code}
        return OAuth2Client.obtain_token_by_auth_code_flow(app.client, flow, answer)

    def _connected(self) -> msal.ConfidentialClientApplication:
        """
        Return msal's application, which asks Microsoft for its addresses when it is made.
        """
        with self._lock:
            if self._app is None:
                # It insists on https; its transport knows what the operator chose.
                place = self._settings.login_url.partition("://")[2]
                self._app = msal.ConfidentialClientApplication(
                    self._settings.client_id,
                    client_credential=self._settings.client_secret,
                    authority=f"https://{place}/{self._settings.tenant}",
                    instance_discovery=False,
                    http_client=_Transport(self._settings),
                    http_cache=_Forgetful(),
                    token_cache=_NoTokens(),
                )
            return self._app


@functools.lru_cache(maxsize=8)
def _token_endpoint(settings: OneDriveSettings) -> TokenEndpoint:
    # A profile is asked for often, and each application costs a request and threads.
    return TokenEndpoint(settings)


class _Transport:
    """
    HTTP for msal: with time-outs, without redirects, and with errors that msal would flatten raised at once.
    """

    def __init__(self, settings: OneDriveSettings) -> None:
        self._session = requests.Session()
        self._timeout = (settings.connect_timeout_s, settings.read_timeout_s)
        self._is_plain = settings.login_url.startswith("http://")

    def get(self, url: str, *, params: Any = None, headers: Any = None, **_: Any) -> requests.Response:
        return self._answered("GET", url, params=params, headers=headers)

    def post(
        self, url: str, *, params: Any = None, data: Any = None, headers: Any = None, **_: Any
    ) -> requests.Response:
        return self._answered("POST", url, params=params, data=data, headers=headers)

    def close(self) -> None:
        self._session.close()

    def _answered(self, method: str, url: str, **options: Any) -> requests.Response:
        if self._is_plain:
            url = "http://" + url.removeprefix("https://")
        response = self._session.request(method, url, timeout=self._timeout, allow_redirects=False, **options)
        failure = token_failure(response.status_code, response.headers)
        if failure is not None:
            raise failure
        return response


class _Forgetful(dict[str, Any]):
    """
    In place of msal's memory of answers, which would give an error of a minute ago in place of a new one.
    """

    def __setitem__(self, key: str, value: Any) -> None:
        pass


class _NoTokens(msal.TokenCache):  # type: ignore[misc] # the library has no types
    """
    In place of msal's memory of tokens: the host keeps them, and sealed.
    """

    def add(self, event: Any, now: Any = None) -> None:
        pass


def _classify(exc: Exception) -> BackendError | None:
    if isinstance(exc, requests.exceptions.SSLError):
        return Misconfigured("The certificate of Microsoft's sign-in is not trusted.", provider_code="tls")
    if isinstance(exc, requests.exceptions.RequestException):
        # Its text holds addresses, and nothing that helps.
        name = type(exc).__name__
        return Transient(f"The connection to Microsoft's sign-in failed: {name}.", provider_code=name)
    if isinstance(exc, json.JSONDecodeError):
        return Transient("Microsoft's sign-in answered with something else than JSON.")
    if isinstance(exc, ValueError):
        # So msal says that it finds no such tenant.
        return Misconfigured("Microsoft's sign-in knows no such tenant, or its address is wrong.")
    return None


def _granted(told: Any, asked: tuple[str, ...]) -> frozenset[str] | None:
    """
    Return the scopes that an answer tells, spelt as they were asked for.
    """
    if not isinstance(told, str):
        return None
    spelt = {scope.casefold(): scope for scope in (*asked, _APP_FOLDER, _ALL_FILES)}
    names = {name.removeprefix(_GRAPH).casefold() for name in told.split()}
    found = {spelt.get(name, name) for name in names}
    if _ALL_FILES in found:
        # It includes the app's folder, and the answer may name it alone.
        found.add(_APP_FOLDER)
    return frozenset(found)


async def _identify(url: str, http: aiohttp.ClientSession, access_token: str) -> AccountIdentity:
    headers = {"Authorization": f"Bearer {access_token}"}
    parameters = {"$select": "id,displayName,mail,userPrincipalName"}
    with translated(classify):
        async with http.get(url, params=parameters, headers=headers, allow_redirects=False) as response:
            body = await response.read()
    if response.status != 200:
        raise refusal(response.status, response.headers, body)
    try:
        told = json.loads(body)
        subject = told["id"]
    except (ValueError, KeyError, TypeError) as exc:
        raise BackendError("Microsoft did not say whose account it is.") from exc
    label = (
        told.get("userPrincipalName") or told.get("mail") or told.get("displayName") or "Microsoft account"
    )
    return AccountIdentity(subject=str(subject), label=str(label))
