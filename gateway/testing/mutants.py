"""
Backends that are wrong in one way each, as real ones have been; the suite must catch each by the test meant for it.

`MUTANTS` names that test. A kit that lets one of them pass proves nothing about the backends that pass it.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Final

from gateway.api import (
    AuthRevoked,
    BlobKey,
    BlobRef,
    BlobSource,
    BlobStat,
    NotFound,
    PutSession,
    Quota,
    RateLimited,
    ResumablePuts,
    Span,
    Traits,
    Transient,
    new_blob_key,
)
from gateway.testing.memory import MemoryBackend, MemoryPlace, MemoryPuts
from gateway.testing.provider import ProviderBackend


class ListsItsFirstPageOnly(MemoryBackend):
    async def scan(self) -> AsyncIterator[BlobStat]:
        numbers = count()
        async for blob in super().scan():
            if next(numbers) < 10:
                yield blob


class OverwritesWithAnotherSize(MemoryBackend):
    def publish(self, key: BlobKey, content: bytes) -> BlobRef:
        if len(self.place.blobs.get(key, content)) != len(content):
            del self.place.blobs[key]
        return super().publish(key, content)


class LooksBeforeItPuts(MemoryBackend):
    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        was_free = key not in self.place.blobs
        content = await self.gathered(body)
        if not was_free or len(content) != body.size:
            return await super().put(key, body)
        # Another put may have come in between.
        self.place.blobs[key] = content
        return BlobRef(key)


class GivesAByteTooManyOfShortSpans(MemoryBackend):
    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        if span is not None and 0 < span.length <= 2 and span.end < len(self.content(ref)):
            span = Span(span.start, span.length + 1)
        async with super().read(ref, span) as pieces:
            yield pieces


class ClipsSpansAtTheEnd(MemoryBackend):
    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        size = len(self.content(ref))
        if span is not None and span.end > size:
            start = min(span.start, size)
            span = Span(start, size - start)
        async with super().read(ref, span) as pieces:
            yield pieces


class ReadsNothingWhereNothingIs(MemoryBackend):
    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        if ref.key in self.place.blobs:
            async with super().read(ref, span) as pieces:
                yield pieces
        else:
            yield self.pieces(b"")


class RefusesToDeleteTwice(MemoryBackend):
    async def delete(self, ref: BlobRef) -> None:
        if ref.key not in self.place.blobs:
            raise NotFound("there is nothing to delete")
        await super().delete(ref)


class DeletesTheNeighbourToo(MemoryBackend):
    async def delete(self, ref: BlobRef) -> None:
        await super().delete(ref)
        if self.place.blobs:
            self.place.blobs.popitem()


class KeepsWhatABrokenSourceGave(MemoryBackend):
    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        content = bytearray()
        try:
            async with body.open() as pieces:
                async for piece in pieces:
                    content += piece
        except Exception:
            self.publish(key, bytes(content))
            raise
        return await super().put(key, body)


class BelievesTheSize(MemoryBackend):
    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        async with body.open() as pieces:
            content = b"".join([piece async for piece in pieces])
        return self.publish(key, content)


class PublishesWhatWasCancelled(MemoryBackend):
    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        content = bytearray()
        async with body.open() as pieces:
            try:
                async for piece in pieces:
                    content += piece
            except asyncio.CancelledError:
                if len(content) == body.size:
                    self.publish(key, bytes(content))
                raise
        return await super().put(key, body)


class LeavesItsSourceOpen(MemoryBackend):
    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        ref = await super().put(key, body)
        await body.open().__aenter__()
        return ref


class ReadsInOnePiece(MemoryBackend):
    async def pieces(self, content: bytes) -> AsyncIterator[bytes]:
        if content:
            yield content


class TellsAWrongSize(MemoryBackend):
    async def stat(self, ref: BlobRef) -> BlobStat:
        return BlobStat(ref, len(self.content(ref)) + 1)

    async def scan(self) -> AsyncIterator[BlobStat]:
        for key, content in list(self.place.blobs.items()):
            yield BlobStat(BlobRef(key), len(content))


class LeavesItsProbeBehind(MemoryBackend):
    async def probe(self) -> None:
        self.place.blobs[new_blob_key()] = b"probe"


class LosesOneOfSeveralPutsAtOnce(MemoryBackend):
    def __init__(self, place: MemoryPlace) -> None:
        super().__init__(place)
        self.under_way: Counter[BlobKey] = Counter()

    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        self.under_way[key] += 1
        try:
            content = await self.gathered(body)
            if len(content) == body.size and len(self.under_way) > 1:
                return BlobRef(key)
        finally:
            self.under_way -= Counter([key])
        return await super().put(key, body)


class HasAnImpossibleLimit(MemoryBackend):
    @property
    def traits(self) -> Traits:
        return replace(super().traits, max_concurrency=0)


class LagsWithoutSayingWhy(MemoryBackend):
    @property
    def traits(self) -> Traits:
        return replace(super().traits, listing_lag=timedelta(seconds=5))


class IsMoreThanFull(MemoryBackend):
    async def quota(self) -> Quota | None:
        return Quota(used=2, limit=1)


class CommitsAtTheLastByte(MemoryPuts):
    async def append(self, session: PutSession, part: bytes) -> PutSession:
        session = await super().append(session, part)
        incoming = self.known(session)
        if session.offset == incoming.size and incoming.key not in self.place.blobs:
            self.place.blobs[incoming.key] = bytes(incoming.content)
        return session

    async def commit(self, session: PutSession) -> BlobRef:
        incoming = self.known(session)
        if self.place.blobs.get(incoming.key) == bytes(incoming.content):
            del self.place.blobs[incoming.key]
        return await super().commit(session)


class RemembersAbortedSessions(MemoryPuts):
    async def abort(self, session: PutSession) -> None:
        pass


class CommitsOverATakenKey(MemoryPuts):
    async def commit(self, session: PutSession) -> BlobRef:
        self.place.blobs.pop(self.known(session).key, None)
        return await super().commit(session)


class MixesSessionsUp(MemoryPuts):
    async def append(self, session: PutSession, part: bytes) -> PutSession:
        if len(self.place.incoming) > 2:
            part = bytes(len(part))
        return await super().append(session, part)


class HasPartsThatDoNotFit(MemoryPuts):
    @property
    def part_multiple(self) -> int:
        return 3 * 1024


class ForgetsHowLongToWait(ProviderBackend):
    def throttled(self, wanted: timedelta) -> RateLimited:
        return RateLimited("The provider wants fewer calls.")


class TakesACutPutForDone(ProviderBackend):
    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        try:
            return await super().put(key, body)
        except Transient:
            return BlobRef(key)


class EndsAReadQuietlyWhereItWasCut(ProviderBackend):
    def cut_read(self) -> None:
        pass


class GivesUpAtTheFirstRefusal(ProviderBackend):
    async def authorize(self) -> None:
        if not self.provider.takes(await self.tokens.access_token()) and not self.provider.is_revoked:
            raise AuthRevoked("The provider refuses the token.")
        await super().authorize()


class RenewsTwice(ProviderBackend):
    async def authorize(self) -> None:
        token = await self.tokens.access_token()
        if not self.provider.takes(token):
            token = await self.tokens.access_token(stale=token)
        await super().authorize()


def with_puts(puts: type[MemoryPuts]) -> type[MemoryBackend]:
    """
    Return a memory backend whose puts in parts are *puts*.
    """

    class Backend(MemoryBackend):
        @property
        def resumable(self) -> ResumablePuts | None:
            return puts(self.place)

    Backend.__name__ = puts.__name__
    return Backend


MUTANTS: Final[dict[type[MemoryBackend], str]] = {
    ListsItsFirstPageOnly: "test_a_scan_lists_each_blob_once",
    OverwritesWithAnotherSize: "test_a_taken_key_is_refused_and_its_bytes_stay",
    LooksBeforeItPuts: "test_of_many_puts_of_one_key_one_wins",
    GivesAByteTooManyOfShortSpans: "test_a_span_gives_exactly_its_bytes",
    ClipsSpansAtTheEnd: "test_a_span_beyond_the_end_is_refused_on_entering",
    ReadsNothingWhereNothingIs: "test_an_absent_blob_is_not_found",
    RefusesToDeleteTwice: "test_deleting_again_succeeds",
    DeletesTheNeighbourToo: "test_a_deleted_blob_is_gone_and_only_that",
    KeepsWhatABrokenSourceGave: "test_a_source_that_broke_leaves_nothing_and_can_be_opened_again",
    BelievesTheSize: "test_a_source_of_another_size_is_refused_and_leaves_nothing",
    PublishesWhatWasCancelled: "test_a_put_cancelled_on_the_way_leaves_nothing",
    LeavesItsSourceOpen: "test_a_source_is_left_as_often_as_it_was_opened",
    ReadsInOnePiece: "test_a_blob_comes_in_pieces_that_are_neither_empty_nor_large",
    TellsAWrongSize: "test_a_reference_knows_its_key_size_and_way_back",
    LeavesItsProbeBehind: "test_a_probe_of_a_healthy_place_succeeds_and_leaves_nothing",
    LosesOneOfSeveralPutsAtOnce: "test_puts_of_different_keys_at_once_all_arrive",
    HasAnImpossibleLimit: "test_the_traits_are_possible",
    LagsWithoutSayingWhy: "test_a_lag_of_listings_is_declared",
    IsMoreThanFull: "test_the_quota_is_unknown_or_makes_sense",
    with_puts(HasPartsThatDoNotFit): "test_part_sizes_fit_together",
    with_puts(CommitsAtTheLastByte): "test_nothing_is_visible_before_the_commit",
    with_puts(RemembersAbortedSessions): "test_an_aborted_session_is_lost_and_its_key_is_free",
    with_puts(CommitsOverATakenKey): "test_a_key_that_was_taken_meanwhile_keeps_its_bytes",
    with_puts(MixesSessionsUp): "test_sessions_do_not_disturb_each_other",
}
"""Each mutant, and the one test that fails for it."""

FAULT_MUTANTS: Final[dict[type[ProviderBackend], str]] = {
    ForgetsHowLongToWait: "test_a_throttled_call_says_how_long_the_provider_wants_to_be_left_alone",
    TakesACutPutForDone: "test_a_put_that_was_cut_is_transient_and_can_be_made_again",
    EndsAReadQuietlyWhereItWasCut: "test_a_read_that_was_cut_is_transient_and_gave_right_bytes_until_then",
    GivesUpAtTheFirstRefusal: "test_an_expired_token_is_renewed_once_for_all_who_need_it",
    RenewsTwice: "test_a_revoked_grant_is_told_as_such_after_one_renewal",
}
"""Those that are wrong only when their provider fails."""
