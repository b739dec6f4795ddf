"""
How what is kept of an export is sealed (FORMAT §5.13).

A file is sealed under the export's own leaf. What an export knows of a recording is sealed under the recording's leaf first and
under the export's then: so it ends with either, and an erased recording is unreadable in every export as well.
"""

import uuid
from typing import Final

import msgspec

from gateway.base.secret import Secret
from gateway.catalog.exports import Export
from gateway.catalog.recordings import RecordingRow
from gateway.crypto.keys import subkey
from gateway.crypto.wrap import open_record, seal_record
from gateway.services.details import Details

_ENTRY_LABEL: Final = b"EXPR\x01"
_FILE_LABEL: Final = b"EXPF\x01"


class Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What an export knows of a recording; checksums are of its sound and of its blob, None where that is not in the archive.
    """

    name: str
    """Of its file, without a folder."""
    details: Details | None = None
    crc32: int | None = None
    sha256: str | None = None
    blob_crc32: int | None = None


class ExportKeys:
    """
    What opens an export, made of its leaf.
    """

    def __init__(self, export: Export, leaf: Secret) -> None:
        self._export = uuid.UUID(export.id).bytes + export.key_slot.to_bytes(8, "big")
        self._key = subkey(leaf, "export")

    def seal_entry(self, kept: Kept, recording: RecordingRow, recording_leaf: Secret) -> bytes:
        """
        Seal what is known of a recording.
        """
        bound_to = self._entry_data(recording)
        inner = seal_record(subkey(recording_leaf, "export-entry"), msgspec.json.encode(kept), bound_to)
        return seal_record(self._key, inner, bound_to)

    def open_entry(self, sealed: bytes, recording: RecordingRow, recording_leaf: Secret) -> Kept:
        """
        Open what `seal_entry` made.

        Raises:
            SealBroken: it is damaged.
        """
        bound_to = self._entry_data(recording)
        inner = open_record(self._key, sealed, bound_to)
        return msgspec.json.decode(
            open_record(subkey(recording_leaf, "export-entry"), inner, bound_to), type=Kept
        )

    def seal_file(self, content: bytes, number: int) -> bytes:
        """
        Seal a file that is not about one recording; number 0 is for whose export it is.
        """
        return seal_record(self._key, content, self._file_data(number))

    def open_file(self, sealed: bytes, number: int) -> bytes:
        """
        Open what `seal_file` made.

        Raises:
            SealBroken: it is damaged.
        """
        return open_record(self._key, sealed, self._file_data(number))

    def _entry_data(self, recording: RecordingRow) -> bytes:
        return _ENTRY_LABEL + self._export + recording.id.bytes

    def _file_data(self, number: int) -> bytes:
        return _FILE_LABEL + self._export + number.to_bytes(4, "big")
