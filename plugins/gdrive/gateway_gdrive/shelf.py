"""
Where the blobs of one account are: the folder, fresh ids, and which file is which key's.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Final
from weakref import WeakValueDictionary

from gateway.api import BackendError, BlobKey, Conflict, NotFound, Transient, as_blob_key
from gateway_gdrive.client import FOLDER_TYPE, Drive, DriveFile
from gateway_gdrive.settings import GDriveSettings

_IDS_AT_ONCE: Final = 20
_REMEMBERED: Final = 1000


class Shelf:
    """
    What puts in parts and those in one request share.
    """

    def __init__(self, drive: Drive, settings: GDriveSettings) -> None:
        self.drive = drive
        self._settings = settings
        self._making = asyncio.Lock()
        self._folder: str | None = None
        self._folder_to_be: str | None = None
        self._ids: deque[str] = deque()
        self._remembered: OrderedDict[BlobKey, str] = OrderedDict()
        self._locks: WeakValueDictionary[BlobKey, asyncio.Lock] = WeakValueDictionary()

    def lock(self, key: BlobKey) -> asyncio.Lock:
        """
        Return what lets one put of the key at a time look whether it is free and take it.
        """
        return self._locks.setdefault(key, asyncio.Lock())

    def remembered(self, key: BlobKey) -> str | None:
        """
        Return the id under which this connection made, or may have made, the blob.
        """
        return self._remembered.get(key)

    def remember(self, key: BlobKey, file_id: str) -> None:
        """
        Keep an id for a while, since a search may not show yet what was just put.
        """
        self._remembered[key] = file_id
        self._remembered.move_to_end(key)
        if len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)

    def forget(self, key: BlobKey) -> None:
        self._remembered.pop(key, None)

    async def new_id(self) -> str:
        if not self._ids:
            self._ids.extend(await self.drive.new_ids(_IDS_AT_ONCE))
        return self._ids.popleft()

    async def folder(self) -> str:
        """
        Return the folder for new blobs, which is made if there is none.
        """
        async with self._making:
            if self._folder is None:
                found = await self.folders()
                self._folder = found[0] if found else await self._made()
            return self._folder

    async def folders(self) -> list[str]:
        """
        Return all folders of that name, the oldest first; two that began at the same moment may have made one each.
        """
        name = quoted(self._settings.folder)
        files = self.search(f"name = {name} and mimeType = '{FOLDER_TYPE}' and trashed = false")
        # A search pays no regard to case.
        return [folder.id async for folder in files if folder.name == self._settings.folder]

    def folder_is_gone(self) -> BackendError:
        """
        Forget the folder, since its owner removed it; return what to tell the host, who tries again.
        """
        self._folder = self._folder_to_be = None
        return Transient("The folder for the blobs is not there any more; another one will be made.")

    async def search(self, query: str) -> AsyncGenerator[DriveFile, None]:
        after: str | None = None
        while True:
            page, after = await self.drive.page(query, after)
            for file in page:
                yield file
            if after is None:
                return

    async def existing(self, file_id: str) -> DriveFile | None:
        """
        Return what is known about a file, or None if there is none or it is in the trash, from where it will vanish.
        """
        try:
            file = await self.drive.file(file_id)
        except NotFound:
            return None
        return None if file.is_trashed else file

    async def find(self, key: BlobKey) -> DriveFile | None:
        """
        Return the file of the blob under *key*; each that a search shows is looked at, for it may be gone.
        """
        remembered = self.remembered(key)
        if remembered is not None:
            file = await self.existing(remembered)
            if file is not None and file.name == key:
                return file
        async with aclosing(self.search(f"name = '{as_blob_key(key)}' and trashed = false")) as found:
            async for candidate in found:
                file = await self.existing(candidate.id)
                if file is not None and file.name == key:
                    return file
        return None

    async def require_free(self, key: BlobKey) -> None:
        if await self.find(key) is not None:
            raise Conflict(f"There is a blob {key} already.")

    async def _made(self) -> str:
        # The same id until it is known to have worked, so that a lost answer makes no second folder.
        self._folder_to_be = self._folder_to_be or await self.new_id()
        with suppress(Conflict):
            await self.drive.make_folder(self._folder_to_be, self._settings.folder)
        return self._folder_to_be


def quoted(text: str) -> str:
    """
    Return *text* as a value of a search.
    """
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
