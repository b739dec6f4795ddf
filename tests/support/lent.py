"""
What the host lends to a plugin, over a pretend cloud: tokens of a grant there, an HTTP session, and a lane.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from gateway.api import BackendContext
from gateway.backends.lane import Lane
from gateway.testing.doubles import TokensOnOrder
from tests.emulators.cloud import Account


class LentTokens(TokensOnOrder):
    """
    Tokens of one grant at a pretend cloud, renewed for as long as the cloud's user does not end it.

    Attributes:
        handed_out: all tokens that there were.
    """

    def __init__(self, cloud: Any, account: Account, scopes: frozenset[str]) -> None:
        cloud.oauth.grant(account, scopes)
        self._oauth = cloud.oauth
        self._grant = cloud.oauth.grants[-1]
        self.handed_out: list[str] = []
        super().__init__(self._issued)

    async def access_token(self, *, stale: str | None = None) -> str:
        if stale is not None and self._grant.is_revoked:
            self.end()
        return await super().access_token(stale=stale)

    def _issued(self) -> str:
        token = self._oauth.new_access_token(self._grant)
        self.handed_out.append(token)
        return token


@asynccontextmanager
async def lent_context(
    cloud: Any,
    account: Account,
    scopes: frozenset[str],
    *,
    lane: int | None = None,
    tokens: TokensOnOrder | None = None,
) -> AsyncIterator[BackendContext]:
    """
    Give what a connection to *account* of *cloud* is lent.

    *lane* is how many threads its lane has; None: it gets none. *tokens* takes the place of a fresh grant.
    """
    threads = None if lane is None else Lane(cloud.kind, lane, queue=256)
    timeout = aiohttp.ClientTimeout(sock_connect=10, sock_read=30)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http:
            yield BackendContext(
                account=cloud.kind,
                http=http,
                lane=threads,
                tokens=tokens or LentTokens(cloud, account, scopes),
            )
    finally:
        if threads is not None:
            await threads.close(patience_s=10)
