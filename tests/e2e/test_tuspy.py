"""
tuspy, which nobody here wrote, against a daemon process; both of its uploaders.
"""

import asyncio
import hashlib
import io
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError, TusUploadFailed
from tusclient.storage.filestorage import FileStorage
from tusclient.uploader.uploader import AsyncUploader

from tests.e2e.conftest import Person, Sample, spooled
from tests.support.forked_daemon import ForkedDaemon
from tests.support.tcp_proxy import proxying

# How it hands megabytes to aiohttp is its own affair.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")


class Recorded(io.BytesIO):
    """
    A sample to read from; tuspy never closes the files that it opens, and closes some that it goes on using.
    """

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample.content)

    def close(self) -> None:
        pass


def client_of(person: Person, url: str = "") -> Any:
    """
    Return a client of the person's; untyped, because what tuspy says of its types is not so.
    """
    return TusClient(f"{url or person.daemon.url}/v1/uploads", headers=dict(person.auth))


async def prepared(client: Any, sample: Sample, **options: Any) -> Any:
    """
    Make an uploader off the loop: it may ask the server something at once.
    """
    return await asyncio.to_thread(
        client.uploader, file_stream=Recorded(sample), metadata=sample.metadata, **options
    )


async def test_a_spoken_call_goes_in_whole(person: Person, spoken: Sample) -> None:
    uploader = await prepared(client_of(person), spoken)
    await asyncio.to_thread(uploader.upload)
    await person.has(uploader.url, spoken)


async def test_the_async_uploader_sends_a_spoken_call_in_chunks(person: Person, spoken: Sample) -> None:
    uploader = client_of(person).async_uploader(
        file_stream=Recorded(spoken), metadata=spoken.metadata, chunk_size=20_000
    )
    await uploader.upload()
    await person.has(uploader.url, spoken)


async def test_an_empty_file_is_a_recording(person: Person, tmp_path: Path) -> None:
    empty = Sample(tmp_path / "empty.wav", {"filename": "empty.wav"})
    empty.path.touch()
    uploader = await prepared(client_of(person), empty)
    await asyncio.to_thread(uploader.upload)
    await person.has(uploader.url, empty)


@pytest.mark.parametrize("chunk_size", [100_000, 999_999, 2**62], ids=["small", "large", "whole"])
async def test_every_chunk_may_carry_its_checksum(person: Person, long_call: Sample, chunk_size: int) -> None:
    uploader = await prepared(client_of(person), long_call, chunk_size=chunk_size, upload_checksum=True)
    await asyncio.to_thread(uploader.upload)
    await person.has(uploader.url, long_call)


async def test_nothing_is_kept_of_a_chunk_that_is_not_what_its_checksum_says(
    person: Person, long_call: Sample
) -> None:
    def other(chunk: bytes) -> Any:
        return hashlib.sha1(chunk[:-1] + b"x")

    honest = client_of(person).async_uploader(
        file_stream=Recorded(long_call), metadata=long_call.metadata, chunk_size=500_000, upload_checksum=True
    )
    await honest.upload(stop_at=1_000_000)
    garbled: Any = type("Garbled", (AsyncUploader,), {"CHECKSUM_ALGORITHM_PAIR": ("sha1", other)})(
        file_stream=Recorded(long_call), chunk_size=500_000, upload_checksum=True, client=honest.client
    )
    garbled.url, garbled.offset = honest.url, 1_000_000
    with pytest.raises(TusUploadFailed) as refusal:
        await garbled.upload_chunk()
    assert 460 == refusal.value.status_code
    assert 1_000_000 == await asyncio.to_thread(honest.get_offset)
    await honest.upload()
    await person.has(honest.url, long_call)


async def test_a_new_uploader_goes_on_where_a_killed_daemon_was_left(
    person: Person, daemon: ForkedDaemon, long_call: Sample
) -> None:
    async with proxying(daemon.url) as proxy:
        dying = client_of(person, proxy.url).async_uploader(
            file_stream=Recorded(long_call), metadata=long_call.metadata
        )
        proxy.hang_after(2_000_000)
        upload = asyncio.create_task(dying.upload())
        await proxy.has_hung()
        await spooled(daemon, 1_000_000)
        daemon.kill()
        proxy.reset_all()
        with pytest.raises(TusUploadFailed):
            await upload
    await daemon.start()
    path = dying.url.removeprefix(proxy.url)
    going_on = await prepared(client_of(person), long_call, url=daemon.url + path, chunk_size=400_000)
    assert 900_000 < going_on.offset <= 2_000_000
    await asyncio.to_thread(going_on.upload)
    await person.has(path, long_call)


async def test_its_own_retries_go_on_after_the_daemon_was_killed(
    person: Person, daemon: ForkedDaemon, long_call: Sample
) -> None:
    async with proxying(daemon.url) as proxy:
        uploader = await prepared(
            client_of(person, proxy.url),
            long_call,
            chunk_size=1_200_000,
            upload_checksum=True,
            retries=200,
            retry_delay=0.05,
        )
        await asyncio.to_thread(uploader.upload_chunk)
        proxy.hang_after(900_000)
        upload = asyncio.create_task(asyncio.to_thread(uploader.upload))
        await proxy.has_hung()
        await spooled(daemon, 1_600_000)
        daemon.kill()
        await daemon.start()
        proxy.flow()
        await upload
    await person.has(uploader.url, long_call)


async def test_the_next_run_of_the_app_finds_its_upload_again(
    person: Person, daemon: ForkedDaemon, long_call: Sample, tmp_path: Path
) -> None:
    with closing(FileStorage(str(tmp_path / "urls.json"))) as storage:
        remembered = {"chunk_size": 700_000, "store_url": True, "url_storage": storage}
        first = await prepared(client_of(person), long_call, **remembered)
        await asyncio.to_thread(first.upload, stop_at=1_400_000)
        daemon.kill()
        await daemon.start()
        second = await prepared(client_of(person), long_call, **remembered)
        assert (first.url, 1_400_000) == (second.url, second.offset)
        await asyncio.to_thread(second.upload)
    await person.has(second.url, long_call)


async def test_a_revoked_token_loses_no_byte_and_a_new_one_goes_on(person: Person, long_call: Sample) -> None:
    second = await person.daemon.new_token(person.user_id)
    client = client_of(person)
    uploader = await prepared(client, long_call, chunk_size=500_000)
    await asyncio.to_thread(uploader.upload, stop_at=1_000_000)
    await person.daemon.revoke_token(person.auth)
    with pytest.raises(TusUploadFailed) as refusal:
        await asyncio.to_thread(uploader.upload)
    assert (401, 1_000_000) == (refusal.value.status_code, uploader.offset)
    client.set_headers(second)
    assert 1_000_000 == await asyncio.to_thread(uploader.get_offset)
    await asyncio.to_thread(uploader.upload)
    person.auth = second
    await person.has(uploader.url, long_call)


async def test_another_user_finds_nothing_at_the_address(person: Person, long_call: Sample) -> None:
    uploader = await prepared(client_of(person), long_call, chunk_size=500_000)
    await asyncio.to_thread(uploader.upload, stop_at=500_000)
    _, stranger = await person.daemon.new_user("Mallory")
    with pytest.raises(TusCommunicationError) as refusal:
        await asyncio.to_thread(
            TusClient("", headers=stranger).uploader, file_stream=Recorded(long_call), url=uploader.url
        )
    assert 404 == refusal.value.status_code
    await asyncio.to_thread(uploader.upload)
    await person.has(uploader.url, long_call)


async def test_uploads_at_once_do_not_disturb_each_other(person: Person, long_call: Sample) -> None:
    client = client_of(person)
    uploaders = [await prepared(client, long_call, chunk_size=n * 170_001) for n in range(1, 7)]
    await asyncio.gather(*(asyncio.to_thread(uploader.upload) for uploader in uploaders))
    for uploader in uploaders:
        await person.has(uploader.url, long_call)
