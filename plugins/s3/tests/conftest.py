"""
Real stores, for all tests of this plugin.
"""

from collections.abc import Iterator

import pytest

from tests.support.s3_store import S3Store
from tests.support.seaweedfs import SeaweedFS, running_seaweedfs
from tests.support.swift import Swift, running_swift

pytest.register_assert_rewrite("gateway.testing.conformance")


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[SeaweedFS]:
    """
    One server for each test process, started when first asked for.
    """
    with running_seaweedfs() as store:
        yield store


@pytest.fixture(scope="session")
def swift() -> Iterator[Swift]:
    """
    One server for each test process, started when first asked for.
    """
    with running_swift() as store:
        yield store


@pytest.fixture(params=["seaweedfs", "swift"])
def store(request: pytest.FixtureRequest) -> S3Store:
    """
    Each of the two, one after the other.
    """
    store: S3Store = request.getfixturevalue(request.param)
    return store
