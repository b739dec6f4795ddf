"""
Uploads over tus, as a client that comes back: begin, or find what was begun, and bring it to its end.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from gateway.cli.client.connection import (
    STALL_S,
    CommandFailed,
    Connection,
    ConnectionLost,
    Observer,
    Patience,
    RequestRefused,
)

LARGEST_PATCH: Final = 8 * 1024 * 1024
"""Bytes of one PATCH: with its checksum it counts wholly or not at all, so this is the most that is sent twice."""

SMALLEST_PATCH: Final = 256 * 1024
"""What a PATCH is made smaller to on a line that keeps breaking."""

_SLAB_SIZE: Final = 64 * 1024
_TUS: Final = {"Tus-Resumable": "1.0.0"}
_MOST_TURNS: Final = 100


class UnusableFile(CommandFailed):
    """
    The file cannot be uploaded, or is not what it was when its upload began.
    """


@dataclass(frozen=True, slots=True)
class SourceFile:
    """
    A file as it was found: the same path with another size or time is another file.
    """

    path: Path
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> "SourceFile":
        """
        Look at the file at *path*.

        Raises:
            UnusableFile: it is something else, such as a pipe, which cannot be read twice.
        """
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UnusableFile("this is no ordinary file")
        return cls(path.resolve(), found.st_size, found.st_mtime_ns)

    def read(self, file: BinaryIO, start: int, length: int) -> bytes:
        """
        Return exactly *length* bytes from *start* of the opened file.

        Raises:
            UnusableFile: it was written to since it was found.
        """
        file.seek(start)
        content = file.read(length)
        found = os.fstat(file.fileno())
        if len(content) != length or (found.st_size, found.st_mtime_ns) != (self.size, self.mtime_ns):
            raise UnusableFile("the file changed while it was uploaded; upload it again once it is complete")
        return content


@dataclass(frozen=True, slots=True)
class StartedUpload:
    """
    An upload at the server, and how many bytes of it are durable there.
    """

    id: str
    offset: int


async def create_upload(
    connection: Connection, *, size: int, metadata: str, idempotency_key: str | None = None
) -> str:
    """
    Begin an upload, or find the one that was begun under the same key; return its id.
    """
    headers = {**_TUS, "Upload-Length": str(size), "Upload-Metadata": metadata}
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
    async with connection.request("POST", "/v1/uploads", headers=headers) as response:
        location = response.headers.get("Location", "")
    upload_id = location.rstrip("/").rpartition("/")[2]
    if not upload_id:
        raise CommandFailed("the server made an upload and did not say where")
    return upload_id


async def read_offset(connection: Connection, upload_id: str) -> int:
    """
    Return how many bytes of the upload are durable.
    """
    async with connection.request("HEAD", f"/v1/uploads/{upload_id}", headers=_TUS) as response:
        return _offset_of(response.headers)


async def start_upload(
    connection: Connection, source: SourceFile, metadata: str, secret: bytes, patience: Patience
) -> StartedUpload:
    """
    Return the upload of exactly this file with these details, new or from an earlier run.

    Its idempotency key is made of both under *secret*, so that no key tells the server anything about a file.
    Where the upload of a key was ended or its recording erased, the key is used up and the next one's turn has come.
    """
    facts: list[Any] = [os.fsencode(source.path).hex(), source.size, source.mtime_ns, metadata]
    for turn in range(_MOST_TURNS):
        key = hmac.digest(secret, json.dumps([*facts, turn]).encode(), "sha256").hex()

        async def create(key: str = key) -> str:
            return await create_upload(connection, size=source.size, metadata=metadata, idempotency_key=key)

        upload_id = await patience.until_done(create)

        async def ask(upload_id: str = upload_id) -> int:
            return await read_offset(connection, upload_id)

        try:
            return StartedUpload(upload_id, await patience.until_done(ask))
        except RequestRefused as error:
            if error.status not in (404, 410):
                raise
    raise CommandFailed(f"this file was uploaded and erased {_MOST_TURNS} times in a short while")


async def finish_upload(
    connection: Connection,
    upload: StartedUpload,
    source: SourceFile,
    *,
    observer: Observer,
    patience: Patience,
) -> None:
    """
    Bring the upload to its end, however often the connection breaks.

    Raises:
        UnusableFile: the file is not the one that the upload was begun with.
        ConnectionLost, RequestRefused: nothing moved for several tries, or there is no hope in trying.
    """
    offset = upload.offset
    observer.move_to(offset)
    patch_size = LARGEST_PATCH
    with source.path.open("rb") as file:
        while offset < source.size:
            try:
                content = source.read(file, offset, min(patch_size, source.size - offset))
                offset = await _append(connection, upload.id, offset, content, observer)
                patience.reset()
                patch_size = min(LARGEST_PATCH, patch_size * 2)
            except (ConnectionLost, RequestRefused) as error:
                # Whole or not at all: a line that breaks before 8 MiB have gone would never bring any.
                patch_size = max(SMALLEST_PATCH, patch_size // 2)
                await patience.wait_after(error)

                async def ask() -> int:
                    return await read_offset(connection, upload.id)

                # What the server has of it now, only the server knows.
                offset = await patience.until_done(ask)
                observer.move_to(offset)


def encode_metadata(details: Mapping[str, str]) -> str:
    """
    Write *details* as an ``Upload-Metadata`` header.
    """
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in details.items())


async def _append(
    connection: Connection, upload_id: str, offset: int, content: bytes, observer: Observer
) -> int:
    """
    Send one PATCH; return the offset that the server answers.
    """
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    headers = {
        **_TUS,
        "Content-Type": "application/offset+octet-stream",
        "Content-Length": str(len(content)),
        "Upload-Offset": str(offset),
        "Upload-Checksum": f"sha256 {digest}",
    }
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(STALL_S) as stall:

            async def slabs() -> AsyncIterator[bytes]:
                for start in range(0, len(content), _SLAB_SIZE):
                    slab = content[start : start + _SLAB_SIZE]
                    yield slab
                    observer.move_to(offset + start + len(slab))
                    with suppress(RuntimeError):  # the answer came before the last slab had gone
                        stall.reschedule(loop.time() + STALL_S)

            path = f"/v1/uploads/{upload_id}"
            async with connection.request("PATCH", path, headers=headers, body=slabs()) as response:
                return _offset_of(response.headers)
    except TimeoutError:
        raise ConnectionLost(f"nothing moved for {STALL_S:g} s") from None


def _offset_of(headers: Mapping[str, str]) -> int:
    text = headers.get("Upload-Offset", "")
    if not text.isascii() or not text.isdigit():
        raise CommandFailed("the server did not say how many bytes it has")
    return int(text)
