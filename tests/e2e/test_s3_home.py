"""
The life of a recording whose home is a bucket.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_s3.backend import connect
from gateway_s3.settings import S3Settings

from gateway.api import BackendContext
from gateway.testing.conformance import listed
from gateway.testing.sources import pattern
from tests.support.gateway import serving
from tests.support.seaweedfs import ACCESS_KEY_ID, SECRET_ACCESS_KEY, SeaweedFS, running_seaweedfs

# How the test hands megabytes to aiohttp is its own affair.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")

# More than one part.
CONTENT = pattern(20_000_000)


@pytest.fixture(scope="module")
def seaweedfs() -> Iterator[SeaweedFS]:
    with running_seaweedfs() as store:
        yield store


@pytest.mark.parametrize("versioned", [False, True], ids=["plain", "versioned"])
async def test_a_recording_goes_there_is_heard_from_there_and_leaves_nothing_there(
    tmp_path: Path, seaweedfs: SeaweedFS, versioned: bool
) -> None:
    settings = {
        "endpoint": seaweedfs.endpoint,
        "bucket": seaweedfs.create_bucket(versioned=versioned),
        "access_key_id": ACCESS_KEY_ID,
        "secret_access_key": SECRET_ACCESS_KEY,
    }
    home = {"kind": "s3", "settings": settings}
    async with (
        serving(tmp_path / "data", with_workers=False, home=home) as gateway,
        connect(BackendContext(account="look"), S3Settings(**settings)) as bucket,
    ):
        _, auth = await gateway.new_user()
        recording = await gateway.upload(auth, CONTENT)
        await gateway.placed()
        [blob] = await listed(bucket)
        assert blob.size > len(CONTENT)
        assert [] == [path for path in (tmp_path / "data" / "spool").iterdir() if path.is_file()]

        path = f"/v1/recordings/{recording}/audio"
        async with gateway.http.get(path, headers=auth) as answer:
            assert CONTENT == await answer.read()
        async with gateway.http.get(path, headers=auth | {"Range": "bytes=9999990-10000009"}) as answer:
            assert (206, CONTENT[9_999_990:10_000_010]) == (answer.status, await answer.read())

        async with gateway.http.delete(f"/v1/recordings/{recording}", headers=auth) as answer:
            assert 200 == answer.status
        await gateway.placed()
        assert [] == await listed(bucket)
        async with gateway.http.get(f"/v1/receipts/{recording}", headers=auth) as answer:
            assert "purged" == (await answer.json())["state"]
