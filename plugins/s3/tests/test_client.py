"""
What the store is told and not told, and what is left in the bucket.

Some stores here are a few lines of aiohttp, for what no honest store does.
"""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiobotocore.httpsession import AIOHTTPSession
from aiohttp import ThreadedResolver, web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer
from botocore.loaders import JSONFileLoader
from gateway_s3 import gateway_register_backends
from gateway_s3.backend import connect
from gateway_s3.client import _descriptions as descriptions
from gateway_s3.settings import S3Settings

from gateway.api import (
    Backend,
    BackendContext,
    BlobRef,
    IntegrityMismatch,
    Misconfigured,
    Transient,
    new_blob_key,
)
from gateway.testing.sources import BytesSource
from tests.support.seaweedfs import ACCESS_KEY_ID, SECRET_ACCESS_KEY, SeaweedFS

CONTEXT = BackendContext(account="s3")
SETTINGS = S3Settings(
    endpoint="http://127.0.0.1:1",
    bucket="bucket",
    access_key_id=ACCESS_KEY_ID,
    secret_access_key=SECRET_ACCESS_KEY,
    purge_versions=False,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(
    handler: Handler, *, tls: ssl.SSLContext | None = None, **changes: Any
) -> AsyncIterator[Backend]:
    """
    Connect to a store that answers as *handler* says.
    """
    app = web.Application()
    app.router.add_route("*", "/{name:.*}", handler)
    server = TestServer(app)
    await server.start_server(ssl=tls)
    async with server:
        settings = replace(SETTINGS, endpoint=str(server.make_url("")).rstrip("/"), **changes)
        async with connect(CONTEXT, settings) as backend:
            yield backend


async def has_no_blob(request: web.Request) -> web.Response:
    """
    Answer as a store does whose bucket is there and empty.
    """
    await request.read()
    return web.Response(status=404 if "/" in request.match_info["name"] else 200)


class NamedRule:
    """
    An address rule that knows no name and forbids the URLs that it is told to.
    """

    def __init__(self, forbidden: str = "") -> None:
        self.forbidden = forbidden
        self.checked: list[str] = []
        self.asked: list[str] = []

    @property
    def resolver(self) -> AbstractResolver:
        rule = self

        class Resolver(ThreadedResolver):
            async def resolve(
                self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
            ) -> list[ResolveResult]:
                rule.asked.append(host)
                raise OSError(f"{host} leads to a forbidden address")

        return Resolver()

    def check_url(self, url: str) -> None:
        self.checked.append(url)
        if url == self.forbidden:
            raise Misconfigured(f"{url} may not be spoken to.")


# What is left


async def test_a_delete_leaves_no_version_and_no_marker(seaweedfs: SeaweedFS) -> None:
    bucket = seaweedfs.create_bucket(versioned=True)
    settings = replace(SETTINGS, endpoint=seaweedfs.endpoint, bucket=bucket, purge_versions=True)
    client = seaweedfs.client()
    async with connect(CONTEXT, settings) as backend:
        ref = await backend.put(new_blob_key(), BytesSource(b"first"))
        # Somebody else's plain delete leaves a marker, and an overwrite a version.
        client.delete_object(Bucket=bucket, Key=ref.key)
        client.put_object(Bucket=bucket, Key=ref.key, Body=b"second")
        await backend.delete(ref)
        await backend.probe()
    left = client.list_object_versions(Bucket=bucket)
    client.close()
    assert ([], []) == (left.get("Versions", []), left.get("DeleteMarkers", []))


async def test_a_delete_behind_a_marker_removes_what_the_marker_hides(seaweedfs: SeaweedFS) -> None:
    bucket = seaweedfs.create_bucket(versioned=True)
    settings = replace(SETTINGS, endpoint=seaweedfs.endpoint, bucket=bucket, purge_versions=True)
    client = seaweedfs.client()
    async with connect(CONTEXT, settings) as backend:
        ref = await backend.put(new_blob_key(), BytesSource(b"first"))
        client.delete_object(Bucket=bucket, Key=ref.key)
        assert await backend.find(ref.key) is None
        await backend.delete(ref)
    left = client.list_object_versions(Bucket=bucket)
    client.close()
    assert ([], []) == (left.get("Versions", []), left.get("DeleteMarkers", []))


# What is wrong with the place


async def test_a_bucket_that_is_missing_is_no_missing_blob(seaweedfs: SeaweedFS) -> None:
    settings = replace(SETTINGS, endpoint=seaweedfs.endpoint, bucket="no-such-bucket", purge_versions=True)
    async with connect(CONTEXT, settings) as backend:
        for call in (
            backend.find(new_blob_key()),
            backend.stat(BlobRef(new_blob_key())),
            backend.put(new_blob_key(), BytesSource(b"x")),
            backend.delete(BlobRef(new_blob_key())),
            backend.probe(),
        ):
            with pytest.raises(Misconfigured):
                await call


async def test_a_store_that_is_not_there_is_transient() -> None:
    async with connect(CONTEXT, SETTINGS) as backend:
        with pytest.raises(Transient):
            await backend.find(new_blob_key())


# What is sent, and what is made of the answer


async def test_a_put_is_sent_once_with_its_hashes_and_only_if_the_key_is_free() -> None:
    seen: list[web.Request] = []

    async def handler(request: web.Request) -> web.Response:
        await request.read()
        if request.method == "HEAD":
            return web.Response(status=404)
        seen.append(request)
        return web.Response(status=503)

    async with answering(handler, encryption="aws:kms", kms_key_id="the-key") as backend:
        with pytest.raises(Transient):
            await backend.put(new_blob_key(), BytesSource(b"sealed"))
    (request,) = seen
    assert "*" == request.headers["If-None-Match"]
    assert "content-md5" in request.headers["Authorization"]
    assert hashlib.sha256(b"sealed").hexdigest() == request.headers["X-Amz-Content-SHA256"]
    assert "aws:kms" == request.headers["X-Amz-Server-Side-Encryption"]
    assert "the-key" == request.headers["X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"]


async def test_a_store_that_kept_other_bytes_is_found_out_and_they_are_removed() -> None:
    methods: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        await request.read()
        methods.append(request.method)
        if request.method == "HEAD":
            return web.Response(status=404)
        return web.Response(headers={"ETag": f'"{hashlib.md5(b"rotten").hexdigest()}"'})

    async with answering(handler) as backend:
        with pytest.raises(IntegrityMismatch):
            await backend.put(new_blob_key(), BytesSource(b"sealed"))
    assert ["HEAD", "PUT", "DELETE"] == methods


async def test_no_redirect_is_followed() -> None:
    paths: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with answering(handler) as backend:
        with pytest.raises(Misconfigured):
            await backend.read(BlobRef(new_blob_key())).__aenter__()
    assert "/elsewhere" not in paths


async def test_an_answer_cut_short_is_transient() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x" * 10)
        assert request.transport is not None
        request.transport.close()
        return response

    async with answering(handler) as backend:
        with pytest.raises(Transient):
            async with backend.read(BlobRef(new_blob_key())) as pieces:
                assert b"" == b"".join([piece async for piece in pieces])


# The address rule


async def test_an_endpoint_that_the_address_rule_forbids_is_not_connected_to() -> None:
    context = replace(CONTEXT, addresses=NamedRule(forbidden="http://127.0.0.1:1"))
    with pytest.raises(Misconfigured):
        await connect(context, SETTINGS).__aenter__()


async def test_names_are_resolved_by_the_address_rule_each_time() -> None:
    rule = NamedRule()
    settings = replace(SETTINGS, endpoint="http://s3.test:9000")
    async with connect(replace(CONTEXT, addresses=rule), settings) as backend:
        for _ in range(2):
            with pytest.raises(Transient):
                await backend.find(new_blob_key())
    assert ["http://s3.test:9000"] == rule.checked
    assert ["s3.test"] * 2 == rule.asked


# What connections share


async def test_another_connection_reads_no_description_and_no_certificate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with answering(has_no_blob) as backend:
        await backend.find(new_blob_key())
    read: list[str] = []

    def reading(_: object, path: str) -> None:
        read.append(path)

    monkeypatch.setattr(JSONFileLoader, "load_file", reading)
    monkeypatch.setattr(AIOHTTPSession, "_build_verify_context", partialmethod(reading, "certificates"))
    async with answering(has_no_blob, bucket="another", region="eu-central-1", prefix="calls/") as backend:
        await backend.find(new_blob_key())
    assert [] == read


async def test_threads_share_no_description() -> None:
    assert await asyncio.to_thread(lambda: descriptions.loader) is not descriptions.loader


async def test_a_certificate_that_one_connection_trusts_is_still_refused_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)

    for trusted in (False, True, False, True):
        with monkeypatch.context() as environment:
            if trusted:
                environment.setenv("AWS_CA_BUNDLE", str(bundle))
            async with answering(has_no_blob, tls=tls) as backend:
                with nullcontext() if trusted else pytest.raises(Misconfigured, match="not trusted"):
                    await backend.find(new_blob_key())


# Settings


def test_settings_shown_show_no_keys() -> None:
    assert "AKIA" not in repr(replace(SETTINGS, access_key_id="AKIA"))
    assert SECRET_ACCESS_KEY not in repr(SETTINGS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "ftp://s3.test"},
        {"region": "evil.test/"},
        {"bucket": "a/../b"},
        {"prefix": "/recordings"},
        {"secret_access_key": ""},
        {"part_size": 1 << 20},
        {"kms_key_id": "key"},
        {"list_page_size": 0},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(SETTINGS, **wrong)


def test_the_kind_asks_a_user_for_settings_that_there_are() -> None:
    (kind,) = gateway_register_backends()
    names = set(S3Settings.__dataclass_fields__)
    assert kind.user_settings < names
    assert kind.secret_settings < kind.user_settings
