"""
A daemon process, a user of it, and something to upload.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest

from gateway.base.ids import UserId
from tests.support.audio import ENCODINGS, AudioFormat, SpokenRecordings
from tests.support.forked_daemon import ForkedDaemon, forked_daemon
from tests.support.waiting import until

if TYPE_CHECKING:
    # Playwright and the whole gateway, which most tests here need none of.
    from tests.e2e.chromium import Watched
    from tests.support.gateway import Served

MEGABYTES: Final = 3


@dataclass(frozen=True)
class Sample:
    """
    A file on a phone, and what the phone says about it.
    """

    path: Path
    metadata: dict[str, str]

    @property
    def content(self) -> bytes:
        return self.path.read_bytes()


@dataclass
class Person:
    """
    A user of the daemon, who looks at what has become of his uploads.
    """

    daemon: ForkedDaemon
    user_id: UserId
    auth: Mapping[str, str]
    http: aiohttp.ClientSession

    async def get(self, path: str) -> tuple[int, bytes]:
        async with self.http.get(self.daemon.url + path, headers=self.auth) as response:
            return response.status, await response.read()

    async def head(self, path: str) -> tuple[int, Mapping[str, str]]:
        headers = {**self.auth, "Tus-Resumable": "1.0.0"}
        async with self.http.head(self.daemon.url + path, headers=headers) as response:
            return response.status, response.headers

    async def status_with(self, auth: Mapping[str, str]) -> int:
        """
        Return what a request with another token is answered.
        """
        async with self.http.get(f"{self.daemon.url}/v1/recordings", headers=auth) as response:
            return response.status

    async def recordings(self) -> list[dict[str, Any]]:
        async with self.http.get(f"{self.daemon.url}/v1/recordings", headers=self.auth) as response:
            assert response.status == 200
            documents: list[dict[str, Any]] = (await response.json())["recordings"]
            return documents

    async def has(self, upload_url: str, sample: Sample) -> None:
        """
        Check that the upload became a recording with these bytes and details.
        """
        upload_id = upload_url.rpartition("/")[2]
        for path in (f"/v1/recordings/{upload_id}/audio", f"/v1/uploads/{upload_id}"):
            assert (200, sample.content) == await self.get(path)
        found = [document for document in await self.recordings() if document["id"] == upload_id]
        assert [len(sample.content)] == [document["size"] for document in found]
        assert sample.metadata == {name: found[0][name] for name in sample.metadata}


async def spooled(daemon: ForkedDaemon, count: int, *, of: str = "") -> None:
    """
    Return once *count* sealed bytes, of one upload or of any, lie in the daemon's spool.
    """
    spool = daemon.data_dir / "spool"
    await until(lambda: sum(file.stat().st_size for file in spool.glob(f"{of}*")) >= count)


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[ForkedDaemon]:
    async with forked_daemon(tmp_path / "data") as running:
        yield running


@pytest.fixture
async def person(daemon: ForkedDaemon) -> AsyncIterator[Person]:
    user_id, auth = await daemon.new_user()
    async with aiohttp.ClientSession() as http:
        yield Person(daemon, user_id, auth, http)


@pytest.fixture(params=["m4a", "ogg", "wav", "amr"])
def spoken(request: pytest.FixtureRequest, spoken_recordings: SpokenRecordings) -> Sample:
    """
    A spoken call, in each format in turn.
    """
    audio_format: AudioFormat = request.param
    return Sample(
        spoken_recordings.path(audio_format),
        {
            "filename": f"Anruf für Zoë.{audio_format}",
            "filetype": ENCODINGS[audio_format].media_type,
            "recorded_at": "2026-01-31T14:05:00+01:00",
            "direction": "in",
            "party_number": "+44 20 7946 0018",
            "note": "about Thursday, a quarter past nine",
        },
    )


@pytest.fixture
def long_call(tmp_path: Path) -> Sample:
    """
    A few megabytes that no compression and no luck could reproduce.
    """
    path = tmp_path / "long.m4a"
    path.write_bytes(Random(7).randbytes(MEGABYTES * 1_000_000 + 12_345))
    return Sample(path, {"filename": "long.m4a", "filetype": "audio/mp4", "direction": "out"})


@pytest.fixture
async def window(served: "Served") -> AsyncIterator["Watched"]:
    """
    A browser at the gateway that the test's file serves.
    """
    from tests.e2e.chromium import chromium

    async with chromium(served.url) as watched:
        yield watched
