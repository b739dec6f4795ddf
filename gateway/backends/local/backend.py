"""
The local backend in the contract's words; the file calls themselves are in `client` and `files`.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TypeVar

from gateway.api import (
    Backend,
    BackendContext,
    BlobKey,
    BlobRef,
    BlobSource,
    BlobStat,
    IntegrityMismatch,
    Quota,
    ResumablePuts,
    Span,
    Traits,
    translated,
)
from gateway.backends.local.client import BlobFolder
from gateway.backends.local.errors import classifier
from gateway.backends.local.files import PIECE_SIZE, IncomingFile, OpenBlob
from gateway.backends.local.lane import FileLane
from gateway.backends.local.settings import LocalSettings

ResultT = TypeVar("ResultT")


class LocalBackend:
    """
    Blobs as files in a folder.

    Durable means: written through to the disk, for the file and for each folder on the way to it.
    """

    def __init__(self, folder: BlobFolder, lane: FileLane, settings: LocalSettings) -> None:
        self._folder = folder
        self._lane = lane
        self._classify = classifier(settings.root)
        # What is open belongs to the backend, so that it is closed even if a caller never comes back.
        self._open_files: set[IncomingFile | OpenBlob] = set()
        # A snapshot of the disk may keep deleted files; nobody here can know of it.
        self._traits = Traits(max_concurrency=settings.max_concurrency, delete_recoverable_for=timedelta(0))

    @property
    def traits(self) -> Traits:
        return self._traits

    @property
    def resumable(self) -> ResumablePuts | None:
        # A hard link is made at once or not at all.
        return None

    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        path = body.path
        if path is not None and await self._call(partial(self._folder.take_over, key, path, body.size)):
            return BlobRef(key)
        incoming = self._folder.new_incoming(key)
        self._open_files.add(incoming)
        try:
            await self._call(partial(self._folder.begin, key, incoming))
            await self._gather(key, body, incoming)
            await self._call(partial(self._folder.publish, key, incoming))
        finally:
            await self._close_file(incoming)
        return BlobRef(key)

    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        blob = OpenBlob(partial(self._folder.open_blob, ref.key), ref.key, span)
        self._open_files.add(blob)
        try:
            async with aclosing(self._pieces(blob, await self._call(blob.open))) as pieces:
                yield pieces
        finally:
            if blob.is_open:
                await self._close_file(blob)
            else:
                self._open_files.discard(blob)

    def open_file(self, ref: BlobRef) -> int:
        """
        Return a descriptor of the blob for reading; blocks.

        Raises:
            NotFound: there is no such blob.
        """
        return self._folder.open_blob(ref.key)

    async def stat(self, ref: BlobRef) -> BlobStat:
        return await self._call(partial(self._folder.stat, ref.key))

    async def find(self, key: BlobKey) -> BlobRef | None:
        return await self._call(partial(self._folder.find, key))

    async def delete(self, ref: BlobRef) -> None:
        await self._call(partial(self._folder.delete, ref.key))

    async def scan(self) -> AsyncIterator[BlobStat]:
        for outer in await self._call(self._folder.outer_folders):
            for blob in await self._call(partial(self._folder.blobs_in, outer)):
                yield blob

    async def quota(self) -> Quota | None:
        return await self._call(self._folder.quota)

    async def probe(self) -> None:
        await self._call(self._folder.probe)

    async def open(self, *, create: bool) -> None:
        """
        Open the folder; to be called once, before anything else.
        """
        await self._call(partial(self._folder.open, create=create))

    async def close(self) -> None:
        """
        Refuse new calls, wait for the file calls in flight, and close every file.

        Tasks that are still in the middle of a method get `Transient`.
        """
        await self._lane.close(self._close_everything)

    async def _call(self, call: Callable[[], ResultT]) -> ResultT:
        with translated(self._classify):
            return await self._lane.run(call)

    async def _gather(self, key: BlobKey, body: BlobSource, incoming: IncomingFile) -> None:
        size = body.size
        received = waiting = 0
        batch: list[bytes] = []
        async with body.open() as pieces:
            async for piece in pieces:
                received += len(piece)
                waiting += len(piece)
                if received > size:
                    raise IntegrityMismatch(f"The source of blob {key} gives more than its {size} bytes.")
                batch.append(piece)
                # Small pieces are gathered: a change of thread costs more than writing them.
                if waiting >= PIECE_SIZE:
                    await self._call(partial(incoming.write, batch))
                    batch, waiting = [], 0
        if received < size:
            raise IntegrityMismatch(f"The source of blob {key} ends after {received} of {size} bytes.")
        if batch:
            await self._call(partial(incoming.write, batch))

    async def _pieces(self, blob: OpenBlob, piece: bytes) -> AsyncGenerator[bytes, None]:
        while piece:
            yield piece
            piece = await self._call(blob.next_piece) if blob.is_open else b""

    async def _close_file(self, file: IncomingFile | OpenBlob) -> None:
        try:
            await self._lane.run_through(file.close)
        finally:
            self._open_files.discard(file)

    def _close_everything(self) -> None:
        for file in tuple(self._open_files):
            file.close()
        self._folder.close()


@asynccontextmanager
async def connect(context: BackendContext, settings: LocalSettings) -> AsyncIterator[Backend]:
    """
    Connect to the folder that *settings* name.

    Raises:
        BackendError: the folder cannot be opened; the message says what to mend.
    """
    lane = FileLane(f"local-{context.account}", settings.max_concurrency)
    backend = LocalBackend(BlobFolder(settings.root), lane, settings)
    try:
        await backend.open(create=settings.create)
        yield backend
    finally:
        await backend.close()


def open_file(backend: Backend, ref: BlobRef) -> int:
    """
    Open a blob of a connection that `connect` gave, as `BackendKind.open_file` says.
    """
    assert isinstance(backend, LocalBackend)
    return backend.open_file(ref)
