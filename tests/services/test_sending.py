"""
A long stretch on its way out, in a thread: every byte in its place, none that was not verified, none after the end.
"""

import asyncio
import os
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from gateway.backends.near import NearFile
from gateway.base.secret import Secret
from gateway.crypto.chunked import CHUNK_SIZE, SEALED_CHUNK_SIZE, Opener, Sealer
from gateway.crypto.errors import DamagedChunk, Truncated
from gateway.crypto.preamble import PREAMBLE_SIZE
from gateway.services.sending import LongStretch, Read, Senders
from tests.support.waiting import until

KEY = Secret(bytes(32))
PREAMBLE = bytes(PREAMBLE_SIZE)
HEAD = PREAMBLE_SIZE + 56
CONTENT = random.Random(9).randbytes(200 * CHUNK_SIZE + 7)


class Listener:
    """
    Takes what is sent, as it is told to.

    Attributes:
        takes: says how many bytes it takes of so many; all, if it is left as it is.
        has_room: says whether more is taken within the time that a thread waits.
        on_ready: awaited each time before more is sent.
    """

    def __init__(self) -> None:
        self.heard = bytearray()
        self.takes: Callable[[int], int] = lambda offered: offered
        self.has_room: Callable[[], bool] = lambda: True
        self.on_ready: list[Callable[[], object]] = []
        self.times_ready = 0
        self.last_sent = memoryview(b"")

    async def ready(self) -> None:
        self.times_ready += 1
        await asyncio.sleep(0)

    def send(self, data: memoryview) -> int:
        size = self.takes(len(data))
        self.heard += data[:size]
        self.last_sent = data
        return size

    def wait(self, seconds: float) -> bool:
        return self.has_room()


class File:
    """
    A sealed file of *content*, and what opens it.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        sealer = Sealer(KEY, PREAMBLE)
        whole = len(content) // CHUNK_SIZE
        chunks = bytearray(whole * SEALED_CHUNK_SIZE)
        sealer.seal_into(content[: whole * CHUNK_SIZE], chunks)
        path.write_bytes(PREAMBLE + sealer.header + chunks + sealer.finish(content[whole * CHUNK_SIZE :]))
        self.path = path
        self.size = len(content)
        self._opener = Opener(KEY, PREAMBLE, sealer.header)
        self._near = NearFile(os.open(path, os.O_RDONLY))

    def stretch(self, read: Read, start: int, end: int) -> LongStretch:
        read.position = start
        return LongStretch(self._near, self._opener, read, end=end, size=self.size)

    def flip(self, position: int) -> None:
        with self.path.open("r+b") as file:
            file.seek(position)
            [old] = file.read(1)
            file.seek(position)
            file.write(bytes([old ^ 1]))

    def close(self) -> None:
        self._near.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    file = File(tmp_path / "blob", CONTENT)
    yield file
    file.close()


@pytest.fixture(params=[1, 3], ids=["one thread", "three threads"])
async def senders(request: pytest.FixtureRequest) -> AsyncIterator[Senders]:
    senders = Senders(request.param)
    yield senders
    senders.close()


EDGE = CHUNK_SIZE
STRETCHES = [
    (0, len(CONTENT)),
    (1, len(CONTENT) - 1),
    (EDGE - 1, 40 * EDGE + 1),
    (EDGE, 65 * EDGE),
    (4 * EDGE, 200 * EDGE),
    (70_000, 1_400_001),
    (len(CONTENT) - 1, len(CONTENT)),
    (5, 6),
]


@pytest.mark.parametrize(("start", "end"), STRETCHES)
async def test_any_stretch_arrives(file: File, senders: Senders, start: int, end: int) -> None:
    listener, read = Listener(), Read()
    await senders.send(file.stretch(read, start, end), listener)
    assert CONTENT[start:end] == listener.heard
    assert end == read.position


@pytest.mark.parametrize("chunks", [1, 4, 32, 33, 64, 96])
async def test_a_message_that_ends_with_a_whole_chunk_arrives(
    tmp_path: Path, senders: Senders, chunks: int
) -> None:
    content = CONTENT[: chunks * CHUNK_SIZE]
    file = File(tmp_path / "even", content)
    for start in (0, len(content) - CHUNK_SIZE, len(content) - 1):
        listener = Listener()
        await senders.send(file.stretch(Read(), start, len(content)), listener)
        assert content[start:] == listener.heard
    file.close()


@pytest.mark.parametrize(
    "takes",
    [
        lambda offered: min(offered, 1000),
        lambda offered: min(offered, CHUNK_SIZE),
        lambda offered: min(offered, 100_001),
        lambda offered: offered // 2 + 1,
    ],
    ids=["little", "chunks", "much", "halves"],
)
async def test_a_listener_may_take_what_he_likes(
    file: File, senders: Senders, takes: Callable[[int], int]
) -> None:
    listener = Listener()
    listener.takes = takes
    await senders.send(file.stretch(Read(), 5, 1_000_000), listener)
    assert CONTENT[5:1_000_000] == listener.heard


async def test_a_listener_who_takes_nothing_just_now_is_come_back_to(file: File, senders: Senders) -> None:
    listener, choice = Listener(), random.Random(3)
    listener.takes = lambda offered: choice.choice([0, min(offered, 7_000), min(offered, 90_000)])
    listener.has_room = lambda: choice.random() < 0.5
    await senders.send(file.stretch(Read(), 100, 2_000_000), listener)
    assert CONTENT[100:2_000_000] == listener.heard
    assert listener.times_ready > 1


async def test_once_it_is_ended_nothing_more_is_sent(file: File, senders: Senders) -> None:
    listener, read = Listener(), Read()

    def take(offered: int) -> int:
        assert not read.is_ended
        read.is_ended = len(listener.heard) + offered >= 300_000
        return offered

    listener.takes = take
    await senders.send(file.stretch(read, 0, len(CONTENT)), listener)
    assert read.is_ended
    assert 300_000 <= read.position == len(listener.heard) < len(CONTENT)
    assert CONTENT.startswith(listener.heard)


async def test_what_is_ended_while_the_listener_takes_nothing_is_not_sent(
    file: File, senders: Senders
) -> None:
    listener, read = Listener(), Read()

    async def end() -> None:
        read.is_ended = True

    listener.ready = end  # type: ignore[method-assign]
    await senders.send(file.stretch(read, 0, len(CONTENT)), listener)
    assert b"" == listener.heard


@pytest.mark.parametrize("chunk", [0, 3, 4, 11, 12, 50, 199, 200])
async def test_before_the_damage_all_is_sent_and_nothing_of_it(
    file: File, senders: Senders, chunk: int
) -> None:
    file.flip(HEAD + chunk * SEALED_CHUNK_SIZE + 3)
    listener, read = Listener(), Read()
    with pytest.raises(DamagedChunk, match=f"chunk {chunk}"):
        await senders.send(file.stretch(read, 0, len(CONTENT)), listener)
    assert CONTENT.startswith(listener.heard)
    assert len(listener.heard) == read.position <= chunk * CHUNK_SIZE


async def test_a_file_that_was_cut_is_damaged(file: File, senders: Senders) -> None:
    os.truncate(file.path, HEAD + 100 * SEALED_CHUNK_SIZE)
    listener = Listener()
    with pytest.raises(Truncated):
        await senders.send(file.stretch(Read(), 0, len(CONTENT)), listener)
    assert CONTENT.startswith(listener.heard)


async def test_a_listener_who_is_gone_ends_it(file: File, senders: Senders) -> None:
    listener, read = Listener(), Read()

    def take(offered: int) -> int:
        if len(listener.heard) > 200_000:
            raise ConnectionResetError
        return offered

    listener.takes = take
    with pytest.raises(ConnectionResetError):
        await senders.send(file.stretch(read, 0, len(CONTENT)), listener)
    assert read.position == len(listener.heard)


async def test_no_sound_stays_in_a_threads_memory(file: File, senders: Senders) -> None:
    listener = Listener()
    listener.takes = lambda offered: min(offered, 50_000)
    await senders.send(file.stretch(Read(), 0, 3_000_000), listener)
    assert len(listener.last_sent)
    assert bytes(len(listener.last_sent)) == listener.last_sent


async def test_many_share_the_threads(file: File, senders: Senders) -> None:
    listeners = [Listener() for _ in range(20)]
    starts = [number * 100_000 for number in range(20)]
    await asyncio.gather(
        *(
            senders.send(file.stretch(Read(), start, start + 1_000_000), listener)
            for start, listener in zip(starts, listeners, strict=True)
        )
    )
    assert [CONTENT[start : start + 1_000_000] for start in starts] == [one.heard for one in listeners]


async def test_who_is_cancelled_waits_for_his_thread(file: File, senders: Senders) -> None:
    """
    What he sends from must not be closed under it.
    """
    listener, is_sending, may_end = Listener(), threading.Event(), threading.Event()

    def take(offered: int) -> int:
        is_sending.set()
        assert may_end.wait(60)
        return offered

    listener.takes = take
    sending = asyncio.create_task(senders.send(file.stretch(Read(), 0, len(CONTENT)), listener))
    await until(is_sending.is_set)
    sending.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not sending.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await sending
    heard = bytes(listener.heard)
    assert CONTENT.startswith(heard)
    await asyncio.sleep(0)
    assert heard == listener.heard
