"""
``gateway plugin check --account``: an account that a user linked, as the gateway reaches it.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.api import new_blob_key
from gateway.testing.conformance import listed
from gateway.testing.sources import BytesSource
from tests.cli.conftest import Shell
from tests.http.link_client import Linker, gateway_for
from tests.support.clock import FakeClock
from tests.support.gateway import Served
from tests.support.pretend_drive import PretendDrive
from tests.support.seaweedfs import ACCESS_KEY_ID, SECRET_ACCESS_KEY, SeaweedFS, running_seaweedfs

KINDS = {
    "GATEWAY_LINKS__KINDS": '{s3 = {region = "us-east-1", part_size = 5242880}}',
    "GATEWAY_LINKS__ALLOW_PRIVATE_ADDRESSES": "true",
    "GATEWAY_LINKS__ALLOW_HTTP": "true",
}


@pytest.fixture
def store() -> Iterator[SeaweedFS]:
    with running_seaweedfs() as store:
        yield store


@pytest.fixture
async def gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> AsyncIterator[tuple[Served, Linker]]:
    with PretendDrive() as drive:
        async with gateway_for(
            drive,
            tmp_path / "data",
            monkeypatch,
            clock,
            kinds={"s3": {"region": "us-east-1", "part_size": 5242880}},
            allow_private_addresses=True,
            allow_http=True,
        ) as served:
            yield served, await Linker.of_new_user(served, drive)


async def checked(operator: Shell, kind: str, link_id: str) -> subprocess.CompletedProcess[str]:
    command = ["plugin", "check", kind, "--small", "--account", link_id, "--data-dir", operator.data_dir]
    return await asyncio.to_thread(operator.run, *command, **KINDS)


async def test_a_linked_bucket_keeps_every_promise_and_the_blobs_that_were_there(
    gateway: tuple[Served, Linker], store: SeaweedFS, operator: Shell
) -> None:
    served, ada = gateway
    bucket = {
        "endpoint": store.endpoint,
        "bucket": store.create_bucket(),
        "access_key_id": ACCESS_KEY_ID,
        "secret_access_key": SECRET_ACCESS_KEY,
    }
    link_id = (await ada.ask("POST", "/v1/links/s3", {"settings": bucket})).json["id"]
    key = new_blob_key()
    async with served.gateway.links.places.at(link_id) as backend:
        await backend.put(key, BytesSource(b"sealed"))

    done = await checked(operator, "s3", link_id)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "✓ parts in order make the blob" in done.stdout
    async with served.gateway.links.places.at(link_id) as backend:
        assert [key] == [blob.ref.key for blob in await listed(backend)]
    assert SECRET_ACCESS_KEY not in done.stdout + done.stderr
    other = await checked(operator, "gdrive", link_id)
    assert (1, "") == (other.returncode, other.stdout)
    assert "of the kind 's3'" in other.stderr


@pytest.mark.usefixtures("gateway")
async def test_an_account_that_is_not_linked_is_told(operator: Shell) -> None:
    done = await checked(operator, "s3", "0190f9c0-0000-7000-8000-000000000000")
    assert (1, "") == (done.returncode, done.stdout)
    assert "no account is linked" in done.stderr
