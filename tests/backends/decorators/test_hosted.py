"""
All decorators together, round the local backend: still a backend by the contract.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.api import Backend, BackendContext
from gateway.backends.hosted import hosted
from gateway.backends.local.backend import connect as connect_local
from gateway.backends.local.settings import LocalSettings
from gateway.backends.measured import Meters
from gateway.base.clock import SystemClock
from gateway.settings import Backends
from gateway.testing.conformance import BackendConformance, Connect


class TestHostedLocal(BackendConformance):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        registry = CollectorRegistry()
        meters = Meters(
            calls=Counter("calls", "Calls", ("kind", "operation", "outcome"), registry=registry),
            duration=Histogram("duration", "Duration", ("kind", "operation"), registry=registry),
        )

        @asynccontextmanager
        async def connected() -> AsyncIterator[Backend]:
            settings = LocalSettings(root=tmp_path / "blobs", max_concurrency=3)
            async with connect_local(BackendContext(account="home"), settings) as backend:
                yield hosted(
                    backend,
                    kind="local",
                    limits=Backends(),
                    clock=SystemClock(),
                    meters=meters,
                    rng=random.Random(1),
                )

        return connected
