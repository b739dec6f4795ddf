"""
Requests on a bare socket: cut, held back, malformed, whatever a client library would not send.
"""

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from gateway.base.ids import RecordingId
from gateway.catalog.uploads import Upload, get_upload
from gateway.spool import PieceWriter
from tests.http.phone import UPLOADS, Phone
from tests.support.gateway import APPEND, Served
from tests.support.waiting import until

PATIENCE_S = 20


@dataclass(frozen=True)
class RawAnswer:
    """
    A response as it came over the socket.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """
    One connection to the gateway.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, served: Served) -> AsyncIterator[Self]:
        """
        Connect; what is still open at the end is cut.
        """
        address = urlsplit(served.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        wire = cls(reader, writer)
        try:
            yield wire
        finally:
            await wire.cut()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def send_head(
        self, method: str, path: str, headers: Sequence[tuple[str, str]] | Mapping[str, str]
    ) -> None:
        """
        Send a request's head, with nothing in it but *headers* and Host.
        """
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: gateway.test",
            *(f"{name}: {value}" for name, value in pairs),
        ]
        await self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def begin_patch(
        self,
        phone: Phone,
        upload_id: str,
        offset: int,
        length: int | None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """
        Send the head of a PATCH that announces *length* bytes, or chunks where that is None.
        """
        sized = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
        sent = {**phone.auth, **APPEND, **sized, "Upload-Offset": str(offset), **(headers or {})}
        await self.send_head("PATCH", f"{UPLOADS}/{upload_id}", sent)

    async def answer(self) -> RawAnswer:
        """
        Read one response.
        """
        async with asyncio.timeout(PATIENCE_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])
            }
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
            return RawAnswer(int(head[0].split()[1]), headers, body)

    async def rest(self) -> bytes:
        """
        Read until the gateway closes; a reset counts as an end.
        """
        received = bytearray()
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionError):
                while part := await self._reader.read(65536):
                    received += part
        return bytes(received)

    async def cut(self) -> None:
        """
        Close, as when a phone's app is ended: everything that was sent arrives first.
        """
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def reset(self) -> None:
        """
        Close with a reset, as when a phone's address changes.
        """
        raw: socket.socket = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.cut()


def chunk(data: bytes) -> bytes:
    """
    Frame *data* as one chunk of a chunked body.
    """
    return b"%x\r\n%s\r\n" % (len(data), data)


class Intake:
    """
    How many bytes the appends of this process took out of their bodies.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken = 0
        write = PieceWriter.write

        async def counting(writer: PieceWriter, data: bytes) -> None:
            await write(writer, data)
            self.taken += len(data)

        monkeypatch.setattr(PieceWriter, "write", counting)

    async def reaches(self, size: int) -> None:
        """
        Wait until *size* bytes were taken.
        """
        await eventually(lambda: self.taken >= size)


async def upload_row(served: Served, upload_id: str) -> Upload:
    """
    Read an upload's row, without the gateway's noticing.
    """
    async with served.gateway.context.catalog.read() as connection:
        upload = await get_upload(connection, RecordingId(UUID(upload_id)))
    assert upload is not None
    return upload


async def eventually(holds: Callable[[], bool]) -> None:
    """
    Wait until *holds*.
    """
    await until(holds, within_s=PATIENCE_S)


async def settled(served: Served, upload_id: str, *, appends: int = 1) -> Upload:
    """
    Wait until the append of this number is recorded, without asking for the upload, and return the row.
    """

    async def is_settled() -> bool:
        upload = await upload_row(served, upload_id)
        return upload.fence >= appends and upload.unsettled_fence is None

    await until(is_settled, within_s=PATIENCE_S)
    return await upload_row(served, upload_id)


async def begun(served: Served, upload_id: str, *, appends: int = 1) -> None:
    """
    Wait until the append of this number is under way.
    """

    async def is_begun() -> bool:
        return (await upload_row(served, upload_id)).fence >= appends

    await until(is_begun, within_s=PATIENCE_S)


async def was_aborted(phone: Phone, path: str, headers: Mapping[str, str] | None = None) -> bool:
    """
    Tell whether GET ends without an answer, or in the middle of one.

    Asks once, on a connection of its own; client libraries ask again by themselves.
    """
    async with Wire.to(phone.served) as wire:
        await wire.send_head("GET", path, {**phone.auth, **(headers or {}), "Connection": "close"})
        head, end, body = (await wire.rest()).partition(b"\r\n\r\n")
    promised = re.search(rb"^content-length: *(\d+)", head, re.IGNORECASE | re.MULTILINE)
    assert not end or promised is not None
    return promised is None or len(body) < int(promised[1])
