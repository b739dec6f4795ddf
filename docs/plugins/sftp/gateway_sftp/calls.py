"""
Calls to a server that are made together, or to their end.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final, TypeVar

ResultT = TypeVar("ResultT")

SETTLE_S: Final = 5.0
"""How long a cancelled call waits for the answer to what it has sent already, and a connection for its end."""


async def settled(call: Awaitable[ResultT]) -> ResultT:
    """
    Return what *call* returns; if cancelled, first wait a while for it to end.

    What it sent is carried out whether anybody waits or not, and what comes next must not get ahead of it.
    """
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=SETTLE_S)
        if not task.cancel() and not task.cancelled():
            # Nobody else is left to hear of an error.
            task.exception()
        raise


async def together(calls: Sequence[Awaitable[ResultT]]) -> list[ResultT]:
    """
    Make all *calls* at once, and hear of each before the first error is raised.
    """
    # The library's own way of this leaves the others alone when a connection is lost.
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
