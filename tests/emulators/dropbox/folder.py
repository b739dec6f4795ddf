"""
An app folder: files by path, without regard to case, and what Dropbox does when one is in the way.
"""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from dropbox import files
from dropbox.content_hash import DropboxContentHasher
from tests.emulators.cloud import Account, Cloud, Content, StoredFile
from tests.emulators.dropbox.wire import RouteError

_DISALLOWED: Final = frozenset(
    {"desktop.ini", "thumbs.db", ".ds_store", ".dropbox", ".dropbox.attr", "icon\r"}
)


def content_hash(content: Content, start: int = 0) -> str:
    """
    Return Dropbox's hash of the bytes from *start*.
    """
    hasher = DropboxContentHasher()
    for piece in content.pieces(start):
        hasher.update(piece)
    return str(hasher.hexdigest())


def metadata(stored: StoredFile) -> Any:
    """
    Return what Dropbox tells about a file.
    """
    path = stored.extra["path"]
    return files.FileMetadata(
        name=stored.name,
        id=stored.id,
        client_modified=stored.extra["client_modified"],
        server_modified=stored.extra["server_modified"],
        rev=stored.extra["rev"],
        size=stored.content.size,
        path_lower=path.lower(),
        path_display=path,
        is_downloadable=True,
        # As it was when it came: Dropbox does not read a file anew to tell its hash.
        content_hash=stored.extra["content_hash"],
    )


def at(account: Account, path: str) -> StoredFile | None:
    """
    Return the file at *path*, which may be a path, an id or a revision.
    """
    for stored in account.files.values():
        if path in {stored.id, f"rev:{stored.extra['rev']}"} or stored.extra["path"].lower() == path.lower():
            return stored
    return None


def below(account: Account, path: str) -> list[StoredFile]:
    """
    Return the files in the folder at *path* and in the folders in it.
    """
    prefix = path.lower() + "/"
    return [stored for stored in account.files.values() if stored.extra["path"].lower().startswith(prefix)]


def entries(account: Account, path: str, *, is_recursive: bool) -> Iterator[Any]:
    """
    Yield what a listing of the folder at *path* shows; a folder is there as long as a file is in it.
    """
    folders: set[str] = set()
    for stored in sorted(below(account, path), key=lambda stored: stored.extra["path"].lower()):
        inside = stored.extra["path"][len(path) + 1 :].split("/")
        for depth in range(1, len(inside)):
            folder = f"{path}/{'/'.join(inside[:depth])}"
            if folder.lower() not in folders and (is_recursive or depth == 1):
                folders.add(folder.lower())
                yield folder_metadata(folder)
        if is_recursive or len(inside) == 1:
            yield metadata(stored)


def folder_metadata(path: str) -> Any:
    name = path.rsplit("/", 1)[1]
    identity = f"id:{path.lower().encode().hex()}"
    return files.FolderMetadata(name=name, id=identity, path_lower=path.lower(), path_display=path)


def save(cloud: Cloud, account: Account, content: Content, commit: Any) -> StoredFile:
    """
    Save *content* as *commit* (a ``CommitInfo``) asks.

    Raises:
        RouteError: it cannot, with a ``WriteError``.
    """
    path = _checked(commit.path)
    hashed = content_hash(content)
    taken = at(account, path)
    if taken is not None:
        is_same = taken.extra["content_hash"] == hashed and not commit.strict_conflict
        is_replaced = commit.mode.is_overwrite() or (
            commit.mode.is_update() and commit.mode.get_update() == taken.extra["rev"]
        )
        if is_same:
            content.drop()
            return taken
        if not is_replaced:
            if not commit.autorename:
                raise RouteError(files.WriteError.conflict(files.WriteConflictError.file))
            path, taken = _renamed(account, path), None
    elif commit.mode.is_update() and not commit.autorename:
        raise RouteError(files.WriteError.conflict(files.WriteConflictError.file))
    _check_ancestors(account, path)
    if not account.has_room_for(content.size - (0 if taken is None else taken.content.size)):
        raise RouteError(files.WriteError.insufficient_space)
    now = datetime.fromtimestamp(cloud.clock.now(), UTC).replace(tzinfo=None, microsecond=0)
    extra = {
        "path": path,
        "rev": secrets.token_hex(8),
        "content_hash": hashed,
        "client_modified": commit.client_modified or now,
        "server_modified": now,
    }
    identity = f"id:{secrets.token_urlsafe(16)}" if taken is None else taken.id
    stored = StoredFile(identity, path.rsplit("/", 1)[1], content, cloud.clock.now(), extra)
    account.files[identity] = stored
    return stored


def _checked(path: str) -> str:
    parts = path.split("/")[1:]
    if not all(parts) or "\\" in path or any(part != part.rstrip() for part in parts):
        raise RouteError(files.WriteError("malformed_path", None))
    if any(len(part) > 255 for part in parts) or parts[-1].lower() in _DISALLOWED:
        raise RouteError(files.WriteError.disallowed_name)
    return path


def _check_ancestors(account: Account, path: str) -> None:
    if below(account, path):
        raise RouteError(files.WriteError.conflict(files.WriteConflictError.folder))
    parts = path.split("/")
    if any(at(account, "/".join(parts[:depth])) for depth in range(2, len(parts))):
        raise RouteError(files.WriteError.conflict(files.WriteConflictError.file_ancestor))


def _renamed(account: Account, path: str) -> str:
    stem, dot, ending = path.rpartition(".")
    if not dot or "/" in ending:
        stem, dot, ending = path, "", ""
    number = 1
    while at(account, f"{stem} ({number}){dot}{ending}") is not None:
        number += 1
    return f"{stem} ({number}){dot}{ending}"
