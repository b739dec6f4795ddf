"""
The contract of puts in parts as tests, for backends that offer them.

Subclass `ResumablePutsConformance` beside `BackendConformance`, with the same fixture ``connect``.
"""

import hashlib
from contextlib import suppress

import pytest

from gateway.api import (
    Backend,
    BlobKey,
    BlobRef,
    Conflict,
    PutSession,
    ResumablePuts,
    SessionLost,
    new_blob_key,
)
from gateway.testing.conformance import Connect, Suite, read_all
from gateway.testing.sources import BytesSource, pattern

LONGEST_TOKEN = 16 * 1024


def puts_of(backend: Backend) -> ResumablePuts:
    """
    Return the backend's puts in parts, which it must have.
    """
    puts = backend.resumable
    assert puts is not None, "this backend offers no puts in parts; leave this suite out"
    return puts


async def begun(puts: ResumablePuts, key: BlobKey, content: bytes) -> PutSession:
    """
    Begin to put *content*.
    """
    return await puts.begin(key, size=len(content), sha256=hashlib.sha256(content).digest())


async def sent(
    puts: ResumablePuts, session: PutSession, content: bytes, *, until: int | None = None
) -> PutSession:
    """
    Send *content* from where the session stands in the largest parts, up to byte *until*.
    """
    end = len(content) if until is None else until
    while session.offset < end:
        part = content[session.offset : min(session.offset + puts.max_part_size, end)]
        before, session = session.offset, await puts.append(session, part)
        assert session.offset > before, "a part was sent and nothing of it taken"
    return session


class ResumablePutsConformance(Suite):
    """
    What every backend that takes puts in parts must do.
    """

    def part_size(self, puts: ResumablePuts) -> int:
        """
        Return how many bytes a part of these tests has.
        """
        return puts.part_multiple if self.allowances.small_data else puts.max_part_size

    def test_part_sizes_fit_together(self, backend: Backend) -> None:
        puts = puts_of(backend)
        assert 1 <= puts.part_multiple <= puts.max_part_size
        assert puts.max_part_size % puts.part_multiple == 0

    @pytest.mark.parametrize("parts", [0, 1, 2])
    @pytest.mark.parametrize("more", [0, 1, 4321])
    async def test_parts_in_order_make_the_blob(self, backend: Backend, parts: int, more: int) -> None:
        puts = puts_of(backend)
        content = pattern(max(1, parts * self.part_size(puts) + more))
        key = new_blob_key()
        session = await sent(puts, await begun(puts, key, content), content)
        ref = await puts.commit(session)
        assert key == ref.key
        assert content == await read_all(backend, ref)

    async def test_nothing_is_visible_before_the_commit(self, backend: Backend) -> None:
        puts = puts_of(backend)
        content = pattern(self.part_size(puts) + 7)
        key = new_blob_key()
        session = await sent(puts, await begun(puts, key, content), content)
        assert await backend.find(key) is None
        assert await self.listed(backend) == []
        await puts.abort(session)

    async def test_another_connection_goes_on_with_what_the_catalog_kept(self, connect: Connect) -> None:
        key = new_blob_key()
        async with connect() as first:
            puts = puts_of(first)
            content = pattern(2 * self.part_size(puts) + 7)
            session = await sent(puts, await begun(puts, key, content), content, until=self.part_size(puts))
            kept = session.token
        assert kept.isprintable()
        assert len(kept.encode()) <= LONGEST_TOKEN
        async with connect() as second:
            puts = puts_of(second)
            session = await puts.resume(PutSession(kept, 0))
            assert self.part_size(puts) == session.offset
            ref = await puts.commit(await sent(puts, session, content))
            assert content == await read_all(second, ref)

    async def test_a_session_that_has_all_bytes_says_so(self, backend: Backend) -> None:
        puts = puts_of(backend)
        content = pattern(self.part_size(puts))
        session = await sent(puts, await begun(puts, new_blob_key(), content), content)
        assert len(content) == (await puts.resume(PutSession(session.token, 0))).offset
        await puts.abort(session)

    async def test_sessions_do_not_disturb_each_other(self, backend: Backend) -> None:
        puts = puts_of(backend)
        contents = [pattern(self.part_size(puts) + 99, seed) for seed in range(3)]
        sessions = [await begun(puts, new_blob_key(), content) for content in contents]
        for until in (self.part_size(puts), None):
            sessions = [
                await sent(puts, session, content, until=until)
                for session, content in zip(sessions, contents, strict=True)
            ]
        refs = [await puts.commit(session) for session in sessions]
        assert contents == [await read_all(backend, ref) for ref in refs]

    async def test_an_aborted_session_is_lost_and_its_key_is_free(self, backend: Backend) -> None:
        puts = puts_of(backend)
        content = pattern(self.part_size(puts) + 7)
        key = new_blob_key()
        session = await sent(puts, await begun(puts, key, content), content, until=self.part_size(puts))
        await puts.abort(session)
        await puts.abort(session)
        with pytest.raises(SessionLost):
            await puts.resume(session)
        ref = await puts.commit(await sent(puts, await begun(puts, key, content), content))
        assert content == await read_all(backend, ref)

    async def test_a_key_that_was_taken_meanwhile_keeps_its_bytes(self, backend: Backend) -> None:
        puts = puts_of(backend)
        key, taken, late = new_blob_key(), pattern(5000, 1), pattern(6000, 2)
        session = await begun(puts, key, late)
        ref = await backend.put(key, BytesSource(taken))
        with pytest.raises(Conflict):
            await puts.commit(await sent(puts, session, late))
        assert taken == await read_all(backend, ref)

    async def test_a_committed_session_makes_no_second_blob(self, backend: Backend) -> None:
        puts = puts_of(backend)
        content = pattern(4321)
        session = await sent(puts, await begun(puts, new_blob_key(), content), content)
        ref = await puts.commit(session)
        again: BlobRef | None = None
        with suppress(Conflict, SessionLost):
            again = await puts.commit(session)
        assert again in (None, ref)
        assert [ref] == [blob.ref for blob in await self.listed(backend)]
