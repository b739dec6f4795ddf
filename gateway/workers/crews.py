"""
Crews: workers that share jobs of some kinds, so that none of these waits for those of another crew.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from gateway.database import Database
from gateway.services.work import Courtesy, WorkBell
from gateway.settings import Jobs as Limits
from gateway.workers.jobs import Handler, JobDesk, JobWorker


@dataclass(frozen=True, slots=True)
class Crew:
    """
    So many workers for the kinds of *handlers*, woken by *bell*.

    Attributes:
        courtesy: whom they let pass; without one nobody, for somebody waits for what they do.
    """

    name: str
    handlers: Mapping[str, Handler]
    bell: WorkBell
    size: int
    courtesy: Courtesy | None = None

    def loops(
        self, stack: AsyncExitStack, catalog_db: Database, limits: Limits, *, node: str
    ) -> Iterator[Callable[[], Awaitable[None]]]:
        """
        Give a loop for each worker; what they share is closed with *stack*.
        """
        if not self.handlers:
            return
        desk = JobDesk(catalog_db, list(self.handlers), limits, node=node)
        stack.push_async_callback(desk.close)
        for _ in range(self.size):
            yield JobWorker(
                catalog_db, self.handlers, self.bell, limits, node=node, desk=desk, courtesy=self.courtesy
            ).run
