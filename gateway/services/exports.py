"""
Exports: a user asks for a copy of everything, and takes it away while it is offered.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.account_settings import Exports as Limits
from gateway.archive import LAYOUT, Missing
from gateway.base.clock import Clock
from gateway.catalog import export_entries
from gateway.catalog import exports as catalog
from gateway.catalog.exports import ENDED, PREPARING, READY, Export
from gateway.catalog.jobs import enqueue_job, enqueue_jobs
from gateway.catalog.users import User, lock_active_user
from gateway.crypto.chunked import Buffer
from gateway.database import Database
from gateway.keyring import Keyring, ShredRequest, subject_hash
from gateway.keyring.errors import KeyringError
from gateway.services.erasure import ErasureService
from gateway.services.errors import (
    ExportChanged,
    ExportExists,
    ExportNotReady,
    ExportTooLarge,
    Gone,
    InvalidField,
    NotFound,
    TooManyExports,
    Unreadable,
)
from gateway.services.export_contents import INCLUDABLE, ArchiveChanged, ExportGone
from gateway.services.export_making import reason_of
from gateway.services.export_reading import ArchiveReader, EntryUnreadable
from gateway.services.leaf_choice import UnusedLeaves
from gateway.services.sending import Outlet
from gateway.services.work import WorkBell

log = structlog.get_logger()

_DAY_MS: Final = 24 * 3600 * 1000
_MOST_TOLD: Final = 100
_MOST_TOGETHER: Final = 100
_ASK_AGAIN_S: Final = 60


@dataclass(frozen=True, slots=True)
class MissingRecording:
    """
    A recording that an archive lacks, and why, in words.
    """

    id: str
    stored_at: int
    size: int
    reason: str
    words: str


@dataclass(frozen=True, slots=True)
class ExportView:
    """
    An export as its user sees it; *missing* are some of the recordings that it lacks, of *missing_in_all*.
    """

    export: Export
    missing: Sequence[MissingRecording]
    missing_in_all: int


class Download:
    """
    One that goes out right now; *is_ended*, set from outside, ends it.
    """

    def __init__(self, export: Export) -> None:
        self.export = export
        self.is_ended = False


class ExportService:
    """
    Takes requests for exports, hands archives out, and ends exports.
    """

    def __init__(
        self,
        catalog_db: Database,
        keyring: Keyring,
        leaves: UnusedLeaves,
        erasure: ErasureService,
        reader: ArchiveReader,
        clock: Clock,
        bell: WorkBell,
        limits: Limits,
    ) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._leaves = leaves
        self._erasure = erasure
        self._reader = reader
        self._clock = clock
        self._bell = bell
        self._limits = limits
        self._downloads: set[Download] = set()

    async def ask(self, user: User, include: Collection[str]) -> ExportView:
        """
        Begin an export of all recordings that are live now, and of all personal data.

        Args:
            include: ``audio``, ``sealed``, both, or neither for the details alone.

        Raises:
            InvalidField: *include* names something else.
            ExportExists, TooManyExports, ExportTooLarge: a limit; the message says which.
        """
        for name in include:
            if name not in INCLUDABLE:
                raise InvalidField("include", f"{name[:80]!r} is none of {', '.join(INCLUDABLE)}")
        async with self._catalog.read() as connection:
            # Asked here as well, or each that is refused would cost a leaf.
            self._refuse_too_many(await catalog.exports_of(connection, user.id))
        export = Export(
            id=str(uuid.uuid4()),
            user_id=user.id,
            key_slot=user.key_slot,
            leaf_index=await self._leaves.next_index(user.key_slot),
            state=PREPARING,
            include=tuple(name for name in INCLUDABLE if name in include),
            began_at=self._clock.now_ms(),
        )
        async with self._catalog.write() as connection:
            if not await lock_active_user(connection, user.id):
                raise NotFound("there is no such user any more")
            self._refuse_too_many(await catalog.exports_of(connection, user.id))
            if self._limits.max_bytes and export.include:
                size = await catalog.size_of_live(connection, user.id)
                if size > self._limits.max_bytes:
                    raise ExportTooLarge(
                        f"your recordings are {size} bytes together, and an export is of {self._limits.max_bytes} at the most; "
                        "ask for one of the details alone, and download the recordings one by one"
                    )
            await catalog.insert_export(connection, export)
            listed, before = 0, -1
            while listed > before:
                before, listed = listed, await catalog.list_live(connection, export, listed)
                # Of many recordings this is half a second's work: others have their turn in between.
                await asyncio.sleep(0)
            await enqueue_job(connection, "export", export.id)
        self._bell.ring()
        log.info("export.begun", export=export.id, user=user.id)
        return await self.get(user, export.id)

    def _refuse_too_many(self, exports: Sequence[Export]) -> None:
        now = self._clock.now_ms()
        if sum(export.state != ENDED for export in exports) >= self._limits.at_once:
            raise ExportExists(
                "there is an export already"
                if self._limits.at_once == 1
                else "there are enough exports already"
            )
        began = sorted(export.began_at for export in exports if export.began_at > now - _DAY_MS)
        if len(began) >= self._limits.per_day:
            wait_s = -(-(began[-self._limits.per_day] + _DAY_MS - now) // 1000)
            raise TooManyExports(
                f"{self._limits.per_day} exports were asked for within a day; wait", retry_after_s=wait_s
            )

    async def list_of(self, user: User) -> list[Export]:
        """
        Return the user's exports, latest first; those that ended are told of for a day.
        """
        async with self._catalog.read() as connection:
            return await catalog.exports_of(connection, user.id)

    async def get(self, user: User, export_id: str) -> ExportView:
        """
        Return one of the user's exports, as it is after a look at whether recordings in it were erased.

        Raises:
            NotFound: there is none of that id, or it is another user's.
        """
        export = await self._own(user, export_id)
        if export.state == READY and await self._has_lost_some(export):
            export = await self._own(user, export_id)
        async with self._catalog.read() as connection:
            missing, count = await export_entries.missing_of(connection, export_id, limit=_MOST_TOLD)
        lacking = [
            MissingRecording(one.recording_id, one.stored_at, one.size, one.reason, Missing(one.reason).words)
            for one in missing
        ]
        return ExportView(export, lacking, count)

    async def _own(self, user: User, export_id: str) -> Export:
        async with self._catalog.read() as connection:
            export = await catalog.get_export(connection, export_id)
        if export is None or export.user_id != user.id:
            raise NotFound("there is no such export")
        return export

    # Handing out

    async def archive(self, user: User, export_id: str, *, revision: int | None, is_fresh: bool) -> Export:
        """
        Return an export whose archive can be downloaded now.

        Args:
            revision: which archive of it is wanted; None: whichever there is.
            is_fresh: whether the download begins now, so that a look at all of it is worth its while.

        Raises:
            NotFound: as `get`.
            Gone: it ended.
            ExportNotReady: it is being prepared.
            ExportChanged: that archive is none any more.
        """
        export = await self._own(user, export_id)
        if export.state == READY and export.layout != LAYOUT:
            await self._lose(export, [], "laid out by another program")
            export = await self._own(user, export_id)
        if export.state == READY and is_fresh and await self._has_lost_some(export):
            export = await self._own(user, export_id)
        if export.state == ENDED or self._is_overdue(export):
            raise Gone("this export has ended, and its key is destroyed; ask for another one")
        if export.state != READY:
            raise ExportNotReady
        if revision is not None and revision != export.revision:
            raise ExportChanged
        return export

    def _is_overdue(self, export: Export) -> bool:
        return export.expires_at is not None and export.expires_at <= self._clock.now_ms()

    @asynccontextmanager
    async def downloading(self, export: Export) -> AsyncIterator[Download]:
        """
        Count a download for as long as the context is entered.

        Raises:
            TooManyExports: as many as may be go on already.
        """
        of_user = sum(each.export.user_id == export.user_id for each in self._downloads)
        if of_user >= self._limits.downloads_at_once:
            raise TooManyExports(
                f"{of_user} downloads of exports go on already; let one end", retry_after_s=_ASK_AGAIN_S
            )
        download = Download(export)
        self._downloads.add(download)
        try:
            yield download
        finally:
            self._downloads.discard(download)

    async def read(
        self, download: Download, *, start: int, length: int, outlet: Outlet | None = None
    ) -> AsyncIterator[Buffer]:
        """
        Yield *length* bytes of the archive from *start*; with an *outlet* as `ArchiveReader.read`.

        Raises:
            ExportChanged: its bytes are others from here on; where they are will be told to whoever asks again.
            Gone: it ended meanwhile.
            Unreadable: a recording in it cannot be read now; it may be when asked again.
        """
        export = download.export
        pieces = self._reader.read(
            export, start=start, length=length, is_ended=lambda: download.is_ended, outlet=outlet
        )
        try:
            async for piece in pieces:
                yield piece
        except ExportGone:
            raise Gone("this export has ended") from None
        except ArchiveChanged as changed:
            await self._lose(export, changed.erased, "erased")
            raise ExportChanged from None
        except EntryUnreadable as error:
            if await self._note_unreadable(export, error):
                raise ExportChanged from error
            raise
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]

    async def _note_unreadable(self, export: Export, error: EntryUnreadable) -> bool:
        """
        Leave a recording out that cannot be read, at once or after a time; tell whether it is left out.
        """
        unreadable = Unreadable(str(error))
        unreadable.__cause__ = error.__cause__
        reason, may_come_back = reason_of(unreadable)
        now = self._clock.now_ms()
        async with self._catalog.write() as connection:
            await export_entries.note_failing(connection, export.id, error.number, since=now)
        async with self._catalog.read() as connection:
            found = await export_entries.entries_between(connection, export.id, error.number, error.number)
        since = found[0].failing_since if found else None
        if may_come_back and since is not None and now - since < self._limits.patience_s * 1000:
            return False
        await self._lose(export, [error.number], reason)
        return True

    async def _has_lost_some(self, export: Export) -> bool:
        """
        Look whether recordings of the archive are erased by now, and have it made anew if so.
        """
        async with self._catalog.read() as connection:
            erased = await export_entries.find_gone(connection, export.id)
        if erased:
            await self._lose(export, erased, "erased")
        return bool(erased)

    async def _lose(self, export: Export, numbers: Sequence[int], reason: str) -> None:
        """
        Leave recordings out, and have the archive laid out anew: all of it, if nobody knows what changed.
        """
        now = self._clock.now_ms()
        async with self._catalog.write() as connection:
            if not await catalog.prepare_anew(connection, export, all_of_it=not numbers, at=now):
                return
            await export_entries.miss_entries(connection, export.id, numbers, reason)
            await enqueue_job(connection, "export", export.id)
        self._bell.ring()
        log.info("export.changed", export=export.id, recordings=len(numbers), reason=reason)

    # The end

    async def end(self, user: User, export_id: str) -> Export:
        """
        End an export before its time, and shred its key.

        Raises:
            NotFound: as `get`.
        """
        export = await self._own(user, export_id)
        await self._end(export.id, "deleted")
        try:
            await self.shred(export.id)
        except KeyringError as error:
            # The job goes on with it.
            log.warning("export.not_shredded_yet", export=export.id, error=str(error))
        return await self._own(user, export_id)

    async def _end(self, export_id: str, reason: str) -> None:
        async with self._catalog.write() as connection:
            if await catalog.end_export(connection, export_id, reason=reason, at=self._clock.now_ms()):
                await enqueue_job(connection, "end-export", export_id)
        for download in self._downloads:
            if download.export.id == export_id:
                download.is_ended = True
        self._bell.ring()

    async def shred(self, export_id: str) -> None:
        """
        Shred the key of an export that ended, and remove what was kept for it.

        Raises:
            KeyringError: as `Keyring.shred`; whoever asks again goes on with it.
        """
        async with self._catalog.read() as connection:
            export = await catalog.get_export(connection, export_id)
        if export is None or export.state != ENDED or export.shredded_at is not None:
            return
        salts = await self._erasure.salts(export.key_slot, [export_id])
        # Where there is no salt the whole account is shredded, this leaf with it.
        if export_id in salts:
            await self._keyring.shred(
                ShredRequest(
                    subject_id=export_id,
                    kind="export",
                    slot=export.key_slot,
                    first=export.leaf_index,
                    last=export.leaf_index,
                    revoked_at_ms=export.ended_at or self._clock.now_ms(),
                    subject_hash=subject_hash(export_id, salts[export_id]),
                    commitment=None,
                )
            )
        is_left = True
        while is_left:
            async with self._catalog.write() as connection:
                is_left = await catalog.forget_entries(connection, export_id)
        async with self._catalog.write() as connection:
            await catalog.note_shredded(connection, export_id, at=self._clock.now_ms())

    async def sweep(self) -> None:
        """
        End what is overdue, go on with what waited for long enough, and forget what ended long ago.
        """
        now = self._clock.now_ms()
        while True:
            async with self._catalog.read() as connection:
                overdue = await catalog.overdue_exports(connection, at=now, limit=_MOST_TOGETHER)
            for export_id in overdue:
                await self._end(export_id, "expired")
            if len(overdue) < _MOST_TOGETHER:
                break
        async with self._catalog.read() as connection:
            waiting = await catalog.exports_to_retry(connection, at=now)
        async with self._catalog.write() as connection:
            await catalog.forget_exports(connection, ended_before=now - _DAY_MS)
            if waiting:
                await enqueue_jobs(connection, "export", waiting)
        if waiting:
            self._bell.ring()
