"""
One account's drive: folders, files, the recycle bin, and how Graph describes each.
"""

import base64
import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from tests.emulators.cloud import Account, Content, StoredFile
from tests.emulators.onedrive.schema import checked

APP_FOLDER: Final = "Recording gateway"


@dataclass
class Folder:
    """
    A folder; the root has no parent.
    """

    id: str
    name: str
    parent: str | None
    created_at: float


Item = Folder | StoredFile


class NameTaken(Exception):
    """
    There is an item of that name already.
    """


class Drive:
    """
    The drive of one account.
    """

    def __init__(self, account: Account, number: int, now: float, *, is_business: bool) -> None:
        self.account = account
        self.is_business = is_business
        self.id = f"b!{number:032x}" if is_business else f"{number:016X}"
        self._next = 100
        self.folders: dict[str, Folder] = {}
        self.root = self._new_folder("root", None, now)
        self.app_folder: Folder | None = None
        self.deleted: list[tuple[float, StoredFile]] = []
        """What was removed, and when, for listings that lag behind."""

    # The tree

    def make_app_folder(self, now: float) -> Folder:
        if self.app_folder is None:
            apps = self.child(self.root, "Apps") or self._new_folder("Apps", self.root.id, now)
            assert isinstance(apps, Folder)
            self.app_folder = self._new_folder(APP_FOLDER, apps.id, now)
        return self.app_folder

    def make_folder(self, parent: Folder, name: str, now: float) -> Folder:
        if self.child(parent, name) is not None:
            raise NameTaken
        return self._new_folder(name, parent.id, now)

    def by_id(self, item_id: str) -> Item | None:
        return self.folders.get(item_id) or self.account.files.get(item_id)

    def child(self, folder: Folder, name: str) -> Item | None:
        """
        Return the item of that name; upper and lower case are one.
        """
        wanted = name.casefold()
        return next((item for item in self.children(folder) if item.name.casefold() == wanted), None)

    def children(self, folder: Folder) -> Iterator[Item]:
        yield from [one for one in self.folders.values() if one.parent == folder.id]
        yield from [one for one in self.account.files.values() if one.extra["parent"] == folder.id]

    def parent_of(self, item: Item) -> Folder | None:
        parent = item.parent if isinstance(item, Folder) else item.extra["parent"]
        return None if parent is None else self.folders[parent]

    def is_in_app_folder(self, item: Item) -> bool:
        above: Folder | None = item if isinstance(item, Folder) else self.parent_of(item)
        while above is not None:
            if above is self.app_folder:
                return True
            above = self.parent_of(above)
        return False

    def put(
        self, parent: Folder, name: str, content: Content, now: float, behavior: str
    ) -> tuple[StoredFile, bool]:
        """
        Make a file of *content*; return it, and whether it is a new one.
        """
        there = self.child(parent, name)
        if there is not None and behavior == "rename":
            name = self._free_name(parent, name)
        elif there is not None and (behavior == "fail" or isinstance(there, Folder)):
            raise NameTaken
        elif isinstance(there, StoredFile):
            there.content.drop()
            there.content = content
            there.extra["changed_at"] = now
            there.extra["versions"] += 1
            there.extra.pop("hashes", None)
            return there, False
        extra = {"parent": parent.id, "changed_at": now, "versions": 1}
        stored = StoredFile(self._new_id(), name, content, now, extra)
        self.account.files[stored.id] = stored
        return stored, True

    def rename(self, item: Item, parent: Folder, name: str) -> None:
        there = self.child(parent, name)
        if there is not None and there is not item:
            raise NameTaken
        item.name = name
        if isinstance(item, Folder):
            item.parent = parent.id
        else:
            item.extra["parent"] = parent.id
            item.extra["versions"] += 1

    def remove(self, item: Item, now: float, *, for_good: bool) -> None:
        if isinstance(item, Folder):
            for child in list(self.children(item)):
                self.remove(child, now, for_good=for_good)
            del self.folders[item.id]
            if item is self.app_folder:
                self.app_folder = None
            return
        del self.account.files[item.id]
        item.extra["size"] = item.content.size
        self.deleted.append((now, item))
        if for_good:
            item.content.drop()
        else:
            self.account.trash[item.id] = item

    @property
    def deleted_bytes(self) -> int:
        return sum(stored.content.size for stored in self.account.trash.values())

    def has_room_for(self, size: int) -> bool:
        # What lies in the recycle bin counts.
        quota = self.account.quota
        return quota is None or self.account.used + self.deleted_bytes + size <= quota

    # As Graph tells it

    def document(self, item: Item, *, tells_hashes: bool, download_url: str | None = None) -> dict[str, Any]:
        """
        Return the item as a driveItem.
        """
        created = written_time(item.created_at)
        document: dict[str, Any] = {
            "id": item.id,
            "name": item.name,
            "createdDateTime": created,
            "createdBy": {"user": {"displayName": self.account.name, "id": self.account.subject}},
            "eTag": f'"{{{item.id}}},1"',
            "cTag": f'"c:{{{item.id}}},1"',
            "webUrl": f"https://onedrive.live.com/?id={item.id}",
            "size": 0,
        }
        parent = self.parent_of(item)
        if parent is not None:
            document["parentReference"] = {
                "driveId": self.id,
                "driveType": self.type,
                "id": parent.id,
                "name": parent.name,
                "path": f"/drive/root:{self._path(parent)}",
            }
        else:
            document["parentReference"] = {"driveId": self.id, "driveType": self.type}
        if isinstance(item, Folder):
            document["lastModifiedDateTime"] = created
            document["fileSystemInfo"] = {"createdDateTime": created, "lastModifiedDateTime": created}
            document["folder"] = {"childCount": sum(1 for _ in self.children(item))}
            if parent is None:
                document["root"] = {}
            if item is self.app_folder:
                document["specialFolder"] = {"name": "approot"}
        else:
            changed = written_time(item.extra["changed_at"])
            document["lastModifiedDateTime"] = changed
            # A listing that lags behind shows what has no content any more.
            is_gone = "size" in item.extra
            document["size"] = item.extra["size"] if is_gone else item.content.size
            document["fileSystemInfo"] = {
                "createdDateTime": created,
                "lastModifiedDateTime": changed,
            } | item.extra.get("fileSystemInfo", {})
            document["file"] = {"mimeType": "application/octet-stream"}
            if tells_hashes and document["size"] and not is_gone:
                document["file"]["hashes"] = self._hashes(item)
            if download_url is not None:
                document["@microsoft.graph.downloadUrl"] = download_url
        return checked("driveItem", document)

    def drive_document(self) -> dict[str, Any]:
        """
        Return the drive as Graph tells it.
        """
        used = self.account.used + self.deleted_bytes
        total = self.account.quota
        quota: dict[str, Any] = {"used": used, "deleted": self.deleted_bytes, "total": 0, "remaining": 0}
        if total is not None:
            remaining = max(0, total - used)
            state = "exceeded" if used > total else "critical" if remaining == 0 else "normal"
            quota |= {"total": total, "remaining": remaining, "state": state}
        owner = {"user": {"displayName": self.account.name, "id": self.account.subject}}
        return checked("drive", {"id": self.id, "driveType": self.type, "owner": owner, "quota": quota})

    @property
    def type(self) -> str:
        return "business" if self.is_business else "personal"

    def _hashes(self, stored: StoredFile) -> dict[str, str]:
        # Once for each content: big files are hashed in one go, and damage done later is not noticed, as it would be.
        if "hashes" not in stored.extra:
            hashes = {"quickXorHash": quick_xor(stored.content)}
            if not self.is_business:
                hashes["sha1Hash"] = stored.content.digest("sha1").upper()
                hashes["sha256Hash"] = stored.content.digest("sha256").upper()
            stored.extra["hashes"] = hashes
        found: dict[str, str] = stored.extra["hashes"]
        return found

    def _path(self, folder: Folder) -> str:
        parent = self.parent_of(folder)
        return "" if parent is None else f"{self._path(parent)}/{folder.name}"

    def _free_name(self, parent: Folder, name: str) -> str:
        number = 1
        while self.child(parent, f"{name} {number}") is not None:
            number += 1
        return f"{name} {number}"

    def _new_folder(self, name: str, parent: str | None, now: float) -> Folder:
        folder = Folder(self._new_id(), name, parent, now)
        self.folders[folder.id] = folder
        return folder

    def _new_id(self) -> str:
        self._next += 1
        if self.is_business:
            digest = hashlib.sha256(f"{self.id} {self._next}".encode()).digest()
            return "01" + base64.b32encode(digest)[:32].decode()
        return f"{self.id}!{self._next}"


def quick_xor(content: Content) -> str:
    """
    Return Microsoft's QuickXorHash of *content* in base64: byte i goes into a ring of 160 bits at bit 11 i.
    """
    columns = bytearray(160)
    length = 0
    carry = b""
    for piece in content.pieces():
        row_bytes = carry + piece
        whole = len(row_bytes) - len(row_bytes) % 160
        folded = int.from_bytes(columns, "little")
        for start in range(0, whole, 160):
            folded ^= int.from_bytes(row_bytes[start : start + 160], "little")
        columns[:] = folded.to_bytes(160, "little")
        carry = row_bytes[whole:]
        length += len(piece)
    for index, byte in enumerate(carry):
        columns[index] ^= byte
    ring = 0
    for index, byte in enumerate(columns):
        shifted = byte << (index * 11 % 160)
        ring ^= (shifted & ((1 << 160) - 1)) ^ (shifted >> 160)
    ring ^= length << 96
    return base64.b64encode(ring.to_bytes(20, "little")).decode()


def written_time(seconds: float) -> str:
    """
    Return a time as Graph writes it.
    """
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
