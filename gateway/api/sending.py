"""
What sending takes at most providers: parts of one size, and calls that are not left behind half done.

Offered, not demanded: a backend is free to do without any of it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import suppress
from typing import Any, TypeVar

from gateway.api.blobs import BlobKey
from gateway.api.errors import BackendError, IntegrityMismatch
from gateway.api.puts import PutSession, ResumablePuts

ResultT = TypeVar("ResultT")


async def parts_of(
    key: BlobKey, pieces: AsyncIterator[bytes], size: int, part_size: int
) -> AsyncGenerator[bytes, None]:
    """
    Gather *pieces* into parts of *part_size* bytes; the last one has what is left, and may be empty only if *size* is 0.

    There is at least one part, and the last part comes when the length has been compared.
    So whoever commits after the last part commits no more and no less than *size* bytes.
    One part is held in memory, and the piece that came last.

    Raises:
        IntegrityMismatch: there are more or fewer than *size* bytes.
    """
    part = bytearray()
    received = 0
    async for piece in pieces:
        received += len(piece)
        if received > size:
            raise IntegrityMismatch(f"The source of blob {key} gives more than its {size} bytes.")
        part += piece
        while len(part) > part_size:
            yield bytes(part[:part_size])
            del part[:part_size]
    if received < size:
        raise IntegrityMismatch(f"The source of blob {key} ends after {received} of {size} bytes.")
    yield bytes(part)


async def no_pieces() -> AsyncIterator[bytes]:
    """
    Yield nothing: what `Backend.read` gives for an empty span, where the provider has no empty ranges.
    """
    return
    yield b""


async def settled(call: Awaitable[ResultT], *, within_s: float = 5.0) -> ResultT:
    """
    Return what *call* returns; if cancelled, first wait up to *within_s* seconds for it to end.

    What was sent is carried out whether anybody waits or not.
    So what the caller does next would be overtaken, if he did not wait for the answer.
    A call that has not ended by then, or whose caller is cancelled once more, is cancelled itself.
    """
    task = asyncio.ensure_future(call)
    task.add_done_callback(_look_at)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            await asyncio.wait([task], timeout=within_s)
        finally:
            task.cancel()
        raise


async def drop_put(puts: ResumablePuts, session: PutSession) -> None:
    """
    Abort a put that went wrong, even if cancelled meanwhile; a backend's error with that is not raised.

    For `Backend.put`, where the first error is the one to tell. What stays behind is for whatever cleans up after
    sessions that nobody goes on with: most providers do so by themselves.
    """
    task = asyncio.ensure_future(puts.abort(session))
    task.add_done_callback(_look_at)
    with suppress(BackendError):
        await asyncio.shield(task)


def _look_at(task: asyncio.Future[Any]) -> None:
    # After a cancellation nobody else is left to hear of an error.
    if not task.cancelled():
        task.exception()
