"""
Connections to linked accounts: how one is made, and how several share it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import structlog

from gateway import __version__
from gateway.api import AddressRule, Backend, BackendContext, Misconfigured, TokenSource, Transient
from gateway.backends.hosted import hosted
from gateway.backends.lane import Lane
from gateway.backends.loader import PluginSet
from gateway.backends.measured import Meters
from gateway.base.clock import Clock
from gateway.base.errors import ConfigurationError
from gateway.services.link_kinds import LinkKind
from gateway.settings import Backends, Links

log = structlog.get_logger()

_LANE_PATIENCE_S: Final = 5.0
_CONNECT_S: Final = 15.0
_SILENCE_S: Final = 60.0


@asynccontextmanager
async def provider_session() -> AsyncIterator[aiohttp.ClientSession]:
    """
    Give the HTTP session that all linked accounts share: it keeps no cookies and waits for nobody for ever.
    """
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S),
        headers={"User-Agent": f"recording-gateway/{__version__}"},
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield session


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """
    Makes connections of any kind that can be linked.
    """

    plugins: PluginSet
    http: aiohttp.ClientSession
    addresses: AddressRule
    limits: Links
    calls: Backends
    clock: Clock
    meters: Meters

    @asynccontextmanager
    async def connected(
        self, kind: LinkKind, *, account: str, settings: Mapping[str, Any], tokens: TokenSource | None
    ) -> AsyncIterator[Backend]:
        """
        Connect, with the user's *settings* beside the operator's.

        Raises:
            BackendError: on entering; it cannot be connected to.
        """
        async with AsyncExitStack() as stack:
            lane = None
            if kind.backend.needs_lane:
                lane = Lane(account, self.limits.lane_threads, queue=self.limits.lane_queue)
                stack.push_async_callback(lane.close, patience_s=_LANE_PATIENCE_S)
            context = BackendContext(
                account=account,
                http=self.http,
                lane=lane,
                tokens=tokens,
                # Where OAuth leads, the operator and the plugin said; elsewhere the user does.
                addresses=self.addresses if kind.profile is None else None,
            )
            try:
                connecting = self.plugins.connect(kind.name, context, {**kind.operator, **settings})
            except ConfigurationError as exc:
                raise Misconfigured(str(exc)) from None
            try:
                async with asyncio.timeout(self.calls.call_timeout_s):
                    backend = await stack.enter_async_context(connecting)
            except TimeoutError:
                raise Transient(f"{account}: connecting took too long.") from None
            yield hosted(backend, kind=kind.name, limits=self.calls, clock=self.clock, meters=self.meters)


class SharedConnection:
    """
    One connection, open as long as somebody uses it and *idle_s* longer.

    A task of its own enters and leaves it, so whoever happens to come first or last cannot take it down with him.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[Backend]],
        *,
        generation: int,
        idle_s: float,
    ) -> None:
        self.generation = generation
        self._idle_s = idle_s
        self._users = 0
        self._closing = asyncio.Event()
        self._is_retired = False
        self._resting: asyncio.TimerHandle | None = None
        self._opened: asyncio.Future[Backend] = asyncio.get_running_loop().create_future()
        self._opened.add_done_callback(_look_at)
        self._task = asyncio.create_task(self._keep(connect))

    @property
    def is_usable(self) -> bool:
        """
        Whether a newcomer may use it.
        """
        failed = self._opened.done() and (self._opened.cancelled() or self._opened.exception() is not None)
        return not (failed or self._is_retired or self._closing.is_set())

    @property
    def is_over(self) -> bool:
        """
        Whether it is closed.
        """
        return self._task.done()

    @asynccontextmanager
    async def used(self) -> AsyncIterator[Backend]:
        """
        Give the backend; whoever enters keeps it open.

        Raises:
            BackendError: on entering; it cannot be connected to.
        """
        self._users += 1
        if self._resting is not None:
            self._resting.cancel()
        try:
            yield await asyncio.shield(self._opened)
        finally:
            self._users -= 1
            if not self._users:
                self._rest()

    def retire(self) -> None:
        """
        Let nobody new in, and close it when the last has left.
        """
        self._is_retired = True
        if not self._users:
            self._closing.set()

    async def close(self, *, patience_s: float) -> None:
        """
        Close it, used or not, in bounded time.
        """
        self._closing.set()
        if self._resting is not None:
            self._resting.cancel()
        await asyncio.wait([self._task], timeout=patience_s)
        self._task.cancel()
        await asyncio.wait([self._task], timeout=patience_s)

    def _rest(self) -> None:
        if self._is_retired:
            self._closing.set()
        else:
            self._resting = asyncio.get_running_loop().call_later(self._idle_s, self._closing.set)

    async def _keep(self, connect: Callable[[], AbstractAsyncContextManager[Backend]]) -> None:
        try:
            async with connect() as backend:
                self._opened.set_result(backend)
                await self._closing.wait()
        except asyncio.CancelledError:
            if not self._opened.done():
                self._opened.set_exception(Transient("The connection was closed."))
            raise
        except Exception as exc:  # noqa: BLE001 - whatever it is, those who wait for the connection are told
            if self._opened.done():
                log.warning("link.close_failed", error=type(exc).__name__)
            else:
                self._opened.set_exception(exc)


def _look_at(opened: "asyncio.Future[Backend]") -> None:
    # All who waited may be gone.
    if not opened.cancelled():
        opened.exception()
