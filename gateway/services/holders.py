"""
Who is writing to an upload right now.

A phone that lost its connection comes back before the gateway has noticed that the old one is dead.
Instead of refusing it, the newcomer asks the old request to let go; that one ends its piece, records what it has, and is done.
If it does not answer in time it is passed by: the fence in the catalog keeps it from recording anything later.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from gateway.base.ids import RecordingId

T = TypeVar("T")

GRACE_S: Final = 0.1
"""A holder that was asked goes on as long as bytes keep coming at this pace: they may have been sent long ago."""
LONGEST_GRACE_S: Final = 1.0
"""And no longer than this in all."""


class LetGo(Exception):
    """
    Raised in the holder's read: a newcomer wants the upload.
    """


class BodyIdle(Exception):
    """
    Raised in the holder's read: nothing came for too long.
    """


class Holder:
    """
    One request's hold on one upload.
    """

    def __init__(self) -> None:
        self._lets_go_at: float | None = None
        self._waiting: asyncio.Timeout | None = None
        self._on_asked: Callable[[], None] = lambda: None
        self.released = asyncio.Event()

    @property
    def is_asked(self) -> bool:
        """
        Whether he was asked to let go.
        """
        return self._lets_go_at is not None

    def request_release(self) -> None:
        """
        Ask the holder to let go: his read raises `LetGo` as soon as it has to wait for more.

        What a phone sent before its connection broke may still be on its way through the socket;
        it was received, so it is kept.
        """
        now = asyncio.get_running_loop().time()
        if self._lets_go_at is None:
            self._lets_go_at = now + LONGEST_GRACE_S
            self._on_asked()
            if self._waiting is not None:
                self._waiting.reschedule(now + GRACE_S)

    def when_asked(self, hurry: Callable[[], None]) -> None:
        """
        Call *hurry* as soon as the holder is asked to let go.
        """
        self._on_asked = hurry
        if self._lets_go_at is not None:
            hurry()

    async def read(self, awaitable: Awaitable[T], *, idle_timeout_s: float) -> T:
        """
        Await *awaitable*, unless a newcomer asks or nothing comes for *idle_timeout_s*.
        """
        patience = idle_timeout_s
        if self._lets_go_at is not None:
            patience = min(GRACE_S, self._lets_go_at - asyncio.get_running_loop().time())
            if patience <= 0:
                _close(awaitable)
                raise LetGo
        try:
            async with asyncio.timeout(patience) as self._waiting:
                return await awaitable
        except TimeoutError:
            if self._lets_go_at is not None:
                raise LetGo from None
            raise BodyIdle from None
        finally:
            self._waiting = None


def _close(awaitable: object) -> None:
    """
    Close a coroutine that will not be awaited.
    """
    if asyncio.iscoroutine(awaitable):
        awaitable.close()


class Holders:
    """
    The holds of this process, one per upload at a time.
    """

    def __init__(self, *, handover_timeout_s: float) -> None:
        self._handover_timeout_s = handover_timeout_s
        self._current: dict[RecordingId, Holder] = {}

    def __len__(self) -> int:
        """
        Return how many uploads are being written to.
        """
        return len(self._current)

    def __contains__(self, upload_id: RecordingId) -> bool:
        """
        Tell whether somebody holds the upload.
        """
        return upload_id in self._current

    def request_release_of_all(self) -> None:
        """
        Ask every holder to let go, as when the daemon stops.
        """
        for holder in self._current.values():
            holder.request_release()

    @asynccontextmanager
    async def hold(self, upload_id: RecordingId) -> AsyncIterator[Holder]:
        """
        Take the upload, asking whoever holds it to let go first.
        """
        deadline = asyncio.get_running_loop().time() + self._handover_timeout_s
        while (present := self._current.get(upload_id)) is not None:
            present.request_release()
            try:
                async with asyncio.timeout_at(deadline):
                    await present.released.wait()
            except TimeoutError:
                break
        mine = Holder()
        self._current[upload_id] = mine
        try:
            yield mine
        finally:
            if self._current.get(upload_id) is mine:
                del self._current[upload_id]
            mine.released.set()
