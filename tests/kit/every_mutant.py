"""
The kit's suites for the reference and each mutant; `test_mutants` runs this file in a pytest of its own.

Twice for each backend: in an empty place, and with less data in one that holds other blobs.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta

import pytest

from gateway.api import Backend, new_blob_key
from gateway.testing.allowances import Allowances
from gateway.testing.among import AmongOthers, Traces
from gateway.testing.conformance import BackendConformance, Connect
from gateway.testing.doubles import TokensOnOrder
from gateway.testing.faults import Cut, Happen, ProviderFaultsConformance, Throttle
from gateway.testing.memory import MemoryBackend, MemoryPlace
from gateway.testing.mutants import FAULT_MUTANTS, MUTANTS
from gateway.testing.provider import Provider, ProviderBackend
from gateway.testing.resumable import ResumablePutsConformance

OTHERS = 5
AMONG_OTHERS = "AmongOthers"


def suite_for(backend_type: type[MemoryBackend]) -> type:
    class Suite(BackendConformance, ResumablePutsConformance):
        @pytest.fixture
        def connect(self) -> Connect:
            place = MemoryPlace()
            return lambda: connection(lambda: backend_type(place))

    return named(Suite, backend_type)


def suite_among_others_for(backend_type: type[MemoryBackend]) -> type:
    class Suite(BackendConformance, ResumablePutsConformance):
        allowances = Allowances(small_data="shows that less data is enough for all but one")

        @pytest.fixture
        def connect(self) -> Connect:
            place, traces = MemoryPlace(), Traces()
            for _ in range(OTHERS):
                place.blobs[new_blob_key()] = b"another's"
            return lambda: connection(lambda: AmongOthers(backend_type(place), traces))

    return named(Suite, backend_type, AMONG_OTHERS)


def fault_suite_for(backend_type: type[ProviderBackend]) -> type:
    class Suite(BackendConformance, ProviderFaultsConformance):
        @pytest.fixture
        def provider(self) -> Provider:
            return Provider()

        @pytest.fixture
        def tokens(self) -> TokensOnOrder:
            return TokensOnOrder()

        @pytest.fixture
        def connect(self, provider: Provider, tokens: TokensOnOrder) -> Connect:
            return lambda: connection(lambda: backend_type(provider, tokens))

        @pytest.fixture
        def throttle(self, provider: Provider) -> Throttle:
            def throttle(wanted: timedelta) -> None:
                provider.wants_rest = wanted

            return throttle

        @pytest.fixture
        def cut_sending(self, provider: Provider) -> Cut:
            return lambda count: setattr(provider, "sending_left", count)

        @pytest.fixture
        def cut_receiving(self, provider: Provider) -> Cut:
            return lambda count: setattr(provider, "receiving_left", count)

        @pytest.fixture
        def expire_token(self, provider: Provider, tokens: TokensOnOrder) -> Happen:
            return lambda: provider.refused.add(tokens.current)

        @pytest.fixture
        def revoke(self, provider: Provider) -> Happen:
            return lambda: setattr(provider, "is_revoked", True)

    return named(Suite, backend_type)


def connection(backend: Callable[[], Backend]) -> AbstractAsyncContextManager[Backend]:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Backend]:
        yield backend()

    return connect()


def named(suite: type, backend_type: type[MemoryBackend], ending: str = "") -> type:
    suite.__name__ = suite.__qualname__ = f"Test{backend_type.__name__}{ending}"
    return suite


for _suite in (
    *(suite_for(backend_type) for backend_type in (MemoryBackend, *MUTANTS)),
    *(suite_among_others_for(backend_type) for backend_type in (MemoryBackend, *MUTANTS)),
    *(fault_suite_for(backend_type) for backend_type in (ProviderBackend, *FAULT_MUTANTS)),
):
    globals()[_suite.__name__] = _suite
