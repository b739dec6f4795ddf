"""
Faults on order: what a test has a pretend cloud do wrong, when, and how often.

An emulator names each of its endpoints by the operation that it serves; the names are the same in all of them:
``token``, ``begin``, ``append``, ``resume``, ``commit``, ``put``, ``read``, ``stat``, ``list``, ``delete``, ``quota``,
``identity``, and what a provider of sign-in has besides, which its class tells.
Where one request both brings the last bytes and commits, it is an ``append``.
"""

import enum
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass


class Effect(enum.Enum):
    """
    What goes wrong.
    """

    CUT_BEFORE = "the connection is cut before anything is done"
    CUT_IN_BODY = "the connection is cut in the middle of the request's body"
    LOSE_ANSWER = "it is done, and the connection is cut before the answer"
    TAKE_LESS = "less is taken than was sent, and the answer says so"
    THROTTLE = "too many requests"
    FAIL = "an internal error of the provider"
    EXPIRE_TOKEN = "the access token is not valid any more"
    STALL = "no answer comes until the client goes, or until faults are cleared"
    HOLD_ANSWER = "it is done, and the answer comes when faults are cleared"


@dataclass
class _Ordered:
    operation: str
    effect: Effect
    times: int
    after: int
    amount: int


@dataclass(frozen=True)
class Fault:
    """
    One fault that is due now.
    """

    effect: Effect
    amount: int
    """Bytes that are taken all the same (`TAKE_LESS`, `CUT_IN_BODY`); seconds to wait (`THROTTLE`)."""


class Faults:
    """
    The faults that were ordered of one emulator, and a count of all requests; usable from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ordered: list[_Ordered] = []
        self.requests: Counter[str] = Counter()
        """How many requests of each operation came in, faulty ones too."""
        self.on_clear: Callable[[], object] = lambda: None
        """Called after what was ordered is forgotten."""

    def order(
        self, operation: str, effect: Effect, *, times: int = 1, after: int = 0, amount: int = 0
    ) -> None:
        """
        Have the next *times* requests of *operation* go wrong, once *after* have passed unharmed.
        """
        with self._lock:
            self._ordered.append(_Ordered(operation, effect, times, after, amount))

    def clear(self) -> None:
        """
        Forget what was ordered; requests that stall come to their end.
        """
        with self._lock:
            self._ordered.clear()
        self.on_clear()

    @property
    def are_spent(self) -> bool:
        """
        Whether all that was ordered has happened.
        """
        with self._lock:
            return not self._ordered

    def due(self, operation: str) -> Fault | None:
        """
        Count a request of *operation*, and return what is to go wrong with it.
        """
        with self._lock:
            self.requests[operation] += 1
            for ordered in self._ordered:
                if ordered.operation != operation:
                    continue
                if ordered.after:
                    ordered.after -= 1
                    continue
                ordered.times -= 1
                if not ordered.times:
                    self._ordered.remove(ordered)
                return Fault(ordered.effect, ordered.amount)
        return None
