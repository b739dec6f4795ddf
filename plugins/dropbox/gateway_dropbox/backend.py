"""
An account's app folder in the contract's words; the calls themselves are in `client`.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from gateway.api import (
    Backend,
    BackendContext,
    BlobKey,
    BlobRef,
    BlobSource,
    BlobStat,
    IntegrityMismatch,
    Misconfigured,
    NotFound,
    PutSession,
    Quota,
    ResumablePuts,
    SessionLost,
    Span,
    Traits,
    Transient,
    as_blob_key,
    drop_put,
    parts_of,
)
from gateway_dropbox.client import AppFolder, File, open_session
from gateway_dropbox.settings import BLOCK_SIZE, DropboxSettings

PIECE_SIZE: Final = 1 << 20

STRETCH_SIZE: Final = 2 * PIECE_SIZE
"""How much of a file is fetched in one call; that much is held in memory."""

KEPT_BLOCKS: Final = 352
"""How many blocks' digests a session's token has room for."""

MAX_BLOB_SIZE: Final = (1 << 41) - (1 << 22)
"""The largest file that Dropbox takes."""

_DIGEST_SIZE: Final = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class _Upload:
    """
    What a session's token holds: enough for another connection to go on.

    Dropbox tells a file's hash in its own way: the SHA-256 of the SHA-256 of each block of 4 MiB.
    So the digests of the blocks are kept, and the hash of all can be compared at the commit even after a restart.
    A SHA-256 of all bytes is of no use there.

    A blob of more than `KEPT_BLOCKS` blocks has no digests here, and at the commit only its size is compared.
    What was sent is still checked: each part goes with its own hash, and Dropbox refuses one that differs.
    """

    key: BlobKey
    id: str
    size: int
    stored: int = 0
    """
    Bytes that Dropbox was last known to have.

    Where an answer was lost, more than have digests, or than whole blocks: then those come again from the host,
    to be hashed and not sent.
    """
    digests: bytes = b""

    @property
    def offset(self) -> int:
        """
        Bytes in whole blocks that Dropbox has and that are hashed, where digests are kept.
        """
        blocks = len(self.digests) // _DIGEST_SIZE if self.keeps_digests else self._blocks(self.stored)
        return min(blocks * BLOCK_SIZE, self.size)

    @property
    def keeps_digests(self) -> bool:
        return self.size <= KEPT_BLOCKS * BLOCK_SIZE

    @property
    def content_hash(self) -> str | None:
        """
        The hash that Dropbox will tell, or None where no digests are kept.
        """
        return hashlib.sha256(self.digests).hexdigest() if self.keeps_digests else None

    def grown(self, part: bytes, stored: int) -> "_Upload":
        """
        Return it with *part* behind what is hashed, Dropbox having the first *stored* bytes of the blob.
        """
        if stored > self.size:
            raise SessionLost(f"Dropbox has more than the {self.size} bytes of blob {self.key}.")
        if not self.keeps_digests:
            return replace(self, stored=stored)
        digests = self.digests + _digests(part)
        return replace(self, stored=stored, digests=digests[: self._blocks(stored) * _DIGEST_SIZE])

    def _blocks(self, stored: int) -> int:
        """
        Return how many blocks are whole in the first *stored* bytes; the last one is so at the end of the blob.
        """
        return -(-stored // BLOCK_SIZE) if stored == self.size else stored // BLOCK_SIZE

    def session(self) -> PutSession:
        told = {
            "key": self.key,
            "upload": self.id,
            "size": self.size,
            "stored": self.stored,
            "digests": base64.b64encode(self.digests).decode(),
        }
        return PutSession(json.dumps(told), self.offset)

    @classmethod
    def of(cls, session: PutSession) -> "_Upload":
        try:
            told = json.loads(session.token)
            return cls(
                as_blob_key(told["key"]),
                str(told["upload"]),
                int(told["size"]),
                int(told["stored"]),
                base64.b64decode(told["digests"], validate=True),
            )
        except (ValueError, KeyError, TypeError):
            # Not as its cause: it may quote the token.
            raise SessionLost("The put's token is not one of ours.") from None


class DropboxPuts:
    """
    Puts in parts: an upload session, which Dropbox forgets after seven days.
    """

    def __init__(self, folder: AppFolder, settings: DropboxSettings) -> None:
        self._folder = folder
        self._settings = settings

    @property
    def part_multiple(self) -> int:
        return BLOCK_SIZE

    @property
    def max_part_size(self) -> int:
        return self._settings.part_size

    async def begin(self, key: BlobKey, *, size: int, sha256: bytes) -> PutSession:
        return _Upload(as_blob_key(key), await self._folder.start(), size).session()

    async def resume(self, session: PutSession) -> PutSession:
        upload = _Upload.of(session)
        return upload.grown(b"", await self._folder.append(upload.id, upload.stored, b"")).session()

    async def append(self, session: PutSession, part: bytes) -> PutSession:
        upload = _Upload.of(session)
        end = session.offset + len(part)
        if (
            session.offset != upload.offset
            or end > upload.size
            or (len(part) % BLOCK_SIZE and end < upload.size)
        ):
            raise IntegrityMismatch(f"No part of blob {upload.key} goes from {session.offset} to {end}.")
        stored = upload.stored
        if stored < end:
            stored = await self._folder.append(upload.id, stored, part[stored - session.offset :])
        return upload.grown(part, stored).session()

    async def commit(self, session: PutSession) -> BlobRef:
        upload = _Upload.of(session)
        if upload.offset != upload.size:
            raise IntegrityMismatch(
                f"Dropbox has {upload.offset} of {upload.size} bytes of blob {upload.key} for certain."
            )
        path = _path(upload.key)
        try:
            file = await self._folder.finish(upload.id, upload.size, path)
        except SessionLost:
            # Perhaps it was committed before, and the answer was lost. Without a hash that cannot be told for certain.
            found = await self._folder.look(path)
            if found is None or (found.size, found.content_hash) != (upload.size, upload.content_hash):
                raise
            return BlobRef(upload.key)
        await _compare(self._folder, path, file, upload.size, upload.content_hash)
        return BlobRef(upload.key)

    async def abort(self, session: PutSession) -> None:
        upload = _Upload.of(session)
        await self._folder.give_up(upload.id, upload.stored)


class DropboxBackend:
    """
    Blobs as files in the app folder of one account.

    A deleted file goes to the account's trash, from which its owner can bring it back;
    only apps of a team can delete for good.
    """

    def __init__(self, folder: AppFolder, settings: DropboxSettings) -> None:
        self._folder = folder
        self._settings = settings
        self._puts = DropboxPuts(folder, settings)
        days = settings.delete_recoverable_days
        self._traits = Traits(
            max_concurrency=settings.max_concurrency,
            delete_recoverable_for=None if days is None else timedelta(days=days),
            max_blob_size=MAX_BLOB_SIZE,
            hash_offered="dropbox-content-hash",
        )

    @property
    def traits(self) -> Traits:
        return self._traits

    @property
    def resumable(self) -> ResumablePuts | None:
        return self._puts

    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        path, size = _path(key), body.size
        async with (
            body.open() as pieces,
            aclosing(parts_of(key, pieces, size, self._settings.part_size)) as parts,
        ):
            first = await anext(parts)
            if size <= self._settings.part_size:
                # All has been read, and its length compared, before anything is sent.
                file = await self._folder.upload(path, first)
                expected = hashlib.sha256(_digests(first)).hexdigest()
                await _compare(self._folder, path, file, size, expected)
                return BlobRef(key)
            session = await self._puts.begin(key, size=size, sha256=b"")
            try:
                session = await self._sent(session, first)
                async for part in parts:
                    session = await self._sent(session, part)
                return await self._puts.commit(session)
            except BaseException:
                # What goes wrong with that mends itself after seven days.
                await drop_put(self._puts, session)
                raise

    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        if span is None:
            span = Span(0, (await self.stat(ref)).size)
        elif not span.length and span.start > (await self.stat(ref)).size:
            raise IntegrityMismatch(f"Blob {ref.key} ends before byte {span.start}.")
        # HTTP has no empty ranges.
        first = await self._stretch(ref.key, span) if span.length else b""
        async with aclosing(self._pieces(ref.key, span, first)) as pieces:
            yield pieces

    async def stat(self, ref: BlobRef) -> BlobStat:
        file = await self._folder.look(_path(ref.key))
        if file is None:
            raise NotFound(f"There is no blob {ref.key}.")
        return BlobStat(BlobRef(ref.key), file.size, file.content_hash)

    async def find(self, key: BlobKey) -> BlobRef | None:
        return None if await self._folder.look(_path(key)) is None else BlobRef(key)

    async def delete(self, ref: BlobRef) -> None:
        await self._folder.delete(_path(ref.key))

    async def scan(self) -> AsyncIterator[BlobStat]:
        cursor: str | None = None
        while True:
            files, cursor = await self._folder.page(cursor)
            for file in files:
                try:
                    key = as_blob_key(file.name)
                except ValueError:
                    # Somebody else's.
                    continue
                yield BlobStat(BlobRef(key), file.size, file.content_hash)
            if cursor is None:
                return

    async def quota(self) -> Quota | None:
        return await self._folder.usage()

    async def probe(self) -> None:
        # Not a key's name, so no scan takes it for a blob.
        path = f"/probe-{secrets.token_hex(8)}"
        content = secrets.token_bytes(16)
        try:
            await self._folder.upload(path, content)
            found, _ = await self._folder.read(path, 0, len(content))
        finally:
            await self._folder.delete(path)
        if found != content:
            raise IntegrityMismatch("Dropbox gives other bytes than were put.")

    async def _sent(self, session: PutSession, part: bytes) -> PutSession:
        after = await self._puts.append(session, part)
        if after.offset != session.offset + len(part):
            raise Transient("Dropbox took a part of the blob by halves.")
        return after

    async def _stretch(self, key: BlobKey, span: Span) -> bytes:
        """
        Return what begins where *span* begins, as much as is fetched in one call.
        """
        content, size = await self._folder.read(_path(key), span.start, min(span.length, STRETCH_SIZE))
        if span.end > size:
            raise IntegrityMismatch(f"Blob {key} ends before byte {span.end}.")
        return content

    async def _pieces(self, key: BlobKey, span: Span, first: bytes) -> AsyncGenerator[bytes, None]:
        stretch, start = first, span.start
        while stretch:
            for offset in range(0, len(stretch), PIECE_SIZE):
                yield stretch[offset : offset + PIECE_SIZE]
            start += len(stretch)
            stretch = await self._stretch(key, Span(start, span.end - start)) if start < span.end else b""


@asynccontextmanager
async def connect(context: BackendContext, settings: DropboxSettings) -> AsyncIterator[Backend]:
    """
    Connect to the app folder of the account whose tokens are lent.

    Raises:
        Misconfigured: no tokens or no lane are lent.
    """
    if context.lane is None or context.tokens is None:
        raise Misconfigured("Dropbox needs a linked account, and threads to call its library in.")
    with closing(open_session(settings)) as session:
        yield DropboxBackend(AppFolder(context.lane, context.tokens, session, settings), settings)


async def _compare(folder: AppFolder, path: str, file: File, size: int, content_hash: str | None) -> None:
    """
    Keep a file only if it is what was sent, as far as that is known.
    """
    if file.size != size or content_hash not in {None, file.content_hash}:
        await folder.delete(path)
        raise IntegrityMismatch("Dropbox has made another file of what was sent.")


def _digests(content: bytes) -> bytes:
    """
    Return the digests of the blocks of *content*, one behind the other.
    """
    view = memoryview(content)
    return b"".join(
        hashlib.sha256(view[start : start + BLOCK_SIZE]).digest()
        for start in range(0, len(content), BLOCK_SIZE)
    )


def _path(key: BlobKey) -> str:
    return f"/{as_blob_key(key)}"
