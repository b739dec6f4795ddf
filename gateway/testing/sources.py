"""
Sources of bytes, some of them ill-behaved in one exact way.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.api import BlobSource


def pattern(size: int, seed: int = 0) -> bytes:
    """
    Bytes of which no two stretches near each other are equal.
    """
    return hashlib.shake_128(seed.to_bytes(8, "big")).digest(size)


class BytesSource:
    """
    Bytes in memory; counts how often it was opened, and how often left.
    """

    def __init__(self, content: bytes, *, piece_size: int = 64 << 10) -> None:
        self.content = content
        self.piece_size = piece_size
        self.opened = 0
        self.left = 0

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def path(self) -> Path | None:
        return None

    async def sha256(self) -> bytes:
        return hashlib.sha256(self.content).digest()

    @asynccontextmanager
    async def open(self, start: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        self.opened += 1
        try:
            yield self.pieces(start)
        finally:
            self.left += 1

    async def pieces(self, start: int) -> AsyncIterator[bytes]:
        for offset in range(start, len(self.content), self.piece_size):
            # As a file or a socket would, it lets others have a turn.
            await asyncio.sleep(0)
            yield self.content[offset : offset + self.piece_size]


class FileSource(BytesSource):
    """
    A file that offers its path as well.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path.read_bytes())
        self._path = path

    @property
    def path(self) -> Path | None:
        return self._path


class LyingSource(BytesSource):
    """
    Claims another size than it has.
    """

    def __init__(self, content: bytes, claimed: int) -> None:
        super().__init__(content)
        self._claimed = claimed

    @property
    def size(self) -> int:
        return self._claimed


class SourceBroke(Exception):
    """
    What a `BreakingSource` raises.
    """


class BreakingSource(BytesSource):
    """
    Breaks at byte *at* the first time it is opened.
    """

    def __init__(self, content: bytes, at: int) -> None:
        super().__init__(content)
        self._at = at

    async def pieces(self, start: int) -> AsyncIterator[bytes]:
        if self.opened > 1:
            async for piece in super().pieces(start):
                yield piece
        else:
            yield self.content[: self._at]
            raise SourceBroke


class StallingSource(BytesSource):
    """
    Gives its bytes up to *at*, sets `stalled`, and no more comes.
    """

    def __init__(self, content: bytes, at: int) -> None:
        super().__init__(content)
        self._at = at
        self.stalled = asyncio.Event()

    async def pieces(self, start: int) -> AsyncIterator[bytes]:
        yield self.content[: self._at]
        self.stalled.set()
        await asyncio.Event().wait()


def _checked_by_mypy(source: BytesSource) -> BlobSource:
    return source
