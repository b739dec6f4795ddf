"""
A folder on a server, and the calls of asyncssh that work on it; what the library brings does not leave this module.

A server carries out what comes over one connection in the order in which it came.
So what is asked after a call was cancelled sees what became of that call.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Final, TypeVar

import asyncssh

from gateway.api import (
    BackendError,
    BlobKey,
    Conflict,
    IntegrityMismatch,
    Misconfigured,
    NotFound,
    Quota,
    QuotaExceeded,
    SessionLost,
    Span,
    Transient,
    Unsupported,
    as_blob_key,
    settled,
    translated,
)
from gateway_sftp.calls import together
from gateway_sftp.errors import FAILURE, classify
from gateway_sftp.settings import SftpSettings

ResultT = TypeVar("ResultT")

PIECE_SIZE: Final = 1 << 20

_KEEPALIVES: Final = 3

_CLOSE_S: Final = 5.0
"""How long a connection is waited for to end."""

_UNFINISHED: Final = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{16}", re.ASCII)
_LOST: Final = (asyncssh.DisconnectError, asyncssh.SFTPNoConnection, asyncssh.SFTPConnectionLost)
_NO_FOLDERS: Final = frozenset({FAILURE, "SFTPPermissionDenied", "SFTPFileIsADirectory"})
"""What a server answers that opens no folder as if it were a file."""

_CREATE_ONLY: Final = asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_EXCL


class Server:
    """
    One SSH connection, made anew when it was lost.
    """

    def __init__(self, settings: SftpSettings) -> None:
        self._settings = settings
        self._connecting = asyncio.Lock()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._client: asyncssh.SFTPClient | None = None
        self._is_closed = False

    async def call(self, call: Callable[[asyncssh.SFTPClient], Awaitable[ResultT]]) -> ResultT:
        """
        Return what *call* returns, given the client of a connection that lives.
        """
        client = await self.client()
        with self.watched(client):
            return await settled(call(client))

    async def client(self) -> asyncssh.SFTPClient:
        """
        Return the client of a connection that lives.
        """
        async with self._connecting:
            if self._is_closed:
                raise Transient("The backend was disconnected.")
            if self._client is None or self._connection is None or self._connection.is_closed():
                with translated(classify):
                    self._connection = await self._connected()
                    self._client = await self._connection.start_sftp_client()
            return self._client

    @contextmanager
    def watched(self, client: asyncssh.SFTPClient) -> Iterator[None]:
        """
        Translate what is raised within, and note when it says that the client's connection is lost.
        """
        with translated(classify):
            try:
                yield
            except _LOST:
                if self._client is client and self._connection is not None:
                    self._connection.abort()
                    self._client = None
                raise

    async def close(self) -> None:
        """
        End the connection, in bounded time.
        """
        self._is_closed = True
        if self._connection is not None:
            self._connection.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await self._connection.wait_closed()
            self._connection.abort()

    async def _connected(self) -> asyncssh.SSHClientConnection:
        settings = self._settings
        known_hosts, keys = _read_keys(settings)
        return await asyncssh.connect(
            settings.host,
            settings.port,
            username=settings.username,
            known_hosts=known_hosts,
            client_keys=keys,
            password=settings.password,
            # Only what the settings say counts, not what lies in somebody's home.
            config=None,
            agent_path=None,
            gss_host=None,
            connect_timeout=settings.connect_timeout_s,
            login_timeout=settings.connect_timeout_s,
            keepalive_interval=settings.keepalive_s,
            keepalive_count_max=_KEEPALIVES,
        )


class OpenFile:
    """
    A file that is open at the server, for as long as that connection lives.
    """

    def __init__(self, server: Server, client: asyncssh.SFTPClient, file: asyncssh.SFTPClientFile) -> None:
        self._server = server
        self._client = client
        self._file = file

    async def size(self) -> int:
        """
        Return how many bytes it has.
        """
        return (await self._call(self._file.stat())).size or 0

    async def read(self, offset: int, length: int) -> bytes:
        """
        Return *length* bytes from *offset*, or fewer at the end.
        """
        block = self._client.limits.max_read_len
        asked = [
            (start, min(block, offset + length - start)) for start in range(offset, offset + length, block)
        ]
        given = await self._call(together([self._read(start, size) for start, size in asked]))
        content = bytearray()
        for (_, size), piece in zip(asked, given, strict=True):
            content += piece
            if len(piece) < size:
                break
        return bytes(content)

    async def _read(self, offset: int, length: int) -> bytes:
        return await self._file.read(length, offset)

    async def write(self, offset: int, content: bytes, *, in_order: bool) -> None:
        """
        Write *content* at *offset*; in order, no block is sent before the one in front of it was taken.
        """
        block = self._client.limits.max_write_len
        writes = [
            partial(self._file.write, content[start : start + block], offset + start)
            for start in range(0, len(content), block)
        ]
        if in_order:
            for write in writes:
                await self._call(write())
        else:
            await self._call(together([write() for write in writes]))

    async def sync(self) -> None:
        """
        Make it durable, where the server offers that.
        """
        with suppress(Unsupported):
            await self._call(self._file.fsync())

    async def close(self) -> None:
        """
        Close it.
        """
        # With its connection it is gone anyhow.
        with suppress(BackendError):
            await self._call(self._file.close())

    async def _call(self, call: Awaitable[ResultT]) -> ResultT:
        with self._server.watched(self._client):
            return await settled(call)


class Folder:
    """
    Blobs as files of one folder, and beside it another folder for files that are not finished.
    """

    def __init__(self, server: Server, root: str) -> None:
        self._server = server
        self._root = root
        self._blobs = f"{root.rstrip('/')}/blobs"
        self._incoming = f"{root.rstrip('/')}/incoming"

    async def prepare(self, *, create: bool) -> None:
        """
        Set the folder up, or see that it was.
        """
        if await self._stat(self._root) is None:
            raise Misconfigured(f"There is no folder {self._root} on the server.")
        for folder in (self._blobs, self._incoming):
            if await self._stat(folder) is None:
                if not create:
                    raise Misconfigured(f"There is no folder {folder} on the server; is its disk mounted?")
                await self._make(folder)

    async def size(self, key: BlobKey) -> int | None:
        """
        Return how many bytes the blob has, or None if there is none; durable, whichever it is.
        """
        size = await self._stat(self._blob(key))
        await self._sync_names()
        return size

    async def begin(self, key: BlobKey) -> str:
        """
        Begin an unfinished file; return its name.
        """
        name = f"{key}.{secrets.token_hex(8)}"
        async with self._opened(self._unfinished(name), _CREATE_ONLY):
            return name

    async def write(self, name: str, pieces: AsyncIterator[bytes], size: int) -> None:
        """
        Fill an unfinished file with *pieces*, which must have *size* bytes.
        """
        async with self._opened(self._unfinished(name), asyncssh.FXF_WRITE) as file:
            sent = 0
            async for block in _blocks(pieces):
                if sent + len(block) > size:
                    raise IntegrityMismatch(f"The source gives more than its {size} bytes.")
                await self._write(file, sent, block)
                sent += len(block)
            if sent < size:
                raise IntegrityMismatch(f"The source ends after {sent} of {size} bytes.")
            await file.sync()

    async def length(self, name: str) -> int:
        """
        Return how many bytes an unfinished file has.
        """
        length = await self._stat(self._unfinished(name))
        if length is None:
            await self._require()
            raise SessionLost("The server has no such unfinished file.")
        return length

    async def append(self, name: str, offset: int, part: bytes) -> None:
        """
        Add *part* to an unfinished file, in order: its length says how far it got, so there must be no hole in it.
        """
        try:
            async with self._opened(self._unfinished(name), asyncssh.FXF_WRITE) as file:
                await self._write(file, offset, part, in_order=True)
                await file.sync()
        except NotFound:
            await self._require()
            raise SessionLost("The server has no such unfinished file.") from None

    async def publish(self, name: str, key: BlobKey) -> None:
        """
        Have an unfinished file appear as the blob *key*, if that is free.
        """
        unfinished, blob = self._unfinished(name), self._blob(key)

        async def link(client: asyncssh.SFTPClient) -> None:
            try:
                await client.link(unfinished, blob)
            except asyncssh.SFTPOpUnsupported:
                # It fails where the new name is taken; the rename that replaces is an extension of its own.
                await client.rename(unfinished, blob)

        try:
            await self._server.call(link)
        except (Transient, Conflict) as exc:
            # All that protocol 3 can say of a name that is taken is that something failed.
            if isinstance(exc, Conflict) or (
                exc.provider_code == FAILURE and await self._stat(blob) is not None
            ):
                await self._sync_names()
                raise Conflict(f"There is a blob {key} already.") from exc
            raise
        except NotFound:
            await self._require()
            raise SessionLost("The server has no such unfinished file.") from None
        await self._sync_names()
        await self.drop(name)

    async def drop(self, name: str) -> None:
        """
        Remove an unfinished file, if there is one.
        """
        with suppress(NotFound):
            await self._server.call(lambda client: client.remove(self._unfinished(name)))

    async def remove(self, key: BlobKey) -> None:
        """
        Remove the blob, if there is one.
        """
        with suppress(NotFound):
            await self._server.call(lambda client: client.remove(self._blob(key)))
        await self._sync_names()

    @asynccontextmanager
    async def read(self, key: BlobKey, span: Span | None) -> AsyncIterator[AsyncIterator[bytes]]:
        """
        Give the bytes of *span*, or all of them.
        """
        async with AsyncExitStack() as stack:
            try:
                file = await stack.enter_async_context(self._opened(self._blob(key), asyncssh.FXF_READ))
            except NotFound:
                await self._require()
                raise
            size = await file.size()
            span = span or Span(0, size)
            if span.end > size:
                raise IntegrityMismatch(f"Blob {key} ends before byte {span.end}.")
            async with aclosing(_pieces(file, span)) as pieces:
                yield pieces

    async def blobs(self) -> AsyncGenerator[tuple[BlobKey, int], None]:
        """
        Yield every blob and its size, as the server lists them, page by page.
        """
        client = await self._server.client()
        with self._server.watched(client):
            async for entry in client.scandir(self._blobs):
                try:
                    key = as_blob_key(str(entry.filename))
                except ValueError:
                    # The folder itself, or somebody else's.
                    continue
                yield key, entry.attrs.size or 0

    async def room(self) -> Quota | None:
        """
        Return how full the server's disk is, where it tells.
        """
        try:
            facts = await self._server.call(lambda client: client.statvfs(self._blobs))
        except Unsupported:
            return None
        used = (facts.blocks - facts.bfree) * facts.frsize
        return Quota(used=used, limit=used + facts.bavail * facts.frsize)

    async def _write(self, file: OpenFile, offset: int, content: bytes, *, in_order: bool = False) -> None:
        try:
            await file.write(offset, content, in_order=in_order)
        except Transient as exc:
            # Nor can protocol 3 say that a disk is full.
            room = await self.room() if exc.provider_code == FAILURE else None
            if room is not None and room.free is not None and room.free < len(content):
                raise QuotaExceeded("The server's disk is full.") from exc
            raise

    async def _make(self, folder: str) -> None:
        try:
            await self._server.call(lambda client: client.mkdir(folder))
        except BackendError:
            # Another connection may have been faster.
            if await self._stat(folder) is None:
                raise

    async def _stat(self, path: str) -> int | None:
        try:
            return (await self._server.call(lambda client: client.stat(path))).size or 0
        except NotFound:
            return None

    async def _require(self) -> None:
        """
        Keep "the file is gone" apart from "the folder is gone", for which the server has the same answer.
        """
        if await self._stat(self._blobs) is None:
            raise Misconfigured(f"There is no folder {self._blobs} on the server; is its disk mounted?")

    async def _sync_names(self) -> None:
        """
        Make durable which blobs there are, where the server lets a folder be opened for that.
        """
        await self._require()
        async with AsyncExitStack() as stack:
            try:
                folder = await stack.enter_async_context(self._opened(self._blobs, asyncssh.FXF_READ))
            except BackendError as exc:
                if exc.provider_code in _NO_FOLDERS:
                    return
                raise
            await folder.sync()

    @asynccontextmanager
    async def _opened(self, path: str, flags: int) -> AsyncIterator[OpenFile]:
        client = await self._server.client()
        with self._server.watched(client):
            opened = await settled(client.open(path, flags, encoding=None, block_size=0))
        file = OpenFile(self._server, client, opened)
        try:
            yield file
        finally:
            await file.close()

    def _blob(self, key: BlobKey) -> str:
        return f"{self._blobs}/{as_blob_key(key)}"

    def _unfinished(self, name: str) -> str:
        # It may come out of a token.
        if _UNFINISHED.fullmatch(name) is None:
            raise SessionLost("This is no name of an unfinished file.")
        return f"{self._incoming}/{name}"


@asynccontextmanager
async def open_folder(settings: SftpSettings) -> AsyncIterator[Folder]:
    """
    Connect to the server and its folder.
    """
    server = Server(settings)
    try:
        folder = Folder(server, settings.root)
        await folder.prepare(create=settings.create)
        yield folder
    finally:
        await server.close()


async def _blocks(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """
    Join small pieces, each of which would have to wait for the server's answer.
    """
    block = bytearray()
    async for piece in pieces:
        block += piece
        if len(block) >= PIECE_SIZE:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


async def _pieces(file: OpenFile, span: Span) -> AsyncGenerator[bytes, None]:
    offset = span.start
    while offset < span.end:
        piece = await file.read(offset, min(PIECE_SIZE, span.end - offset))
        if not piece:
            raise IntegrityMismatch("The blob is shorter than it was.")
        offset += len(piece)
        yield piece


def _read_keys(settings: SftpSettings) -> tuple[asyncssh.SSHKnownHosts, list[asyncssh.SSHKey]]:
    try:
        known_hosts = asyncssh.read_known_hosts([str(settings.known_hosts)])
    except (OSError, ValueError) as exc:
        raise Misconfigured(f"known_hosts cannot be read: {settings.known_hosts}") from exc
    try:
        keys = [] if settings.private_key is None else [asyncssh.read_private_key(str(settings.private_key))]
    except (OSError, ValueError) as exc:
        raise Misconfigured(f"private_key cannot be read: {settings.private_key}") from exc
    return known_hosts, keys
