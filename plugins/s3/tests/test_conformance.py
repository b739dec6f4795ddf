"""
The contract, on SeaweedFS and on Swift: in a plain bucket, and in one that keeps versions.
"""

import secrets

import pytest
from gateway_s3.backend import connect as connect_s3
from gateway_s3.settings import S3Settings

from gateway.api import BackendContext
from gateway.testing.conformance import BackendConformance, Connect
from gateway.testing.resumable import ResumablePutsConformance
from tests.support.s3_store import S3Store
from tests.support.seaweedfs import SeaweedFS
from tests.support.swift import Swift


def connecting(store: S3Store, *, bucket: str, prefix: str = "", list_page_size: int = 1000) -> Connect:
    settings = S3Settings(
        endpoint=store.endpoint,
        bucket=bucket,
        prefix=prefix,
        access_key_id=store.access_key_id,
        secret_access_key=store.secret_access_key,
        list_page_size=list_page_size,
    )
    return lambda: connect_s3(BackendContext(account="s3"), settings)


class TestPlainBucket(BackendConformance, ResumablePutsConformance):
    @pytest.fixture
    def connect(self, seaweedfs: SeaweedFS) -> Connect:
        return connecting(
            seaweedfs, bucket=seaweedfs.shared_bucket(), prefix=f"{secrets.token_hex(8)}/", list_page_size=10
        )


class TestVersionedBucket(BackendConformance, ResumablePutsConformance):
    @pytest.fixture
    def connect(self, seaweedfs: SeaweedFS) -> Connect:
        return connecting(
            seaweedfs, bucket=seaweedfs.shared_bucket(versioned=True), prefix=f"{secrets.token_hex(8)}/"
        )


class TestSwift(BackendConformance, ResumablePutsConformance):
    @pytest.fixture
    def connect(self, swift: Swift) -> Connect:
        return connecting(
            swift, bucket=swift.shared_bucket(), prefix=f"{secrets.token_hex(8)}/", list_page_size=10
        )


# Nothing of the plugin is run here that the three above don't run; what differs is the store.
@pytest.mark.torture
class TestSwiftWithVersions(BackendConformance, ResumablePutsConformance):
    @pytest.fixture
    def connect(self, swift: Swift) -> Connect:
        return connecting(
            swift, bucket=swift.shared_bucket(versioned=True), prefix=f"{secrets.token_hex(8)}/"
        )
