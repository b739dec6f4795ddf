"""
Puts in parts: a resumable upload of a file that bears the key's name only once it is committed.
"""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from gateway.api import (
    BlobKey,
    BlobRef,
    Conflict,
    IntegrityMismatch,
    NotFound,
    PutSession,
    SessionLost,
    Transient,
    as_blob_key,
)
from gateway_gdrive.client import DriveFile
from gateway_gdrive.settings import GRID, GDriveSettings
from gateway_gdrive.shelf import Shelf

INCOMING: Final = ".incoming"
"""What a file's name ends with until it is committed; such names are nobody's key."""


@dataclass(frozen=True, slots=True)
class Upload:
    """
    What a session's token holds: enough for another connection to go on.
    """

    key: BlobKey
    file_id: str
    url: str = field(repr=False)
    size: int
    sha256: str

    def token(self) -> str:
        return json.dumps(
            {
                "key": self.key,
                "file": self.file_id,
                "url": self.url,
                "size": self.size,
                "sha256": self.sha256,
            }
        )

    @classmethod
    def of(cls, session: PutSession) -> "Upload":
        try:
            told = json.loads(session.token)
            return cls(
                as_blob_key(told["key"]),
                str(told["file"]),
                str(told["url"]),
                int(told["size"]),
                str(told["sha256"]),
            )
        except (ValueError, KeyError, TypeError):
            # Not as its cause: that may hold the token.
            raise SessionLost("The put's token is not one of ours.") from None


class DrivePuts:
    """
    One account's puts in parts.

    Drive shows a file as soon as its last byte is there, which is why the name has to wait.
    """

    def __init__(self, shelf: Shelf, settings: GDriveSettings) -> None:
        self._shelf = shelf
        self._drive = shelf.drive
        self._settings = settings

    @property
    def part_multiple(self) -> int:
        return GRID

    @property
    def max_part_size(self) -> int:
        return self._settings.part_size

    async def begin(self, key: BlobKey, *, size: int, sha256: bytes) -> PutSession:
        await self._shelf.require_free(key)
        folder = await self._shelf.folder()
        file_id = await self._shelf.new_id()
        try:
            url = await self._drive.begin(file_id, as_blob_key(key) + INCOMING, folder, size)
        except NotFound as exc:
            raise self._shelf.folder_is_gone() from exc
        return PutSession(Upload(key, file_id, url, size, sha256.hex()).token(), 0)

    async def resume(self, session: PutSession) -> PutSession:
        upload = Upload.of(session)
        lost: SessionLost | None = None
        offset = upload.size
        try:
            offset = await self._drive.progress(upload.url, upload.size)
        except SessionLost as exc:
            lost = exc
        if offset == upload.size and await self._shelf.existing(upload.file_id) is None:
            raise lost or SessionLost("The file of the put was deleted.")
        return PutSession(session.token, offset)

    async def append(self, session: PutSession, part: bytes) -> PutSession:
        upload = Upload.of(session)
        end = session.offset + len(part)
        if end > upload.size or not part or (end < upload.size and len(part) % GRID):
            raise IntegrityMismatch(f"No part of blob {upload.key} goes from {session.offset} to {end}.")
        offset = await self._drive.append(upload.url, part, session.offset, upload.size)
        return PutSession(session.token, offset)

    async def append_all(self, session: PutSession, part: bytes) -> PutSession:
        """
        Send *part* until all of it is taken.
        """
        start = session.offset
        end = start + len(part)
        while session.offset < end:
            before = session.offset
            session = await self.append(session, part[before - start :])
            if session.offset <= before:
                raise Transient("Google Drive took nothing of a part.")
        return session

    async def commit(self, session: PutSession) -> BlobRef:
        upload = Upload.of(session)
        key = upload.key
        async with self._shelf.lock(key):
            file = await self._uploaded(session, upload)
            ref = BlobRef(key, file.id)
            if file.name == key:
                # Committed before, and the answer lost.
                return ref
            if not file.agrees(upload.size, sha256=upload.sha256):
                await self._drive.delete(file.id)
                raise IntegrityMismatch(f"Google Drive has other bytes of blob {key} than were sent.")
            try:
                await self._shelf.require_free(key)
            except Conflict:
                await self._drive.delete(file.id)
                raise
            self._shelf.remember(key, file.id)
            try:
                await self._drive.rename(file.id, key)
            except Transient:
                # Asked now, so that nobody has to rely on a search that may lag.
                found = await self._shelf.existing(file.id)
                if found is None or found.name != key:
                    raise
            return ref

    async def abort(self, session: PutSession) -> None:
        upload = Upload.of(session)
        with suppress(SessionLost):
            await self._drive.drop(upload.url)
        try:
            file = await self._drive.file(upload.file_id)
        except NotFound:
            return
        if file.name != upload.key:
            await self._drive.delete(file.id)
            if self._shelf.remembered(upload.key) == file.id:
                self._shelf.forget(upload.key)

    async def _uploaded(self, session: PutSession, upload: Upload) -> DriveFile:
        try:
            file = await self._drive.file(upload.file_id)
        except NotFound:
            # Tells a session that is lost from one that is not complete.
            stored = (await self.resume(session)).offset
            raise IntegrityMismatch(
                f"Google Drive has {stored} of {upload.size} bytes of blob {upload.key}."
            ) from None
        if file.is_trashed and file.name != upload.key:
            await self._drive.delete(file.id)
            raise self._shelf.folder_is_gone()
        return file
