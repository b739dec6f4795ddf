"""
A bucket of a user's own: what is wrong with it is his to mend, and what is wrong with the operator's is not.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver
from gateway_s3.backend import connect as connect_s3
from gateway_s3.settings import S3Settings

from gateway.api import (
    AuthRevoked,
    Backend,
    BackendContext,
    BackendError,
    BlobRef,
    Misconfigured,
    PutSession,
    Span,
    new_blob_key,
)
from gateway.testing.conformance import listed, read_all
from gateway.testing.sources import BytesSource
from tests.support.s3_store import S3Store


class AnyAddress:
    """
    An address rule that forbids nothing.
    """

    @property
    def resolver(self) -> AbstractResolver:
        return ThreadedResolver()

    def check_url(self, url: str) -> None:
        pass


OPERATORS = BackendContext(account="s3")
USERS = BackendContext(account="s3", addresses=AnyAddress())

Call = Callable[[Backend], Awaitable[object]]


async def begin(backend: Backend) -> PutSession:
    assert backend.resumable is not None
    return await backend.resumable.begin(new_blob_key(), size=1, sha256=b"")


CALLS: dict[str, Call] = {
    "put": lambda backend: backend.put(new_blob_key(), BytesSource(b"x")),
    "begin": begin,
    "read": lambda backend: read_all(backend, BlobRef(new_blob_key())),
    "read nothing": lambda backend: read_all(backend, BlobRef(new_blob_key()), Span(0, 0)),
    "stat": lambda backend: backend.stat(BlobRef(new_blob_key())),
    "find": lambda backend: backend.find(new_blob_key()),
    "delete": lambda backend: backend.delete(BlobRef(new_blob_key())),
    "scan": listed,
    "probe": lambda backend: backend.probe(),
}


@pytest.fixture
def settings(store: S3Store) -> S3Settings:
    return S3Settings(
        endpoint=store.endpoint,
        bucket=store.create_bucket(),
        access_key_id=store.access_key_id,
        secret_access_key=store.secret_access_key,
    )


@pytest.mark.parametrize(
    "wrong",
    [{"secret_access_key": "changed"}, {"access_key_id": "deleted:key"}, {"bucket": "no-such-bucket"}],
    ids=lambda wrong: next(iter(wrong)),
)
@pytest.mark.parametrize(
    ("context", "meaning"), [(OPERATORS, Misconfigured), (USERS, AuthRevoked)], ids=["operator", "user"]
)
async def test_who_gave_the_keys_and_the_bucket_has_to_mend_them(
    settings: S3Settings, context: BackendContext, meaning: type[BackendError], wrong: dict[str, str]
) -> None:
    found = {}
    async with connect_s3(context, replace(settings, **wrong)) as backend:
        for name, call in CALLS.items():
            try:
                found[name] = await call(backend)
            except BackendError as exc:
                found[name] = type(exc)
    assert dict.fromkeys(CALLS, meaning) == found


async def test_a_users_bucket_that_is_in_order_works_as_any_other(settings: S3Settings) -> None:
    async with connect_s3(USERS, settings) as backend:
        await backend.probe()
        ref = await backend.put(new_blob_key(), BytesSource(b"sealed"))
        assert b"sealed" == await read_all(backend, ref)
