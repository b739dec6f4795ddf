"""
What lies in each part of an archive: made anew whenever it is asked for, from what is sealed.

Nothing that is made of several recordings is stored, not so much as a checksum: each of them may have to be forgotten alone.
"""

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from gateway.archive import Call, Member, Missing, Overview, Pager, render_page
from gateway.archive.pages import keys_name, list_name, page_name
from gateway.base.errors import GatewayError
from gateway.base.ids import LeafIndex
from gateway.base.secret import Secret
from gateway.base.wording import format_time, moment
from gateway.catalog import export_entries, export_parts
from gateway.catalog.export_entries import TAKEN, Entry
from gateway.catalog.export_parts import Part
from gateway.catalog.exports import Export
from gateway.catalog.recordings import RecordingRow
from gateway.crypto.errors import CryptoError
from gateway.crypto.keys import subkey
from gateway.database import Database
from gateway.keyring import Keyring
from gateway.keyring.errors import LeafShredded, SlotShredded
from gateway.services.blobs import blob_size
from gateway.services.details import KNOWN_FIELDS, Details, parse_time, title_of
from gateway.services.export_sealing import ExportKeys, Kept

AUDIO: Final = "audio"
SEALED: Final = "sealed"
INCLUDABLE: Final = (AUDIO, SEALED)

PAGE: Final = 250
"""Recordings on a page: what is held in memory at once."""


class ExportGone(GatewayError):
    """
    The export ended, and its key with it.
    """

    code = "export-gone"


class ArchiveChanged(GatewayError):
    """
    The archive is not any more as it was laid out; *erased* are entries whose recordings are.
    """

    code = "archive-changed"

    def __init__(self, message: str, erased: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.erased = tuple(erased)


@dataclass(frozen=True, slots=True)
class Sound:
    """
    A recording's plaintext, as a file of the archive.
    """

    number: int
    recording: RecordingRow


@dataclass(frozen=True, slots=True)
class Blob:
    """
    A recording's sealed blob, as a file of the archive.
    """

    number: int
    recording: RecordingRow


@dataclass(frozen=True, slots=True)
class PartMember:
    """
    One file of a part.
    """

    member: Member
    content: bytes | Sound | Blob


class ExportContents:
    """
    Makes parts.
    """

    def __init__(self, catalog_db: Database, keyring: Keyring) -> None:
        self._catalog = catalog_db
        self._keyring = keyring

    async def keys_of(self, export: Export) -> ExportKeys:
        """
        Return what opens the export.

        Raises:
            ExportGone: it ended.
        """
        try:
            return ExportKeys(export, await self._keyring.leaf(export.key_slot, export.leaf_index))
        except (LeafShredded, SlotShredded):
            raise ExportGone("this export has ended") from None

    async def members_of(self, export: Export, part: Part, keys: ExportKeys) -> list[PartMember]:
        """
        Return the files of a part, in their order.

        Raises:
            ArchiveChanged: recordings in it are erased.
            ExportGone: the export ended.
        """
        if not part.is_page:
            return [await self._file(export, part, keys)]
        async with self._catalog.read() as connection:
            entries = await export_entries.entries_between(connection, export.id, *part.entries)
        leaves = await self._leaves(export, entries)
        erased = [entry.number for entry in entries if _needs_key(entry) and entry.number not in leaves]
        if erased:
            raise ArchiveChanged("recordings in it were erased", erased)
        number = (part.first_entry - 1) // PAGE + 1
        overview = await self._overview(export, keys) if number == 1 else None
        # Some tens of milliseconds.
        return await asyncio.to_thread(_page, export, keys, number, entries, leaves, overview)

    async def _file(self, export: Export, part: Part, keys: ExportKeys) -> PartMember:
        assert part.name is not None
        async with self._catalog.read() as connection:
            sealed = await export_parts.content_of(connection, export.id, part.number)
        if sealed is None:
            raise ExportGone("this export has ended")
        return _file_of(export, part.name, keys.open_file(sealed, part.number))

    async def _leaves(self, export: Export, entries: Sequence[Entry]) -> dict[int, Secret]:
        """
        Return the leaves of the recordings that are live, by the numbers of their entries.
        """
        live = [entry for entry in entries if entry.recording.is_live]
        indexes: list[LeafIndex] = sorted(entry.recording.leaf_index for entry in live)
        try:
            leaves = await self._keyring.leaves(export.key_slot, indexes)
        except SlotShredded:
            raise ExportGone("this export has ended") from None
        return {
            entry.number: leaves[entry.recording.leaf_index]
            for entry in live
            if entry.recording.leaf_index in leaves
        }

    async def _overview(self, export: Export, keys: ExportKeys) -> Overview:
        async with self._catalog.read() as connection:
            parts = await export_parts.parts_of(connection, export.id)
            numbers = await export_entries.numbers_missing(connection, export.id)
        counts: dict[int, int] = {}
        for number in numbers:
            page = (number - 1) // PAGE + 1
            counts[page] = counts.get(page, 0) + 1
        if export.sealed is None:
            raise ExportGone("this export has ended")
        whose = msgspec.json.decode(keys.open_file(export.sealed, 0), type=dict[str, str])
        return Overview(
            name=whose["name"],
            began=moment(export.began_at),
            recordings=export.recordings,
            has_audio=AUDIO in export.include,
            has_sealed=SEALED in export.include,
            missing=sorted(counts.items()),
            personal=[(part.name, part.title) for part in parts if part.name and part.title],
        )


def _page(
    export: Export,
    keys: ExportKeys,
    number: int,
    entries: Sequence[Entry],
    leaves: Mapping[int, Secret],
    overview: Overview | None,
) -> list[PartMember]:
    """
    Return the files of a page: itself, the same for programs, and the recordings that it lists.
    """
    opened = {
        entry.number: _open(keys, entry, leaves[entry.number])
        for entry in entries
        if entry.sealed is not None
    }
    pager = Pager(number=number, pages=pages_for(export.recordings))
    calls = [_call(export, entry, opened.get(entry.number)) for entry in entries]
    told = [_told(export, entry, opened.get(entry.number)) for entry in entries]
    files = [
        _file_of(export, page_name(number), render_page(calls, pager, overview)),
        _file_of(export, list_name(number), _json(told)),
    ]
    if SEALED in export.include:
        keyed = [
            _keyed(entry, opened[entry.number], leaves[entry.number])
            for entry in entries
            if entry.state == TAKEN and opened[entry.number].blob_crc32 is not None
        ]
        files.append(_file_of(export, keys_name(number), _json(keyed)))
    for entry in entries:
        if entry.state == TAKEN:
            files += _files_of(entry, opened[entry.number])
    return files


def _file_of(export: Export, name: str, content: bytes) -> PartMember:
    made = datetime.fromtimestamp(export.began_at / 1000, UTC).replace(tzinfo=None)
    return PartMember(Member(name, len(content), zlib.crc32(content), made), content)


def pages_for(recordings: int) -> int:
    """
    Return how many pages list so many recordings; one, if there are none.
    """
    return max(1, -(-recordings // PAGE))


def empty_parts(recordings: int, files: Sequence[tuple[str, str | None]]) -> list[Part]:
    """
    Return the parts of an archive: first the *files* with their titles, then the pages.
    """
    parts = [Part(number=number, name=name, title=title) for number, (name, title) in enumerate(files, 1)]
    for page in range(pages_for(recordings)):
        first = page * PAGE + 1
        last = min(first + PAGE - 1, recordings)
        parts.append(Part(number=len(parts) + 1, first_entry=first, last_entry=last))
    return parts


def personal_file(section: str, number: int) -> str:
    """
    Return the name of a file of personal data; a section that is long has several.
    """
    return f"personal/{section}.json" if number == 1 else f"personal/{section}-{number:04}.json"


def moment_of(recording: RecordingRow, details: Details | None) -> datetime:
    """
    Return when the call took place, with the offset that its phone told, or else when it was stored.
    """
    if details is not None and details.recorded_at is not None:
        return parse_time("recorded_at", details.recorded_at)
    return datetime.fromtimestamp(recording.stored_at / 1000, UTC)


def _needs_key(entry: Entry) -> bool:
    return entry.state == TAKEN or entry.sealed is not None


def _open(keys: ExportKeys, entry: Entry, leaf: Secret) -> Kept:
    assert entry.sealed is not None
    try:
        return keys.open_entry(entry.sealed, entry.recording, leaf)
    except CryptoError as error:
        raise ExportGone("what was kept of this export is damaged; ask for another one") from error


def _sound_name(export: Export, entry: Entry, kept: Kept | None) -> str | None:
    is_there = kept is not None and entry.state == TAKEN and AUDIO in export.include
    return f"recordings/{kept.name}" if kept is not None and is_there else None


def _blob_name(entry: Entry, kept: Kept | None) -> str | None:
    is_there = kept is not None and entry.state == TAKEN and kept.blob_crc32 is not None
    return f"sealed/{entry.recording.id}.recg" if is_there else None


def _call(export: Export, entry: Entry, kept: Kept | None) -> Call:
    details = None if kept is None else kept.details
    at = moment_of(entry.recording, details)
    title = "Recording" if kept is None else title_of(details)
    number = "" if details is None else details.party_number or ""
    return Call(
        number=entry.number,
        title=title,
        direction={"in": "Incoming", "out": "Outgoing"}.get((details and details.direction) or "", ""),
        when=f"{at:%Y-%m-%d %H:%M} {'UTC' if not at.utcoffset() else at.strftime('%z')}",
        size=entry.size,
        duration_ms=None if details is None else details.duration_ms,
        party="" if number == title else number,
        labels=() if details is None else details.labels,
        note="" if details is None else details.note or "",
        file=_sound_name(export, entry, kept),
        sealed_file=_blob_name(entry, kept),
        missing=None if entry.reason is None else Missing(entry.reason),
    )


def _told(export: Export, entry: Entry, kept: Kept | None) -> dict[str, Any]:
    details = None if kept is None else kept.details
    known = {} if details is None else {name: getattr(details, name) for name in KNOWN_FIELDS}
    missing = None if entry.reason is None else Missing(entry.reason)
    return {
        "id": str(entry.recording.id),
        "stored_at": format_time(entry.stored_at),
        "size": entry.size,
        "sha256": None if kept is None else kept.sha256,
        "file": _sound_name(export, entry, kept),
        "sealed_file": _blob_name(entry, kept),
        "missing": None if missing is None else {"reason": missing.reason, "words": missing.words},
        "details": known or None,
    }


def _keyed(entry: Entry, kept: Kept, leaf: Secret) -> dict[str, str]:
    return {
        "recording": str(entry.recording.id),
        "file": f"{entry.recording.id}.recg",
        "name": kept.name,
        "key": subkey(leaf, "audio").reveal().hex(),
    }


def _files_of(entry: Entry, kept: Kept) -> list[PartMember]:
    at = moment_of(entry.recording, kept.details).replace(tzinfo=None)
    files = []
    if kept.crc32 is not None:
        member = Member(f"recordings/{kept.name}", entry.size, kept.crc32, at)
        files.append(PartMember(member, Sound(entry.number, entry.recording)))
    if kept.blob_crc32 is not None:
        size = blob_size(entry.recording)
        member = Member(f"sealed/{entry.recording.id}.recg", size, kept.blob_crc32, at)
        files.append(PartMember(member, Blob(entry.number, entry.recording)))
    return files


def _json(document: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=1)
