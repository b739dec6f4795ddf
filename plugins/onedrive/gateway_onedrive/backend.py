"""
An app folder in the contract's words; the calls themselves are in `client`.
"""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Final

from gateway.api import (
    AccessDenied,
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
    SessionLost,
    Span,
    Traits,
    Transient,
    as_blob_key,
    drop_put,
    no_pieces,
    parts_of,
)
from gateway_onedrive.client import AppFolder, Graph, Item
from gateway_onedrive.quickxor import QuickXor
from gateway_onedrive.settings import GRID, MAX_BLOB_SIZE, SIMPLE_PUT_SIZE, OneDriveSettings

_PERSONAL_RECYCLE_BIN: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class _Upload:
    """
    What a session's token holds: enough for another connection to go on.

    The bytes gather under a *name* of the upload's own, and get the key for a name at the commit. So nothing is seen
    under the key before, and an upload that was lost keeps no other one from it.
    """

    key: str
    name: str
    url: str
    size: int
    sha256: str
    """Empty where it is not known."""

    item: str = ""
    """OneDrive's id of the file, as soon as there is one."""

    agreed: bool = False
    """Whether what OneDrive said of the file when its last bytes came agrees with them."""

    ring: str = "0"
    """The QuickXorHash of the first *hashed* bytes, so far as they were sent from here and their answers came."""

    hashed: int = 0

    def session(self, offset: int) -> PutSession:
        return PutSession(json.dumps(asdict(self)), offset)

    @classmethod
    def of(cls, session: PutSession) -> "_Upload":
        try:
            upload = cls(**json.loads(session.token))
            as_blob_key(upload.key)
            int(upload.ring, 16)
        except (ValueError, TypeError) as exc:
            raise SessionLost("The put's token is not one of ours.") from exc
        return upload

    def sent(self, start: int, taken: bytes) -> "_Upload":
        """
        Return the upload with these bytes more in its hash, if they follow on those before.
        """
        if start != self.hashed:
            return self
        running = QuickXor(int(self.ring, 16), self.hashed)
        running.update(taken)
        return replace(self, ring=f"{running.ring:x}", hashed=running.length)

    def agrees(self, item: Item) -> bool:
        """
        Whether the file has the bytes that were sent, as far as OneDrive tells.
        """
        if item.size != self.size:
            return False
        if item.sha256 is not None and self.sha256:
            return item.sha256 == self.sha256
        if item.quickxor is not None and self.hashed == self.size:
            return item.quickxor == QuickXor(int(self.ring, 16), self.hashed).hexdigest()
        return True


class OneDrivePuts:
    """
    Puts in parts: an upload session, and a change of name at the end.
    """

    def __init__(self, graph: Graph, folder: AppFolder, settings: OneDriveSettings) -> None:
        self._graph = graph
        self._folder = folder
        self._part_size = settings.part_size

    @property
    def part_multiple(self) -> int:
        return GRID

    @property
    def max_part_size(self) -> int:
        return self._part_size

    async def begin(self, key: BlobKey, *, size: int, sha256: bytes) -> PutSession:
        with suppress(NotFound):
            await self._graph.item(self._graph.named(as_blob_key(key)))
            raise Conflict(f"There is a blob {key} already.")
        name = f"{key}.{secrets.token_hex(4)}.part"
        # Drives of organisations do not look at the size.
        url = await self._graph.begin(name, size=size if self._folder.is_personal else None)
        return _Upload(key, name, url, size, sha256.hex()).session(0)

    async def resume(self, session: PutSession) -> PutSession:
        upload = _Upload.of(session)
        offset = await self._graph.position(upload.url, upload.size)
        if offset is not None:
            return upload.session(offset)
        # Forgotten when it ended: well, if the file is there.
        item = await self._gathered(upload)
        return replace(upload, item=item.id, agreed=upload.agrees(item)).session(upload.size)

    async def append(self, session: PutSession, part: bytes) -> PutSession:
        upload = _Upload.of(session)
        start, end = session.offset, session.offset + len(part)
        if end < upload.size:
            # A range that ends beside the grid would spoil the whole upload, and only at its end.
            part = part[: end - end % GRID - start]
        if not part or end > upload.size:
            raise IntegrityMismatch(f"No part of blob {upload.key} goes from {start} to {end}.")
        answer = await self._graph.send(upload.url, part, start, upload.size)
        if answer is None:
            known = await self.resume(session)
            if known.offset == start:
                raise Transient(
                    f"OneDrive takes no bytes of blob {upload.key} from {start} on, and does not say why."
                )
            return known
        if isinstance(answer, Item):
            upload = upload.sent(start, part)
            return replace(upload, item=answer.id, agreed=upload.agrees(answer)).session(upload.size)
        return upload.sent(start, part[: max(0, answer - start)]).session(answer)

    async def commit(self, session: PutSession) -> BlobRef:
        upload = _Upload.of(session)
        item_id = upload.item if upload.agreed else await self._compared(upload)
        address = self._graph.numbered(self._folder, item_id)
        try:
            await self._graph.rename(address, upload.key)
        except Conflict:
            await self._graph.delete(address)
            raise
        except NotFound as exc:
            raise SessionLost(f"What was sent of blob {upload.key} is gone.") from exc
        return BlobRef(BlobKey(upload.key), item_id)

    async def abort(self, session: PutSession) -> None:
        upload = _Upload.of(session)
        if await self._graph.cancel(upload.url):
            return
        # All bytes may have arrived, and only their name be missing.
        with suppress(SessionLost, NotFound):
            item = await self._gathered(upload)
            await self._graph.delete(self._graph.numbered(self._folder, item.id))

    async def _compared(self, upload: _Upload) -> str:
        """
        Return the id of the file that has come of the upload, if it is the right one.
        """
        item = await self._finished(upload)
        if not upload.agrees(item):
            await self._graph.delete(self._graph.numbered(self._folder, item.id))
            raise IntegrityMismatch(f"OneDrive has other bytes of blob {upload.key} than were sent.")
        return item.id

    async def _finished(self, upload: _Upload) -> Item:
        if upload.item:
            with suppress(NotFound):
                return await self._graph.item(self._graph.numbered(self._folder, upload.item))
            raise SessionLost(f"What was sent of blob {upload.key} is gone.")
        offset = await self._graph.position(upload.url, upload.size)
        if offset is None:
            return await self._gathered(upload)
        if offset < upload.size:
            raise IntegrityMismatch(f"OneDrive has {offset} of {upload.size} bytes of blob {upload.key}.")
        # It has all bytes and has made no file of them; nothing that could be sent would change that.
        await self._graph.cancel(upload.url)
        raise SessionLost(f"OneDrive made no file of what was sent of blob {upload.key}.")

    async def _gathered(self, upload: _Upload) -> Item:
        try:
            return await self._graph.item(self._graph.named(upload.name))
        except NotFound as exc:
            raise SessionLost(f"OneDrive knows nothing of this put of blob {upload.key}.") from exc


class OneDriveBackend:
    """
    Blobs as files of one app folder.

    Parts of a put that nobody went on with are dropped by OneDrive itself, after some days at most. One that nobody
    aborted although all its bytes had come stays in the folder, under a name that ends in ``.part`` and is no key's.
    """

    def __init__(self, graph: Graph, folder: AppFolder, settings: OneDriveSettings) -> None:
        self._graph = graph
        self._folder = folder
        self._puts = OneDrivePuts(graph, folder, settings)
        self._part_size = settings.part_size
        if folder.is_personal:
            recoverable: timedelta | None = _PERSONAL_RECYCLE_BIN
        else:
            recoverable = timedelta(0) if settings.permanent_delete else None
        self._traits = Traits(
            max_concurrency=settings.max_concurrency,
            delete_recoverable_for=recoverable,
            max_blob_size=MAX_BLOB_SIZE,
            hash_offered="quickxor",
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
            aclosing(parts_of(key, pieces, size, self._part_size)) as parts,
        ):
            first = await anext(parts)
            if size <= min(self._part_size, SIMPLE_PUT_SIZE):
                # All has been read, and its length compared, before anything is sent.
                return await self._put_at_once(key, first)
            session = await self._puts.begin(key, size=size, sha256=b"")
            try:
                session = await self._sent(session, first)
                async for part in parts:
                    session = await self._sent(session, part)
                return await self._puts.commit(session)
            except BaseException:
                # What goes wrong with that OneDrive drops by itself.
                await drop_put(self._puts, session)
                raise

    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._reading(ref, span) as pieces:
            yield pieces

    async def stat(self, ref: BlobRef) -> BlobStat:
        return _stat(ref.key, await self._graph.item(self._address(ref)))

    async def find(self, key: BlobKey) -> BlobRef | None:
        try:
            item = await self._graph.item(self._graph.named(as_blob_key(key)))
        except NotFound:
            return None
        return BlobRef(key, item.id)

    async def delete(self, ref: BlobRef) -> None:
        with suppress(NotFound):
            locator = ref.locator or (await self._graph.item(self._address(ref))).id
            await self._graph.delete(self._graph.numbered(self._folder, locator))

    async def scan(self) -> AsyncIterator[BlobStat]:
        after: str | None = None
        while True:
            page, after = await self._graph.page(after)
            for item in page:
                try:
                    key = as_blob_key(item.name)
                except ValueError:
                    # An upload on its way, or somebody else's.
                    continue
                yield _stat(key, item)
            if after is None:
                return

    async def quota(self) -> Quota | None:
        try:
            return await self._graph.quota()
        except AccessDenied:
            # The grant reaches the app's folder alone.
            return None

    async def probe(self) -> None:
        await self._graph.app_folder()
        # Not a key's name, so no scan takes it for a blob.
        content = secrets.token_bytes(16)
        item = await self._graph.put(f"probe-{secrets.token_hex(8)}", content)
        address = self._graph.numbered(self._folder, item.id)
        try:
            async with self._graph.read(address, 0, len(content)) as pieces:
                found = b"".join([piece async for piece in pieces])
        finally:
            await self._graph.delete(address)
        if found != content:
            raise IntegrityMismatch("OneDrive gives other bytes than were put.")

    async def _put_at_once(self, key: BlobKey, content: bytes) -> BlobRef:
        item = await self._graph.put(key, content)
        told = QuickXor()
        told.update(content)
        if item.size != len(content) or item.quickxor not in {None, told.hexdigest()}:
            await self._graph.delete(self._graph.numbered(self._folder, item.id))
            raise IntegrityMismatch(f"OneDrive has other bytes of blob {key} than were sent.")
        return BlobRef(key, item.id)

    async def _sent(self, session: PutSession, part: bytes) -> PutSession:
        """
        Send all of *part*, of which OneDrive may take less at a time.
        """
        start = session.offset
        while session.offset < start + len(part):
            session = await self._puts.append(session, part[session.offset - start :])
            if not start <= session.offset:
                raise Transient("OneDrive has lost bytes of an upload that it had.")
        return session

    def _reading(self, ref: BlobRef, span: Span | None) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        if span is not None and span.length == 0:
            return self._nothing(ref, span.start)
        start, length = (0, None) if span is None else (span.start, span.length)
        return self._graph.read(self._address(ref), start, length)

    @asynccontextmanager
    async def _nothing(self, ref: BlobRef, start: int) -> AsyncIterator[AsyncIterator[bytes]]:
        # HTTP has no empty ranges.
        if start > (await self.stat(ref)).size:
            raise IntegrityMismatch(f"Blob {ref.key} ends before byte {start}.")
        yield no_pieces()

    def _address(self, ref: BlobRef) -> str:
        key = as_blob_key(ref.key)
        return (
            self._graph.named(key) if ref.locator is None else self._graph.numbered(self._folder, ref.locator)
        )


@asynccontextmanager
async def connect(context: BackendContext, settings: OneDriveSettings) -> AsyncIterator[Backend]:
    """
    Connect to the app folder of the account whose tokens *context* lends; it is made if there is none.

    Raises:
        AccessDenied: the grant does not reach the folder.
    """
    if context.http is None or context.tokens is None:
        raise Misconfigured("A OneDrive account is linked by signing in, and this one is not.")
    graph = Graph(context.http, context.tokens, settings)
    folder = await graph.app_folder()
    graph.purges = settings.permanent_delete and not folder.is_personal
    yield OneDriveBackend(graph, folder, settings)


def _stat(key: BlobKey, item: Item) -> BlobStat:
    return BlobStat(BlobRef(key, item.id), item.size, item.quickxor)
