"""
A gateway in this process that serves a filled installation, for as long as something is measured in it.
"""

import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.filling import Filled, fill
from gateway.base.ids import KeySlot, UserId
from gateway.settings import Settings, passed_environment
from tests.http.phone import Phone
from tests.support.gateway import Served, serving

KEPT_IN: Final = "BENCH_KEPT"
"""Names the folder in which what was filled is kept, to be copied by later runs; without it nothing is."""


@asynccontextmanager
async def filled_folder(
    name: str,
    *,
    users_count: int,
    recordings_of: Callable[[int], int],
    overdue_of: Callable[[int], int] = lambda number: 0,
    opens: bool = False,
) -> AsyncIterator[Filled]:
    """
    Fill a folder as `fill` does, gone on leaving; one that was kept under *name* is copied instead.
    """
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    kept_in = passed_environment().get(KEPT_IN)
    kept = None if kept_in is None else Path(kept_in) / name
    try:
        if kept is not None and kept.exists():
            shutil.copytree(kept / "data", folder / "data")
            filled = _read_note(kept, folder / "data")
        else:
            filled = await fill(
                folder / "data",
                users_count=users_count,
                recordings_of=recordings_of,
                overdue_of=overdue_of,
                opens=opens,
            )
            if kept is not None:
                _keep(kept, filled)
        yield filled
    finally:
        shutil.rmtree(folder)


def _keep(kept: Path, filled: Filled) -> None:
    begun = kept.with_name(f"{kept.name}.begun")
    shutil.rmtree(begun, ignore_errors=True)
    shutil.copytree(filled.settings.data_dir, begun / "data")
    note = {"first_slot": filled.first_slot, "user_ids": filled.user_ids}
    (begun / "filled.json").write_text(json.dumps(note))
    begun.rename(kept)


def _read_note(kept: Path, data_dir: Path) -> Filled:
    note = json.loads((kept / "filled.json").read_text())
    settings = Settings.load(overrides={"data": {"dir": str(data_dir)}}, environment={})
    return Filled(settings, KeySlot(note["first_slot"]), note["user_ids"])


@asynccontextmanager
async def serving_filled(
    name: str,
    *,
    users_count: int,
    recordings_of: Callable[[int], int],
    overdue_of: Callable[[int], int] = lambda number: 0,
    opens: bool = False,
) -> AsyncIterator[tuple[Served, Filled]]:
    """
    Serve from such a folder, without workers.
    """
    async with (
        filled_folder(
            name, users_count=users_count, recordings_of=recordings_of, overdue_of=overdue_of, opens=opens
        ) as filled,
        serving(filled.settings.data_dir, with_workers=False) as served,
    ):
        yield served, filled


async def phone_of(served: Served, user_id: UserId) -> Phone:
    """
    Return a client of a user who was filled in.
    """
    token = await served.gateway.context.accounts.new_token(user_id, lifetime_s=3600)
    return Phone(served, user_id, {"Authorization": f"Bearer {token.reveal().decode()}"})
