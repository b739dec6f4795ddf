"""
A home backend that does what the tests of its users need: fails, loses answers, waits.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from gateway.api import Backend, BlobKey, BlobRef, BlobSource
from tests.support.gateway import Served

Hook = Callable[[], Awaitable[None]]


async def nothing() -> None:
    pass


class ObstructedHome:
    """
    The gateway's own home, with something in the way of its puts.

    Attributes:
        faults: raised by the next puts, one each, before anything is done.
        before_put, after_put: awaited once around the next put; what they raise takes its answer's place.
    """

    def __init__(self, served: Served) -> None:
        places: Any = served.gateway.context.playback._places
        self._home: Backend = places.home
        self.faults: list[Exception] = []
        self.before_put: Hook = nothing
        self.after_put: Hook = nothing
        self.puts = 0
        places.home = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._home, name)

    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        self.puts += 1
        if self.faults:
            raise self.faults.pop(0)
        hook, self.before_put = self.before_put, nothing
        await hook()
        ref = await self._home.put(key, body)
        hook, self.after_put = self.after_put, nothing
        await hook()
        return ref
