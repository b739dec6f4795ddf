"""
What the errors and successes of a linked account say about the link, noted where its owner sees it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Final, TypeVar

import structlog

from gateway.api import (
    AccessDenied,
    AuthRevoked,
    Backend,
    BackendError,
    BlobRef,
    BlobStat,
    Misconfigured,
    Quota,
    QuotaExceeded,
    Span,
)
from gateway.backends.wrapped import WrappedBackend, closing_stream, stepped
from gateway.base.clock import Clock
from gateway.catalog import links as catalog
from gateway.catalog.links import LinkRow
from gateway.database import Database, DatabaseUnavailable

ResultT = TypeVar("ResultT")

OnRecovered = Callable[[str], Awaitable[None]]

log = structlog.get_logger()

_PROVE: Final = frozenset({"put", "append", "commit", "probe"})
"""What cannot succeed at an account that is full, or that we may not write to."""


def state_after(error: BackendError) -> str | None:
    """
    Return the state that *error* shows a link to be in, None if it says nothing of it.
    """
    match error:
        case AuthRevoked():
            return catalog.REVOKED
        case AccessDenied():
            return catalog.SCOPE_MISSING
        case QuotaExceeded():
            return catalog.OVER_QUOTA
        case Misconfigured():
            return catalog.MISCONFIGURED
    return None


class LinkNotes:
    """
    Writes states of links down, and tells when one is well again.

    A failing catalog keeps no call of a backend from its answer: then nothing is noted.
    """

    def __init__(self, catalog_db: Database, clock: Clock, *, on_recovered: OnRecovered) -> None:
        self._catalog = catalog_db
        self._clock = clock
        self._on_recovered = on_recovered
        self._suspects: set[str] = set()
        self.quotas: dict[str, Quota] = {}
        """How full each account was when somebody last asked."""

    def saw(self, link: LinkRow) -> None:
        """
        Take in what the row says.
        """
        if link.state in catalog.CURABLE:
            self._suspects.add(link.id)
        else:
            self._suspects.discard(link.id)

    async def failed(self, link: LinkRow, error: BackendError) -> None:
        """
        Note what *error* says about the link.
        """
        state = state_after(error)
        if state is None:
            return
        self._suspects.add(link.id)
        only_from = None if state == catalog.REVOKED else catalog.UNREVOKED
        if await self._set(link, state, reason=error.code, only_from=only_from):
            log.warning("link.ill", link=link.id, kind=link.kind, state=state, code=error.provider_code)

    async def succeeded(self, link: LinkRow, *, even_if_revoked: bool = False) -> None:
        """
        Note that the link does what it is for.
        """
        if link.id not in self._suspects and not even_if_revoked:
            return
        curable = (*catalog.CURABLE, catalog.REVOKED) if even_if_revoked else catalog.CURABLE
        if await self._set(link, catalog.OK, reason=None, only_from=curable):
            log.info("link.well", link=link.id, kind=link.kind)
            await self._on_recovered(link.id)
        self._suspects.discard(link.id)

    async def relinked(self, link_id: str) -> None:
        """
        Tell that the account was linked anew.
        """
        self._suspects.discard(link_id)
        await self._on_recovered(link_id)

    async def _set(
        self, link: LinkRow, state: str, *, reason: str | None, only_from: tuple[str, ...] | None
    ) -> bool:
        try:
            async with self._catalog.write() as connection:
                return await catalog.set_link_state(
                    connection,
                    link.id,
                    state,
                    reason=reason,
                    at=self._clock.now_ms(),
                    generation=link.generation,
                    only_from=only_from,
                )
        except DatabaseUnavailable:
            log.warning("link.not_noted", link=link.id, state=state)
            return False


class NotedBackend(WrappedBackend):
    """
    The outermost of a linked account's decorators: it sees what stays of an error after all tries.
    """

    def __init__(self, inner: Backend, link: LinkRow, notes: LinkNotes) -> None:
        super().__init__(inner)
        self._link = link
        self._notes = notes

    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        async with AsyncExitStack() as stack:
            opening = self._inner.read(ref, span)
            pieces = await self._through("read", lambda: stack.enter_async_context(opening))
            async with aclosing(stepped("read", self._through, pieces)) as steps:
                yield steps

    async def scan(self) -> AsyncIterator[BlobStat]:
        async with closing_stream(self._inner.scan()) as blobs:
            async for blob in stepped("scan", self._through, blobs):
                yield blob

    async def quota(self) -> Quota | None:
        quota = await super().quota()
        if quota is not None:
            self._notes.quotas[self._link.id] = quota
        return quota

    async def _through(self, operation: str, call: Callable[[], Awaitable[ResultT]], /) -> ResultT:
        try:
            result = await call()
        except BackendError as exc:
            await self._notes.failed(self._link, exc)
            raise
        if operation in _PROVE:
            await self._notes.succeeded(self._link)
        return result
