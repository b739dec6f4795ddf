"""
Sending a long stretch of a recording out of a file of this machine, past the event loop.

Through the loop each byte is copied once more, and while one megabyte is sent the next one waits. Here a thread sends a slab
while another reads and opens what follows it.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Final, Protocol

from gateway.backends.near import NearFile
from gateway.base.threads import run_to_end
from gateway.crypto.chunked import CHUNK_SIZE, SEALED_CHUNK_SIZE, Opener, chunk_range
from gateway.crypto.errors import Truncated
from gateway.crypto.preamble import PREAMBLE_SIZE

LONG: Final = 512 * 1024
"""What is sent in this way has at least so many bytes."""

_FEWEST_CHUNKS: Final = 4
_MOST_CHUNKS: Final = 32
"""What is opened in one go: more for a listener who takes more, for what he does not take is made again."""
_TURN_S: Final = 0.02
"""After so long others who wait for a thread have their turn."""
_PATIENCE_S: Final = 0.002
"""How long a thread waits for a listener who takes nothing just now, before it leaves that to the event loop."""


class Outlet(Protocol):
    """
    Where a thread sends bytes. Each method raises `ConnectionError` when the listener is gone.
    """

    async def ready(self) -> None:
        """
        Wait until all that was given to the event loop before has gone out, and more is taken.
        """
        ...

    def send(self, data: memoryview) -> int:
        """
        Send what is taken of *data* at once; return how many bytes that was.
        """
        ...

    def wait(self, seconds: float) -> bool:
        """
        Wait so long until more is taken; tell whether it is. Blocks.
        """
        ...


class Read:
    """
    One that goes out right now.

    Attributes:
        position: the next byte of the recording's plaintext; true also after an error.
        is_ended: set from outside: nothing more is to go out.
    """

    def __init__(self) -> None:
        self.position = 0
        self.is_ended = False


class LongStretch:
    """
    The plaintext from *read*'s position to *end* of a message of *size* bytes, to be sent out of *file*.
    """

    def __init__(self, file: NearFile, opener: Opener, read: Read, *, end: int, size: int) -> None:
        self._file = file
        self._opener = opener
        self._read = read
        self._end = end
        self._size = size
        self._chunks = _FEWEST_CHUNKS

    @property
    def is_over(self) -> bool:
        """
        Whether nothing more is to be sent.
        """
        return self._read.is_ended or self._read.position >= self._end

    def take_turn(self, outlet: Outlet, lane: ThreadPoolExecutor) -> None:
        """
        Send what is taken, for a short time. Blocks; a thread of *lane* helps, if one is free.

        Raises:
            CryptoError: what lies at rest is damaged; all before it was sent.
            OSError: it cannot be read.
            ConnectionError: the listener is gone.
        """
        began, deadline = self._read.position, time.monotonic() + _TURN_S
        with _memory.lent() as lent:
            sealed, slab, other = lent
            size = self._open(began, sealed, slab)
            while True:
                ahead = None
                following = self._read.position + size
                if following < self._end and time.monotonic() < deadline:
                    self._chunks = min(2 * self._chunks, _MOST_CHUNKS)
                    ahead = lane.submit(self._open, following, sealed, other)
                try:
                    is_sent = self._send(slab[:size], outlet, deadline)
                finally:
                    # Whoever helps writes into what is lent. A thread that was not to be had makes nobody wait.
                    is_left_to_us = ahead is not None and ahead.cancel()
                    if ahead is not None and not is_left_to_us:
                        wait([ahead])
                if not is_sent:
                    taken = (self._read.position - began) // CHUNK_SIZE
                    self._chunks = min(max(taken, _FEWEST_CHUNKS), _MOST_CHUNKS)
                    return
                if ahead is None:
                    return
                size = self._open(following, sealed, other) if is_left_to_us else ahead.result()
                slab, other = other, slab

    def _open(self, start: int, sealed: memoryview, plaintext: memoryview) -> int:
        """
        Read and open what follows *start* into the front of *plaintext*; return how many bytes that is.
        """
        skipped = start % CHUNK_SIZE
        length = min(self._end - start, self._chunks * CHUNK_SIZE - skipped)
        chunks = chunk_range(start, length, self._size)
        read = sealed[: chunks.sealed_length]
        if not self._file.read_into(PREAMBLE_SIZE + chunks.sealed_start, read):
            raise Truncated("the blob ends before its message does")
        self._opener.open_into(chunks.first_chunk, read, plaintext, ends_message=chunks.ends_message)
        if skipped:
            plaintext[:length] = plaintext[skipped : skipped + length]
        return length

    def _send(self, rest: memoryview, outlet: Outlet, deadline: float) -> bool:
        """
        Send *rest*; tell whether all of it was taken.
        """
        while rest:
            if self._read.is_ended:
                return False
            sent = outlet.send(rest)
            self._read.position += sent
            rest = rest[sent:]
            if not sent and (time.monotonic() > deadline or not outlet.wait(_PATIENCE_S)):
                return False
        return True


class Senders:
    """
    The threads that send.
    """

    def __init__(self, threads: int) -> None:
        self._lane = ThreadPoolExecutor(threads, thread_name_prefix="sender")

    async def send(self, stretch: LongStretch, outlet: Outlet) -> None:
        """
        Send all of *stretch*.

        A listener who takes nothing holds neither a thread nor memory.

        Raises:
            CryptoError, OSError, ConnectionError: as `LongStretch.take_turn`.
        """
        while not stretch.is_over:
            await outlet.ready()
            if not stretch.is_over:
                await run_to_end(self._lane, lambda: stretch.take_turn(outlet, self._lane))

    def close(self) -> None:
        """
        End the threads.
        """
        self._lane.shutdown()


class _Memory(threading.local):
    """
    A thread's memory for its turns: what was read, and two slabs of plaintext, of which one is sent while the other is made.
    """

    def __init__(self) -> None:
        # A message that ends with a whole chunk has an empty one behind it.
        self._sealed = memoryview(bytearray((_MOST_CHUNKS + 1) * SEALED_CHUNK_SIZE))
        self._slabs = [memoryview(bytearray(_MOST_CHUNKS * CHUNK_SIZE)) for _ in range(2)]

    @contextmanager
    def lent(self) -> Iterator[tuple[memoryview, memoryview, memoryview]]:
        """
        Lend it, and wipe the plaintext after.
        """
        try:
            yield self._sealed, self._slabs[0], self._slabs[1]
        finally:
            for slab in self._slabs:
                slab[:] = _ZEROS


_ZEROS: Final = bytes(_MOST_CHUNKS * CHUNK_SIZE)
_memory = _Memory()
