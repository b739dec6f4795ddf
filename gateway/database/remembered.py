"""
Answers of a database that need not be asked for again while nobody has written to it.
"""

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from gateway.database.engine import Database

KeyT = TypeVar("KeyT", bound=Hashable)
AnswerT = TypeVar("AnswerT")


class Remembered(Generic[KeyT, AnswerT]):
    """
    What *read* answered lately, for as long as nobody has committed anything to the database since.

    Each question asks the database's version first, so no answer is older than its question: what another task or another
    process has committed by then is seen. Where there is no version each question is read anew.
    """

    def __init__(self, database: Database, read: Callable[[KeyT], Awaitable[AnswerT]], *, most: int) -> None:
        """
        Args:
            most: how many answers are kept.
        """
        self._database = database
        self._read = read
        self._most = most
        self._version: int | None = None
        self._answers: dict[KeyT, AnswerT] = {}

    async def get(self, key: KeyT) -> AnswerT:
        """
        Return what *read* answers to *key* now.
        """
        version = self._database.version()
        if version != self._version:
            self._answers.clear()
            self._version = version
        elif key in self._answers:
            return self._answers[key]
        answer = await self._read(key)
        # What was committed meanwhile may be in the answer or not.
        if version is not None and version == self._version == self._database.version():
            if len(self._answers) >= self._most:
                del self._answers[next(iter(self._answers))]
            self._answers[key] = answer
        return answer

    def forget(self) -> None:
        """
        Drop every answer.
        """
        self._answers.clear()
