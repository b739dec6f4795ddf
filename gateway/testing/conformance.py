"""
The contract of a backend as tests: subclass `BackendConformance`, give it a fixture `connect`, and that is all.

    from gateway.testing.conformance import BackendConformance, Connect

    class TestTape(BackendConformance):
        @pytest.fixture
        def connect(self, tmp_path: Path) -> Connect:
            return lambda: kind.connect(BackendContext(account="tape"), TapeSettings(drive=tmp_path))

Each connection made within one test reaches the same place, and each test a place of its own.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from gateway.api import (
    Backend,
    BlobKey,
    BlobRef,
    BlobStat,
    Conflict,
    IntegrityMismatch,
    NotFound,
    Span,
    new_blob_key,
)
from gateway.testing.allowances import Allowances
from gateway.testing.sources import (
    BreakingSource,
    BytesSource,
    FileSource,
    LyingSource,
    SourceBroke,
    StallingSource,
    pattern,
)

Connect = Callable[[], AbstractAsyncContextManager[Backend]]

PIECE = 1 << 20
SMALL_PIECE = PIECE // 16
SIZES = [0, 1, 16_400, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 17]
BOUNDED_S = 30
"""What must end in bounded time fails after this long, instead of hanging."""


async def read_all(backend: Backend, ref: BlobRef, span: Span | None = None) -> bytes:
    """
    Return the blob's bytes, or those of *span*.
    """
    async with backend.read(ref, span) as pieces:
        return b"".join([piece async for piece in pieces])


async def listed(backend: Backend) -> list[BlobStat]:
    """
    Return what a scan goes through.
    """
    return [blob async for blob in backend.scan()]


class Suite:
    """
    What the suites for a connected backend share: how to connect, and what the backend is allowed.
    """

    allowances: ClassVar[Allowances] = Allowances()
    """The backend's declared weaknesses; none, unless a subclass names one."""

    @pytest.fixture
    def connect(self) -> Connect:
        pytest.fail("a subclass says how to connect to the backend that it tests")

    @pytest.fixture
    async def backend(self, connect: Connect) -> AsyncIterator[Backend]:
        async with connect() as backend:
            yield backend

    async def settle(self, backend: Backend) -> None:
        """
        Have the provider's listings catch up, where `Allowances.listing_lag` is declared.

        A subclass sets the clock of its pretend provider on; it does not sleep.
        """

    async def listed(self, backend: Backend) -> list[BlobStat]:
        """
        Return what a scan goes through, once listings have caught up.
        """
        if self.allowances.listing_lag:
            await self.settle(backend)
        return await listed(backend)

    def sized(self, size: int) -> int:
        """
        Return *size*, or under `Allowances.small_data` the same number of smaller pieces, give or take as many bytes.
        """
        if not self.allowances.small_data:
            return size
        pieces = round(size / PIECE)
        return pieces * SMALL_PIECE + size - pieces * PIECE


class BackendConformance(Suite):
    """
    What every backend must do.
    """

    async def is_clean(self, backend: Backend, key: BlobKey) -> bool:
        """
        Whether nothing is to be seen of *key*, and it can still be put.
        """
        unseen = await backend.find(key) is None and await self.listed(backend) == []
        with pytest.raises(NotFound):
            await backend.stat(BlobRef(key))
        content = pattern(1000)
        ref = await backend.put(key, BytesSource(content))
        return unseen and await read_all(backend, ref) == content

    # Put and read

    @pytest.mark.parametrize("size", SIZES)
    async def test_what_was_put_can_be_read_back(self, backend: Backend, size: int) -> None:
        content = pattern(self.sized(size))
        ref = await backend.put(new_blob_key(), BytesSource(content))
        assert content == await read_all(backend, ref)

    @pytest.mark.parametrize("piece_size", [1000, 16_400, PIECE, 2 * PIECE + 5])
    async def test_the_pieces_of_a_source_may_have_any_size(self, backend: Backend, piece_size: int) -> None:
        content = pattern(self.sized(2 * PIECE + 12))
        ref = await backend.put(new_blob_key(), BytesSource(content, piece_size=piece_size))
        assert content == await read_all(backend, ref)

    async def test_a_blob_comes_in_pieces_that_are_neither_empty_nor_large(self, backend: Backend) -> None:
        ref = await backend.put(new_blob_key(), BytesSource(pattern(self.sized(4 * PIECE + 1))))
        async with backend.read(ref) as pieces:
            sizes = [len(piece) async for piece in pieces]
        assert 0 not in sizes
        assert max(sizes) <= 2 * PIECE

    async def test_a_reference_knows_its_key_size_and_way_back(self, backend: Backend) -> None:
        key = new_blob_key()
        ref = await backend.put(key, BytesSource(pattern(4321)))
        assert key == ref.key
        stat = await backend.stat(ref)
        assert (ref, 4321) == (stat.ref, stat.size)
        assert ref == await backend.find(key)

    async def test_another_connection_finds_what_was_put(self, connect: Connect) -> None:
        key, content = new_blob_key(), pattern(70_000)
        async with connect() as first:
            await first.put(key, BytesSource(content))
        async with connect() as second:
            ref = await second.find(key)
            assert ref is not None
            assert content == await read_all(second, ref)

    async def test_a_source_is_left_as_often_as_it_was_opened(self, backend: Backend) -> None:
        source = BytesSource(pattern(self.sized(PIECE + 1)))
        await backend.put(new_blob_key(), source)
        assert source.opened > 0
        assert source.opened == source.left

    async def test_a_source_with_a_path_is_stored_and_its_file_left_alone(
        self, backend: Backend, tmp_path: Path
    ) -> None:
        file = tmp_path / "sealed"
        content = pattern(self.sized(PIECE + 3))
        file.touch(mode=0o600)
        file.write_bytes(content)
        ref = await backend.put(new_blob_key(), FileSource(file))
        assert content == file.read_bytes()
        file.unlink()
        assert content == await read_all(backend, ref)

    # Create only

    async def test_a_taken_key_is_refused_and_its_bytes_stay(self, backend: Backend) -> None:
        key, first = new_blob_key(), pattern(5000, 1)
        ref = await backend.put(key, BytesSource(first))
        with pytest.raises(Conflict):
            await backend.put(key, BytesSource(pattern(6000, 2)))
        assert first == await read_all(backend, ref)

    async def test_of_many_puts_of_one_key_one_wins(self, backend: Backend) -> None:
        key = new_blob_key()
        contents = [pattern(self.sized(PIECE + 7), seed) for seed in range(8)]
        answers = await asyncio.gather(
            *(backend.put(key, BytesSource(content)) for content in contents), return_exceptions=True
        )
        winners = [number for number, answer in enumerate(answers) if isinstance(answer, BlobRef)]
        assert len(winners) == 1
        assert sum(isinstance(answer, Conflict) for answer in answers) == 7
        assert contents[winners[0]] == await read_all(backend, BlobRef(key))
        assert [key] == [blob.ref.key for blob in await self.listed(backend)]

    async def test_puts_of_different_keys_at_once_all_arrive(self, backend: Backend) -> None:
        contents = {new_blob_key(): pattern(self.sized(PIECE + 7), seed) for seed in range(8)}
        refs = await asyncio.gather(
            *(backend.put(key, BytesSource(content)) for key, content in contents.items())
        )
        assert list(contents.values()) == [await read_all(backend, ref) for ref in refs]

    # Spans

    @pytest.mark.parametrize(
        ("start", "length"),
        [
            (0, 1),
            (0, PIECE),
            (1, PIECE),
            (PIECE - 1, 2),
            (PIECE, PIECE),
            (56 + 16_400, 3 * 16_400),
            (2 * PIECE + 99, 1),
            (0, 2 * PIECE + 100),
            (17, 0),
            (2 * PIECE + 100, 0),
        ],
    )
    async def test_a_span_gives_exactly_its_bytes(self, backend: Backend, start: int, length: int) -> None:
        content = pattern(self.sized(2 * PIECE + 100))
        start, length = self.sized(start), self.sized(length)
        ref = await backend.put(new_blob_key(), BytesSource(content))
        assert content[start : start + length] == await read_all(backend, ref, Span(start, length))

    @pytest.mark.parametrize(("start", "length"), [(0, 1001), (999, 2), (1000, 1), (5000, 1), (5000, 0)])
    async def test_a_span_beyond_the_end_is_refused_on_entering(
        self, backend: Backend, start: int, length: int
    ) -> None:
        ref = await backend.put(new_blob_key(), BytesSource(pattern(1000)))
        with pytest.raises(IntegrityMismatch):
            await backend.read(ref, Span(start, length)).__aenter__()

    async def test_twenty_readers_do_not_disturb_each_other(self, backend: Backend) -> None:
        content = pattern(self.sized(2 * PIECE))
        ref = await backend.put(new_blob_key(), BytesSource(content))
        spans = [Span(start * 1000, self.sized(PIECE)) for start in range(20)]
        found = await asyncio.gather(*(read_all(backend, ref, span) for span in spans))
        assert [content[span.start : span.end] for span in spans] == found

    async def test_a_reader_may_stop_early(self, backend: Backend) -> None:
        content = pattern(self.sized(3 * PIECE))
        ref = await backend.put(new_blob_key(), BytesSource(content))
        async with backend.read(ref) as pieces:
            first = await anext(pieces)
        assert content.startswith(first)

    # Absence and deletion

    async def test_an_absent_blob_is_not_found(self, backend: Backend) -> None:
        absent = BlobRef(new_blob_key())
        with pytest.raises(NotFound):
            await backend.read(absent).__aenter__()
        with pytest.raises(NotFound):
            await backend.stat(absent)
        assert await backend.find(absent.key) is None

    async def test_a_deleted_blob_is_gone_and_only_that(self, backend: Backend) -> None:
        ref = await backend.put(new_blob_key(), BytesSource(pattern(10)))
        other = await backend.put(new_blob_key(), BytesSource(pattern(20)))
        await backend.delete(ref)
        with pytest.raises(NotFound):
            await backend.stat(ref)
        assert await backend.find(ref.key) is None
        assert [(other, 20)] == [(blob.ref, blob.size) for blob in await self.listed(backend)]

    async def test_deleting_again_succeeds(self, backend: Backend) -> None:
        ref = await backend.put(new_blob_key(), BytesSource(pattern(10)))
        await backend.delete(ref)
        await backend.delete(ref)
        await backend.delete(BlobRef(new_blob_key()))

    # Scan

    async def test_a_scan_of_nothing_is_empty(self, backend: Backend) -> None:
        assert await self.listed(backend) == []

    async def test_a_scan_lists_each_blob_once(self, backend: Backend) -> None:
        put = {}
        for size in range(25):
            put[await backend.put(new_blob_key(), BytesSource(pattern(size)))] = size
        found = await self.listed(backend)
        assert Counter(put.items()) == Counter((blob.ref, blob.size) for blob in found)

    # Ill-behaved sources, and cancellation

    async def test_a_source_that_broke_leaves_nothing_and_can_be_opened_again(self, backend: Backend) -> None:
        key = new_blob_key()
        source = BreakingSource(pattern(self.sized(3 * PIECE)), at=self.sized(2 * PIECE + 1))
        with pytest.raises(SourceBroke):
            await backend.put(key, source)
        assert await backend.find(key) is None
        assert await self.listed(backend) == []
        ref = await backend.put(key, source)
        assert source.content == await read_all(backend, ref)

    @pytest.mark.parametrize("claimed", [0, 1, 99_999, 100_001, 3 * PIECE])
    async def test_a_source_of_another_size_is_refused_and_leaves_nothing(
        self, backend: Backend, claimed: int
    ) -> None:
        key = new_blob_key()
        with pytest.raises(IntegrityMismatch):
            await backend.put(key, LyingSource(pattern(100_000), self.sized(claimed)))
        assert await self.is_clean(backend, key)

    @pytest.mark.parametrize("at", [0, 1, PIECE, 2 * PIECE + 1, 3 * PIECE])
    async def test_a_put_cancelled_on_the_way_leaves_nothing(self, backend: Backend, at: int) -> None:
        key = new_blob_key()
        source = StallingSource(pattern(self.sized(3 * PIECE)), self.sized(at))
        task = asyncio.create_task(backend.put(key, source))
        await source.stalled.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert source.opened == source.left
        assert await self.is_clean(backend, key)

    async def test_a_put_cancelled_at_any_moment_is_undone_by_find_and_delete(self, backend: Backend) -> None:
        content = pattern(self.sized(3 * PIECE))
        for turns in range(40):
            key = new_blob_key()
            task = asyncio.create_task(backend.put(key, BytesSource(content)))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            ref = await backend.find(key)
            if ref is not None:
                await backend.delete(ref)
            assert await self.listed(backend) == []

    # The connection

    async def test_leaving_with_calls_in_flight_ends_in_bounded_time(self, connect: Connect) -> None:
        key = new_blob_key()
        content = pattern(self.sized(3 * PIECE))
        source = StallingSource(content, at=self.sized(2 * PIECE))
        async with asyncio.timeout(BOUNDED_S):
            async with connect() as backend:
                ref = await backend.put(new_blob_key(), BytesSource(content))
                await backend.read(ref).__aenter__()
                task = asyncio.create_task(backend.put(key, source))
                await source.stalled.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with connect() as backend:
            assert await backend.find(key) is None
            assert [(ref, len(content))] == [(blob.ref, blob.size) for blob in await self.listed(backend)]

    async def test_a_probe_of_a_healthy_place_succeeds_and_leaves_nothing(self, backend: Backend) -> None:
        await backend.probe()
        assert await self.listed(backend) == []

    async def test_the_quota_is_unknown_or_makes_sense(self, backend: Backend) -> None:
        quota = await backend.quota()
        assert quota is None or quota.limit is None or 0 <= quota.used <= quota.limit

    async def test_the_traits_are_possible(self, backend: Backend) -> None:
        assert backend.traits.max_concurrency >= 1
        recoverable = backend.traits.delete_recoverable_for
        assert recoverable is None or recoverable >= timedelta(0)

    async def test_a_lag_of_listings_is_declared(self, backend: Backend) -> None:
        assert backend.traits.listing_lag == timedelta(0) or self.allowances.listing_lag
