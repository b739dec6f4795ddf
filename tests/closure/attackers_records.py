"""
What the attacker knows of the records about users, beside their recordings: docs/FORMAT.md §5.8 to §5.13, §8.2 and §8.5.
"""

import hashlib
import hmac
import struct
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

Subkey = Callable[[bytes, str], bytes]


@dataclass(frozen=True, slots=True)
class Form:
    """
    One kind of record: the purpose of its key, its label, and what comes after that in its associated data.
    """

    purpose: str
    label: bytes
    parts: tuple[str, ...]


FORMS: Final = {
    "users.personal": Form("personal", b"USER\x01", ("user", "slot")),
    "identities.sealed": Form("identities", b"IDEN\x01", ("user", "slot", "id")),
    "devices.sealed": Form("devices", b"DEVI\x01", ("user", "slot", "id")),
    "links.secrets": Form("links", b"LINK\x01", ("user", "slot", "id")),
    "link_attempts.secrets": Form("links", b"LTRY\x01", ("user", "slot", "state_hash")),
    "holds.sealed": Form("hold", b"HOLD\x01", ("id", "slot")),
    "notices.sealed": Form("notice", b"NOTE\x01", ("id", "slot")),
    "audit_entries.sealed": Form("audit", b"AUDT\x01", ("id", "slot")),
    "disclosures.sealed": Form("disclosure", b"DISC\x01", ("id", "slot")),
    "placements.session": Form("put-session", b"PUTS\x01", ("recording", "slot", "index", "blob_key")),
    "sign_ins.sealed": Form("sign-in", b"SIGN\x01", ("kind",)),
}
HASHES: Final = ("identities.look_up", "tallies.subject_hash")


class Opened(NamedTuple):
    """
    A record that opened: where it lay, and about whom it is, if that is known.
    """

    column: str
    owner: uuid.UUID | None
    plaintext: bytes


class _Record(NamedTuple):
    column: str
    named: tuple[tuple[str, object], ...]
    sealed: bytes


class UsersRecords:
    """
    Gathers such records, and opens them with whatever keys there are.
    """

    def __init__(self, subkey: Subkey) -> None:
        self._subkey = subkey
        self._records: dict[_Record, None] = {}
        self._recording_of: dict[str, str] = {}
        self._user_of: dict[tuple[str, object], uuid.UUID] = {}
        self.hashes: set[bytes] = set()
        self.service_leaves: dict[str, int] = {}
        """Which leaf of slot 0 serves which purpose."""

    def write_down(self, table: str, named: Mapping[str, Any]) -> None:
        """
        Keep what a row, or a part of it, holds.
        """
        if table == "service_keys" and "purpose" in named and "leaf_index" in named:
            self.service_leaves[named["purpose"]] = named["leaf_index"]
        if table == "placements" and "blob_key" in named and "recording_id" in named:
            self._recording_of[named["blob_key"]] = named["recording_id"]
        if named.get("user_id") is not None and "id" in named:
            self._user_of[table, named["id"]] = uuid.UUID(named["user_id"])
        for name, value in named.items():
            column = f"{table}.{name}"
            if column in HASHES and isinstance(value, bytes):
                self.hashes.add(value)
            if column in FORMS and isinstance(value, bytes):
                others = tuple((other, found) for other, found in named.items() if other != name)
                self._records[_Record(column, others, value)] = None

    def open_all(
        self,
        leaves: Mapping[tuple[int, int], Collection[bytes]],
        users: Mapping[uuid.UUID, Collection[int]],
        recordings: Mapping[uuid.UUID, Collection[Any]],
        *,
        other_keys: Collection[bytes] = (),
    ) -> Iterator[Opened]:
        """
        Yield what opens.

        *leaves* are by slot and index; *other_keys* are tried as leaves and as sub-keys, on everything.
        """
        by_slot: dict[int, list[uuid.UUID]] = defaultdict(list)
        for user, slots in users.items():
            for slot in slots:
                by_slot[slot].append(user)
        for record in self._records:
            form = FORMS[record.column]
            named = dict(record.named)
            for slot, index, owner in self._places(record, named, by_slot, recordings):
                context = self._context(form, named, slot=slot, index=index, owner=owner)
                if context is None:
                    continue
                keys = [self._subkey(leaf, form.purpose) for leaf in leaves.get((slot, index), ())]
                for key in other_keys:
                    keys += [key, self._subkey(key, form.purpose)]
                for key in keys:
                    plaintext = _opened(key, record.sealed, context)
                    if plaintext is not None:
                        yield Opened(record.column, owner, plaintext)

    def confirms(self, keys: Collection[bytes], space: str, subject: str) -> bool:
        """
        Tell whether *subject* of *space* is among the keyed hashes that were ever stored, as far as *keys* can tell.
        """
        text = f"{space}\0{subject}".encode()
        return any(
            hmac.digest(candidate, text, hashlib.sha256) in self.hashes
            for key in keys
            for candidate in (key, self._subkey(key, "look-up"))
        )

    def _places(
        self,
        record: _Record,
        named: Mapping[str, Any],
        by_slot: Mapping[int, list[uuid.UUID]],
        recordings: Mapping[uuid.UUID, Collection[Any]],
    ) -> Iterator[tuple[int, int, uuid.UUID | None]]:
        """
        Yield the slots, leaves and users that a record may belong to.
        """
        if record.column == "sign_ins.sealed":
            yield 0, 0, None
            return
        if record.column == "placements.session":
            recording = self._recording_of.get(named.get("blob_key", ""))
            for identity in recordings.get(uuid.UUID(recording), ()) if recording else ():
                yield identity.slot, identity.index, None
            return
        table = record.column.partition(".")[0]
        known = (
            uuid.UUID(named["user_id"])
            if named.get("user_id")
            else self._user_of.get((table, named.get("id")))
        )
        for slot, owners in by_slot.items():
            for owner in owners:
                if known in (None, owner):
                    yield slot, 2**32 - 1, owner

    def _context(
        self, form: Form, named: Mapping[str, Any], *, slot: int, index: int, owner: uuid.UUID | None
    ) -> bytes | None:
        parts = [form.label]
        for part in form.parts:
            if part == "user":
                assert owner is not None
                parts.append(owner.bytes)
            elif part == "slot":
                parts.append(struct.pack(">Q", slot))
            elif part == "index":
                parts.append(struct.pack(">I", index))
            elif part == "recording":
                parts.append(uuid.UUID(self._recording_of[named["blob_key"]]).bytes)
            elif part not in named:
                return None
            elif part == "id":
                parts.append(uuid.UUID(named["id"]).bytes)
            elif part == "blob_key":
                parts.append(bytes.fromhex(named["blob_key"]))
            elif part == "kind":
                parts.append(str(named["kind"]).encode())
            else:
                parts.append(named[part])
        return b"".join(parts)


@lru_cache(maxsize=200_000)
def _opened(key: bytes, sealed: bytes, context: bytes) -> bytes | None:
    try:
        return AESGCMSIV(key).decrypt(sealed[:12], sealed[12:], context)
    except InvalidTag:
        return None
