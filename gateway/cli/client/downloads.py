"""
Downloads that go on where they ended.
"""

import os
import sys
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from gateway.cli.client.connection import (
    CommandFailed,
    Connection,
    ConnectionLost,
    Observer,
    Patience,
    RequestRefused,
    connected,
)
from gateway.cli.client.file_names import safe_name
from gateway.cli.client.progress import shown_transfer
from gateway.cli.terminal import counted, printable

_SLAB_SIZE: Final = 256 * 1024


class Sink(Protocol):
    """
    Where the bytes of a download go, in order.
    """

    @property
    def position(self) -> int:
        """
        How many bytes are there.
        """
        ...

    def write(self, slab: bytes) -> None: ...

    def start_over(self) -> None:
        """
        Drop what is there.

        Raises:
            CommandFailed: it cannot be taken back.
        """
        ...


class PartFile:
    """
    A file on its way: called ``NAME.<id>.part`` until it is whole, so that another run finds it and goes on.

    The id stands in its name because the bytes of another recording must never be continued.
    """

    def __init__(self, target: Path, recording_id: str) -> None:
        self._target = target
        self._path = target.with_name(f"{target.name}.{recording_id}.part")
        # A recording is not for everybody's eyes; and a link that lies in wait is not followed.
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._file: BinaryIO = os.fdopen(fd, "r+b")
        self.position = self._file.seek(0, os.SEEK_END)

    def write(self, slab: bytes) -> None:
        self._file.write(slab)
        self.position += len(slab)

    def start_over(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self.position = 0

    def finish(self) -> None:
        """
        Make it durable under its own name.
        """
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._path.replace(self._target)

    def close(self) -> None:
        """
        Keep what is there for another run.
        """
        self._file.close()


class StandardOutput:
    """
    A download into a pipe: what went out cannot be taken back.
    """

    def __init__(self) -> None:
        self.position = 0

    def write(self, slab: bytes) -> None:
        sys.stdout.buffer.write(slab)
        sys.stdout.buffer.flush()
        self.position += len(slab)

    def start_over(self) -> None:
        if self.position:
            raise CommandFailed("the recording changed while it was downloaded")


async def print_recording(server: str, token: str, recording_id: str) -> None:
    """
    Write a recording's audio to standard output.
    """
    async with connected(server, token) as connection:
        details = await connection.ask("GET", f"/v1/recordings/{recording_id}")
        with shown_transfer(recording_id, details["size"]) as transfer:
            await fetch_audio(connection, recording_id, StandardOutput(), observer=transfer)


async def save_recording(
    server: str, token: str, recording_id: str, target: Path | None, *, may_replace: bool
) -> Path:
    """
    Save a recording's audio at *target*, a file or a folder; None is the working directory. Return the file's path.

    Raises:
        CommandFailed: a file is there already, or cannot be written.
    """
    async with connected(server, token) as connection:
        details = await connection.ask("GET", f"/v1/recordings/{recording_id}")
        if target is None:
            target = Path(safe_name(details))
        elif target.is_dir():
            target /= safe_name(details)
        name = printable(str(target))
        if not may_replace and target.exists():
            raise CommandFailed(f"{name} is there already; -o names another, --force replaces it")
        try:
            part = PartFile(target, recording_id)
            try:
                with shown_transfer(target.name, details["size"]) as transfer:
                    if part.position:
                        transfer.say(f"{name}: going on at byte {part.position:,}")
                    await fetch_audio(connection, recording_id, part, observer=transfer)
                    part.finish()
                    transfer.finish(f"{name}: {counted(details['size'], 'byte')} downloaded")
            finally:
                part.close()
        except OSError as error:
            raise CommandFailed(f"{name}: {error.strerror}") from error
        return target


async def fetch_audio(connection: Connection, recording_id: str, sink: Sink, *, observer: Observer) -> None:
    """
    Bring *sink* to its end, however often the connection breaks.

    Raises:
        RequestRefused: there is no such recording, or it was erased meanwhile.
        ConnectionLost: nothing moved for several tries, as where the recording is damaged.
    """
    path = f"/v1/recordings/{recording_id}/audio"
    patience = Patience(connection, tell=observer.say)
    size, etag = await patience.until_done(lambda: _size_and_etag(connection, path))
    if sink.position > size:
        sink.start_over()
    observer.move_to(sink.position)
    while sink.position < size:
        before = sink.position
        try:
            await _fetch_rest(connection, path, etag, sink, observer)
            if sink.position == before:
                raise ConnectionLost("the server sent nothing of the recording")
        except (ConnectionLost, RequestRefused) as error:
            if sink.position > before:
                patience.reset()
            await patience.wait_after(error)


async def _size_and_etag(connection: Connection, path: str) -> tuple[int, str]:
    async with connection.request("HEAD", path) as response:
        length = response.headers.get("Content-Length", "")
        etag = response.headers.get("ETag", "")
    if not length.isdigit() or not etag:
        raise CommandFailed("the server did not say how long the recording is")
    return int(length), etag


async def _fetch_rest(connection: Connection, path: str, etag: str, sink: Sink, observer: Observer) -> None:
    start = sink.position
    headers = {"Range": f"bytes={start}-", "If-Range": etag} if start else {}
    async with connection.request("GET", path, headers=headers) as response:
        if start and response.status != 206:
            sink.start_over()
        elif start and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise CommandFailed("the server sent another part of the recording than was asked for")
        async for slab in response.content.iter_chunked(_SLAB_SIZE):
            sink.write(slab)
            observer.move_to(sink.position)
