"""
Making an export: what is personal is collected, each recording is read once to its end, and the archive is laid out.

A durable job does it. Every step is noted, so one that was cut short goes on; nothing is offered before all of it is there.
"""

import asyncio
import hashlib
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import structlog

from gateway.account_settings import Exports as Limits
from gateway.api import BackendError, Disposition
from gateway.api.errors import IntegrityMismatch
from gateway.api.errors import NotFound as NoSuchBlob
from gateway.archive import (
    GUIDE,
    LAYOUT,
    MOST_PLAIN_BYTES,
    OPENER,
    STYLE,
    audio_extension,
    ending_size,
    recording_name,
)
from gateway.archive.zip import EXTRA_OF_ZIP64, MOST_PLAIN_MEMBERS, RECORD_EXTRA_OF_ZIP64
from gateway.base.clock import Clock
from gateway.base.secret import Secret
from gateway.catalog import export_entries, export_parts
from gateway.catalog import exports as catalog
from gateway.catalog.export_entries import MISSING, TAKEN, WAITING, CheckedEntry, Entry
from gateway.catalog.export_parts import Part
from gateway.catalog.exports import PREPARING, Export
from gateway.catalog.users import User, get_user
from gateway.crypto.errors import CryptoError
from gateway.database import Connection, Database
from gateway.keyring import Keyring
from gateway.keyring.errors import LeafShredded, SlotShredded
from gateway.services.blobs import blob_size
from gateway.services.details import Details, open_details, title_of
from gateway.services.errors import NotFound, Unreadable
from gateway.services.export_contents import (
    AUDIO,
    SEALED,
    ArchiveChanged,
    ExportContents,
    ExportGone,
    PartMember,
    empty_parts,
    moment_of,
    personal_file,
)
from gateway.services.export_reading import lengths_of
from gateway.services.export_sealing import ExportKeys, Kept
from gateway.services.personal_data import SECTIONS, Item, PersonalData, Section
from gateway.services.playback import PlaybackService, ReadEnded
from gateway.services.sealed_reading import SealedReading
from gateway.services.work import Courtesy

log = structlog.get_logger()

_NOTED_TOGETHER: Final = 50
_NOTED_AFTER_S: Final = 2.0
_LONGEST_FILE: Final = 512 * 1024
"""Bytes of one file of personal data; a section that has more goes on in another."""


@dataclass(frozen=True, slots=True)
class _Collected:
    """
    A file that never changes, not sealed yet.
    """

    name: str
    title: str | None
    content: bytes


class ExportMaking:
    """
    Makes exports ready, and makes those ready again that changed.
    """

    def __init__(
        self,
        catalog_db: Database,
        keyring: Keyring,
        contents: ExportContents,
        personal: PersonalData,
        playback: PlaybackService,
        sealed: SealedReading,
        clock: Clock,
        limits: Limits,
        courtesy: Courtesy,
    ) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._contents = contents
        self._personal = personal
        self._playback = playback
        self._sealed = sealed
        self._clock = clock
        self._limits = limits
        self._courtesy = courtesy

    async def carry_on(self, export_id: str) -> None:
        """
        Bring an export as far as it gets now.
        """
        async with self._catalog.read() as connection:
            export = await catalog.get_export(connection, export_id)
            user = None if export is None else await get_user(connection, export.user_id)
        if export is None or user is None or not user.is_active or export.state != PREPARING:
            return
        try:
            keys = await self._contents.keys_of(export)
            if export.sealed is None:
                export = await self._collect(export, user, keys)
            if await self._check_all(export, keys):
                await self._lay_out(export, keys)
        except ExportGone:
            log.info("export.ended_while_made", export=export_id)

    # What is personal

    async def _collect(self, export: Export, user: User, keys: ExportKeys) -> Export:
        files: list[tuple[str, str | None]] = []
        async with self._of_preparing(export) as connection:
            await export_parts.delete_parts(connection, export.id)
        async for file in self._files(export, user):
            files.append((file.name, file.title))
            part = Part(number=len(files), name=file.name, title=file.title)
            sealed = keys.seal_file(file.content, part.number)
            async with self._of_preparing(export) as connection:
                await export_parts.insert_parts(connection, export.id, [part], sealed={part.number: sealed})
        known = await self._personal.accounts.personal_of(user)
        whose = msgspec.json.encode({"name": "" if known is None else known.name})
        sealed = keys.seal_file(whose, 0)
        async with self._of_preparing(export) as connection:
            pages = empty_parts(export.recordings, files)[len(files) :]
            await export_parts.insert_parts(connection, export.id, pages, sealed={})
            await catalog.finish_collecting(connection, export.id, sealed)
        return replace(export, sealed=sealed)

    @asynccontextmanager
    async def _of_preparing(self, export: Export) -> AsyncIterator[Connection]:
        """
        Write to an export that did not end meanwhile.

        Raises:
            ExportGone: it did.
        """
        async with self._catalog.write() as connection:
            if not await catalog.lock_preparing(connection, export.id):
                raise ExportGone("this export has ended")
            yield connection

    async def _files(self, export: Export, user: User) -> AsyncIterator[_Collected]:
        yield _Collected("README.txt", None, GUIDE)
        yield _Collected("style.css", None, STYLE)
        if SEALED in export.include:
            yield _Collected("sealed/open_sealed.py", None, OPENER)
        for section in SECTIONS:
            number, size = 1, 0
            items: list[Item] = []
            async for item in section.read(self._personal, user):
                length = len(msgspec.json.encode(item))
                if items and size + length > _LONGEST_FILE:
                    yield _personal_file(section, number, items)
                    number, size, items = number + 1, 0, []
                items.append(item)
                size += length
            yield _personal_file(section, number, items)

    # The recordings

    async def _check_all(self, export: Export, keys: ExportKeys) -> bool:
        """
        Read every recording that is not known yet; tell whether all are known then.
        """
        loop = asyncio.get_running_loop()
        checked: list[CheckedEntry] = []
        noted_at = loop.time()
        after = 0
        while True:
            async with self._catalog.read() as connection:
                numbers = await export_entries.waiting_after(
                    connection, export.id, after, limit=_NOTED_TOGETHER
                )
            if not numbers:
                break
            after = numbers[-1]
            async with self._catalog.read() as connection:
                found = await export_entries.entries_between(connection, export.id, numbers[0], numbers[-1])
            for entry in found:
                if entry.state != WAITING:
                    continue
                began = loop.time()
                checked.append(await self._check(export, entry, keys))
                if len(checked) == _NOTED_TOGETHER or loop.time() - noted_at > _NOTED_AFTER_S:
                    await self._note(export, checked)
                    checked, noted_at = [], loop.time()
                await self._courtesy.rest(loop.time() - began)
        await self._note(export, checked)
        async with self._catalog.read() as connection:
            waiting = await export_entries.waiting_after(connection, export.id, 0, limit=1)
        if waiting:
            at = self._clock.now_ms() + self._limits.retry_s * 1000
            async with self._catalog.write() as connection:
                await catalog.try_later(connection, export.id, at=at)
        return not waiting

    async def _note(self, export: Export, checked: Sequence[CheckedEntry]) -> None:
        if checked:
            known = sum(entry.state != WAITING for entry in checked)
            async with self._of_preparing(export) as connection:
                await export_entries.note_entries(connection, export.id, checked, checked=known)

    async def _check(self, export: Export, entry: Entry, keys: ExportKeys) -> CheckedEntry:
        recording = entry.recording
        gone = CheckedEntry(entry.number, MISSING, "erased", None)
        if not recording.is_live:
            return gone
        try:
            leaf = await self._keyring.leaf(recording.key_slot, recording.leaf_index)
        except (LeafShredded, SlotShredded):
            return gone
        details = _details_of(entry, leaf)
        kept = Kept(name=_file_name(entry, details), details=details)
        reason = "details-damaged" if details is None else None
        state = TAKEN
        try:
            if AUDIO in export.include:
                crc32, sha256 = await self._sums_of_sound(entry)
                kept = msgspec.structs.replace(kept, crc32=crc32, sha256=sha256)
            if SEALED in export.include:
                if await self._sealed.is_stored(recording):
                    kept = msgspec.structs.replace(kept, blob_crc32=await self._sum_of_blob(entry))
                elif self._has_patience(entry):
                    return self._waiting(entry)
                else:
                    reason = "not-stored-yet"
        except (NotFound, ReadEnded):
            return gone
        except Unreadable as error:
            log.warning("export.unreadable", recording=str(recording.id), reason=str(error))
            reason, may_come_back = reason_of(error)
            if may_come_back and self._has_patience(entry):
                return self._waiting(entry)
            state = MISSING
            kept = msgspec.structs.replace(kept, crc32=None, sha256=None, blob_crc32=None)
        return CheckedEntry(entry.number, state, reason, keys.seal_entry(kept, recording, leaf))

    def _has_patience(self, entry: Entry) -> bool:
        now = self._clock.now_ms()
        return now - (entry.failing_since or now) < self._limits.patience_s * 1000

    def _waiting(self, entry: Entry) -> CheckedEntry:
        since = entry.failing_since or self._clock.now_ms()
        return CheckedEntry(entry.number, WAITING, None, None, failing_since=since)

    async def _sums_of_sound(self, entry: Entry) -> tuple[int, str]:
        crc32, sha256 = 0, hashlib.sha256()
        async for piece in self._playback.open(entry.recording, start=0, length=entry.recording.size):
            crc32 = zlib.crc32(piece, crc32)
            sha256.update(piece)
        return crc32, sha256.hexdigest()

    async def _sum_of_blob(self, entry: Entry) -> int:
        crc32 = 0
        async for piece in self._sealed.read(entry.recording, start=0, length=blob_size(entry.recording)):
            crc32 = zlib.crc32(piece, crc32)
        return crc32

    # The layout

    async def _lay_out(self, export: Export, keys: ExportKeys) -> None:
        await self._drop_erased(export)
        async with self._catalog.read() as connection:
            parts = await export_parts.parts_of(connection, export.id)
        if export.layout != LAYOUT:
            parts = [replace(part, is_stale=True) for part in parts]
        # The first page counts what is missing on all of them, so it comes last.
        stale = [part for part in parts if part.is_stale and part.first_entry != 1]
        stale += [part for part in parts if part.first_entry == 1]
        for part in stale:
            count, length, directory = lengths_of(await self._members(export, part, keys))
            laid = replace(part, is_stale=False, members=count, length=length, directory_length=directory)
            parts[part.number - 1] = laid
        export, parts = _placed(export, parts)
        now = self._clock.now_ms()
        ready = replace(
            export,
            revision=export.revision + 1,
            layout=LAYOUT,
            ready_at=export.ready_at or now,
            expires_at=export.expires_at or now + self._limits.lifetime_s * 1000,
        )
        async with self._of_preparing(export) as connection:
            await export_parts.lay_out(connection, export.id, parts)
            await catalog.make_ready(connection, ready)
        log.info("export.ready", export=export.id, revision=ready.revision, size=ready.size)

    async def _members(self, export: Export, part: Part, keys: ExportKeys) -> list[PartMember]:
        while True:
            try:
                return await self._contents.members_of(export, part, keys)
            except ArchiveChanged as changed:
                # Erased while it was laid out.
                await self._miss(export, changed.erased)

    async def _drop_erased(self, export: Export) -> None:
        async with self._catalog.read() as connection:
            erased = await export_entries.find_gone(connection, export.id)
        if erased:
            await self._miss(export, erased)

    async def _miss(self, export: Export, erased: Sequence[int]) -> None:
        async with self._of_preparing(export) as connection:
            await export_entries.miss_entries(connection, export.id, erased, "erased")


def reason_of(error: Unreadable) -> tuple[str, bool]:
    """
    Return why a recording cannot be read, and whether that may be over by itself some time.
    """
    cause = error.__cause__
    if isinstance(cause, CryptoError | IntegrityMismatch):
        return "damaged", False
    if isinstance(cause, BackendError) and not isinstance(cause, NoSuchBlob):
        return "unreachable", cause.disposition is Disposition.RETRY
    return "lost", False


def _placed(export: Export, parts: Sequence[Part]) -> tuple[Export, list[Part]]:
    """
    Say where each part begins.
    """
    members = sum(part.members for part in parts)
    plain = sum(part.length + part.directory_length for part in parts) + ending_size(is_zip64=False)
    is_zip64 = plain > MOST_PLAIN_BYTES or members > MOST_PLAIN_MEMBERS
    placed: list[Part] = []
    offset = 0
    for part in parts:
        placed.append(replace(part, offset=offset))
        offset += part.length + part.members * EXTRA_OF_ZIP64 * is_zip64
    directory_offset = offset
    for number, part in enumerate(placed):
        placed[number] = replace(part, directory_offset=offset)
        offset += part.directory_length + part.members * RECORD_EXTRA_OF_ZIP64 * is_zip64
    size = offset + ending_size(is_zip64=is_zip64)
    laid = replace(export, members=members, is_zip64=is_zip64, directory_offset=directory_offset, size=size)
    return laid, placed


def _details_of(entry: Entry, leaf: Secret) -> Details | None:
    recording = entry.recording
    if recording.details is None:
        return None
    try:
        return open_details(
            recording.details,
            leaf,
            recording_id=recording.id,
            slot=recording.key_slot,
            index=recording.leaf_index,
        )
    except (CryptoError, ValueError):
        return None


def _file_name(entry: Entry, details: Details | None) -> str:
    told = title_of(details) if details is not None else ""
    extension = audio_extension(
        None if details is None else details.filetype, None if details is None else details.filename
    )
    return recording_name(entry.number, moment_of(entry.recording, details), told, extension)


def _personal_file(section: Section, number: int, items: Sequence[Item]) -> _Collected:
    content = msgspec.json.format(msgspec.json.encode(items), indent=1)
    title = section.title if number == 1 else f"{section.title} ({number})"
    return _Collected(personal_file(section.name, number), title, content)
