"""
Keeping loops running.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

log = structlog.get_logger()

_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0


class Supervisor:
    """
    Runs named loops until it is stopped; one that falls is started again after a pause that grows.
    """

    def __init__(self, loops: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        self._loops = loops
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """
        Start every loop.
        """
        self._tasks = [
            asyncio.create_task(self._keep(name, loop), name=name) for name, loop in self._loops.items()
        ]

    async def stop(self) -> None:
        """
        Cancel every loop and wait for its end; a job in hand is put back by its lease.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _keep(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        clock = asyncio.get_running_loop()
        pause = _PAUSE_S
        while True:
            began = clock.time()
            try:
                await loop()
                return
            except Exception:
                if clock.time() - began > _LONGEST_PAUSE_S:
                    # It went well for long enough: this is another trouble than the last one.
                    pause = _PAUSE_S
                log.exception("worker.fell", worker=name, restarts_in_s=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
