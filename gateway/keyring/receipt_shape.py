"""
Which fields a receipt has, and what each may be. FORMAT §6.6.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.keyring.errors import ReceiptInvalid

FORMAT: Final = "recording-gateway-receipt"
VERSION: Final = 1
FIRST_PREVIOUS: Final = "0" * 64
"""What the first receipt of a chain carries in place of a hash."""


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_hex(size: int) -> Callable[[object], bool]:
    pattern = re.compile(rf"[0-9a-f]{{{2 * size}}}")
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_record(**fields: Callable[[object], bool]) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        return (
            isinstance(value, dict)
            and value.keys() == fields.keys()
            and all(fits(value[name]) for name, fits in fields.items())
        )

    return check


def _is_list_of(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(fits(element) for element in value)


def _or_null(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or fits(value)


def _one_of(*choices: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value in choices


_COMMON: Final[Mapping[str, Callable[[object], bool]]] = {
    "format": _one_of(FORMAT),
    "version": lambda value: type(value) is int and value == VERSION,
    "statement": _one_of("shredded", "purged"),
    "sequence": lambda value: type(value) is int and value >= 1,
    "previous": _is_hex(32),
    "subject": _is_record(
        kind=_one_of("recording", "recordings", "export", "account", "service-key"), hash=_is_hex(32)
    ),
    "covers": _is_text,
    "limits": _is_text,
    "key_id": _is_hex(16),
    "signature": _is_text,
}
_SHREDDED: Final[Mapping[str, Callable[[object], bool]]] = {
    "leaves": _or_null(_is_count),
    "commitment": _or_null(_is_hex(32)),
    "revoked_at_ms": _is_count,
    "shredded_at_ms": _is_count,
    "epochs": _is_record(**{"from": _is_count, "to": _is_count}),
    "destroyed_root": _is_hex(16),
    "root_store": _is_record(
        label=_is_text,
        holders=_is_list_of(
            _is_record(holder=_is_text, label=_is_text, outcome=_one_of("destroyed", "absent"))
        ),
    ),
    "placements": _is_list_of(
        _is_record(
            backend=_is_text,
            state=_one_of("pending", "purged", "recoverable-until", "left"),
            at_ms=_or_null(_is_count),
        )
    ),
}
_PURGED: Final[Mapping[str, Callable[[object], bool]]] = {
    "shredded_receipt": _is_hex(32),
    "purged_at_ms": _is_count,
    "placements": _SHREDDED["placements"],
}
_FIELDS: Final = {"shredded": {**_COMMON, **_SHREDDED}, "purged": {**_COMMON, **_PURGED}}


def check_shape(document: dict[str, Any]) -> None:
    """
    Refuse a document whose fields are not those of its statement.
    """
    for name in ("format", "version", "statement"):
        if not _COMMON[name](document.get(name)):
            raise ReceiptInvalid(f"{name}: missing, or of a receipt that this program does not know")
    fields = _FIELDS[document["statement"]]
    for name, fits in fields.items():
        if name not in document:
            raise ReceiptInvalid(f"{name}: missing")
        if not fits(document[name]):
            raise ReceiptInvalid(f"{name}: malformed")
    if unknown := sorted(document.keys() - fields.keys()):
        raise ReceiptInvalid(f"{unknown[0]}: a receipt has no such field")
    if document["statement"] == "shredded" and document["epochs"]["to"] != document["epochs"]["from"] + 1:
        raise ReceiptInvalid("epochs: a round moves on by one")
    if (document["sequence"] == 1) != (document["previous"] == FIRST_PREVIOUS):
        raise ReceiptInvalid("previous: the first receipt of a chain, and only it, follows none")
