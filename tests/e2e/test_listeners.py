"""
Long recordings heard from the daemon as it is served, in its own event loop: by listeners who stop, go on, and go away.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.e2e.conftest import Person
from tests.support.forked_daemon import ForkedDaemon, forked_daemon
from tests.support.gateway import APPEND
from tests.support.waiting import until

LONG: Final = Random(8).randbytes(24_000_000)
"""More than the kernel holds for a listener who does not take it."""


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[ForkedDaemon]:
    # One thread: a listener who held it would be noticed by all others.
    async with forked_daemon(tmp_path / "data", settings={"GATEWAY_PLAYBACK__THREADS": "1"}) as running:
        yield running


@pytest.fixture
async def recording(person: Person) -> str:
    """
    A long recording at home, by its path.
    """
    headers = {**person.auth, **APPEND, "Upload-Length": str(len(LONG))}
    async with person.http.post(f"{person.daemon.url}/v1/uploads", data=_parts(), headers=headers) as answer:
        assert 201 == answer.status
        path = f"/v1/recordings/{answer.headers['Location'].rpartition('/')[2]}"

    async def is_placed() -> bool:
        async with person.http.get(f"{person.daemon.url}{path}/copies", headers=person.auth) as answer:
            return {"placed"} == {copy["state"] for copy in (await answer.json())["copies"]}

    await until(is_placed)
    return path


async def _parts() -> AsyncIterator[bytes]:
    for start in range(0, len(LONG), 1 << 20):
        yield LONG[start : start + (1 << 20)]


@asynccontextmanager
async def listening(person: Person, recording: str) -> AsyncIterator[asyncio.StreamReader]:
    """
    Ask for all of it and take nothing yet; what is read is the answer, its head included.
    """
    address = urlsplit(person.daemon.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"GET {recording}/audio HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {person.auth['Authorization']}\r\n\r\n"
    writer.write(head.encode())
    try:
        yield reader
    finally:
        writer.close()


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def heard_beside(person: Person, recording: str) -> None:
    """
    Check that somebody else hears all of it meanwhile.
    """
    assert (200, LONG) == await person.get(f"{recording}/audio")


async def test_one_who_stops_holds_up_nobody_and_goes_on_later(person: Person, recording: str) -> None:
    async with listening(person, recording) as stopped:
        await heard_beside(person, recording)
        assert LONG == (await rest_of(stopped)).partition(b"\r\n\r\n")[2]


async def test_nobody_hears_on_what_is_erased(person: Person, recording: str) -> None:
    async with listening(person, recording) as stopped, listening(person, recording) as busy:
        heard = await busy.readexactly(1_000_000)
        url = person.daemon.url + recording
        async with person.http.delete(url, headers=person.auth) as answer:
            assert 200 == answer.status
        for so_far, listener in ((b"", stopped), (heard, busy)):
            heard = (so_far + await rest_of(listener)).partition(b"\r\n\r\n")[2]
            assert len(heard) < len(LONG)
            assert LONG.startswith(heard)
    assert 404 == (await person.get(f"{recording}/audio"))[0]


async def test_those_who_go_away_leave_nothing_behind(person: Person, recording: str) -> None:
    descriptors = Path(f"/proc/{person.daemon.pid}/fd")
    await heard_beside(person, recording)
    before = sum(1 for _ in descriptors.iterdir())
    for _ in range(5):
        async with listening(person, recording) as listener:
            await listener.readexactly(100_000)
    # Some of before may have been closed since.
    await until(lambda: sum(1 for _ in descriptors.iterdir()) <= before)
    await heard_beside(person, recording)


async def test_one_connection_serves_one_answer_after_another(person: Person, recording: str) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1), headers=person.auth) as session:
        for start, end in ((0, len(LONG)), (5, 9), (1_000_003, 9_000_001), (0, len(LONG))):
            part = {"Range": f"bytes={start}-{end - 1}"}
            async with session.get(f"{person.daemon.url}{recording}/audio", headers=part) as answer:
                assert LONG[start:end] == await answer.read()


async def test_a_stop_ends_those_who_stopped(person: Person, recording: str) -> None:
    async with listening(person, recording) as stopped:
        await heard_beside(person, recording)
        assert 0 == person.daemon.stop()
        assert len(await rest_of(stopped)) < len(LONG)
