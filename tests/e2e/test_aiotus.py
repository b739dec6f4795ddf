"""
aiotus, which nobody here wrote, against a daemon process.

Its one-call `upload` wants an absolute Location, and ours is a path: its parts are used instead.
"""

import asyncio

import aiohttp
import aiotus
import pytest
import yarl
from aiotus.core import upload_buffer
from aiotus.creation import create

from tests.e2e.conftest import Person, Sample, spooled
from tests.support.forked_daemon import ForkedDaemon
from tests.support.tcp_proxy import proxying

# How it hands megabytes to aiohttp is its own affair.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")


async def begun(http: aiohttp.ClientSession, url: str, person: Person, sample: Sample) -> yarl.URL:
    endpoint = yarl.URL(f"{url}/v1/uploads")
    metadata: aiotus.Metadata = {name: value.encode() for name, value in sample.metadata.items()}
    with sample.path.open("rb") as file:
        return endpoint.join(await create(http, endpoint, file, metadata, headers=person.auth))


async def test_a_spoken_call_goes_in_by_chunks(person: Person, spoken: Sample) -> None:
    location = await begun(person.http, person.daemon.url, person, spoken)
    with spoken.path.open("rb") as file:
        await upload_buffer(person.http, location, file, chunksize=30_000, headers=person.auth)
    await person.has(str(location), spoken)
    told = await aiotus.metadata(location, headers=person.auth)
    assert {name: value.encode() for name, value in spoken.metadata.items()} == told


async def test_it_goes_on_where_a_killed_daemon_was_left(
    person: Person, daemon: ForkedDaemon, long_call: Sample
) -> None:
    async with proxying(daemon.url) as proxy, aiohttp.ClientSession() as http:
        location = await begun(http, proxy.url, person, long_call)
        with long_call.path.open("rb") as file:
            proxy.hang_after(2_000_000)
            upload = asyncio.create_task(upload_buffer(http, location, file, headers=person.auth))
            await proxy.has_hung()
            await spooled(daemon, 1_000_000)
            daemon.kill()
            with pytest.raises(aiohttp.ClientError):
                await upload
        await daemon.start()
        proxy.flow()
        with long_call.path.open("rb") as file:
            await upload_buffer(http, location, file, chunksize=500_000, headers=person.auth)
    await person.has(str(location), long_call)
