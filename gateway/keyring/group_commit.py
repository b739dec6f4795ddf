"""
Sharing rounds: those that come while a round runs share the next one.

There is no timer: a lone request starts its round at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.keyring.errors import KeyringError, ShredRefused
from gateway.keyring.ledger import refuse_other_leaves
from gateway.keyring.receipts import Receipt
from gateway.keyring.requests import ShredRequest

MOST_IN_A_ROUND: Final = 1024
"""Bounds the memory and the transaction of one round; the rest share the next."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    request: ShredRequest
    answer: asyncio.Future[Receipt]


class GroupCommit:
    """
    Gathers requests into groups, and carries out one group at a time.

    *shred* gets each group, whose subjects differ, and returns an answer for each;
    what it raises, all of the group get.
    """

    def __init__(
        self, shred: Callable[[Sequence[ShredRequest]], Awaitable[Mapping[str, Receipt | Exception]]]
    ) -> None:
        self._shred = shred
        self._waiting: dict[str, _Waiting] = {}  # in order of arrival
        self._running: dict[str, _Waiting] = {}
        self._runner: asyncio.Task[None] | None = None
        self._is_closed = False

    async def submit(self, request: ShredRequest) -> Receipt:
        """
        Return the receipt of *request* once its round is final.

        A second request for a subject that waits already joins it.
        Giving up waiting does not stop the round.
        """
        if self._is_closed:
            raise ShredRefused("the keyring is closed")
        subject_id = request.subject_id
        waiting = self._running.get(subject_id) or self._waiting.get(subject_id)
        if waiting is None:
            waiting = _Waiting(request, asyncio.get_running_loop().create_future())
            # An error that nobody is left to hear is no news: whoever asks again will meet it again.
            waiting.answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
            self._waiting[subject_id] = waiting
            if self._runner is None or self._runner.done():
                self._runner = asyncio.create_task(self._run())
        else:
            refuse_other_leaves(waiting.request, request)
        return await asyncio.shield(waiting.answer)

    async def close(self) -> None:
        """
        Let the running round come to its end; those that wait for the next are told that there is none.
        """
        self._is_closed = True
        for waiting in self._waiting.values():
            waiting.answer.set_exception(ShredRefused("the keyring was closed before this round began"))
        self._waiting.clear()
        if self._runner is not None:
            await asyncio.shield(self._runner)

    async def _run(self) -> None:
        while self._waiting:
            subjects = list(self._waiting)[:MOST_IN_A_ROUND]
            self._running = {subject_id: self._waiting.pop(subject_id) for subject_id in subjects}
            try:
                answers = await self._shred([waiting.request for waiting in self._running.values()])
                for subject_id, waiting in self._running.items():
                    _settle(waiting.answer, answers[subject_id])
            except BaseException as error:
                # Also when the loop is being shut down: nobody may be left waiting for ever.
                failure = error if isinstance(error, Exception) else KeyringError("the round was cut short")
                for waiting in self._running.values():
                    _settle(waiting.answer, failure)
                if not isinstance(error, Exception):
                    raise
            finally:
                self._running = {}


def _settle(answer: asyncio.Future[Receipt], outcome: Receipt | Exception) -> None:
    if answer.done():
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
