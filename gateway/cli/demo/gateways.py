"""
The gateways of the demo, and what happens to one: a connection that breaks, work that it does by itself.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from gateway.base.data_directory import DataDirectory
from gateway.cli.client.connection import Connection, connected
from gateway.cli.demo.backups import each_blob
from gateway.cli.demo.stage import Daemon, Stage, StepFailed

_PATIENCE_S: Final = 20.0
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Gateway:
    """
    A daemon that listens, and its data.
    """

    daemon: Daemon
    address: str
    data: DataDirectory


async def start_gateway(stage: Stage, data_dir: str) -> Gateway:
    """
    Start a daemon on the data directory of that name in the demo's folder, and return it once it is ready.
    """
    daemon = await stage.start_daemon(data_dir)
    address = await daemon.wait_until_ready()
    async with connected(address, "nobody") as connection:
        health = await connection.ask("GET", "/readyz")
    stage.check(
        health["status"] == "ready",
        f"It is ready at {address}.",
        otherwise=f"it says that it is {health['status']}",
    )
    return Gateway(daemon, address, DataDirectory(stage.folder / data_dir))


async def send_and_cut(address: str, token: str, upload_id: str, content: bytes, sent: int) -> None:
    """
    Begin a PATCH with all of *content*, send *sent* bytes of it, and close the socket.
    """
    url = urlsplit(address)
    assert url.hostname is not None
    _, writer = await asyncio.open_connection(url.hostname, url.port)
    head = (
        f"PATCH /v1/uploads/{upload_id} HTTP/1.1\r\n"
        f"Host: {url.netloc}\r\n"
        f"Authorization: Bearer {token}\r\n"
        "Tus-Resumable: 1.0.0\r\n"
        "Upload-Offset: 0\r\n"
        "Content-Type: application/offset+octet-stream\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    writer.transport.set_write_buffer_limits(0)
    writer.write(head.encode() + content[:sent])
    await writer.drain()
    writer.transport.abort()


async def until_noticed(connection: Connection) -> None:
    """
    Wait until the daemon has counted a PATCH whose connection broke; asking for the offset at once would interrupt it.
    """
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                async with connection.request("GET", "/metrics") as response:
                    counters = await response.text()
                if re.search(
                    r'^gateway_requests_total\{method="PATCH",.*status="aborted"\} 1', counters, re.MULTILINE
                ):
                    return
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise StepFailed(f"the daemon has not noticed the cut after {_PATIENCE_S:g} seconds") from None


async def until_placed(gateway: Gateway, *, recordings: int) -> None:
    """
    Wait until the recordings have left the spool for their home; the daemon does that by itself.
    """
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                is_spool_empty = not any(gateway.data.spool.iterdir())
                if is_spool_empty and len(list(each_blob(gateway.data.blobs))) == recordings:
                    return
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise StepFailed(f"the recordings are not placed after {_PATIENCE_S:g} seconds") from None
