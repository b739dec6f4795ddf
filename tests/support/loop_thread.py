"""
An event loop in a thread of its own, for servers that must answer while a test blocks its own loop.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

LONGEST_S: Final = 30


class LoopThread:
    """
    Runs from `start` to `stop`.
    """

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """
        Run *work* there, and return what it returns.
        """
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=LONGEST_S)

    def stop(self) -> None:
        """
        Cancel what still runs there, and end the thread.
        """
        self.call(self._cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _cancel_all(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
