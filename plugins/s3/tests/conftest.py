"""
A real store, for all tests of this plugin.
"""

from collections.abc import Iterator

import pytest

from tests.support.seaweedfs import SeaweedFS, running_seaweedfs

pytest.register_assert_rewrite("gateway.testing.conformance")


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[SeaweedFS]:
    """
    One server for each test process, started when first asked for.
    """
    with running_seaweedfs() as store:
        yield store
