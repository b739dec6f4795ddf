"""
The bytes between a ZIP's files (PKWARE APPNOTE 6.3): local headers, the central directory, its end.

Files are stored, not deflated: sound does not get smaller, and so every offset is known beforehand.
Sizes and the CRC-32 stand in the local header, so no data descriptor is needed and a reader can go through it as it comes.
"""

import struct
from dataclasses import dataclass
from datetime import datetime
from typing import Final

MOST_PLAIN_BYTES: Final = 2**32 - 2
"""An archive that is longer is written in ZIP64, all of it."""
MOST_PLAIN_MEMBERS: Final = 2**16 - 2

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_LOCAL_EXTRA: Final = struct.Struct("<2H2Q")
_RECORD: Final = struct.Struct("<4s6H3I5H2I")
_RECORD_EXTRA: Final = struct.Struct("<2H3Q")
_END: Final = struct.Struct("<4s4H2IH")
_END_64: Final = struct.Struct("<4sQ2H2I4Q")
_LOCATOR_64: Final = struct.Struct("<4sIQI")

_NEEDS: Final = 20
_NEEDS_64: Final = 45
_MADE_ON_UNIX: Final = 3 << 8
_UTF8_NAME: Final = 1 << 11
_STORED: Final = 0
_ZIP64: Final = 1
_REGULAR_FILE: Final = 0o100644 << 16
_FULL_16: Final = 2**16 - 1
_FULL_32: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Member:
    """
    One file of an archive; *modified* is a clock time without a zone, as ZIP has it.
    """

    name: str
    size: int
    crc32: int
    modified: datetime

    def header(self, *, is_zip64: bool) -> bytes:
        """
        Return the local header, which stands before the file's bytes.
        """
        name = self.name.encode()
        sizes = (_FULL_32, _FULL_32) if is_zip64 else (self.size, self.size)
        extra = _LOCAL_EXTRA.pack(_ZIP64, 16, self.size, self.size) if is_zip64 else b""
        head = _LOCAL.pack(
            b"PK\x03\x04",
            _NEEDS_64 if is_zip64 else _NEEDS,
            _UTF8_NAME,
            _STORED,
            *_dos_time(self.modified),
            self.crc32,
            *sizes,
            len(name),
            len(extra),
        )
        return head + name + extra

    def record(self, offset: int, *, is_zip64: bool) -> bytes:
        """
        Return what the central directory says of the file whose header begins at *offset*.
        """
        name = self.name.encode()
        needs = _NEEDS_64 if is_zip64 else _NEEDS
        extra = _RECORD_EXTRA.pack(_ZIP64, 24, self.size, self.size, offset) if is_zip64 else b""
        sizes = (_FULL_32, _FULL_32) if is_zip64 else (self.size, self.size)
        head = _RECORD.pack(
            b"PK\x01\x02",
            _MADE_ON_UNIX | needs,
            needs,
            _UTF8_NAME,
            _STORED,
            *_dos_time(self.modified),
            self.crc32,
            *sizes,
            len(name),
            len(extra),
            0,
            0,
            0,
            _REGULAR_FILE,
            _FULL_32 if is_zip64 else offset,
        )
        return head + name + extra

    def length(self, *, is_zip64: bool) -> int:
        """
        Return the bytes of header and file.
        """
        return _LOCAL.size + len(self.name.encode()) + _LOCAL_EXTRA.size * is_zip64 + self.size

    def record_length(self, *, is_zip64: bool) -> int:
        """
        Return the bytes that it has in the central directory.
        """
        return _RECORD.size + len(self.name.encode()) + _RECORD_EXTRA.size * is_zip64


EXTRA_OF_ZIP64: Final = _LOCAL_EXTRA.size
"""So much longer is each file in ZIP64, and"""
RECORD_EXTRA_OF_ZIP64: Final = _RECORD_EXTRA.size
"""so much longer what the central directory says of it."""


def ending_size(*, is_zip64: bool) -> int:
    """
    Return the bytes that follow the central directory.
    """
    return _END.size + (_END_64.size + _LOCATOR_64.size) * is_zip64


def ending(*, members: int, directory_offset: int, directory_size: int, is_zip64: bool) -> bytes:
    """
    Return what follows the central directory.
    """
    if not is_zip64:
        return _END.pack(b"PK\x05\x06", 0, 0, members, members, directory_size, directory_offset, 0)
    end = _END_64.pack(
        b"PK\x06\x06",
        _END_64.size - 12,
        _MADE_ON_UNIX | _NEEDS_64,
        _NEEDS_64,
        0,
        0,
        members,
        members,
        directory_size,
        directory_offset,
    )
    locator = _LOCATOR_64.pack(b"PK\x06\x07", 0, directory_offset + directory_size, 1)
    full = _END.pack(b"PK\x05\x06", 0, 0, _FULL_16, _FULL_16, _FULL_32, _FULL_32, 0)
    return end + locator + full


def _dos_time(at: datetime) -> tuple[int, int]:
    if not 1980 <= at.year <= 2107:
        at = datetime(1980, 1, 1)  # noqa: DTZ001 - ZIP has no zones
    return (
        at.hour << 11 | at.minute << 5 | at.second // 2,
        (at.year - 1980) << 9 | at.month << 5 | at.day,
    )
