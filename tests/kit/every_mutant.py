"""
The kit's suites for the memory backend and each mutant; `test_mutants` runs this file in a pytest of its own.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from gateway.testing.conformance import BackendConformance, Connect
from gateway.testing.memory import MemoryBackend, MemoryPlace
from gateway.testing.mutants import MUTANTS
from gateway.testing.resumable import ResumablePutsConformance


def suite_for(backend_type: type[MemoryBackend]) -> type:
    class Suite(BackendConformance, ResumablePutsConformance):
        @pytest.fixture
        def connect(self) -> Connect:
            place = MemoryPlace()

            @asynccontextmanager
            async def connect() -> AsyncIterator[MemoryBackend]:
                yield backend_type(place)

            def connected() -> AbstractAsyncContextManager[MemoryBackend]:
                return connect()

            return connected

    Suite.__name__ = Suite.__qualname__ = f"Test{backend_type.__name__}"
    return Suite


for _type in (MemoryBackend, *MUTANTS):
    _suite = suite_for(_type)
    globals()[_suite.__name__] = _suite
