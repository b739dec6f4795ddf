"""
What a backend does when its provider or the way to it fails, as tests, for authors who have a provider to pretend with.

Each suite wants hooks, fixtures that make something go wrong. Subclass those whose hooks there are, beside
`BackendConformance` and with the same fixture ``connect``; `ProviderFaultsConformance` is all of them.
The suites talk to the plugin alone, without the host's second tries.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from gateway.api import AuthRevoked, Backend, BlobRef, RateLimited, Transient, new_blob_key
from gateway.testing.conformance import PIECE, Suite, read_all
from gateway.testing.doubles import TokensOnOrder
from gateway.testing.sources import BytesSource, pattern

Throttle = Callable[[timedelta], None]
Cut = Callable[[int], None]
Happen = Callable[[], None]


class ThrottlingConformance(Suite):
    """
    What a backend does whose provider can want fewer calls.
    """

    @pytest.fixture
    def throttle(self) -> Throttle:
        """
        Have the provider refuse its next request as one too many, and ask to be left alone for so long.
        """
        pytest.fail("a subclass says how its provider throttles")

    async def test_a_throttled_call_says_how_long_the_provider_wants_to_be_left_alone(
        self, backend: Backend, throttle: Throttle
    ) -> None:
        ref = await backend.put(new_blob_key(), BytesSource(pattern(10)))
        throttle(timedelta(seconds=17))
        with pytest.raises(RateLimited) as caught:
            await backend.stat(ref)
        assert timedelta(seconds=17) == caught.value.retry_after
        assert (await backend.stat(ref)).size == 10


class CutsConformance(Suite):
    """
    What a backend does when its connection is cut.
    """

    @pytest.fixture
    def cut_sending(self) -> Cut:
        """
        Cut the connection when so many more bytes have gone to the provider, once.
        """
        pytest.fail("a subclass says how to cut what is sent")

    @pytest.fixture
    def cut_receiving(self) -> Cut:
        """
        Cut the connection when so many more bytes have come from the provider, once.
        """
        pytest.fail("a subclass says how to cut what is received")

    async def test_a_put_that_was_cut_is_transient_and_can_be_made_again(
        self, backend: Backend, cut_sending: Cut
    ) -> None:
        key, content = new_blob_key(), pattern(self.sized(3 * PIECE))
        cut_sending(self.sized(PIECE))
        with pytest.raises(Transient):
            await backend.put(key, BytesSource(content))
        ref = await backend.find(key)
        if ref is not None:
            await backend.delete(ref)
        assert content == await read_all(backend, await backend.put(key, BytesSource(content)))

    async def test_a_read_that_was_cut_is_transient_and_gave_right_bytes_until_then(
        self, backend: Backend, cut_receiving: Cut
    ) -> None:
        content = pattern(self.sized(4 * PIECE))
        ref = await backend.put(new_blob_key(), BytesSource(content))
        cut_receiving(self.sized(2 * PIECE))
        found = bytearray()
        with pytest.raises(Transient):
            await read_into(found, backend, ref)
        assert content.startswith(found)
        assert content == await read_all(backend, ref)


class TokensConformance(Suite):
    """
    What a backend of a linked account does with access tokens.
    """

    @pytest.fixture
    def tokens(self) -> TokensOnOrder:
        """
        Return the tokens that ``connect`` puts into its context.
        """
        pytest.fail("a subclass gives the tokens that its connections use")

    @pytest.fixture
    def expire_token(self) -> Happen:
        """
        Have the provider refuse the tokens that it issued so far; it takes those that come after.
        """
        pytest.fail("a subclass says how its provider's tokens run out")

    @pytest.fixture
    def revoke(self) -> Happen:
        """
        Have the provider refuse every token, as when its owner ended the grant.
        """
        pytest.fail("a subclass says how a grant is ended at its provider")

    async def test_an_expired_token_is_renewed_once_for_all_who_need_it(
        self, backend: Backend, tokens: TokensOnOrder, expire_token: Happen
    ) -> None:
        ref = await backend.put(new_blob_key(), BytesSource(pattern(10)))
        before = tokens.renewals
        expire_token()
        stats = await asyncio.gather(*(backend.stat(ref) for _ in range(4)))
        assert [stat.size for stat in stats] == [10] * 4
        assert before + 1 == tokens.renewals

    async def test_a_revoked_grant_is_told_as_such_after_one_renewal(
        self, backend: Backend, tokens: TokensOnOrder, revoke: Happen
    ) -> None:
        ref = await backend.put(new_blob_key(), BytesSource(pattern(10)))
        before = tokens.renewals
        revoke()
        with pytest.raises(AuthRevoked):
            await backend.stat(ref)
        assert tokens.renewals <= before + 1


async def read_into(found: bytearray, backend: Backend, ref: BlobRef) -> None:
    """
    Read the blob; *found* keeps what came before an error.
    """
    async with backend.read(ref) as pieces:
        async for piece in pieces:
            found += piece


class ProviderFaultsConformance(ThrottlingConformance, CutsConformance, TokensConformance):
    """
    All of them, for a backend that speaks to a cloud provider as its user.
    """
