"""
Where blobs can be: the operator's home, and the accounts that users linked, each by the name that placements have for it.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

from gateway.api import AuthRevoked, Backend
from gateway.backends.near import NearBlobs
from gateway.base.ids import UserId

HOME: Final = "home"
"""The operator's own backend, as placements name it."""


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

    def farewell(self, user_id: UserId) -> AbstractAsyncContextManager[None]:
        """
        Keep every account that the user linked within reach, for as long as the context is entered.

        Within it his keys may be shredded, and with them what his tokens are sealed under:
        what is needed to delete his blobs is held in memory. On leaving it, what he allowed is revoked at the
        providers, where they let us do that.
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
    async def farewell(self, user_id: UserId) -> AsyncIterator[None]:
        yield


def _checked_by_mypy(none: NoPlaces) -> Places:
    return none
