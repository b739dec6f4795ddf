"""
A gateway in this process that serves a filled installation, for as long as something is measured in it.
"""

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from bench.filling import Filled, fill
from gateway.base.ids import UserId
from tests.http.phone import Phone
from tests.support.gateway import Served, serving


@asynccontextmanager
async def serving_filled(
    *,
    users_count: int,
    recordings_of: Callable[[int], int],
    overdue_of: Callable[[int], int] = lambda number: 0,
    opens: bool = False,
) -> AsyncIterator[tuple[Served, Filled]]:
    """
    Fill a folder as `fill` does, and serve from it without workers; both are gone on leaving.
    """
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    try:
        filled = await fill(
            folder / "data",
            users_count=users_count,
            recordings_of=recordings_of,
            overdue_of=overdue_of,
            opens=opens,
        )
        async with serving(folder / "data", with_workers=False) as served:
            yield served, filled
    finally:
        shutil.rmtree(folder)


async def phone_of(served: Served, user_id: UserId) -> Phone:
    """
    Return a client of a user who was filled in.
    """
    token = await served.gateway.context.accounts.new_token(user_id, lifetime_s=3600)
    return Phone(served, user_id, {"Authorization": f"Bearer {token.reveal().decode()}"})
