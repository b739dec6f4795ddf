"""
A connection to one gateway as one of its users, and what to do when it breaks.

Knows the wire and its problem documents, not what is asked for.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, TypeVar

import aiohttp

from gateway import __version__
from gateway.base.errors import GatewayError
from gateway.cli.terminal import printable

T = TypeVar("T")

STALL_S: Final = 60.0
"""A connection on which nothing moves for so long is given up."""

_CONNECT_S: Final = 15.0
_PASSES_BY_ITSELF: Final = frozenset({408, 423, 429, 460, 500, 502, 503, 504, 507})
"""Statuses worth another try where the answer has no problem document to say so, as to HEAD, or from a proxy."""


class CommandFailed(GatewayError):
    """
    What a command tells its user when it ends without having done its work.
    """

    code = "command-failed"


class ConnectionLost(CommandFailed):
    """
    The server was not reached, or fell silent; trying again may help.
    """


class RequestRefused(CommandFailed):
    """
    The server answered that it does not do it.

    Attributes:
        is_worth_retrying: whether the same request may succeed later.
        retry_after_s: how long the server wants to be left alone first.
    """

    def __init__(
        self, message: str, *, status: int, is_worth_retrying: bool, retry_after_s: float | None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.is_worth_retrying = is_worth_retrying
        self.retry_after_s = retry_after_s


class Connection:
    """
    Requests to one gateway, as one of its users.
    """

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session = session
        self._server = server.rstrip("/")
        self.has_answered = False
        """Whether the server was there at least once; before, trying again is for whoever typed its address."""

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: AsyncIterator[bytes] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """
        Send one request; its answer is there while the context lasts.

        Raises:
            RequestRefused: the answer is a problem.
            ConnectionLost: there is no whole answer; also where the connection breaks within the context.
        """
        try:
            async with self._session.request(
                method,
                self._server + path,
                headers=headers,
                params=query,
                data=body,
                # A token is for one server; whom that one recommends is another's matter.
                allow_redirects=False,
            ) as response:
                self.has_answered = True
                if response.status >= 300:
                    raise await _refusal(response)
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionLost(f"{self._server} {_reason(error)}") from error

    async def ask(self, method: str, path: str, *, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """
        Send one request without a body, and return the JSON object that it is answered with.
        """
        async with self.request(method, path, query=query) as response:
            return await _read_object(response)

    async def submit(
        self, method: str, path: str, document: object = None, *, query: Mapping[str, str] | None = None
    ) -> dict[str, Any] | None:
        """
        Send one request with *document* as JSON, if there is one, and return the JSON object of its answer, if there is one.
        """
        headers = None if document is None else {"Content-Type": "application/json"}
        body = None if document is None else _whole(json.dumps(document).encode())
        async with self.request(method, path, headers=headers, query=query, body=body) as response:
            return (
                None
                if response.status == 204 or not response.content_length
                else await _read_object(response)
            )


class Observer(Protocol):
    """
    Is told how a transfer comes along.
    """

    def move_to(self, position: int) -> None:
        """
        Learn that *position* bytes have gone; fewer than before, where some must go again.
        """

    def say(self, text: str) -> None:
        """
        Learn something worth telling a person.
        """


class Patience:
    """
    Waits between the tries of one piece of work, longer each time, and gives up when nothing moves.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        tell: Callable[[str], None],
        tries: int = 8,
        first_wait_s: float = 0.5,
        longest_wait_s: float = 30.0,
    ) -> None:
        self._connection = connection
        self._tell = tell
        self._tries = tries
        self._first_wait_s = first_wait_s
        self._longest_wait_s = longest_wait_s
        self._failures = 0

    def reset(self) -> None:
        """
        Begin to count anew, because the work came nearer to its end; that a request was answered is not enough.
        """
        self._failures = 0

    async def wait_after(self, error: ConnectionLost | RequestRefused) -> None:
        """
        Return when it is time for another try.

        Raises:
            ConnectionLost, RequestRefused: *error*, because it is final, or because it was the last try.
        """
        wait_s = min(self._longest_wait_s, self._first_wait_s * 2**self._failures)
        self._failures += 1
        if self._failures == self._tries:
            raise error
        if isinstance(error, RequestRefused):
            if not error.is_worth_retrying:
                raise error
            wait_s = min(self._longest_wait_s, max(wait_s, error.retry_after_s or 0))
        elif not self._connection.has_answered:
            raise error
        self._tell(f"{error}; trying again in {wait_s:g} s")
        await asyncio.sleep(wait_s)

    async def until_done(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """
        Try until it succeeds; return what *attempt* then gives.

        Raises:
            ConnectionLost, RequestRefused: as `wait_after`.
        """
        while True:
            try:
                return await attempt()
            except (ConnectionLost, RequestRefused) as error:
                await self.wait_after(error)


@asynccontextmanager
async def connected(server: str, token: str) -> AsyncIterator[Connection]:
    """
    Speak to the gateway at *server*, as the user that *token* belongs to.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=STALL_S)
    headers = {
        "Authorization": f"Bearer {token}",
        "User-Agent": f"recording-gateway/{__version__}",
        # Offsets and ranges count the bytes of the recording itself.
        "Accept-Encoding": "identity",
    }
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        yield Connection(session, server)


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _refusal(response: aiohttp.ClientResponse) -> RequestRefused:
    """
    Return what a refusing answer says, in one line.
    """
    message = f"the server answered {response.status} {response.reason or ''}".rstrip()
    is_worth_retrying = response.status in _PASSES_BY_ITSELF
    if response.status < 400:
        message = f"the server is elsewhere now: {response.headers.get('Location', 'it does not say where')}"
    elif response.method != "HEAD" and response.content_type == "application/problem+json":
        problem = await _read_object(response)
        message = (
            ": ".join(str(problem[part]) for part in ("title", "detail") if problem.get(part)) or message
        )
        is_worth_retrying = problem.get("retry") is True
    after = response.headers.get("Retry-After", "")
    return RequestRefused(
        printable(message),
        status=response.status,
        is_worth_retrying=is_worth_retrying,
        retry_after_s=float(after) if after.isascii() and after.isdigit() else None,
    )


async def _read_object(response: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        document = json.loads(await response.read())
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise CommandFailed(f"what {response.url.origin()} answered does not come from a gateway")
    return document


def _reason(error: aiohttp.ClientError | TimeoutError) -> str:
    if isinstance(error, TimeoutError):
        return "does not answer"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"cannot be found: {error.os_error.strerror}"
    reason = printable(str(error)) or type(error).__name__
    if isinstance(error, aiohttp.ClientOSError) and error.errno is not None:
        reason = os.strerror(error.errno)
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot be reached: {reason}"
    return f"broke the connection: {reason}"
