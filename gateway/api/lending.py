"""
What the host lends to a plugin's connection: threads for blocking libraries, access tokens, and an address rule.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from aiohttp.abc import AbstractResolver

ResultT = TypeVar("ResultT")


class ThreadLane(Protocol):
    """
    A few threads of one connection's own, for the calls of a library that blocks.

    A thread cannot be cancelled: when the task that waits is cancelled, the call goes on, and its slot is taken until it
    ends. So the library's own time-outs are set, and each call is small: one part, one page.
    """

    async def run(self, call: Callable[[], ResultT]) -> ResultT:
        """
        Run *call* in a thread and return what it returns; waits for a free one.
        """
        ...


class TokenSource(Protocol):
    """
    The access token of one linked account. Refresh tokens never leave the host.
    """

    async def access_token(self, *, stale: str | None = None) -> str:
        """
        Return an access token that is valid as far as is known.

        A plugin asks anew for every call and keeps none.
        *stale* is a token that the provider has just refused (401): the host then brings another, once;
        if that is refused as well, the plugin raises `AuthRevoked`.

        Raises:
            AuthRevoked: the grant is gone.
            Transient: the provider's token server does not answer.
        """
        ...


class AddressRule(Protocol):
    """
    Keeps connections to servers that a user named away from the operator's own network.
    """

    @property
    def resolver(self) -> AbstractResolver:
        """
        Resolves names for aiohttp; refuses those that lead to forbidden addresses, each time anew.
        """
        ...

    def check_url(self, url: str) -> None:
        """
        Check a URL before it is spoken to, for its scheme and for an address in place of a name.

        Raises:
            Misconfigured: it may not be spoken to; the message says why.
        """
        ...
