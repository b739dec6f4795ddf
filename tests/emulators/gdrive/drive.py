"""
The files of one account's Drive, and what a listing that lags behind shows of them.
"""

import secrets
from datetime import UTC, datetime
from typing import Any, Final

from tests.emulators.cloud import Account, Cloud, Content, StoredFile
from tests.emulators.gdrive.refusals import file_not_found, id_taken, storage_full

FOLDER: Final = "application/vnd.google-apps.folder"

Document = dict[str, Any]


class Drive:
    """
    One account's files and folders, as the API's resources.
    """

    def __init__(self, cloud: Cloud, account: Account) -> None:
        self._cloud = cloud
        self.account = account
        self.root = "0A" + secrets.token_urlsafe(12)
        self._given_ids: set[str] = set()
        self._used_ids: set[str] = set()
        self._history: dict[str, list[tuple[float, Document | None]]] = {}
        """What a listing has to show of each file from when on; None where it is gone."""
        self._digests: dict[Content, tuple[tuple[int, int], Document]] = {}

    def new_id(self) -> str:
        """
        Return an id that a file can be created with.
        """
        new = "1" + secrets.token_urlsafe(24)
        self._given_ids.add(new)
        return new

    def file(self, file_id: str) -> StoredFile:
        try:
            return self.account.files[file_id]
        except KeyError:
            raise file_not_found(file_id) from None

    def document(self, stored: StoredFile) -> Document:
        """
        Return the resource of a file; numbers of 64 bits are strings, as everywhere in this API.
        """
        document: Document = {
            "kind": "drive#file",
            "id": stored.id,
            "name": stored.name,
            "trashed": self._is_trashed(stored),
            "explicitlyTrashed": stored.extra.get("trashed", False),
            "spaces": ["drive"],
            "isAppAuthorized": True,
            "ownedByMe": True,
            "createdTime": _rfc3339(stored.created_at),
            "version": "1",
            **{name: value for name, value in stored.extra.items() if name != "trashed"},
        }
        if stored.extra["mimeType"] != FOLDER:
            document |= {
                "size": str(stored.content.size),
                "quotaBytesUsed": str(stored.content.size),
                "originalFilename": stored.name,
                "headRevisionId": "0B" + stored.id[1:],
                **self._checksums(stored.content),
            }
        return document

    def check_new(self, metadata: Document, size: int | None) -> None:
        """
        Check what can be checked before the content of a new file is there.
        """
        wanted = metadata.get("id")
        if wanted is not None:
            if wanted in self._used_ids:
                raise id_taken()
            if wanted not in self._given_ids:
                raise file_not_found(wanted)
        for parent in metadata.get("parents", []):
            if parent not in {self.root, "root"}:
                self.file(parent)
        if size is not None and not self.account.has_room_for(size):
            raise storage_full()

    def create(self, metadata: Document, content: Content) -> StoredFile:
        """
        Make a file; names need not differ.
        """
        self.check_new(metadata, content.size)
        now = self._cloud.clock.now()
        parents = [self.root if parent == "root" else parent for parent in metadata.get("parents", ["root"])]
        extra = {
            "mimeType": "application/octet-stream",
            "modifiedTime": _rfc3339(now),
            **{name: value for name, value in metadata.items() if name not in {"id", "name", "kind"}},
            "parents": parents,
        }
        new = metadata.get("id") or self.new_id()
        stored = StoredFile(new, metadata.get("name", "Untitled"), content, now, extra)
        self._used_ids.add(new)
        self.account.files[new] = stored
        self._note(new, self.document(stored))
        return stored

    def update(self, file_id: str, metadata: Document, content: Content | None = None) -> StoredFile:
        """
        Change what *metadata* names, and the content if there is another.
        """
        stored = self.file(file_id)
        if content is not None:
            if not self.account.has_room_for(content.size - stored.content.size):
                raise storage_full()
            stored.content.drop()
            stored.content = content
        stored.extra["modifiedTime"] = _rfc3339(self._cloud.clock.now())
        for name, value in metadata.items():
            if name == "name":
                stored.name = value
            elif name in {"appProperties", "properties"}:
                merged = {**stored.extra.get(name, {}), **value}
                stored.extra[name] = {key: inner for key, inner in merged.items() if inner is not None}
            else:
                stored.extra[name] = value
        self._note(file_id, self.document(stored))
        return stored

    def move(self, file_id: str, to: list[str], away: list[str]) -> None:
        """
        Put a file into other folders.
        """
        stored = self.file(file_id)
        for parent in to:
            if parent != self.root:
                self.file(parent)
        parents = [parent for parent in stored.extra["parents"] if parent not in away]
        stored.extra["parents"] = parents + [parent for parent in to if parent not in parents]

    def delete(self, file_id: str) -> None:
        """
        Delete a file for good; a folder with all that is in it.
        """
        stored = self.file(file_id)
        if stored.extra["mimeType"] == FOLDER:
            for inner in list(self.account.files.values()):
                if file_id in inner.extra["parents"]:
                    self.delete(inner.id)
        del self.account.files[file_id]
        stored.content.drop()
        self._note(file_id, None)

    def listed(self, lag_s: float) -> list[Document]:
        """
        Return the resources that a listing shows which is *lag_s* behind, the newest first.
        """
        if not lag_s:
            found = [self.document(stored) for stored in self.account.files.values()]
        else:
            until = self._cloud.clock.now() - lag_s
            seen = (
                next((document for at, document in reversed(events) if at <= until), None)
                for events in self._history.values()
            )
            found = [document for document in seen if document is not None]
        return found[::-1]

    def _note(self, file_id: str, document: Document | None) -> None:
        self._history.setdefault(file_id, []).append((self._cloud.clock.now(), document))

    def _is_trashed(self, stored: StoredFile) -> bool:
        if stored.extra.get("trashed"):
            return True
        above = [self.account.files.get(parent) for parent in stored.extra["parents"]]
        return any(folder is not None and self._is_trashed(folder) for folder in above)

    def _checksums(self, content: Content) -> Document:
        status = content.path.stat()
        state = status.st_size, status.st_mtime_ns
        known = self._digests.get(content)
        if known is None or known[0] != state:
            # Kept until the bytes change, for they are asked for at every turn.
            names = {"md5Checksum": "md5", "sha1Checksum": "sha1", "sha256Checksum": "sha256"}
            known = state, {name: content.digest(algorithm) for name, algorithm in names.items()}
            self._digests[content] = known
        return known[1]


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
