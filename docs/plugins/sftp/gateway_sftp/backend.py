"""
A server's folder in the contract's words; the calls themselves are in `client`.
"""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from gateway.api import (
    Backend,
    BackendContext,
    BackendError,
    BlobKey,
    BlobRef,
    BlobSource,
    BlobStat,
    Conflict,
    IntegrityMismatch,
    NotFound,
    PutSession,
    Quota,
    ResumablePuts,
    SessionLost,
    Span,
    Traits,
    as_blob_key,
    new_blob_key,
)
from gateway_sftp.client import Folder, open_folder
from gateway_sftp.settings import SftpSettings


@dataclass(frozen=True, slots=True)
class _Unfinished:
    """
    What a session's token holds: enough for another connection to go on.
    """

    key: BlobKey
    name: str
    size: int

    def token(self) -> str:
        return json.dumps({"key": self.key, "name": self.name, "size": self.size})

    @classmethod
    def of(cls, session: PutSession) -> "_Unfinished":
        try:
            told = json.loads(session.token)
            return cls(as_blob_key(told["key"]), str(told["name"]), int(told["size"]))
        except (ValueError, KeyError, TypeError) as exc:
            raise SessionLost("The put's token is not one of ours.") from exc


class SftpPuts:
    """
    Puts in parts: a file that grows, whose length says how far it got.
    """

    def __init__(self, folder: Folder, settings: SftpSettings) -> None:
        self._folder = folder
        self._part_size = settings.part_size

    @property
    def part_multiple(self) -> int:
        return 1

    @property
    def max_part_size(self) -> int:
        return self._part_size

    async def begin(self, key: BlobKey, *, size: int, sha256: bytes) -> PutSession:
        if await self._folder.size(key) is not None:
            raise Conflict(f"There is a blob {key} already.")
        return PutSession(_Unfinished(key, await self._folder.begin(key), size).token(), 0)

    async def resume(self, session: PutSession) -> PutSession:
        return PutSession(session.token, await self._folder.length(_Unfinished.of(session).name))

    async def append(self, session: PutSession, part: bytes) -> PutSession:
        unfinished = _Unfinished.of(session)
        end = session.offset + len(part)
        if end > unfinished.size:
            raise IntegrityMismatch(f"Blob {unfinished.key} ends before byte {end}.")
        await self._folder.append(unfinished.name, session.offset, part)
        return PutSession(session.token, end)

    async def commit(self, session: PutSession) -> BlobRef:
        unfinished = _Unfinished.of(session)
        length = await self._folder.length(unfinished.name)
        if length != unfinished.size:
            raise IntegrityMismatch(
                f"The server has {length} of {unfinished.size} bytes of blob {unfinished.key}."
            )
        await self._folder.publish(unfinished.name, unfinished.key)
        return BlobRef(unfinished.key)

    async def abort(self, session: PutSession) -> None:
        await self._folder.drop(_Unfinished.of(session).name)


class SftpBackend:
    """
    Blobs as files of one folder on a server.

    Durable means what the server's ``fsync@openssh.com`` means; on one without that, what it means by its answers.
    Unfinished files that nobody went on with stay in the folder ``incoming``, where no scan shows them.
    """

    def __init__(self, folder: Folder, settings: SftpSettings) -> None:
        self._folder = folder
        self._puts = SftpPuts(folder, settings)
        # A snapshot of the server's disk may keep deleted files; nobody here can know of it.
        self._traits = Traits(max_concurrency=settings.max_concurrency, delete_recoverable_for=timedelta(0))

    @property
    def traits(self) -> Traits:
        return self._traits

    @property
    def resumable(self) -> ResumablePuts | None:
        return self._puts

    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        if await self._folder.size(key) is not None:
            raise Conflict(f"There is a blob {key} already.")
        name = await self._folder.begin(key)
        try:
            async with body.open() as pieces:
                await self._folder.write(name, pieces, body.size)
            await self._folder.publish(name, key)
        except BaseException:
            await self._drop(name)
            raise
        return BlobRef(key)

    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._folder.read(ref.key, span) as pieces:
            yield pieces

    async def stat(self, ref: BlobRef) -> BlobStat:
        size = await self._folder.size(ref.key)
        if size is None:
            raise NotFound(f"There is no blob {ref.key}.")
        return BlobStat(BlobRef(ref.key), size)

    async def find(self, key: BlobKey) -> BlobRef | None:
        return None if await self._folder.size(key) is None else BlobRef(key)

    async def delete(self, ref: BlobRef) -> None:
        await self._folder.remove(ref.key)

    async def scan(self) -> AsyncIterator[BlobStat]:
        async with aclosing(self._folder.blobs()) as blobs:
            async for key, size in blobs:
                yield BlobStat(BlobRef(key), size)

    async def quota(self) -> Quota | None:
        return await self._folder.room()

    async def probe(self) -> None:
        content = secrets.token_bytes(16)
        name = await self._folder.begin(new_blob_key())
        try:
            await self._folder.append(name, 0, content)
            found = await self._folder.length(name)
        finally:
            await self._folder.drop(name)
        if found != len(content):
            raise IntegrityMismatch("The server has other bytes than were sent.")

    async def _drop(self, name: str) -> None:
        try:
            await self._folder.drop(name)
        except BackendError:
            # The first error is the one to tell.
            return


@asynccontextmanager
async def connect(context: BackendContext, settings: SftpSettings) -> AsyncIterator[Backend]:
    """
    Connect to the server that *settings* name.
    """
    async with open_folder(settings) as folder:
        yield SftpBackend(folder, settings)
