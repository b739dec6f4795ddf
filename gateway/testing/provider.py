"""
A cloud provider in memory, with tokens that run out, a limit and a bad line: the reference of the fault suites.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from gateway.api import (
    AuthRevoked,
    BlobKey,
    BlobRef,
    BlobSource,
    BlobStat,
    Quota,
    RateLimited,
    Span,
    Transient,
)
from gateway.testing.doubles import TokensOnOrder
from gateway.testing.memory import MemoryBackend, MemoryPlace


@dataclass
class Provider:
    """
    What goes wrong next at one pretend provider.
    """

    place: MemoryPlace = field(default_factory=MemoryPlace)
    refused: set[str] = field(default_factory=set)
    is_revoked: bool = False
    wants_rest: timedelta | None = None
    sending_left: int | None = None
    """Bytes that still reach the provider before the line is cut."""
    receiving_left: int | None = None

    def takes(self, token: str) -> bool:
        """
        Whether *token* is valid.
        """
        return not self.is_revoked and token not in self.refused


class ProviderBackend(MemoryBackend):
    """
    A connection to a `Provider`.
    """

    def __init__(self, provider: Provider, tokens: TokensOnOrder) -> None:
        super().__init__(provider.place)
        self.provider = provider
        self.tokens = tokens

    async def request(self) -> None:
        """
        Stand for one request, before it does anything.
        """
        await self.authorize()
        wanted, self.provider.wants_rest = self.provider.wants_rest, None
        if wanted is not None:
            raise self.throttled(wanted)

    async def authorize(self) -> None:
        token = await self.tokens.access_token()
        if not self.provider.takes(token) and not self.provider.takes(
            await self.tokens.access_token(stale=token)
        ):
            raise AuthRevoked("The provider refuses a token that is new.")

    def throttled(self, wanted: timedelta) -> RateLimited:
        return RateLimited("The provider wants fewer calls.", retry_after=wanted)

    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        await self.request()
        return await super().put(key, body)

    async def gathered(self, body: BlobSource) -> bytes:
        content = await super().gathered(body)
        if self.provider.sending_left is not None and len(content) > self.provider.sending_left:
            left, self.provider.sending_left = self.provider.sending_left, None
            return self.cut_put(content[:left])
        return content

    def cut_put(self, arrived: bytes) -> bytes:
        raise Transient(f"The line was cut after {len(arrived)} bytes.")

    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        await self.request()
        async with super().read(ref, span) as pieces:
            yield self.received(pieces)

    async def received(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in pieces:
            if self.provider.receiving_left is not None:
                self.provider.receiving_left -= len(piece)
                if self.provider.receiving_left < 0:
                    self.provider.receiving_left = None
                    self.cut_read()
                    return
            yield piece

    def cut_read(self) -> None:
        raise Transient("The line was cut.")

    async def stat(self, ref: BlobRef) -> BlobStat:
        await self.request()
        return await super().stat(ref)

    async def find(self, key: BlobKey) -> BlobRef | None:
        await self.request()
        return await super().find(key)

    async def delete(self, ref: BlobRef) -> None:
        await self.request()
        await super().delete(ref)

    async def quota(self) -> Quota | None:
        await self.request()
        return await super().quota()
