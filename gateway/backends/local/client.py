"""
The folder of blobs: what lies where, and the order of steps that makes it durable.

Only this module and `files` make file calls; all of them block.

    ROOT/.recording-gateway-blobs   marks the folder as ours
    ROOT/ab/cd/<64 hex digits>      a blob; its key begins with abcd
    ROOT/.incoming/<name>           a blob on its way in

A blob appears by one `link` of a file that is complete and durable: it is there whole or not at all.
Every path is relative to the opened root: while it is open, nobody can slip another folder under it.
"""

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gateway.api import (
    BlobKey,
    BlobRef,
    BlobStat,
    Conflict,
    IntegrityMismatch,
    Misconfigured,
    NotFound,
    Quota,
    as_blob_key,
)
from gateway.backends.local.files import FILE_MODE, INCOMING, IncomingFile

MARKER: Final = ".recording-gateway-blobs"

_FOLDER_MODE: Final = 0o700
_FANOUT: Final = frozenset(f"{prefix:02x}" for prefix in range(256))
_INCOMING_NAME: Final = re.compile(r"(?:[0-9a-f]{64}|probe)\.[0-9a-f]{16}(?:\.linked)?", re.ASCII)

# What `link` answers when it cannot link this file, although its bytes might still be copied.
_NOT_LINKABLE: Final = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOENT}


class BlobFolder:
    """
    A folder of blobs.

    Its methods block, and may be called from several threads at once.
    They raise `OSError` where they have no better word.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._fd = -1
        # For each prefix abcd: whether we saw to it that the folders ab and ab/cd outlive a power cut.
        self._settled = bytearray(1 << 16)

    def open(self, *, create: bool) -> None:
        """
        Open the root, set it up if need be and allowed, and sweep away what crashed puts left behind.

        Raises:
            Misconfigured: the folder was never set up, and *create* is false.
        """
        if create:
            self._make_root()
        self._fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._mark(create=create)
        self._sweep()

    def close(self) -> None:
        """
        Let the root go, if it is open.
        """
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def take_over(self, key: BlobKey, path: Path, size: int) -> bool:
        """
        Give the file at *path* the name of the blob as well, without copying it; durable on return.

        Returns false, having done nothing, if that cannot be: another file system, or a file not wholly ours.

        Raises:
            Conflict: the key is taken.
            IntegrityMismatch: the file is not *size* bytes long.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            # The source itself will say what is wrong with it, when its bytes are asked for.
            return False
        try:
            facts = os.fstat(fd)
            private = facts.st_uid == os.geteuid() and stat.S_IMODE(facts.st_mode) == FILE_MODE
            if not stat.S_ISREG(facts.st_mode) or not private:
                return False
            if facts.st_size != size:
                raise IntegrityMismatch(
                    f"The file for blob {key} has {facts.st_size} bytes instead of {size}."
                )
            os.fsync(fd)
            try:
                self._link(str(path), None, key)
            except OSError as exc:
                if exc.errno in _NOT_LINKABLE:
                    return False
                raise
        finally:
            os.close(fd)
        return True

    def begin(self, key: BlobKey, incoming: IncomingFile) -> None:
        """
        Open *incoming*, unless the key is taken: better to know before the bytes are copied than after.

        Raises:
            Conflict: the key is taken.
        """
        if self._settle(key):
            raise _taken(key)
        incoming.open()

    def publish(self, key: BlobKey, incoming: IncomingFile) -> None:
        """
        Make the complete file *incoming* the blob under *key*; durable on return.

        Raises:
            Conflict: the key is taken.
        """
        incoming.sync()
        self._link(incoming.place, self._fd, key)

    def find(self, key: BlobKey) -> BlobRef | None:
        """
        Return the blob's reference, having made durable that it is there, or that it is not.
        """
        if self._settle(key):
            return BlobRef(key)
        # Who deleted it may have died just then.
        with suppress(FileNotFoundError):
            self._sync(_folder_of(key))
        return None

    def stat(self, key: BlobKey) -> BlobStat:
        """
        Return the blob's size.

        Raises:
            NotFound: there is no such blob.
        """
        facts = self._facts(key)
        if facts is None:
            raise _absent(key)
        return BlobStat(BlobRef(key), facts.st_size)

    def open_blob(self, key: BlobKey) -> int:
        """
        Return a descriptor of the blob for reading.

        Raises:
            NotFound: there is no such blob.
        """
        try:
            return os.open(_place(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._fd)
        except FileNotFoundError:
            self._require_root()
            raise _absent(key) from None

    def delete(self, key: BlobKey) -> None:
        """
        Remove the blob if it is there, durably.
        """
        try:
            os.unlink(_place(key), dir_fd=self._fd)
        except FileNotFoundError:
            self._require_root()
        # Also when it was gone: an earlier call may have died between the two steps.
        with suppress(FileNotFoundError):
            self._sync(_folder_of(key))

    def outer_folders(self) -> list[str]:
        """
        Return the first-level folders that there are, having swept up first.
        """
        self._sweep()
        with _listed(".", self._fd) as (_, entries):
            return sorted(
                entry.name
                for entry in entries
                if entry.name in _FANOUT and entry.is_dir(follow_symlinks=False)
            )

    def blobs_in(self, outer: str) -> list[BlobStat]:
        """
        Return the blobs below one first-level folder, passing over whatever else lies there.
        """
        found: list[BlobStat] = []
        with _listed(outer, self._fd) as (folder, entries):
            for inner in sorted(entry.name for entry in entries if entry.name in _FANOUT):
                with _listed(inner, folder) as (_, blobs):
                    found.extend(_blobs_among(blobs, outer + inner))
        return found

    def quota(self) -> Quota | None:
        """
        Return what the file system has in use, and up to where we may fill it.

        Others write to it as well, and a superuser's reserve is not ours: the disk's size is not the limit.
        """
        facts = os.fstatvfs(self._fd)
        if facts.f_blocks == 0:
            # A tmpfs without a limit, and some FUSE file systems, say nothing.
            return None
        used = (facts.f_blocks - facts.f_bfree) * facts.f_frsize
        return Quota(used=used, limit=used + facts.f_bavail * facts.f_frsize)

    def probe(self) -> None:
        """
        Put, read and remove a small file by the steps that a blob takes.

        Raises:
            Misconfigured: the file system has no hard links, or the folder was removed.
            IntegrityMismatch: other bytes come back than were written.
        """
        self._require_root()
        written = secrets.token_bytes(32)
        incoming = IncomingFile(self._fd, "probe")
        linked = f"{incoming.place}.linked"
        try:
            incoming.open()
            incoming.write([written])
            incoming.sync()
            try:
                os.link(
                    incoming.place, linked, src_dir_fd=self._fd, dst_dir_fd=self._fd, follow_symlinks=False
                )
            except OSError as exc:
                if exc.errno in _NOT_LINKABLE:
                    raise Misconfigured(
                        f"The file system of {self.root} has no hard links: {exc.strerror}."
                    ) from exc
                raise
            try:
                with os.fdopen(os.open(linked, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fd), "rb") as file:
                    read = file.read()
            finally:
                os.unlink(linked, dir_fd=self._fd)
        finally:
            incoming.close()
        self._sync(INCOMING)
        if read != written:
            raise IntegrityMismatch(f"{self.root} does not give back what was written to it.")

    def new_incoming(self, key: BlobKey) -> IncomingFile:
        """
        Return a file, not opened yet, in which the blob can be gathered.
        """
        return IncomingFile(self._fd, as_blob_key(key))

    def _make_root(self) -> None:
        try:
            self.root.mkdir(_FOLDER_MODE)
        except FileExistsError:
            return
        parent = os.open(self.root.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)

    def _mark(self, *, create: bool) -> None:
        try:
            os.stat(MARKER, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            if not create:
                raise Misconfigured(
                    f"{self.root} was never set up as a blob folder ({MARKER} is missing in it): "
                    "either its disk is not mounted, or it has to be connected once with create = true."
                ) from None
            os.close(os.open(MARKER, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE, dir_fd=self._fd))
        with suppress(FileExistsError):
            os.mkdir(INCOMING, _FOLDER_MODE, dir_fd=self._fd)
        self._sync(".")

    def _sweep(self) -> None:
        """
        Remove incoming files that nobody writes any more.

        Whoever writes one holds a lock on it, which ends with his process, however that ends.
        """
        incoming = os.open(INCOMING, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._fd)
        try:
            with os.scandir(incoming) as entries:
                names = [entry.name for entry in entries if _INCOMING_NAME.fullmatch(entry.name)]
            for name in names:
                # It may have been published, or swept by someone else, since it was listed.
                with suppress(FileNotFoundError):
                    _sweep_one(name, incoming)
        finally:
            os.close(incoming)

    def _link(self, source: str, source_dir: int | None, key: BlobKey) -> None:
        """
        Make *source*, complete and durable itself, the blob under *key*; durable on return.
        """
        self._make_place(key)
        try:
            os.link(source, _place(key), src_dir_fd=source_dir, dst_dir_fd=self._fd, follow_symlinks=False)
        except FileExistsError:
            self._settle(key)
            raise _taken(key) from None
        self._sync(_folder_of(key))

    def _make_place(self, key: BlobKey) -> None:
        """
        See to it that the folder for *key* is there, durably.
        """
        inner = _folder_of(key)
        outer = key[:2]
        made = False
        for folder in (outer, inner):
            with suppress(FileExistsError):
                os.mkdir(folder, _FOLDER_MODE, dir_fd=self._fd)
                made = True
        prefix = int(key[:4], 16)
        # Someone else may have made them just now, and not synced them yet: only our own syncs count.
        if made or not self._settled[prefix]:
            self._sync(".")
            self._sync(outer)
            self._settled[prefix] = 1

    def _settle(self, key: BlobKey) -> bool:
        """
        Say whether the blob is there, and if so, make that durable: who linked it may have died just then.
        """
        if self._facts(key) is None:
            return False
        self._make_place(key)
        self._sync(_folder_of(key))
        return True

    def _facts(self, key: BlobKey) -> os.stat_result | None:
        try:
            facts = os.stat(_place(key), dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            self._require_root()
            return None
        return facts if stat.S_ISREG(facts.st_mode) else None

    def _require_root(self) -> None:
        """
        Keep "the blob is gone" apart from "the whole folder is gone".
        """
        if os.fstat(self._fd).st_nlink == 0:
            raise Misconfigured(f"The blob folder {self.root} was removed while it was in use.")

    def _sync(self, folder: str) -> None:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._fd)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _folder_of(key: BlobKey) -> str:
    """
    Return the folder of the blob, relative to the root: the one way from a key to a path.
    """
    checked = as_blob_key(key)
    return f"{checked[:2]}/{checked[2:4]}"


def _place(key: BlobKey) -> str:
    return f"{_folder_of(key)}/{key}"


@contextmanager
def _listed(name: str, parent: int) -> Iterator[tuple[int, Iterable[os.DirEntry[str]]]]:
    """
    Open the folder *name* in *parent*, and give its descriptor and what is in it; what is gone, or no folder, is empty.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):
        yield -1, ()
        return
    try:
        with os.scandir(fd) as entries:
            yield fd, entries
    finally:
        os.close(fd)


def _blobs_among(entries: Iterable[os.DirEntry[str]], prefix: str) -> Iterable[BlobStat]:
    for entry in entries:
        try:
            key = as_blob_key(entry.name)
            facts = entry.stat(follow_symlinks=False)
        except (ValueError, FileNotFoundError):
            # Not one of ours, or deleted since it was listed.
            continue
        if key.startswith(prefix) and stat.S_ISREG(facts.st_mode):
            yield BlobStat(BlobRef(key), facts.st_size)


def _sweep_one(name: str, incoming: int) -> None:
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=incoming)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=incoming)
    except BlockingIOError:
        # A put in flight, perhaps in another process.
        pass
    except OSError as exc:
        # On a disk that has become read-only, what lies there can still be read; `probe` says what is wrong.
        if exc.errno != errno.EROFS:
            raise
    finally:
        os.close(file)


def _taken(key: BlobKey) -> Conflict:
    return Conflict(f"There is a blob {key} already.")


def _absent(key: BlobKey) -> NotFound:
    return NotFound(f"There is no blob {key}.")
