"""
What a recording's sender says about it, and how that is sealed.

Details never lie anywhere in clear: they are one AEAD record under the recording's own leaf (FORMAT, "Details"),
so that they are gone with it.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec

from gateway.base.ids import KeySlot, LeafIndex, RecordingId
from gateway.base.secret import Secret
from gateway.crypto.keys import subkey
from gateway.crypto.wrap import open_record, seal_record
from gateway.services.errors import InvalidField

Direction = Literal["in", "out"]
ShortText = Annotated[str, msgspec.Meta(max_length=1024)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]

_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}( *;[ -~]*)?")
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_RECORD_LABEL: Final = b"RECD\x01"


class Details(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Everything that is known about a call; every field may be absent.
    """

    filename: ShortText | None = None
    filetype: ShortText | None = None
    """A media type, such as ``audio/mp4``."""
    recorded_at: str | None = None
    """When the call took place, RFC 3339."""
    duration_ms: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    direction: Direction | None = None
    party_number: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    party_name: ShortText | None = None
    note: Annotated[str, msgspec.Meta(max_length=10_000)] | None = None
    labels: Annotated[tuple[Label, ...], msgspec.Meta(max_length=100)] = ()
    upload_metadata: str | None = None
    """The ``Upload-Metadata`` header as it came, for HEAD to give back."""


KNOWN_FIELDS: Final = tuple(name for name in Details.__struct_fields__ if name != "upload_metadata")


def title_of(details: Details | None) -> str:
    """
    Return what a recording is called among people.
    """
    if details is None:
        return "Details that cannot be read"
    return details.party_name or details.party_number or details.filename or "Unnamed call"


def details_from_metadata(pairs: Sequence[tuple[str, bytes]], header: str | None) -> Details:
    """
    Read the known keys out of decoded ``Upload-Metadata`` *pairs*; unknown ones are kept as they came.

    ``labels`` is a list parted by commas.

    Raises:
        InvalidField: names the key whose value is malformed.
    """
    values: dict[str, Any] = {"upload_metadata": header}
    for key, raw in pairs:
        if key not in KNOWN_FIELDS:
            continue
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidField(key, "is not UTF-8 text") from None
        if text == "" and key != "note":
            continue
        values[key] = _from_text(key, text)
    return build_details(values)


def _from_text(key: str, text: str) -> Any:
    if key == "duration_ms":
        if not re.fullmatch(r"[0-9]{1,16}", text):
            raise InvalidField(key, "is not a whole number of milliseconds")
        return int(text)
    if key == "labels":
        return tuple(dict.fromkeys(label.strip() for label in text.split(",") if label.strip()))
    return text


def build_details(values: Mapping[str, Any]) -> Details:
    """
    Check *values* and return them as details.

    Raises:
        InvalidField: names the field.
    """
    for name, value in values.items():
        try:
            msgspec.convert({name: value}, Details)
        except msgspec.ValidationError as error:
            raise InvalidField(name, str(error).split(" - at ")[0]) from None
        texts = value if name == "labels" else [value]
        if any(isinstance(text, str) and "\x00" in text for text in texts):
            raise InvalidField(name, "holds a NUL character")
    details = msgspec.convert(dict(values), Details)
    if details.recorded_at is not None:
        parse_time("recorded_at", details.recorded_at)
    if details.filetype is not None and not _MEDIA_TYPE.fullmatch(details.filetype):
        raise InvalidField("filetype", "is not a media type such as audio/mp4")
    return details


def parse_time(field: str, text: str) -> datetime:
    """
    Read an RFC 3339 time with its offset.

    Raises:
        InvalidField: it is none.
    """
    try:
        # Python reads more of ISO 8601 than RFC 3339 has, and what is taken here is given back to others.
        if not _TIME.fullmatch(text):
            raise ValueError
        return datetime.fromisoformat(text.upper())
    except ValueError:
        reason = "is not an RFC 3339 time with its offset from UTC, such as 2026-01-31T14:05:00+01:00"
        raise InvalidField(field, reason) from None


def seal_details(
    details: Details, leaf: Secret, *, recording_id: RecordingId, slot: KeySlot, index: LeafIndex
) -> bytes:
    """
    Seal *details* under the recording's leaf, for this recording only.
    """
    return seal_record(
        subkey(leaf, "details"), msgspec.json.encode(details), _associated_data(recording_id, slot, index)
    )


def open_details(
    sealed: bytes, leaf: Secret, *, recording_id: RecordingId, slot: KeySlot, index: LeafIndex
) -> Details:
    """
    Open sealed details.

    Raises:
        SealBroken: they are damaged, or another recording's.
    """
    opened = open_record(subkey(leaf, "details"), sealed, _associated_data(recording_id, slot, index))
    return msgspec.json.decode(opened, type=Details)


def _associated_data(recording_id: RecordingId, slot: KeySlot, index: LeafIndex) -> bytes:
    return _RECORD_LABEL + recording_id.bytes + slot.to_bytes(8, "big") + index.to_bytes(4, "big")
