"""
Doing together what is asked for at the same time: one transaction, one read, one sync for many.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")


class Batches(Generic[ItemT, AnswerT]):
    """
    Hands items to *work* in batches: whatever comes while one batch is worked on forms the next one.

    So whoever waits alone is served at once, and under load the cost of a batch is shared by many.
    A batch begins once a turn of the event loop has brought no further item: what many tasks ask for in the same turns is
    one batch, and nobody waits for a clock.
    An item's batch begins after the item was submitted: what *work* reads is never older than the question.

    *work* returns an answer for each item, in their order; an exception among the answers is raised for that item alone.
    What it raises itself is raised for all if it is one of *for_all*. Otherwise it concerns the only item of a batch;
    a batch of several is then done again one by one, so that one that fails takes no other with it.
    """

    def __init__(
        self,
        work: Callable[[Sequence[ItemT]], Awaitable[Sequence[AnswerT | Exception]]],
        *,
        most: int,
        for_all: tuple[type[Exception], ...] = (),
    ) -> None:
        self._work = work
        self._most = most
        self._for_all = for_all
        self._waiting: list[tuple[ItemT, asyncio.Future[AnswerT]]] = []
        self._runner: asyncio.Task[None] | None = None

    async def submit(self, item: ItemT) -> AnswerT:
        """
        Return the answer to *item*.

        Giving up waiting does not stop the work on an item that has begun.
        """
        answer: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        return await answer

    async def close(self) -> None:
        """
        Let what was submitted come to its end.
        """
        while self._runner is not None and not self._runner.done():
            await asyncio.wait([self._runner])

    async def _run(self) -> None:
        try:
            while self._waiting:
                gathered = 0
                while gathered < len(self._waiting) < self._most:
                    gathered = len(self._waiting)
                    await asyncio.sleep(0)
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._do(batch)
        finally:
            # Only when the loop is being shut down: nobody may be left waiting for ever.
            for _, answer in self._waiting:
                answer.cancel()

    async def _do(self, batch: list[tuple[ItemT, "asyncio.Future[AnswerT]"]]) -> None:
        try:
            answers = await self._work([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - it is raised again, for whoever asked
            if len(batch) > 1 and not isinstance(error, self._for_all):
                for one in batch:
                    await self._do([one])
                return
            for _, waiting in batch:
                _settle(waiting, error)
            return
        except BaseException:
            for _, answer in batch:
                answer.cancel()
            raise
        for (_, waiting), outcome in zip(batch, answers, strict=True):
            _settle(waiting, outcome)


def _settle(waiting: "asyncio.Future[AnswerT]", answer: AnswerT | Exception) -> None:
    if waiting.done():
        return
    if isinstance(answer, Exception):
        waiting.set_exception(answer)
    else:
        waiting.set_result(answer)
