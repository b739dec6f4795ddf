"""
Taking a request's body: what it was taken from is let go of, however it ended.
"""

from pathlib import Path

import pytest

from gateway.services.bodies import Append, BodyCut
from gateway.services.errors import OutOfRoom, TooLong
from gateway.services.holders import Holder
from gateway.services.receiving import receive
from gateway.spool.files import SLAB
from tests.spool.test_pieces import IDENTITY, KEY, spool_in


class LentSource:
    """
    The rest of a body, of which nothing comes any more.
    """

    def __init__(self) -> None:
        self.missing = SLAB
        self.is_closed = False

    async def readable(self, *, idle_timeout_s: float) -> None:
        assert not self.is_closed

    def hurry(self) -> None:
        assert not self.is_closed

    def read_into(self, buffer: memoryview) -> int | None:
        return 0

    def wait(self, seconds: float) -> bool:
        return False

    def close(self) -> None:
        assert not self.is_closed
        self.is_closed = True


class LongBody:
    """
    A body of which two slabs had come before its rest was taken from where it comes from.
    """

    def __init__(self) -> None:
        self.taken_from = LentSource()
        self._early = [bytes(SLAB), bytes(SLAB)]

    async def source(self) -> LentSource:
        return self.taken_from

    def at_once(self) -> None:
        return None

    async def read(self) -> bytes:
        return self._early.pop() if self._early else b""


@pytest.mark.parametrize(
    ("limit", "max_bytes", "fault"),
    [(4 * SLAB, 0, BodyCut), (SLAB, 0, TooLong), (4 * SLAB, 1000, OutOfRoom)],
)
async def test_the_source_is_closed(
    tmp_path: Path, limit: int, max_bytes: int, fault: type[Exception]
) -> None:
    body = LongBody()
    append = Append(offset=0, body=body, body_length=3 * SLAB)
    with spool_in(tmp_path / "spool", max_bytes=max_bytes) as spool:
        writer = spool.begin_piece(IDENTITY, 1, KEY)
        ending = await receive(Holder(), writer, append, received=0, limit=limit, idle_timeout_s=30)
        await writer.discard()

    assert fault is type(ending.interruption)
    assert body.taken_from.is_closed
