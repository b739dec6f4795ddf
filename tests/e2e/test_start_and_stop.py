"""
A daemon that refuses to start says what to do; one that is told to stop does so, and keeps what it was given.
"""

import asyncio
import io
import shutil
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.e2e.conftest import Person, Sample, spooled
from tests.e2e.tus_js import File, tus_js
from tests.support.forked_daemon import DaemonEnded, ForkedDaemon
from tests.support.gateway import running_daemon, serving
from tests.support.tcp_proxy import proxying, reset

SOON_S = 5
"""Far below the time that a container or service manager leaves before it kills."""


async def refusal(data_dir: Path) -> str:
    """
    Return what a daemon says that does not start on *data_dir*.
    """
    daemon = ForkedDaemon(data_dir)
    try:
        with pytest.raises(DaemonEnded) as end:
            await daemon.start()
    finally:
        daemon.kill()
    assert 1 == end.value.status
    assert "Traceback" not in str(end.value)
    return str(end.value)


async def recorded(person: Person, content: bytes) -> str:
    """
    Upload a recording; return its path.
    """
    headers = {
        **person.auth,
        "Tus-Resumable": "1.0.0",
        "Upload-Length": str(len(content)),
        "Content-Type": "application/offset+octet-stream",
    }
    url = f"{person.daemon.url}/v1/uploads"
    async with person.http.post(url, data=io.BytesIO(content), headers=headers) as response:
        assert response.status == 201
        return f"/v1/recordings/{response.headers['Location'].rpartition('/')[2]}"


async def erased(person: Person, path: str) -> None:
    async with person.http.delete(person.daemon.url + path, headers=person.auth) as response:
        assert response.status == 200


def copied(data_dir: Path, name: str, to: Path) -> Callable[[], None]:
    """
    Copy the key database or the root store away; return what puts the copy back.
    """
    to.mkdir()
    for part in data_dir.glob(f"{name}*"):
        (shutil.copytree if part.is_dir() else shutil.copy2)(part, to / part.name)

    def put_back() -> None:
        for part in data_dir.glob(f"{name}*"):
            shutil.rmtree(part) if part.is_dir() else part.unlink()
        for part in to.iterdir():
            (shutil.copytree if part.is_dir() else shutil.copy2)(part, data_dir / part.name)

    return put_back


async def test_a_second_daemon_on_the_same_data_directory_refuses(tmp_path: Path) -> None:
    """
    Both started as from a shell.
    """
    async with running_daemon(tmp_path / "data") as first:
        second = await asyncio.to_thread(
            first.command, "serve", "--data-dir", str(first.data_dir), "--port", "0", check=False
        )
        assert 1 == second.returncode
        assert "" == second.stdout
        assert str(first.data_dir) in second.stderr
        assert "Stop it first, or give this one a directory of its own with --data-dir." in second.stderr
        assert "Traceback" not in second.stderr
        async with aiohttp.ClientSession() as http, http.get(f"{first.url}/readyz") as response:
            assert 200 == response.status


async def test_a_daemon_whose_roots_are_gone_refuses_and_makes_no_new_one(person: Person) -> None:
    path = await recorded(person, b"kept")
    daemon = person.daemon
    daemon.stop()
    roots = daemon.data_dir / "root"
    roots.rename(daemon.data_dir.parent / "elsewhere")

    said = await refusal(daemon.data_dir)

    assert "root store is empty" in said
    assert "Bring back the root store as it was last in use" in said
    assert not roots.exists()
    (daemon.data_dir.parent / "elsewhere").rename(roots)
    await daemon.start()
    assert (200, b"kept") == await person.get(f"{path}/audio")


@pytest.mark.parametrize(
    ("name", "what", "advice"),
    [
        ("root", "newer than the root store", "Bring back the root store as it was last in use"),
        ("keys.db", "older than the root store", "Bring back the key database as it was last in use"),
    ],
)
async def test_a_daemon_with_half_of_an_old_backup_refuses(
    person: Person, tmp_path: Path, name: str, what: str, advice: str
) -> None:
    daemon = person.daemon
    kept, doomed = await recorded(person, b"kept"), await recorded(person, b"doomed")
    daemon.stop()
    put_old_back = copied(daemon.data_dir, name, tmp_path / "old")
    await daemon.start()
    await erased(person, doomed)
    daemon.stop()
    put_new_back = copied(daemon.data_dir, name, tmp_path / "new")

    put_old_back()
    said = await refusal(daemon.data_dir)

    assert what in said
    assert advice in said
    put_new_back()
    await daemon.start()
    assert (200, b"kept") == await person.get(f"{kept}/audio")
    assert 404 == (await person.get(f"{doomed}/audio"))[0]


async def test_a_daemon_whose_key_database_is_gone_refuses(person: Person, tmp_path: Path) -> None:
    path = await recorded(person, b"kept")
    daemon = person.daemon
    daemon.stop()
    put_back = copied(daemon.data_dir, "keys.db", tmp_path / "keys")
    for part in daemon.data_dir.glob("keys.db*"):
        part.unlink()

    said = await refusal(daemon.data_dir)

    assert "key database is empty" in said
    assert "bring back its key database" in said
    put_back()
    await daemon.start()
    assert (200, b"kept") == await person.get(f"{path}/audio")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_in_mid_upload_keeps_what_came(
    person: Person, daemon: ForkedDaemon, long_call: Sample, number: signal.Signals
) -> None:
    async with proxying(daemon.url) as proxy:
        file = File(long_call.path, long_call.metadata)
        async with tus_js(proxy.url, person.auth, [file]) as client:
            await client.event("request", method="PATCH")
            proxy.hang_after(2_000_000)
            await proxy.has_hung()
            await spooled(daemon, 1_000_000)
            async with asyncio.timeout(SOON_S):
                daemon.send(number)
                assert 0 == await daemon.ended()
            proxy.reset_all()
            await daemon.start()
            proxy.flow()
            url = (await client.event("success"))["url"]
            offsets = [int(request["offset"]) for request in client.requests("PATCH")]
    assert 900_000 < offsets[-1] <= 2_000_000
    await person.has(url, long_call)


async def test_clients_that_hang_do_not_hold_a_stop_up(
    person: Person, daemon: ForkedDaemon, long_call: Sample
) -> None:
    """
    One stops in mid-body, one in mid-header, one reads no answer, one has got its answer and stays.
    """
    path = await recorded(person, long_call.content * 8)
    upload = await begun(person, 1_100_000)
    head = f"Host: gateway\r\nAuthorization: {person.auth['Authorization']}\r\n"
    patch = "Content-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\nContent-Length: 1100000\r\n"
    async with AsyncExitStack() as stack:
        stays = await hanging(stack, daemon, f"GET /readyz HTTP/1.1\r\n{head}\r\n")
        assert b"200" in await stays.readline()
        reads_nothing = await hanging(stack, daemon, f"GET {path}/audio HTTP/1.1\r\n{head}\r\n")
        assert b"200" in await reads_nothing.readline()
        await hanging(stack, daemon, f"GET {path} HTTP/1.1\r\nHost:")
        body = f"PATCH {upload} HTTP/1.1\r\n{head}Tus-Resumable: 1.0.0\r\n{patch}\r\n{'x' * 1_000_000}"
        await hanging(stack, daemon, body)
        await spooled(daemon, 500_000, of=upload.rpartition("/")[2])

        async with asyncio.timeout(SOON_S):
            daemon.send(signal.SIGTERM)
            assert 0 == await daemon.ended()
    await daemon.start()
    _, headers = await person.head(upload)
    assert 500_000 < int(headers["Upload-Offset"]) <= 1_000_000


async def begun(person: Person, length: int) -> str:
    """
    Begin an upload; return its path.
    """
    headers = {**person.auth, "Tus-Resumable": "1.0.0", "Upload-Length": str(length)}
    async with person.http.post(f"{person.daemon.url}/v1/uploads", headers=headers) as response:
        assert response.status == 201
        return response.headers["Location"]


async def hanging(stack: AsyncExitStack, daemon: ForkedDaemon, request: str) -> asyncio.StreamReader:
    """
    Send the beginning of a request and leave the connection open for as long as *stack* is.
    """
    address = urlsplit(daemon.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1024)
    stack.callback(reset, writer)
    writer.write(request.encode())
    await writer.drain()
    return reader


async def test_many_who_connect_at_once_wait_to_be_accepted(tmp_path: Path) -> None:
    """
    While the event loop is busy connections wait in the kernel; one that finds no place there is reset later on.
    """
    async with serving(tmp_path / "data", with_workers=False) as served:
        address = ("127.0.0.1", urlsplit(served.url).port)
        sockets = [socket.create_connection(address, timeout=5) for _ in range(300)]
        # Nothing was accepted so far, for this test did not let go of the event loop.
        for each in sockets:
            each.sendall(b"GET /healthz HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")

        def answers() -> list[bytes]:
            return [each.recv(12) for each in sockets]

        assert [b"HTTP/1.1 200"] * 300 == await asyncio.to_thread(answers)
        for each in sockets:
            each.close()
