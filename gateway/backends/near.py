"""
Blobs that are files of this machine, read as files.

A provider across a network needs time-outs, second tries and limits, and each read goes through all of them. A file needs
none: what is in memory is read at once, where the question is asked; the rest in one change of thread. What cannot be read
here is left to the backend, which tries again and says what is wrong.
"""

import asyncio
import errno
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from gateway.api import BackendError, BlobRef, Span
from gateway.backends.measured import Meters
from gateway.base.clock import Clock
from gateway.base.threads import Lane

MOST_AT_ONCE: Final = 288 * 1024
"""The longest span that `NearBlobs.read_now` reads: the event loop stands still meanwhile, a few hundredths of a millisecond."""

_CANNOT: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
"""What a file system answers that cannot say what of a file is in memory."""


class NearFile:
    """
    An open blob.

    Its bytes are never written again; the file may be removed, and then it is not to be read any more.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.uses = 0
        """How many read it right now."""
        self.used_at = 0.0
        self.is_dropped = False

    @property
    def is_removed(self) -> bool:
        """
        Whether the blob was deleted since the file was opened.
        """
        return os.fstat(self._fd).st_nlink == 0

    def read_into(self, start: int, buffer: memoryview, flags: int = 0) -> bool:
        """
        Fill *buffer* with the bytes from *start*; tell whether there were as many. Blocks, unless the *flags* say otherwise.

        Raises:
            OSError: they cannot be read.
        """
        filled = 0
        while filled < len(buffer):
            size = os.preadv(self._fd, [buffer[filled:]], start + filled, flags)
            filled += size
            if not size or (flags and filled < len(buffer)):
                return False
        return True

    def close(self) -> None:
        """
        Close it.
        """
        os.close(self._fd)


class NearBlobs:
    """
    The blobs of one backend. The files that were read last stay open for a while, for whoever listens reads on.

    To be called from the event loop; only it opens and closes the book of what is open.
    """

    def __init__(
        self,
        open_file: Callable[[BlobRef], int],
        *,
        kind: str,
        meters: Meters,
        clock: Clock,
        most_open: int,
        idle_s: float,
        threads: int,
    ) -> None:
        """
        Args:
            open_file: as `BackendKind.open_file`, of one connection.
            most_open: how many files stay open.
            idle_s: a file that nobody has read for so long is closed; one that was deleted takes room until then.
            threads: how many blocking calls run at once.
        """
        self._open_file = open_file
        self._clock = clock
        self._calls = meters.calls.labels(kind=kind, operation="read", outcome="ok")
        self._duration = meters.duration.labels(kind=kind, operation="read")
        self._most_open = most_open
        self._idle_s = idle_s
        self._lane = Lane(threads, name="near")
        self._files: OrderedDict[BlobRef, NearFile] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._scratch = memoryview(bytearray(MOST_AT_ONCE))
        self._can_read_now = True

    def read_now(self, ref: BlobRef, span: Span) -> memoryview | None:
        """
        Return the span, if its file is open and all of it in memory; good until the next call.
        """
        if not self._can_read_now or span.length > MOST_AT_ONCE or (file := self._known(ref)) is None:
            return None
        began = self._clock.monotonic()
        buffer = self._scratch[: span.length]
        try:
            if not file.read_into(span.start, buffer, os.RWF_NOWAIT):
                return None
        except BlockingIOError:
            return None
        except OSError as error:
            self._can_read_now = error.errno not in _CANNOT
            return None
        self._note(self._clock.monotonic() - began)
        return buffer

    async def read(self, ref: BlobRef, span: Span) -> memoryview | None:
        """
        Return the span, None if the backend is to be asked for it.
        """
        async with self.opened(ref) as file:
            if file is None:
                return None
            buffer = memoryview(bytearray(span.length))
            began = self._clock.monotonic()
            try:
                is_whole = await self._lane.run(lambda: file.read_into(span.start, buffer))
            except OSError:
                return None
            if not is_whole:
                return None
            self._note(self._clock.monotonic() - began)
            return buffer

    @asynccontextmanager
    async def opened(self, ref: BlobRef) -> AsyncIterator[NearFile | None]:
        """
        Give the blob's file, to be read in any thread while the context is entered; None if it cannot be opened.
        """
        file = self._known(ref) or await self._opened(ref)
        if file is None:
            yield None
            return
        file.uses += 1
        try:
            yield file
        finally:
            file.uses -= 1
            file.used_at = self._clock.monotonic()
            self._close_if_over(file)

    def close(self) -> None:
        """
        Close every file, and end the threads.
        """
        self._most_open = 0
        if self._timer is not None:
            self._timer.cancel()
        for ref in tuple(self._files):
            self._drop(ref)
        self._lane.shutdown()

    def blob(self, ref: BlobRef) -> "NearBlob":
        """
        Return one of them.
        """
        return NearBlob(self, ref)

    def _known(self, ref: BlobRef) -> NearFile | None:
        file = self._files.get(ref)
        if file is None:
            return None
        if file.is_removed:
            # It is not heard any more, and its room is free again.
            self._drop(ref)
            return None
        self._files.move_to_end(ref)
        return file

    async def _opened(self, ref: BlobRef) -> NearFile | None:
        try:
            fd = await self._lane.run(lambda: self._open_file(ref))
        except (BackendError, OSError):
            return None
        file = NearFile(fd)
        file.used_at = self._clock.monotonic()
        if ref in self._files or not self._most_open:
            # Somebody else was faster, or nothing is kept.
            file.is_dropped = True
            return file
        self._files[ref] = file
        while len(self._files) > self._most_open:
            self._drop(next(iter(self._files)))
        self._watch()
        return file

    def _watch(self) -> None:
        if self._timer is None and self._files:
            self._timer = asyncio.get_running_loop().call_later(self._idle_s, self._close_idle)

    def _close_idle(self) -> None:
        self._timer = None
        since = self._clock.monotonic() - self._idle_s
        for ref, file in tuple(self._files.items()):
            if not file.uses and (file.used_at <= since or file.is_removed):
                self._drop(ref)
        self._watch()

    def _drop(self, ref: BlobRef) -> None:
        file = self._files.pop(ref)
        file.is_dropped = True
        self._close_if_over(file)

    @staticmethod
    def _close_if_over(file: NearFile) -> None:
        if file.is_dropped and not file.uses:
            file.close()

    def _note(self, seconds: float) -> None:
        self._calls.inc()
        self._duration.observe(seconds)


@dataclass(frozen=True, slots=True)
class NearBlob:
    """
    One of `NearBlobs`; its methods are theirs.
    """

    blobs: NearBlobs
    ref: BlobRef

    def read_now(self, start: int, length: int) -> memoryview | None:
        return self.blobs.read_now(self.ref, Span(start, length))

    async def read(self, start: int, length: int) -> memoryview | None:
        return await self.blobs.read(self.ref, Span(start, length))

    def opened(self) -> AbstractAsyncContextManager[NearFile | None]:
        return self.blobs.opened(self.ref)
