"""
What every emulator of a provider has: a real HTTP server in a thread of its own, a clock, faults on order.

It runs in a thread with a loop of its own, so that blocking clients and a blocked test loop make no difference.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, Self

from aiohttp import web

from gateway.base.clock import Clock, SystemClock
from tests.emulators.faults import Effect, Fault, Faults
from tests.support.loop_thread import LoopThread

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PIECE: Final = 1 << 20
FAULT: Final = web.RequestKey("fault", Fault | None)


class EmulatedClock:
    """
    The provider's own time: it passes as *source* does, the machine's clock without, and a test can set it on.
    """

    def __init__(self, source: Clock | None = None) -> None:
        self._source = source or SystemClock()
        self._ahead_s = 0.0

    def now(self) -> float:
        """
        Return Unix time in seconds.
        """
        return self._source.now_ms() / 1000 + self._ahead_s

    def advance(self, seconds: float) -> None:
        self._ahead_s += seconds


class Emulator:
    """
    A provider on a loopback port; enter it to start it.

    A subclass adds its endpoints, says how it answers when it throttles or fails,
    and keeps as strictly to the provider's published contract as the real service does.

    Attributes:
        kind: a short name of the provider.
        faults: what is to go wrong.
        clock: the provider's time.
        url: where it listens, without a slash at the end; empty before it runs.
    """

    kind: str = ""
    title: str = ""

    def __init__(
        self, *, port: int = 0, clock: EmulatedClock | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.faults = Faults()
        self.clock = clock or EmulatedClock()
        self.url = ""
        self._wanted_port = port
        self._tls = tls
        self._thread = LoopThread(f"emulator-{self.kind}")
        self._runner: web.AppRunner | None = None
        self._held = asyncio.Event()

    # What a provider's emulator brings

    def add_routes(self, app: web.Application) -> None:
        """
        Add the provider's endpoints, each wrapped in `served`.
        """
        raise NotImplementedError  # the subclass's

    def throttled(self, retry_after_s: int) -> web.Response:
        """
        Return the provider's answer to too many requests.
        """
        raise NotImplementedError  # the subclass's

    def failed(self) -> web.Response:
        """
        Return the provider's answer when something broke on its side.
        """
        raise NotImplementedError  # the subclass's

    def token_expired(self) -> web.Response:
        """
        Return the provider's answer to an access token that has run out.
        """
        raise NotImplementedError  # the subclass's

    def received(self, piece: bytes) -> None:
        """
        Take note of a piece of a request's body.
        """

    # For tests

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._thread.call(self._start())
        except BaseException:
            self._thread.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.call(self._stop())
        self._thread.stop()

    # For endpoints

    def served(self, operation: str, handler: Handler) -> Handler:
        """
        Return *handler* as the endpoint of *operation*: counted, and with the faults that were ordered.
        """

        async def endpoint(request: web.Request) -> web.StreamResponse:
            fault = self.faults.due(operation)
            request[FAULT] = fault
            effect = None if fault is None else fault.effect
            if effect is Effect.CUT_BEFORE:
                return _cut(request)
            if effect is Effect.STALL:
                await self._held.wait()
                return _cut(request)
            if fault is not None and effect is Effect.THROTTLE:
                return await self._refused(request, self.throttled(fault.amount))
            if effect is Effect.FAIL:
                return await self._refused(request, self.failed())
            if effect is Effect.EXPIRE_TOKEN:
                return await self._refused(request, self.token_expired())
            response = await handler(request)
            if effect in {Effect.LOSE_ANSWER, Effect.CUT_IN_BODY}:
                return _cut(request)
            if effect is Effect.HOLD_ANSWER:
                await self._held.wait()
            return response

        return endpoint

    async def _refused(self, request: web.Request, response: web.Response) -> web.Response:
        # Read to the end, or the client would see a broken pipe in place of the answer.
        async for piece in request.content.iter_chunked(PIECE):
            self.received(piece)
        return response

    # Running

    async def _start(self) -> None:
        app = web.Application(client_max_size=1 << 40)
        self.add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        self.faults.on_clear = lambda: self._thread.loop.call_soon_threadsafe(self._let_held_go)
        site = web.TCPSite(self._runner, "127.0.0.1", self._wanted_port, ssl_context=self._tls)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"{'https' if self._tls else 'http'}://{host}:{port}"

    def _let_held_go(self) -> None:
        self._held.set()
        self._held = asyncio.Event()

    async def _stop(self) -> None:
        self._let_held_go()
        assert self._runner is not None
        await self._runner.cleanup()


def _cut(request: web.Request) -> web.Response:
    """
    End the connection without an answer.
    """
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
