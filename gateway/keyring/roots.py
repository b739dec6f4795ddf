"""
What a root store is: the tiny memory that can forget.

Everything in the key database may be copied anywhere; only the root keys must be erasable, and they live here.
Which root is in use is said by the epoch of the tree's head in the key database, never by the store:
the root of that epoch is active, the one of the next epoch is pending, those of older epochs wait to be destroyed.
Decision 0003 says why the store has no word of its own in this.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from gateway.base.ids import Epoch
from gateway.base.secret import Secret


@dataclass(frozen=True, slots=True)
class HolderAnswer:
    """
    What one party to a root said when it was asked to destroy it.
    """

    holder: str
    label: str
    outcome: Literal["destroyed", "absent"]
    """``absent``: it had nothing of this root any more, as after a crash between destroying and being heard."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """
    The answers of all holders; it goes into the receipts as it is.
    """

    answers: tuple[HolderAnswer, ...]


class RootStore(Protocol):
    """
    Where root keys live, one for each epoch, at most a few at a time.

    Calls may come from several processes at once; each takes effect as a whole.
    Failures are `RootStoreError`.
    """

    @property
    def label(self) -> str:
        """
        What erasing means here, in honest words; receipts quote it.
        """
        ...

    async def put(self, epoch: Epoch, key: Secret) -> None:
        """
        Keep *key* as the root of *epoch*; it is durable on return.

        Raises:
            RootExists: there is one of this epoch, which stays as it is.
        """
        ...

    async def read(self, epoch: Epoch) -> Secret:
        """
        Return the root of *epoch*.

        Raises:
            RootMissing: there is none that can be read.
        """
        ...

    async def destroy(self, epoch: Epoch) -> Acknowledgement:
        """
        Erase the root of *epoch* everywhere, along with whatever a put or destroy of it that was cut short left behind.

        Destroying what is not there succeeds: a round that crashed repeats this and cannot know how far it got.
        On return no holder has it any more, as far as each holder's label goes.
        """
        ...

    async def epochs(self) -> list[Epoch]:
        """
        Return the epochs of which a root can be read, lowest first.
        """
        ...
