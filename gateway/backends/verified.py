"""
Checks: what a backend says it did is compared with what it was asked for.
"""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress

from gateway.api import (
    Backend,
    BackendError,
    BlobKey,
    BlobRef,
    BlobSource,
    BlobStat,
    IntegrityMismatch,
    NotFound,
    PutSession,
    ResumablePuts,
    Span,
)
from gateway.backends.wrapped import Through, WrappedBackend, WrappedPuts


class VerifiedBackend(WrappedBackend):
    """
    Looks at each blob after it was put, and counts the bytes of each read.

    A blob that is not what was put is removed again, for nothing may be kept of it.
    """

    @property
    def resumable(self) -> ResumablePuts | None:
        puts = self._inner.resumable
        return None if puts is None else VerifiedPuts(puts, self._through, self._inner)

    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        ref = await self._inner.put(key, body)
        found = await _checked_size(self._inner, ref, body.size)
        expected = await self._digest(body) if found.digest is not None else None
        if expected is not None and expected != found.digest:
            await _removed(self._inner, ref)
            raise IntegrityMismatch(f"Blob {key} has another hash at the provider than what was put.")
        return ref

    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        expected = (await self._inner.stat(ref)).size if span is None else span.length
        async with (
            self._inner.read(ref, span) as pieces,
            aclosing(_counted(ref, pieces, expected)) as counted,
        ):
            yield counted

    async def _digest(self, body: BlobSource) -> str | None:
        """
        Return the hash of *body* that this provider tells, or None if it is one we do not know.
        """
        match self.traits.hash_offered:
            case "sha256":
                return (await body.sha256()).hex()
            case "md5":
                # The provider's choice; it guards against accidents here, not against an attacker.
                md5 = hashlib.md5(usedforsecurity=False)
                async with body.open() as pieces:
                    async for piece in pieces:
                        md5.update(piece)
                return md5.hexdigest()
            case _:
                return None


class VerifiedPuts(WrappedPuts):
    """
    Looks at the size of each blob after its commit; its hash the plugin has compared.
    """

    def __init__(self, inner: ResumablePuts, through: Through, backend: Backend) -> None:
        super().__init__(inner, through)
        self._backend = backend

    async def commit(self, session: PutSession) -> BlobRef:
        ref = await self._inner.commit(session)
        await _checked_size(self._backend, ref, session.offset)
        return ref


async def _checked_size(backend: Backend, ref: BlobRef, size: int) -> BlobStat:
    try:
        found = await backend.stat(ref)
    except NotFound as exc:
        raise IntegrityMismatch(f"Blob {ref.key} is not there, although its put succeeded.") from exc
    if found.size != size:
        await _removed(backend, ref)
        raise IntegrityMismatch(f"Blob {ref.key} has {found.size} bytes at the provider instead of {size}.")
    return found


async def _removed(backend: Backend, ref: BlobRef) -> None:
    # What is wrong with the blob matters more than that it could not be removed.
    with suppress(BackendError):
        await backend.delete(ref)


async def _counted(ref: BlobRef, pieces: AsyncIterator[bytes], expected: int) -> AsyncGenerator[bytes, None]:
    received = 0
    async for piece in pieces:
        received += len(piece)
        if received > expected:
            raise IntegrityMismatch(
                f"Blob {ref.key} gave more than the {expected} bytes that were asked for."
            )
        yield piece
    if received < expected:
        raise IntegrityMismatch(f"Blob {ref.key} gave {received} of {expected} bytes.")
