"""
Putting one blob at one place, whole or in parts, and going on where a crash or the provider's forgetfulness left it.

A put that had no answer is never repeated blindly: the place is asked for the finished blob first.
The session of a put in parts is kept in the catalog, sealed under the recording's own leaf (FORMAT §5.9).
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from gateway.api import (
    Backend,
    BackendError,
    BlobKey,
    BlobRef,
    BlobSource,
    Conflict,
    IntegrityMismatch,
    PutSession,
    QuotaExceeded,
    ResumablePuts,
    SessionLost,
    Transient,
)
from gateway.base.secret import Secret
from gateway.catalog.placements import Placement, keep_session
from gateway.catalog.recordings import RecordingRow, get_recording
from gateway.crypto.errors import CryptoError
from gateway.crypto.keys import subkey
from gateway.crypto.wrap import open_record, seal_record
from gateway.database import Database
from gateway.keyring import Keyring

log = structlog.get_logger()

_RECORD_LABEL: Final = b"PUTS\x01"
_BEGINNINGS: Final = 2
"""How often one attempt begins a put whose session was lost; after that the job's patience counts."""
_STANDSTILLS: Final = 3
"""How often in a row a provider may take nothing of a part."""


class Overtaken(Exception):
    """
    The placement is no longer pending: the recording was erased, or another attempt has placed it.
    """


@dataclass(frozen=True, slots=True)
class Landed:
    """
    A blob that is where it should be, and the provider's hash of it, if it tells one.
    """

    ref: BlobRef
    digest: str | None


class PartBudget:
    """
    The memory that all puts in parts may hold together; whoever finds none waits his turn.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def taking(self, size: int) -> AsyncIterator[None]:
        """
        Hold *size* bytes, or all there are, for as long as the context is entered.
        """
        wanted = min(size, self._size)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(wanted)
            else:
                self._waiting = deque(entry for entry in self._waiting if entry[1] is not turn)
                self._admit()
            raise
        try:
            yield
        finally:
            self._give_back(wanted)

    def _give_back(self, size: int) -> None:
        self._taken -= size
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._taken + self._waiting[0][0] <= self._size:
            size, turn = self._waiting.popleft()
            if not turn.done():
                self._taken += size
                turn.set_result(None)


class _Kept(msgspec.Struct, frozen=True):
    token: str
    offset: int


class BlobPutter:
    """
    Puts blobs.
    """

    def __init__(self, catalog_db: Database, keyring: Keyring, budget: PartBudget) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._budget = budget

    async def find(self, backend: Backend, placement: Placement, size: int) -> Landed | None:
        """
        Return the blob if an earlier attempt has brought it, or the time before an old catalog was restored.

        Keys are random and used once, so what lies under one is this recording's blob; its size says that it is whole.
        """
        ref = await backend.find(BlobKey(placement.blob_key))
        if ref is None:
            return None
        stat = await backend.stat(ref)
        return Landed(ref, stat.digest) if stat.size == size else None

    async def put(
        self, backend: Backend, recording: RecordingRow, placement: Placement, source: BlobSource
    ) -> Landed:
        """
        Put the blob of a pending placement.

        Raises:
            Overtaken: meanwhile it is pending no more; nothing is left behind.
            LeafShredded, SlotShredded: the recording is erased.
            BackendError: the place refused; its disposition says what to do.
        """
        largest = backend.traits.max_blob_size
        if largest is not None and source.size > largest:
            raise QuotaExceeded(f"A blob of {source.size} bytes is more than the {largest} that fit there.")
        puts = backend.resumable
        try:
            # Where a search lags, only a session that was kept before the first byte finds a blob again after a crash.
            is_small = puts is None or (source.size <= puts.max_part_size and not backend.traits.listing_lag)
            if puts is None or is_small:
                ref = await self._whole(backend, placement, source)
            else:
                work = await self._work(recording, placement, source)
                ref = await self._in_parts(backend, puts, work)
        except IntegrityMismatch:
            # Whoever tries again begins anew.
            async with self._catalog.write() as connection:
                await keep_session(connection, placement.blob_key, None)
            raise
        tells_hash = backend.traits.hash_offered is not None
        return Landed(ref, (await backend.stat(ref)).digest if tells_hash else None)

    async def abandon(self, backend: Backend, recording: RecordingRow, placement: Placement) -> None:
        """
        Have the place forget a put in parts that will not go on; what goes wrong with that is the provider's to sweep.
        """
        puts = backend.resumable
        if puts is None or placement.session is None:
            return
        leaf = await self._keyring.leaf(recording.key_slot, recording.leaf_index)
        session = _Session(recording, placement, subkey(leaf, "put-session")).open()
        if session is not None:
            with suppress(BackendError):
                await puts.abort(session)

    async def _whole(self, backend: Backend, placement: Placement, source: BlobSource) -> BlobRef:
        key = BlobKey(placement.blob_key)
        try:
            return await backend.put(key, source)
        except Conflict:
            # An earlier attempt got through and its answer was lost: keys are random and used once.
            landed = await self.find(backend, placement, source.size)
            if landed is None:
                raise
            return landed.ref

    async def _in_parts(self, backend: Backend, puts: ResumablePuts, work: "_Work") -> BlobRef:
        session = await self._resumed(puts, work)
        for _ in range(_BEGINNINGS):
            try:
                if session is None:
                    session = await puts.begin(
                        work.key, size=work.source.size, sha256=await work.source.sha256()
                    )
                    await self._keep(puts, work, session)
                session = await self._send(puts, work, session)
                return await puts.commit(session)
            except (SessionLost, Conflict) as error:
                # Committed before, and the answer lost? Then the blob is there.
                landed = await self.find(backend, work.placement, work.source.size)
                if landed is not None:
                    return landed.ref
                if isinstance(error, Conflict):
                    raise
                log.info("put.session_lost", place=work.placement.backend)
                session = None
        raise Transient("The provider forgets each put before it is finished.")

    async def _resumed(self, puts: ResumablePuts, work: "_Work") -> PutSession | None:
        if work.kept is None:
            return None
        try:
            return await puts.resume(work.kept)
        except SessionLost:
            # Whether it was committed was asked before the put.
            return None

    async def _send(self, puts: ResumablePuts, work: "_Work", session: PutSession) -> PutSession:
        """
        Send what is missing, in parts, from wherever the provider says that it has got to.
        """
        standstills = 0
        while session.offset < work.source.size:
            began = session.offset
            async with work.source.open(session.offset) as pieces:
                session = await self._send_from(puts, work, session, pieces)
            standstills = standstills + 1 if session.offset <= began else 0
            if standstills >= _STANDSTILLS:
                raise Transient("The provider takes no more of the blob.")
        return session

    async def _send_from(
        self, puts: ResumablePuts, work: "_Work", session: PutSession, pieces: AsyncIterator[bytes]
    ) -> PutSession:
        pending = bytearray()
        while session.offset < work.source.size:
            wanted = min(puts.max_part_size, work.source.size - session.offset)
            async with self._budget.taking(wanted):
                while len(pending) < wanted and (piece := await anext(pieces, None)) is not None:
                    pending += piece
                if len(pending) < wanted:
                    raise Transient("The copy that is to be copied ended early.")
                part = bytes(pending[:wanted])
                del pending[:wanted]
                expected = session.offset + wanted
                session = await puts.append(session, part)
                del part
            await self._keep(puts, work, session)
            if session.offset != expected:
                # It took less, or has more than was known: read on from there.
                break
        return session

    async def _keep(self, puts: ResumablePuts, work: "_Work", session: PutSession) -> None:
        """
        Keep what another process would need to go on; the offset it would ask for.
        """
        is_pending = True
        async with self._catalog.read() as connection:
            recording = await get_recording(connection, work.recording.id)
        if recording is None or not recording.is_live:
            is_pending = False
        elif session.token != work.kept_token:
            async with self._catalog.write() as connection:
                is_pending = await keep_session(connection, work.placement.blob_key, work.sealed(session))
            work.kept_token = session.token
        if not is_pending:
            with suppress(BackendError):
                await puts.abort(session)
            raise Overtaken

    async def _work(self, recording: RecordingRow, placement: Placement, source: BlobSource) -> "_Work":
        leaf = await self._keyring.leaf(recording.key_slot, recording.leaf_index)
        return _Work(
            recording, placement, source, _Session(recording, placement, subkey(leaf, "put-session"))
        )


class _Session:
    """
    What the catalog keeps of a put in parts.
    """

    def __init__(self, recording: RecordingRow, placement: Placement, key: Secret) -> None:
        self._placement = placement
        self._key = key
        self._associated_data = (
            _RECORD_LABEL
            + recording.id.bytes
            + recording.key_slot.to_bytes(8, "big")
            + recording.leaf_index.to_bytes(4, "big")
            + bytes.fromhex(placement.blob_key)
        )

    def seal(self, session: PutSession) -> bytes:
        kept = msgspec.json.encode(_Kept(session.token, session.offset))
        return seal_record(self._key, kept, self._associated_data)

    def open(self) -> PutSession | None:
        if self._placement.session is None:
            return None
        try:
            opened = open_record(self._key, self._placement.session, self._associated_data)
            kept = msgspec.json.decode(opened, type=_Kept)
        except (CryptoError, msgspec.DecodeError):
            log.error("put.session_unreadable", recording=str(self._placement.recording_id))
            return None
        return PutSession(kept.token, kept.offset)


class _Work:
    """
    One put in parts: what is put, and what is kept of its session.
    """

    def __init__(
        self, recording: RecordingRow, placement: Placement, source: BlobSource, session: _Session
    ) -> None:
        self.recording = recording
        self.placement = placement
        self.source = source
        self.key = BlobKey(placement.blob_key)
        self.sealed = session.seal
        self.kept = session.open()
        self.kept_token = None if self.kept is None else self.kept.token
