"""
A Drive in the contract's words; the calls themselves are in `client`.

Drive has no unique names: two files may be called the same, and nothing can be asked to be created only if it is not
there. What is unique is a file's id, which is fetched before the file is made. So an id stands in every session and in
every `BlobRef`, and whatever had no answer is looked up by its id, which is never out of date.
"""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from hashlib import md5, sha256
from typing import Final

from gateway.api import (
    Backend,
    BackendContext,
    BlobKey,
    BlobRef,
    BlobSource,
    BlobStat,
    Conflict,
    IntegrityMismatch,
    Misconfigured,
    NotFound,
    PutSession,
    Quota,
    ResumablePuts,
    Span,
    Traits,
    Transient,
    as_blob_key,
    drop_put,
    parts_of,
)
from gateway_gdrive.client import FOLDER_TYPE, Drive, DriveFile
from gateway_gdrive.puts import INCOMING, DrivePuts, Upload
from gateway_gdrive.settings import MAX_FILE_SIZE, MAX_WHOLE, GDriveSettings
from gateway_gdrive.shelf import Shelf, quoted

PIECE_SIZE: Final = 1 << 20


class DriveBackend:
    """
    Blobs as files of one folder, each under its key's name.

    With a locator, which every put and every find gives, nothing lags.
    `find` with a key alone knows what this connection has put, or may have put, and searches by name for the rest.
    Such a search lags behind for a while. So what a process put right before it died, without keeping the reference
    or a session, may not be found for that long, and a second put in that time would make a second file;
    `delete` removes all files of a key.
    The file of a put that nobody goes on with stays under another name, if all its bytes had been sent already.
    """

    def __init__(self, drive: Drive, settings: GDriveSettings) -> None:
        self._drive = drive
        self._settings = settings
        self._shelf = Shelf(drive, settings)
        self._puts = DrivePuts(self._shelf, settings)
        self._traits = Traits(
            max_concurrency=settings.max_concurrency,
            delete_recoverable_for=timedelta(0),
            max_blob_size=MAX_FILE_SIZE,
            listing_lag=timedelta(seconds=settings.listing_lag_s),
            hash_offered="sha256",
        )

    @property
    def traits(self) -> Traits:
        return self._traits

    @property
    def resumable(self) -> ResumablePuts | None:
        return self._puts

    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        as_blob_key(key)
        size = body.size
        async with (
            body.open() as pieces,
            aclosing(parts_of(key, pieces, size, self._settings.part_size)) as parts,
        ):
            first = await anext(parts)
            if size <= min(self._settings.part_size, MAX_WHOLE):
                # All has been read, and its length compared, before anything is sent.
                return await self._put_whole(key, first)
            running = sha256(first)
            session = await self._puts.begin(key, size=size, sha256=b"")
            try:
                session = await self._puts.append_all(session, first)
                async for part in parts:
                    running.update(part)
                    session = await self._puts.append_all(session, part)
                upload = replace(Upload.of(session), sha256=running.hexdigest())
                return await self._puts.commit(PutSession(upload.token(), session.offset))
            except BaseException:
                # What cannot be dropped is never committed, so no one takes it for a blob.
                await drop_put(self._puts, session)
                raise

    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        file = await self._file(ref)
        span = span or Span(0, file.size)
        if span.end > file.size:
            raise IntegrityMismatch(f"Blob {ref.key} ends before byte {span.end}.")
        async with aclosing(self._pieces(file, span)) as pieces:
            yield pieces

    async def stat(self, ref: BlobRef) -> BlobStat:
        return _stat(ref.key, await self._file(ref))

    async def find(self, key: BlobKey) -> BlobRef | None:
        file = await self._shelf.find(key)
        return None if file is None else BlobRef(key, file.id)

    async def delete(self, ref: BlobRef) -> None:
        key = as_blob_key(ref.key)
        known = {ref.locator, self._shelf.remembered(key)} - {None}
        # Whatever else a lost answer may have left under the key; in the trash, too.
        query = f"name = '{key}' or name = '{key}{INCOMING}'"
        async with aclosing(self._shelf.search(query)) as found:
            known |= {file.id async for file in found}
        for file_id in known:
            if file_id is not None:
                await self._drive.delete(file_id)
        self._shelf.forget(key)

    async def scan(self) -> AsyncIterator[BlobStat]:
        folders = await self._shelf.folders()
        if not folders:
            return
        inside = " or ".join(f"{quoted(folder)} in parents" for folder in folders)
        query = f"({inside}) and mimeType != '{FOLDER_TYPE}' and trashed = false"
        async with aclosing(self._shelf.search(query)) as files:
            async for file in files:
                try:
                    key = as_blob_key(file.name)
                except ValueError:
                    # Incoming, or somebody else's.
                    continue
                yield _stat(key, file)

    async def quota(self) -> Quota | None:
        return await self._drive.quota()

    async def probe(self) -> None:
        content = secrets.token_bytes(16)
        file_id = await self._shelf.new_id()
        folder = await self._shelf.folder()
        try:
            # Not a key's name, so no scan takes it for a blob.
            await self._create(file_id, f"probe-{secrets.token_hex(8)}", folder, content)
            found = await self._drive.read(file_id, 0, len(content))
        finally:
            await self._drive.delete(file_id)
        if found != content:
            raise IntegrityMismatch("Google Drive gives other bytes than were put.")

    async def _put_whole(self, key: BlobKey, content: bytes) -> BlobRef:
        async with self._shelf.lock(key):
            await self._shelf.require_free(key)
            folder = await self._shelf.folder()
            # That of an attempt before, if there was one: should it arrive after all, it takes the place of this one.
            file_id = self._shelf.remembered(key) or await self._shelf.new_id()
            self._shelf.remember(key, file_id)
            file = await self._create(file_id, key, folder, content)
            checksums = {
                "sha256": sha256(content).hexdigest(),
                "md5": md5(content, usedforsecurity=False).hexdigest(),
            }
            if file.is_trashed or not file.agrees(len(content), **checksums):
                await self._drive.delete(file_id)
                self._shelf.forget(key)
                if file.is_trashed:
                    raise self._shelf.folder_is_gone()
                raise IntegrityMismatch(f"Google Drive has other bytes of blob {key} than were sent.")
            return BlobRef(key, file_id)

    async def _create(self, file_id: str, name: str, folder: str, content: bytes) -> DriveFile:
        try:
            return await self._drive.create(file_id, name, folder, content)
        except NotFound as exc:
            raise self._shelf.folder_is_gone() from exc
        except Conflict as exc:
            try:
                return await self._drive.file(file_id)
            except NotFound:
                # Made and deleted again; an id is used up by that.
                self._shelf.forget(BlobKey(name))
                raise Transient("The file's id is used up; another one will be taken.") from exc
        except Transient:
            # Asked now, so that nobody has to rely on a search that may lag.
            with suppress(NotFound):
                return await self._drive.file(file_id)
            raise

    async def _file(self, ref: BlobRef) -> DriveFile:
        if ref.locator is None:
            file = await self._shelf.find(ref.key)
        else:
            file = await self._shelf.existing(ref.locator)
        if file is None:
            raise NotFound(f"There is no blob {ref.key}.")
        return file

    async def _pieces(self, file: DriveFile, span: Span) -> AsyncGenerator[bytes, None]:
        for start in range(span.start, span.end, PIECE_SIZE):
            yield await self._drive.read(file.id, start, min(PIECE_SIZE, span.end - start))


@asynccontextmanager
async def connect(context: BackendContext, settings: GDriveSettings) -> AsyncIterator[Backend]:
    """
    Connect to the Drive of a linked account; nothing is sent yet.

    Raises:
        Misconfigured: the host lends no lane or no tokens.
    """
    if context.lane is None or context.tokens is None:
        raise Misconfigured("Google Drive needs a linked account and a lane.")
    drive = Drive(context.lane, context.tokens, settings)
    try:
        yield DriveBackend(drive, settings)
    finally:
        drive.close()


def _stat(key: BlobKey, file: DriveFile) -> BlobStat:
    return BlobStat(BlobRef(key, file.id), file.size, file.sha256)
