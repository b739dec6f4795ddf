"""
Calls to a server that are made together.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

ResultT = TypeVar("ResultT")


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
