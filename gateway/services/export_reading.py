"""
An archive's bytes, any stretch of them: made of the catalog and of the recordings while they go out.

No archive is stored. Its layout is: how long each part is and where it begins; what lies between is computed, the same each time.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from gateway.archive import ending
from gateway.archive.zip import EXTRA_OF_ZIP64, RECORD_EXTRA_OF_ZIP64
from gateway.catalog import export_parts
from gateway.catalog.export_parts import Part
from gateway.catalog.exports import Export
from gateway.crypto.chunked import Buffer
from gateway.database import Database
from gateway.services.errors import NotFound, Unreadable
from gateway.services.export_contents import (
    ArchiveChanged,
    Blob,
    ExportContents,
    ExportGone,
    PartMember,
    Sound,
)
from gateway.services.export_sealing import ExportKeys
from gateway.services.playback import PlaybackService, ReadEnded
from gateway.services.sealed_reading import SealedReading
from gateway.services.sending import LONG, Outlet

_SLAB: int = 256 * 1024


class EntryUnreadable(Unreadable):
    """
    Recording *number* of the archive cannot be read now.
    """

    code = "provider-unavailable"

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


@dataclass(frozen=True, slots=True)
class _Window:
    """
    The stretch of the archive that is wanted.
    """

    start: int
    end: int

    def overlaps(self, offset: int, length: int) -> bool:
        return offset < self.end and self.start < offset + length

    def cut(self, offset: int, content: Buffer) -> memoryview:
        return memoryview(content)[max(0, self.start - offset) : max(0, self.end - offset)]


class ArchiveReader:
    """
    Reads archives that are ready.
    """

    def __init__(
        self,
        catalog_db: Database,
        contents: ExportContents,
        playback: PlaybackService,
        sealed: SealedReading,
    ) -> None:
        self._catalog = catalog_db
        self._contents = contents
        self._playback = playback
        self._sealed = sealed

    async def read(
        self,
        export: Export,
        *,
        start: int,
        length: int,
        is_ended: Callable[[], bool] = lambda: False,
        outlet: Outlet | None = None,
    ) -> AsyncIterator[Buffer]:
        """
        Yield *length* bytes of the archive from *start*, as *export* says it is laid out.

        With an *outlet*, what follows the first bytes of a long recording goes there and is not yielded, as `PlaybackService.open`
        has it: whoever asks for the next bytes has written those before.

        Raises:
            ArchiveChanged: it is not any more as it was laid out; what was yielded until then belongs to it still.
            ExportGone: the export ended.
            EntryUnreadable: a recording in it cannot be read.
            ConnectionError: the outlet's listener is gone.
        """
        window = _Window(start, start + length)
        keys = await self._contents.keys_of(export)
        async with self._catalog.read() as connection:
            parts = await export_parts.parts_of(connection, export.id)
        for part in parts:
            if window.overlaps(part.offset, part.length + part.members * EXTRA_OF_ZIP64 * export.is_zip64):
                members = await self._members(export, part, keys)
                async for piece in self._of_part(export, part, members, window, is_ended, outlet):
                    yield piece
        for part in parts:
            size = part.directory_length + part.members * RECORD_EXTRA_OF_ZIP64 * export.is_zip64
            if window.overlaps(part.directory_offset, size):
                members = await self._members(export, part, keys)
                if is_ended():
                    raise ExportGone("this export has ended")
                yield window.cut(part.directory_offset, directory_of(export, part, members))
        end = ending(
            members=export.members,
            directory_offset=export.directory_offset,
            directory_size=_directory_size(export, parts),
            is_zip64=export.is_zip64,
        )
        if window.overlaps(export.size - len(end), len(end)):
            yield window.cut(export.size - len(end), end)

    async def _members(self, export: Export, part: Part, keys: ExportKeys) -> list[PartMember]:
        members = await self._contents.members_of(export, part, keys)
        if part.is_stale or lengths_of(members) != (part.members, part.length, part.directory_length):
            raise ArchiveChanged("a part is not as it was laid out")
        return members

    async def _of_part(
        self,
        export: Export,
        part: Part,
        members: Sequence[PartMember],
        window: _Window,
        is_ended: Callable[[], bool],
        outlet: Outlet | None,
    ) -> AsyncIterator[Buffer]:
        offset = part.offset
        for each in members:
            if is_ended():
                raise ExportGone("this export has ended")
            header = each.member.header(is_zip64=export.is_zip64)
            if window.overlaps(offset, len(header)):
                yield window.cut(offset, header)
            offset += len(header)
            if window.overlaps(offset, each.member.size):
                if isinstance(each.content, bytes):
                    content = window.cut(offset, each.content)
                    for first in range(0, len(content), _SLAB):
                        yield content[first : first + _SLAB]
                else:
                    first = max(0, window.start - offset)
                    last = min(each.member.size, window.end - offset)
                    async for piece in self._of_recording(each.content, first, last - first, outlet):
                        if is_ended():
                            raise ExportGone("this export has ended")
                        yield piece
            offset += each.member.size

    async def _of_recording(
        self, content: Sound | Blob, start: int, length: int, outlet: Outlet | None
    ) -> AsyncIterator[Buffer]:
        if isinstance(content, Sound):
            outlet = outlet if length >= LONG else None
            pieces: AsyncIterator[Buffer] = self._playback.open(
                content.recording, start=start, length=length, outlet=outlet
            )
        else:
            pieces = self._sealed.read(content.recording, start=start, length=length)
        try:
            async for piece in pieces:
                yield piece
        except (NotFound, ReadEnded):
            raise ArchiveChanged("a recording was erased", [content.number]) from None
        except Unreadable as error:
            raise EntryUnreadable(content.number, str(error)) from error.__cause__ or error
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]


def lengths_of(members: Sequence[PartMember]) -> tuple[int, int, int]:
    """
    Return how many files these are, their bytes, and their bytes in the central directory, not in ZIP64.
    """
    return (
        len(members),
        sum(each.member.length(is_zip64=False) for each in members),
        sum(each.member.record_length(is_zip64=False) for each in members),
    )


def directory_of(export: Export, part: Part, members: Sequence[PartMember]) -> bytes:
    """
    Return what the central directory says of a part.
    """
    records = []
    offset = part.offset
    for each in members:
        records.append(each.member.record(offset, is_zip64=export.is_zip64))
        offset += each.member.length(is_zip64=export.is_zip64)
    return b"".join(records)


def _directory_size(export: Export, parts: Sequence[Part]) -> int:
    extra = RECORD_EXTRA_OF_ZIP64 * export.is_zip64
    return sum(part.directory_length + part.members * extra for part in parts)
