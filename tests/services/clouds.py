"""
Linked accounts in memory, beside a gateway's own home: each can fail, be full, be revoked, forget.
"""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from gateway.api import (
    Backend,
    BackendError,
    BlobKey,
    BlobRef,
    BlobSource,
    PutSession,
    ResumablePuts,
    Traits,
)
from gateway.base.ids import UserId
from gateway.catalog import tables
from gateway.testing.memory import MemoryBackend, MemoryPlace, MemoryPuts
from tests.support.gateway import Served


class Cloud(MemoryBackend):
    """
    One account.

    Attributes:
        faults: raised by the next calls that bring bytes or finish a put, one each, before anything is done.
        lost_answers: raised by the next of them after it was done.
        outage: raised by every call.
        sent: bytes that came in parts.
        meanwhile: awaited once each, and taken away, while the next calls that bring parts or finish are on their way.
    """

    def __init__(self) -> None:
        super().__init__(MemoryPlace())
        self.faults: list[BackendError] = []
        self.lost_answers: list[BackendError] = []
        self.outage: BackendError | None = None
        self.recoverable_for: timedelta | None = timedelta(0)
        self.largest: int | None = None
        self.sent = 0
        self.meanwhile: list[Callable[[], Awaitable[object]]] = []

    @property
    def traits(self) -> Traits:
        return Traits(
            max_concurrency=8,
            delete_recoverable_for=self.recoverable_for,
            hash_offered="sha256",
            max_blob_size=self.largest,
        )

    @property
    def resumable(self) -> ResumablePuts | None:
        return _Puts(self)

    @property
    def keys(self) -> list[BlobKey]:
        return list(self.place.blobs)

    def check(self) -> None:
        if self.outage is not None:
            raise self.outage

    def before(self) -> None:
        self.check()
        if self.faults:
            raise self.faults.pop(0)

    def after(self) -> None:
        if self.lost_answers:
            raise self.lost_answers.pop(0)

    async def something_happens(self) -> None:
        if self.meanwhile:
            await self.meanwhile.pop(0)()

    async def put(self, key: BlobKey, body: BlobSource) -> BlobRef:
        self.before()
        ref = await super().put(key, body)
        self.after()
        return ref

    async def find(self, key: BlobKey) -> BlobRef | None:
        self.check()
        return await super().find(key)

    async def delete(self, ref: BlobRef) -> None:
        self.check()
        await super().delete(ref)

    def content(self, ref: BlobRef) -> bytes:
        self.check()
        return super().content(ref)

    def damage(self) -> None:
        """
        Flip a byte of every blob.
        """
        for key, content in self.place.blobs.items():
            self.place.blobs[key] = content[:200] + bytes([content[200] ^ 1]) + content[201:]


class _Puts(MemoryPuts):
    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud.place)
        self._cloud = cloud

    async def append(self, session: PutSession, part: bytes) -> PutSession:
        await self._cloud.something_happens()
        self._cloud.before()
        self._cloud.sent += len(part)
        session = await super().append(session, part)
        self._cloud.after()
        return session

    async def commit(self, session: PutSession) -> BlobRef:
        await self._cloud.something_happens()
        self._cloud.before()
        ref = await super().commit(session)
        self._cloud.after()
        return ref


class Clouds:
    """
    Makes accounts within reach of one gateway.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self._clouds: dict[str, Cloud] = {}
        places: Any = served.gateway.context.playback._places
        self._reach = places.at
        places.at = self.at

    @asynccontextmanager
    async def at(self, name: str) -> AsyncIterator[Backend]:
        if name in self._clouds:
            self._clouds[name].check()
            yield self._clouds[name]
            return
        async with self._reach(name) as backend:
            yield backend

    async def link(self, user_id: UserId) -> tuple[str, Cloud]:
        """
        Link a new account of the user's; return its link's id and the account.
        """
        link_id = str(uuid.uuid4())
        row = tables.links.insert().values(
            id=link_id,
            user_id=user_id,
            kind="memory",
            state="ok",
            revision=1,
            created_at=1_700_000_000_000 + len(self._clouds),
        )
        async with self._served.gateway.context.catalog.write() as connection:
            await connection.execute(row)
        self._clouds[link_id] = Cloud()
        return link_id, self._clouds[link_id]
