"""
What every pretend cloud has: a real HTTP server in a thread of its own, accounts, stored files, faults on order.

A provider's emulator subclasses `Cloud`: it adds its endpoints, says how it answers when it throttles or fails,
and keeps as strictly to the provider's published contract as the real service does.
It runs in a thread with a loop of its own, so that blocking clients and a blocked test loop make no difference.
"""

import asyncio
import contextlib
import hashlib
import itertools
import secrets
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from aiohttp import web

from tests.emulators.faults import Effect, Fault, Faults

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PIECE: Final = 1 << 20
FAULT: Final = web.RequestKey("fault", Fault | None)


class EmulatedClock:
    """
    The cloud's own time: it passes as real time does, and a test can set it on.
    """

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def now(self) -> float:
        """
        Return Unix time in seconds.
        """
        import time

        return time.time() + self._ahead_s  # noqa: TID251 - a provider's clock is not the gateway's

    def advance(self, seconds: float) -> None:
        self._ahead_s += seconds


class Content:
    """
    Bytes in a file, for a pretend cloud must not need more memory than the program it is there to test.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / secrets.token_hex(12)
        self.path.touch()

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def append(self, piece: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(piece)

    def truncate(self, size: int) -> None:
        with self.path.open("r+b") as file:
            file.truncate(size)

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """
        Yield the bytes from *start* up to *end*.
        """
        left = (self.size if end is None else end) - start
        with self.path.open("rb") as file:
            file.seek(start)
            while left > 0 and (piece := file.read(min(PIECE, left))):
                left -= len(piece)
                yield piece

    def read(self) -> bytes:
        return self.path.read_bytes()

    def digest(self, algorithm: str) -> str:
        """
        Return a hash of all bytes, in hex.
        """
        running = hashlib.new(algorithm, usedforsecurity=False)
        for piece in self.pieces():
            running.update(piece)
        return running.hexdigest()

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)


@dataclass
class Account:
    """
    One person's account at a provider.
    """

    subject: str
    email: str
    name: str
    quota: int | None = 15 << 30
    """Bytes; None where there is no limit. Lower it to fill the account."""
    files: dict[str, "StoredFile"] = field(default_factory=dict)
    """By the provider's own id."""
    trash: dict[str, "StoredFile"] = field(default_factory=dict)

    @property
    def used(self) -> int:
        return sum(stored.content.size for stored in self.files.values())

    def has_room_for(self, size: int) -> bool:
        return self.quota is None or self.used + size <= self.quota


@dataclass
class StoredFile:
    """
    A finished file.
    """

    id: str
    name: str
    content: Content
    created_at: float
    extra: dict[str, Any] = field(default_factory=dict)
    """What else the provider keeps of it."""


class Cloud:
    """
    A provider on a loopback port; enter it to start it.

    Attributes:
        kind: the plugin's name.
        faults: what is to go wrong.
        upload_bytes: all bytes of bodies that came in for files, also of requests that then failed.
        listing_lag_s: how long a listing goes on showing what was, by `clock`.
    """

    kind: str = ""
    title: str = ""

    def __init__(self, *, port: int = 0) -> None:
        self.faults = Faults()
        self.clock = EmulatedClock()
        self.accounts: dict[str, Account] = {}
        self.upload_bytes = 0
        self.listing_lag_s = 0.0
        self.url = ""
        self._wanted_port = port
        self._numbers = itertools.count(1)
        self._folder = Path(tempfile.mkdtemp(prefix=f"cloud-{self.kind}-"))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"cloud-{self.kind}", daemon=True)
        self._runner: web.AppRunner | None = None
        self._stalled = asyncio.Event()

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

    # For tests

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def new_account(self, name: str = "Ada", *, quota: int | None = 15 << 30) -> Account:
        """
        Open an account.
        """
        number = next(self._numbers)
        account = Account(f"{self.kind}-{number}", f"{name.lower()}{number}@example.org", name, quota)
        self.accounts[account.subject] = account
        return account

    def new_content(self) -> Content:
        """
        Return an empty file's content.
        """
        return Content(self._folder)

    def damage(self, account: Account, name: str) -> None:
        """
        Flip the first byte of the file of that name, as a failing disk at the provider would.
        """
        stored = self.named(account, name)
        content = bytearray(stored.content.read())
        content[0] ^= 0xFF
        stored.content.path.write_bytes(content)

    def delete_by_hand(self, account: Account, name: str) -> None:
        """
        Delete the file of that name for good, as its owner would in his own cloud.
        """
        self.remove(account, self.named(account, name))

    def remove(self, account: Account, stored: StoredFile) -> None:
        """
        Remove a file for good; emulators that keep more of it than the account does forget that too.
        """
        del account.files[stored.id]
        stored.content.drop()

    def named(self, account: Account, name: str) -> StoredFile:
        """
        Return the file of that name; emulators with suffixes or folders find it by its last part.
        """
        [found] = [stored for stored in account.files.values() if stored.name == name]
        return found

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
                await self._stalled.wait()
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
            return response

        return endpoint

    async def body(self, request: web.Request) -> AsyncIterator[bytes]:
        """
        Yield the request's body, or as much of it as the fault that is due lets arrive.
        """
        fault = request.get(FAULT)
        left: int | None = None
        if fault is not None and fault.effect in {Effect.TAKE_LESS, Effect.CUT_IN_BODY}:
            left = fault.amount
        async for piece in request.content.iter_chunked(PIECE):
            self.upload_bytes += len(piece)
            if left is None:
                yield piece
            elif left:
                yield piece[:left]
                left -= len(piece[:left])

    def is_cut_in_body(self, request: web.Request) -> bool:
        """
        Whether the request breaks off in its body, so that a provider that takes all or nothing takes nothing.
        """
        fault = request.get(FAULT)
        return fault is not None and fault.effect is Effect.CUT_IN_BODY

    async def _refused(self, request: web.Request, response: web.Response) -> web.Response:
        # Read to the end, or the client would see a broken pipe in place of the answer.
        async for piece in request.content.iter_chunked(PIECE):
            self.upload_bytes += len(piece)
        return response

    # Running

    async def _start(self) -> None:
        app = web.Application(client_max_size=1 << 40)
        self.add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        self.faults.on_clear = lambda: self._loop.call_soon_threadsafe(self._let_stalled_go)
        site = web.TCPSite(self._runner, "127.0.0.1", self._wanted_port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    def _let_stalled_go(self) -> None:
        self._stalled.set()
        self._stalled = asyncio.Event()

    async def _stop(self) -> None:
        self._let_stalled_go()
        assert self._runner is not None
        await self._runner.cleanup()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)


def _cut(request: web.Request) -> web.Response:
    """
    End the connection without an answer.
    """
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
