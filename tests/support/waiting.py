"""
Waiting for a fact that nobody tells: what another process wrote, what a request that is under way has stored.

Where something can be awaited, await that instead.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Final

_PAUSE_S: Final = 0.003
"""Long enough to leave the processor to whoever is waited for."""


async def until(holds: Callable[[], bool | Awaitable[bool]], *, within_s: float = 30) -> None:
    """
    Return as soon as *holds* is true.

    Raises:
        TimeoutError: it was not within *within_s*.
    """
    async with asyncio.timeout(within_s):
        while True:
            answer = holds()
            if await answer if inspect.isawaitable(answer) else answer:
                return
            await asyncio.sleep(_PAUSE_S)
