"""
Where blobs can be: the operator's home, and the accounts that users linked, each by the name that placements have for it.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

from gateway.api import AuthRevoked, Backend
from gateway.backends.near import NearBlobs
from gateway.base.ids import UserId

HOME: Final = "home"
"""The operator's own backend, as placements name it."""


class Grants(Protocol):
    """
    What a user allowed at his providers, as far as they let us end it, held in memory.
    """

    @property
    def link_ids(self) -> Sequence[str]:
        """
        Of which links they are.
        """
        ...

    async def revoke(self, link_id: str) -> bool:
        """
        Tell the provider that it is over; return whether it says so too.
        """
        ...


class Places(Protocol):
    """
    Gives the connection to a place.
    """

    def at(self, name: str) -> AbstractAsyncContextManager[Backend]:
        """
        Give the backend at *name*, "home" or the id of a link, for as long as the context is entered.

        The connection is shared, and may stay open after that.

        Raises:
            AuthRevoked: on entering; the account is not linked any more, or its grant is gone.
            BackendError: on entering; it cannot be connected to.
        """
        ...

    def near(self, name: str) -> NearBlobs | None:
        """
        Give the blobs at *name* as files, where they are files of this machine; None elsewhere.

        What cannot be read so is asked of the backend.
        """
        ...

    def farewell(self, user_id: UserId, *, patience_s: float) -> AbstractAsyncContextManager[Grants]:
        """
        Keep every account that the user linked within reach, for as long as the context is entered.

        Within it his keys may be shredded, and with them what his tokens are sealed under: what is needed to delete
        his blobs is held in memory, and so is what is needed to end what he allowed. On leaving it, what was not ended
        by then is, at the providers that let us do that. An account that does not answer within *patience_s* is left out.
        """
        ...


class NoPlaces:
    """
    No place at all: for commands that reach none.
    """

    @asynccontextmanager
    async def at(self, name: str) -> AsyncIterator[Backend]:
        raise AuthRevoked(f"{name} is not within this command's reach.")
        yield

    def near(self, name: str) -> NearBlobs | None:
        return None

    @asynccontextmanager
    async def farewell(self, user_id: UserId, *, patience_s: float) -> AsyncIterator[Grants]:
        yield _NoGrants()


class _NoGrants:
    link_ids: Final[Sequence[str]] = ()

    async def revoke(self, link_id: str) -> bool:
        return False


def _checked_by_mypy(none: NoPlaces) -> Places:
    return none
