"""
A bucket in the contract's words; the calls themselves are in `client`.
"""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from gateway.api import (
    Backend,
    BackendContext,
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
    Unsupported,
    as_blob_key,
    drop_put,
    no_pieces,
    parts_of,
)
from gateway_s3.client import Bucket, Found, Part, open_bucket
from gateway_s3.settings import MAX_PARTS, S3Settings


@dataclass(frozen=True, slots=True)
class _Upload:
    """
    What a session's token holds: enough for another connection to go on.
    """

    key: BlobKey
    id: str
    size: int
    part_size: int
    """As it was when the put began: settings may have changed since, and the numbers of the parts hang on it."""
    sha256: bool
    """Whether the parts have a SHA-256; all or none do, so this too is as it was then."""

    def token(self) -> str:
        told = {"key": self.key, "upload": self.id, "size": self.size, "part": self.part_size}
        return json.dumps({**told, "sha256": self.sha256})

    @classmethod
    def of(cls, session: PutSession) -> "_Upload":
        try:
            told = json.loads(session.token)
            return cls(
                key=as_blob_key(told["key"]),
                id=str(told["upload"]),
                size=int(told["size"]),
                part_size=int(told["part"]),
                # Those of the first days are silent about it.
                sha256=bool(told.get("sha256")),
            )
        except (ValueError, KeyError, TypeError) as exc:
            raise SessionLost("The put's token is not one of ours.") from exc


class S3Puts:
    """
    Puts in parts: a multipart upload, in which the parts' numbers follow from their offsets.
    """

    def __init__(self, bucket: Bucket, settings: S3Settings) -> None:
        self._bucket = bucket
        self._settings = settings

    @property
    def part_multiple(self) -> int:
        # The same as the largest, so that all parts have one size, and an offset tells a part's number.
        return self._settings.part_size

    @property
    def max_part_size(self) -> int:
        return self._settings.part_size

    async def begin(self, key: BlobKey, *, size: int, sha256: bytes) -> PutSession:
        async with self._bucket.taking(self._name(key)):
            upload = await self._bucket.begin(self._name(key), sha256=self._settings.sends_sha256)
        begun = _Upload(key, upload, size, self._settings.part_size, self._settings.sends_sha256)
        return PutSession(begun.token(), 0)

    async def resume(self, session: PutSession) -> PutSession:
        upload = _Upload.of(session)
        return PutSession(session.token, sum(part.size for part in await self._unbroken(upload)))

    async def append(self, session: PutSession, part: bytes) -> PutSession:
        upload = _Upload.of(session)
        end = session.offset + len(part)
        if end > upload.size or session.offset % upload.part_size:
            raise IntegrityMismatch(f"No part of blob {upload.key} goes from {session.offset} to {end}.")
        offset = session.offset
        # More than one where the parts have become larger since the put began.
        for start in range(0, len(part), upload.part_size):
            piece = part[start : start + upload.part_size]
            if len(piece) < upload.part_size and offset + len(piece) < upload.size:
                # Too short to be followed by another: it comes again, with more behind it.
                break
            number = offset // upload.part_size + 1
            await self._bucket.put_part(
                self._name(upload.key), upload.id, number, piece, sha256=upload.sha256
            )
            offset += len(piece)
        return PutSession(session.token, offset)

    async def commit(self, session: PutSession) -> BlobRef:
        upload = _Upload.of(session)
        parts = await self._unbroken(upload)
        stored = sum(part.size for part in parts)
        if stored != upload.size:
            raise IntegrityMismatch(f"The store has {stored} of {upload.size} bytes of blob {upload.key}.")
        if upload.sha256 and any(part.sha256 is None for part in parts):
            # They have to be told again, and after a crash nobody else knows them.
            raise Unsupported("The store does not list the SHA-256 of parts; 'checksums' must be md5 for it.")
        name = self._name(upload.key)
        async with self._bucket.taking(name):
            await self._bucket.complete(name, upload.id, parts)
        return BlobRef(upload.key)

    async def abort(self, session: PutSession) -> None:
        upload = _Upload.of(session)
        await self._bucket.abort(self._name(upload.key), upload.id)

    async def sweep_abandoned(self, older_than: timedelta) -> int:
        """
        Drop the puts of this prefix that nobody has gone on with for so long; return how many.

        Nobody else does where the bucket has no lifecycle rule for it, and what was sent costs room for ever.
        *older_than* must be longer than a put can wait for its next part or its commit.
        A put that is committed at this moment may come out as a lost session, or on Swift as a blob without its parts.
        """
        dropped = 0
        for upload in await self._bucket.uploads(self._settings.prefix):
            before = upload.seen_at - older_than
            if not self._is_ours(upload.name) or upload.begun_at > before:
                continue
            try:
                parts = await self._bucket.parts(upload.name, upload.id)
            except SessionLost:
                # Committed or aborted meanwhile.
                continue
            if all(part.stored_at <= before for part in parts):
                await self._bucket.abort(upload.name, upload.id)
                dropped += 1
        return dropped

    async def _unbroken(self, upload: _Upload) -> list[Part]:
        """
        Return the parts from the first to the one before the first that is missing.
        """
        found: list[Part] = []
        for part in await self._bucket.parts(self._name(upload.key), upload.id):
            if found and part.number == found[-1].number:
                # SeaweedFS lists a part as often as it was sent.
                if part.etag == found[-1].etag:
                    continue
                # Somebody else's is among them, and nobody knows which one counts.
                found.pop()
                break
            start = len(found) * upload.part_size
            if part.number != len(found) + 1 or part.size != min(upload.part_size, upload.size - start):
                break
            found.append(part)
        return found

    def _is_ours(self, name: str) -> bool:
        try:
            return self._name(BlobKey(name.removeprefix(self._settings.prefix))) == name
        except ValueError:
            return False

    def _name(self, key: BlobKey) -> str:
        return self._settings.prefix + as_blob_key(key)


class S3Backend:
    """
    Blobs as objects of one bucket, under one prefix.

    Parts of a put that nobody went on with stay in the bucket, where no listing of objects shows them,
    until `S3Puts.sweep_abandoned` or a lifecycle rule of the bucket (``AbortIncompleteMultipartUpload``) removes them.

    A blob's digest is its object's tag, for blobs of every size: a hash of the bytes, but not always of all in one go.
    So it is of no use to anybody but who noted it when the blob was put, and asks whether it still is what it was.
    """

    def __init__(self, bucket: Bucket, settings: S3Settings) -> None:
        self._bucket = bucket
        self._settings = settings
        self._puts = S3Puts(bucket, settings)
        self._traits = Traits(
            max_concurrency=settings.max_concurrency,
            delete_recoverable_for=(
                timedelta(hours=settings.delete_recoverable_hours) if settings.purge_versions else None
            ),
            max_blob_size=settings.part_size * MAX_PARTS,
            listing_lag=timedelta(seconds=settings.listing_lag_s),
            hash_offered="etag",
        )

    @property
    def traits(self) -> Traits:
        return self._traits

    @property
    def resumable(self) -> ResumablePuts | None:
        return self._puts

    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        name = self._name(key)
        size = body.size
        async with (
            body.open() as pieces,
            aclosing(parts_of(key, pieces, size, self._settings.part_size)) as parts,
        ):
            first = await anext(parts)
            if size <= self._settings.part_size:
                # All has been read, and its length compared, before anything is sent.
                async with self._bucket.taking(name):
                    await self._bucket.put(name, first)
                return BlobRef(key)
            session = await self._puts.begin(key, size=size, sha256=b"")
            try:
                session = await self._puts.append(session, first)
                async for part in parts:
                    session = await self._puts.append(session, part)
            except BaseException:
                # What goes wrong with that is for the bucket's lifecycle rule.
                await drop_put(self._puts, session)
                raise
        try:
            return await self._puts.commit(session)
        except (Conflict, IntegrityMismatch):
            # Refused for certain. After any other error the store may be at it still, and an abort take its parts away.
            await drop_put(self._puts, session)
            raise

    @asynccontextmanager
    async def read(self, ref: BlobRef, span: Span | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._reading(ref.key, span) as pieces:
            yield pieces

    async def stat(self, ref: BlobRef) -> BlobStat:
        found = await self._look(ref.key)
        return BlobStat(BlobRef(ref.key), found.size, found.tag)

    async def find(self, key: BlobKey) -> BlobRef | None:
        try:
            await self._look(key)
        except NotFound:
            return None
        return BlobRef(key)

    async def delete(self, ref: BlobRef) -> None:
        await self._bucket.purge(self._name(ref.key))

    async def scan(self) -> AsyncIterator[BlobStat]:
        prefix = self._settings.prefix
        after: str | None = None
        while True:
            page, after = await self._bucket.page(prefix, after)
            for found in page:
                try:
                    key = as_blob_key(found.name.removeprefix(prefix))
                except ValueError:
                    # Somebody else's.
                    continue
                yield BlobStat(BlobRef(key), found.size, found.tag)
            if after is None:
                return

    async def quota(self) -> Quota | None:
        # Nothing in the protocol tells it.
        return None

    async def probe(self) -> None:
        # Not a key's name, so no scan takes it for a blob.
        name = f"{self._settings.prefix}probe-{secrets.token_hex(8)}"
        content = secrets.token_bytes(16)
        try:
            await self._bucket.put(name, content)
            async with self._bucket.read(name, 0, len(content)) as pieces:
                found = b"".join([piece async for piece in pieces])
        finally:
            await self._bucket.purge(name)
        if found != content:
            raise IntegrityMismatch("The store gives other bytes than were put.")

    def _reading(self, key: BlobKey, span: Span | None) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        if span is not None and span.length == 0:
            return self._nothing(key, span.start)
        start, length = (0, None) if span is None else (span.start, span.length)
        return self._bucket.read(self._name(key), start, length)

    @asynccontextmanager
    async def _nothing(self, key: BlobKey, start: int) -> AsyncIterator[AsyncIterator[bytes]]:
        # HTTP has no empty ranges.
        if start > (await self._look(key)).size:
            raise IntegrityMismatch(f"Blob {key} ends before byte {start}.")
        yield no_pieces()

    async def _look(self, key: BlobKey) -> Found:
        found = await self._bucket.look(self._name(key))
        if found is None:
            await self._bucket.require()
            raise NotFound(f"There is no blob {key}.")
        return found

    def _name(self, key: BlobKey) -> str:
        return self._settings.prefix + as_blob_key(key)


@asynccontextmanager
async def connect(context: BackendContext, settings: S3Settings) -> AsyncIterator[Backend]:
    """
    Connect to the bucket that *settings* name.

    Raises:
        Misconfigured: the address rule forbids the endpoint.
    """
    async with open_bucket(settings, context.addresses) as bucket:
        yield S3Backend(bucket, settings)
