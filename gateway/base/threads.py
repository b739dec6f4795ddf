"""
Blocking calls in threads, which nothing cuts short.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def run_to_end(executor: Executor, call: Callable[[], T]) -> T:
    """
    Run *call* in a thread of *executor*, and return what it returns.

    A thread cannot be cancelled: a caller who is gets his `CancelledError` when the call has ended, however often he is,
    so nothing that he does then meets his own thread at work.
    """
    running = asyncio.get_running_loop().run_in_executor(executor, call)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        # What it failed with is nobody's any more.
        running.exception()
        raise
