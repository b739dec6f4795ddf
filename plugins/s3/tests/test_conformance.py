"""
The contract, on SeaweedFS: in a plain bucket, and in one that keeps versions.
"""

import pytest
from gateway_s3.backend import connect as connect_s3
from gateway_s3.settings import S3Settings

from gateway.api import BackendContext
from gateway.testing.conformance import BackendConformance, Connect
from gateway.testing.resumable import ResumablePutsConformance
from tests.support.seaweedfs import ACCESS_KEY_ID, SECRET_ACCESS_KEY, SeaweedFS


class TestPlainBucket(BackendConformance, ResumablePutsConformance):
    @pytest.fixture
    def connect(self, seaweedfs: SeaweedFS) -> Connect:
        settings = S3Settings(
            endpoint=seaweedfs.endpoint,
            bucket=seaweedfs.create_bucket(),
            prefix="recordings/",
            access_key_id=ACCESS_KEY_ID,
            secret_access_key=SECRET_ACCESS_KEY,
            list_page_size=10,
        )
        return lambda: connect_s3(BackendContext(account="s3"), settings)


class TestVersionedBucket(BackendConformance, ResumablePutsConformance):
    @pytest.fixture
    def connect(self, seaweedfs: SeaweedFS) -> Connect:
        settings = S3Settings(
            endpoint=seaweedfs.endpoint,
            bucket=seaweedfs.create_bucket(versioned=True),
            access_key_id=ACCESS_KEY_ID,
            secret_access_key=SECRET_ACCESS_KEY,
        )
        return lambda: connect_s3(BackendContext(account="s3"), settings)
