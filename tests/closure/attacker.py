"""
Somebody who wrote down everything that was ever stored, and who then takes the live system.

He has every row that was ever sent to either database, also by transactions that never committed; every sealed file
that ever lay in the spool or at home; and, as of the moment of his attack, whatever else lies on the disk, the root
store above all.
He tries every key on everything until nothing new opens.

He knows docs/FORMAT.md, whose clauses are cited, and the columns of docs/DELETION.md; he has none of the gateway's code.
"""

import base64
import binascii
import hashlib
import hmac
import re
import sqlite3
import struct
import uuid
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV

from tests.closure.attackers_records import UsersRecords

USERS_OWN_LEAF: Final = 2**32 - 1
LARGEST_ODD_FILE: Final = 64 * 1024
HEAD_OF_A_BLOB: Final = 92 + 16400
"""Preamble, salt, commitment and the first chunk: who opens these opens the rest."""

_PURPOSES: Final = ("audio", "details", "personal", "receipt-salt", "look-up", "signing")
_NODE: Final = struct.Struct(">BI32s")
_ROOT_SLOT: Final = 4096
_SMALLEST_WRAPPED_KEY: Final = 12 + 32 + 16
_KEY_IN_TEXT: Final = re.compile(r"(?<![\w/+=-])(?:[0-9a-fA-F]{64}|[\w/+-]{43}=?)(?![\w/+=-])")


def expand(key: bytes, info: bytes, size: int) -> bytes:
    """
    HKDF-Expand over HMAC-SHA-512. §1.4
    """
    output = block = b""
    while len(output) < size:
        block = hmac.digest(key, block + info + bytes([len(output) // 64 + 1]), "sha512")
        output += block
    return output[:size]


@lru_cache(maxsize=100_000)
def subkey(leaf: bytes, purpose: str) -> bytes:
    """
    §5.4
    """
    return expand(leaf, b"recording-gateway/v1/" + purpose.encode(), 32)


@lru_cache(maxsize=100_000)
def descend(seed: bytes, depth: int, index: int) -> bytes:
    """
    Derive leaf *index* from a node of *depth* above it. §5.1
    """
    if depth == 32:
        return seed
    bit = index >> (31 - depth) & 1
    return descend(hmac.digest(seed, b"ggm" + bytes([bit]), "sha256"), depth + 1, index)


def parse_state(content: bytes) -> list[tuple[int, int, bytes]]:
    """
    Return depth, prefix and seed of each node, or nothing if this is no state. §5.3
    """
    if not content or len(content) % _NODE.size:
        return []
    nodes = list(_NODE.iter_unpack(content))
    if any(depth > 32 or prefix & (2**32 - 1 >> depth) for depth, prefix, _ in nodes):
        return []
    return nodes if all(left[1] < right[1] for left, right in pairwise(nodes)) else []


def parse_page(content: bytes) -> list[bytes]:
    """
    Return the keys of the entries, or nothing if this is no page. §6.2
    """
    numbers = content[::33]
    if len(content) % 33 or any(left >= right for left, right in pairwise(numbers)):
        return []
    return [content[at + 1 : at + 33] for at in range(0, len(content), 33)]


def roots_in(slots: bytes) -> dict[int, bytes]:
    """
    Return the whole roots of a root store by their epochs. §6.5
    """
    found = {}
    for at in range(0, len(slots), _ROOT_SLOT):
        record, checksum = slots[at : at + 48], slots[at + 48 : at + 80]
        if record[:5] == b"RGRS\x01" and hashlib.sha256(record).digest() == checksum:
            found[int.from_bytes(record[8:16], "big")] = record[16:48]
    return found


@dataclass(frozen=True, slots=True)
class Identity:
    """
    Which recording a key is for.
    """

    recording_id: uuid.UUID
    slot: int
    index: int


@dataclass(slots=True, eq=False)
class Message:
    """
    The beginning of a sealed file. §2, §3
    """

    identity: Identity
    preamble: bytes
    salt: bytes
    commitment: bytes
    first_chunk: bytes

    def is_opened_by(self, audio_key: bytes) -> bool:
        return self._derive(audio_key)[44:] == self.commitment

    def open(self, audio_key: bytes) -> bytes:
        """
        Return the plaintext of the first chunk; empty, if that was cut short.
        """
        derived = self._derive(audio_key)
        try:
            return AESGCM(derived[:32]).decrypt(derived[32:44], self.first_chunk, None)
        except InvalidTag:
            return b""

    def _derive(self, audio_key: bytes) -> bytes:
        label = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"
        return expand(audio_key, label + self.salt + self.preamble, 76)


class Bound(NamedTuple):
    """
    A sealed record, and what it may be bound to. §5.5
    """

    sealed: bytes
    contexts: tuple[bytes, ...]


@dataclass(slots=True, eq=False)
class _Tried:
    """
    How far one key was tried on a list that only grows, and what opened.
    """

    up_to: int = 0
    hits: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass(slots=True)
class Loot:
    """
    What one attack opened.
    """

    keys: set[bytes] = field(default_factory=set)
    leaves: dict[tuple[int, int], set[bytes]] = field(default_factory=lambda: defaultdict(set))
    """By slot and index."""
    audio: dict[uuid.UUID, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    details: dict[uuid.UUID, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    personal: dict[uuid.UUID, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    exported: dict[uuid.UUID, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    """What exports have of a recording, or, under the export's own id, of a person."""
    opened_by: dict[bytes, set[uuid.UUID]] = field(default_factory=lambda: defaultdict(set))
    """Which recordings a leaf opens; one that opens two cannot be destroyed for one of them alone."""
    columns: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    """What opened of the records about users, by the column in which it lay."""

    def plaintexts(self) -> Iterator[bytes]:
        for opened in (self.audio, self.details, self.personal, self.exported):
            for contents in opened.values():
                yield from contents
        for contents in self.columns.values():
            yield from contents


class Attacker:
    """
    Gathers with `write_down_*`, then `attack`s; may attack again and again, each time with what is live then.
    """

    def __init__(self) -> None:
        self.identities: dict[uuid.UUID, set[Identity]] = defaultdict(set)
        self.users: dict[uuid.UUID, set[int]] = defaultdict(set)
        """The slots that a user was ever seen with."""
        self.records = UsersRecords(subkey)
        self._rows: set[tuple[object, ...]] = set()
        self._texts: set[str] = set()
        self._tree_ids: list[bytes] = []
        self._keys_in_clear: list[bytes] = []
        self._states_in_clear: list[bytes] = []
        self._indexes: set[int] = {USERS_OWN_LEAF}
        # Kind, depth, first slot and epoch of writing: what a node may be bound to besides its tree. §6.3
        self._nodes: list[tuple[bytes, tuple[tuple[bytes, int, int, int], ...]]] = []
        self._bound_nodes: list[Bound] = []
        self._bound_to: list[bytes] = []
        self._messages: dict[tuple[bytes, bytes], Message] = {}
        self._messages_at: dict[int, list[Message]] = defaultdict(list)
        self._details_rows: dict[uuid.UUID, set[bytes]] = defaultdict(set)
        self._bound_details: dict[int, list[Bound]] = defaultdict(list)
        self._details_of: dict[int, list[uuid.UUID]] = defaultdict(list)
        self._bound_personal: list[Bound] = []
        self._personal_of: list[uuid.UUID] = []
        self._exports: set[uuid.UUID] = set()
        self._export_records: dict[bytes, int] = {}
        """What lies in an export's rows, with the number beside it."""
        self._tried_on_nodes: dict[bytes, _Tried] = defaultdict(_Tried)
        self._tried_on_messages: dict[tuple[bytes, int], _Tried] = defaultdict(_Tried)
        self._tried_on_details: dict[tuple[bytes, int], _Tried] = defaultdict(_Tried)
        self._tried_on_personal: dict[bytes, _Tried] = defaultdict(_Tried)

    # Gathering

    def write_down_statement(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """
        Keep what a statement that writes was sent with, whether or not it is committed.
        """
        table, names = _names_of_parameters(statement)
        for values in rows:
            self.write_down_row(table, list(zip(names, values, strict=True)))

    def write_down_database(self, path: Path) -> None:
        """
        Keep everything that a live SQLite file holds.
        """
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            tables = [
                name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            for table in tables:
                found = database.execute(f'SELECT * FROM "{table}"')
                names = [column[0] for column in found.description]
                for values in found:
                    self.write_down_row(table, list(zip(names, values, strict=True)))

    def write_down_row(self, table: str, columns: Sequence[tuple[str, object]]) -> None:
        """
        Keep one row, or the part of it that a statement named.
        """
        row = tuple(
            (name, bytes(value) if isinstance(value, memoryview) else value) for name, value in columns
        )
        if (table, row) in self._rows:
            return
        self._rows.add((table, row))
        named: dict[str, Any] = dict(row)
        self._note_names(table, named)
        self.records.write_down(table, named)
        expected = {"tree_pages": "sealed", "tree_states": "sealed", "users": "personal"}.get(
            table, "details"
        )
        for name, value in row:
            if isinstance(value, str):
                self._look_for_keys_in_text(value)
            elif isinstance(value, bytes):
                self._look_for_keys_in_clear(value)
                if name == "sealed" and table.startswith("export"):
                    numbers = [number for column, number in row if column == "number"]
                    self._export_records[value] = numbers[0] if numbers else 0
                    continue
                if name == expected and self._file_record(table, named, value):
                    continue
                if len(value) >= _SMALLEST_WRAPPED_KEY:
                    self._file_odd_record(value, [number for _, number in row if isinstance(number, int)])

    def write_down_file(self, content: bytes) -> None:
        """
        Keep a sealed file, of which the head is enough; written down again when it has grown.
        """
        if len(content) < 92 or content[:4] != b"RECG":
            return
        preamble, salt, commitment = content[:36], content[36:60], content[60:92]
        slot, index = struct.unpack(">QI", preamble[24:])
        identity = Identity(uuid.UUID(bytes=preamble[8:24]), slot, index)
        message = self._messages.get((preamble, salt))
        if message is None:
            message = Message(identity, preamble, salt, commitment, b"")
            self._messages[preamble, salt] = message
            self._messages_at[index].append(message)
            self._know(identity)
        if len(content) - 92 > len(message.first_chunk):
            message.first_chunk = content[92:HEAD_OF_A_BLOB]

    def knows_file(self, content: bytes) -> bool:
        """
        Tell whether this very file was written down, if it is one that is worth it.
        """
        if len(content) < 92:
            return True
        message = self._messages.get((content[:36], content[36:60]))
        return message is not None and message.first_chunk == content[92:HEAD_OF_A_BLOB]

    def _note_names(self, table: str, named: Mapping[str, Any]) -> None:
        tree_id = named.get("tree_id")
        if isinstance(tree_id, bytes) and tree_id not in self._tree_ids:
            self._tree_ids.append(tree_id)
        for name in ("leaf_index", "first_leaf", "last_leaf"):
            if isinstance(index := named.get(name), int):
                self._indexes.add(index)
        owner = _as_uuid(named.get("id"))
        slot = named.get("key_slot")
        if owner is not None and isinstance(slot, int):
            if table == "users":
                self.users[owner].add(slot)
            elif isinstance(index := named.get("leaf_index"), int):
                self._know(Identity(owner, slot, index))
                if table == "exports":
                    self._exports.add(owner)

    def _know(self, identity: Identity) -> None:
        if identity in self.identities[identity.recording_id]:
            return
        self.identities[identity.recording_id].add(identity)
        self._indexes.add(identity.index)
        for sealed in self._details_rows[identity.recording_id]:
            self._bind_details(identity, sealed)

    def _file_record(self, table: str, named: Mapping[str, Any], sealed: bytes) -> bool:
        """
        Keep a record whose place is known; tell whether it is.
        """
        if table in ("tree_pages", "tree_states"):
            epoch = named.get("epoch")
            depth, slot = (
                (named.get("depth"), named.get("first_slot"))
                if table == "tree_pages"
                else (4, named.get("slot"))
            )
            if depth is None or slot is None or epoch is None:
                return False
            kind = b"P" if table == "tree_pages" else b"S"
            self._nodes.append((sealed, ((kind, depth, slot, epoch),)))
            return True
        owner = _as_uuid(named.get("id"))
        if owner is None:
            return False
        if table == "users":
            slot = named.get("key_slot")
            if slot is None:
                return False
            context = b"USER\x01" + owner.bytes + slot.to_bytes(8, "big")
            self._bound_personal.append(Bound(sealed, (context,)))
            self._personal_of.append(owner)
        elif sealed not in self._details_rows[owner]:
            self._details_rows[owner].add(sealed)
            for identity in self.identities[owner]:
                self._bind_details(identity, sealed)
        return True

    def _bind_details(self, identity: Identity, sealed: bytes) -> None:
        context = (
            b"RECD\x01" + identity.recording_id.bytes + struct.pack(">QI", identity.slot, identity.index)
        )
        self._bound_details[identity.index].append(Bound(sealed, (context,)))
        self._details_of[identity.index].append(identity.recording_id)

    def _file_odd_record(self, sealed: bytes, numbers: Sequence[int]) -> None:
        """
        Keep a record that lies where none is expected: it may be a node bound to any of the numbers beside it.
        """
        slots = [number for number in numbers if 0 <= number < 2**32]
        epochs = [number for number in numbers if 0 <= number < 2**63]
        places = [(b"S", 4, slot, epoch) for slot in slots for epoch in epochs]
        places += [
            (b"P", depth, slot & ~(0xFFFFFFFF >> 8 * depth) & 0xFFFFFFFF, epoch)
            for slot in slots
            for epoch in epochs
            for depth in range(4)
        ]
        self._nodes.append((sealed, tuple(places)))

    def _look_for_keys_in_clear(self, value: bytes) -> None:
        if len(value) == 32:
            self._keys_in_clear.append(value)
        self._keys_in_clear += parse_page(value)
        if parse_state(value):
            self._states_in_clear.append(value)

    def _look_for_keys_in_text(self, text: str) -> None:
        if text in self._texts:
            return
        self._texts.add(text)
        self._keys_in_clear += _keys_in_text(text)

    # Attacking

    def attack(self, live: Mapping[str, bytes], *, exhaustive: bool = False) -> Loot:
        """
        Open whatever opens with what lies on the disk now.

        *live* are the contents of files other than blobs and databases: the root store, and whatever there may be.
        Ordinarily a key of a user is tried where such a key belongs, and every other key on every node of the tree;
        an exhaustive attack tries every key of any kind on everything, in every role.
        """
        self._bind_nodes()
        loot = Loot()
        queue = deque([*self._keys_in_clear, *_keys_in_files(live)])
        for content in self._states_in_clear:
            self._use_state(content, (), loot, queue, exhaustive=exhaustive)
        while queue:
            key = queue.popleft()
            if key in loot.keys:
                continue
            loot.keys.add(key)
            for ordinal, content in _try(self._tried_on_nodes[key], key, self._bound_nodes):
                queue += parse_page(content)
                if len(content) == 32:
                    queue.append(content)
                slots = [slot for kind, _, slot, _ in self._nodes[ordinal][1] if kind == b"S"]
                self._use_state(content, slots, loot, queue, exhaustive=exhaustive)
            if exhaustive:
                self._use_in_every_role(key, loot)
        keys = loot.keys if exhaustive else ()
        for opened in self.records.open_all(loot.leaves, self.users, self.identities, other_keys=keys):
            loot.columns[opened.column].append(opened.plaintext)
            if opened.owner is not None:
                loot.personal[opened.owner].append(opened.plaintext)
        self._open_exports(loot, exhaustive=exhaustive)
        return loot

    def _open_exports(self, loot: Loot, *, exhaustive: bool) -> None:
        """
        Try the keys that leaves make for exports, in any order, on what lies in exports. §5.13
        """
        leaves = {leaf for found in loot.leaves.values() for leaf in found} | (
            loot.keys if exhaustive else set()
        )
        keys = {subkey(leaf, purpose) for leaf in leaves for purpose in ("export", "export-entry")}
        ciphers = [AESGCMSIV(key) for key in keys | (loot.keys if exhaustive else set())]
        for sealed, number in self._export_records.items():
            for subject, context in self._contexts_in_exports(number):
                for opened in _peel(sealed, context, ciphers):
                    loot.exported[subject].append(opened)

    def _contexts_in_exports(self, number: int) -> Iterator[tuple[uuid.UUID, bytes]]:
        for export in self._exports:
            for identity in list(self.identities[export]):
                place = export.bytes + identity.slot.to_bytes(8, "big")
                yield export, b"EXPF\x01" + place + number.to_bytes(4, "big")
                for recording in list(self.identities):
                    yield recording, b"EXPR\x01" + place + recording.bytes

    def _use_state(
        self, content: bytes, slots: Sequence[int], loot: Loot, queue: deque[bytes], *, exhaustive: bool
    ) -> None:
        for depth, prefix, seed in parse_state(content):
            last = prefix | (2**32 - 1 >> depth)
            for index in self._indexes:
                if not prefix <= index <= last:
                    continue
                leaf = descend(seed, depth, index)
                for slot in slots:
                    loot.leaves[slot, index].add(leaf)
                self._use_leaf(leaf, index, loot)
                # The service's leaves may be keys to anything; a user's are for what is his alone.
                if exhaustive or 0 in slots:
                    queue += [seed, leaf, *(subkey(leaf, purpose) for purpose in _PURPOSES)]

    def _use_leaf(self, leaf: bytes, index: int, loot: Loot) -> None:
        self._use_audio_key(subkey(leaf, "audio"), index, loot, leaf)
        self._use_details_key(subkey(leaf, "details"), index, loot, leaf)
        if index == USERS_OWN_LEAF:
            self._use_personal_key(subkey(leaf, "personal"), loot)

    def _use_audio_key(self, key: bytes, index: int, loot: Loot, leaf: bytes) -> None:
        messages = self._messages_at[index]
        tried = self._tried_on_messages[key, index]
        for ordinal in range(tried.up_to, len(messages)):
            if messages[ordinal].is_opened_by(key):
                tried.hits.append((ordinal, key))
        tried.up_to = len(messages)
        for ordinal, _ in tried.hits:
            # Opened anew each time: of a file that is being written there may be more than before.
            loot.audio[messages[ordinal].identity.recording_id].append(messages[ordinal].open(key))
            loot.opened_by[leaf].add(messages[ordinal].identity.recording_id)

    def _use_details_key(self, key: bytes, index: int, loot: Loot, leaf: bytes) -> None:
        for ordinal, plaintext in _try(self._tried_on_details[key, index], key, self._bound_details[index]):
            recording_id = self._details_of[index][ordinal]
            loot.details[recording_id].append(plaintext)
            loot.opened_by[leaf].add(recording_id)

    def _use_personal_key(self, key: bytes, loot: Loot) -> None:
        for ordinal, plaintext in _try(self._tried_on_personal[key], key, self._bound_personal):
            loot.personal[self._personal_of[ordinal]].append(plaintext)

    def _use_in_every_role(self, key: bytes, loot: Loot) -> None:
        for index in self._indexes:
            self._use_leaf(key, index, loot)
            self._use_audio_key(key, index, loot, key)
            self._use_details_key(key, index, loot, key)
        self._use_personal_key(key, loot)
        self._use_personal_key(subkey(key, "personal"), loot)

    def _bind_nodes(self) -> None:
        if self._bound_to != self._tree_ids:
            self._bound_to = list(self._tree_ids)
            self._bound_nodes.clear()
            self._tried_on_nodes.clear()
        for sealed, places in self._nodes[len(self._bound_nodes) :]:
            contexts = tuple(
                tree_id + kind + struct.pack(">BIQ", depth, slot, epoch)
                for tree_id in self._tree_ids
                for kind, depth, slot, epoch in places
            )
            self._bound_nodes.append(Bound(sealed, contexts))


def _try(tried: _Tried, key: bytes, records: Sequence[Bound]) -> list[tuple[int, bytes]]:
    """
    Try *key* on those records that it was not tried on yet; return all that it opens, with their ordinals.
    """
    if tried.up_to < len(records):
        cipher = AESGCMSIV(key)
        for ordinal in range(tried.up_to, len(records)):
            sealed, contexts = records[ordinal]
            for context in contexts:
                try:
                    tried.hits.append((ordinal, cipher.decrypt(sealed[:12], sealed[12:], context)))
                    break
                except InvalidTag:
                    continue
        tried.up_to = len(records)
    return tried.hits


def _peel(sealed: bytes, context: bytes, ciphers: Sequence[AESGCMSIV]) -> Iterator[bytes]:
    """
    Yield what opens with one key, or with one inside the other.
    """
    for cipher in ciphers:
        try:
            opened = cipher.decrypt(sealed[:12], sealed[12:], context)
        except InvalidTag:
            continue
        yield opened
        if len(opened) >= 28:
            yield from _peel(opened, context, ciphers)


def _keys_in_files(files: Mapping[str, bytes]) -> Iterator[bytes]:
    """
    Take any 32 bytes for a key that stand where one could stand, whatever the rest of the file says. §6.5
    """
    for content in files.values():
        if len(content) > LARGEST_ODD_FILE:
            continue
        for at in range(0, len(content) - 31, 8):
            key = content[at : at + 32]
            if any(key):
                yield key
        yield from _keys_in_text(content.decode("ascii", "replace"))


def _keys_in_text(text: str) -> Iterator[bytes]:
    for found in _KEY_IN_TEXT.findall(text):
        try:
            key = (
                bytes.fromhex(found)
                if len(found) == 64
                else base64.urlsafe_b64decode(found.rstrip("=") + "=")
            )
        except (ValueError, binascii.Error):
            continue
        if len(key) == 32:
            yield key


def _as_uuid(value: object) -> uuid.UUID | None:
    try:
        return uuid.UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


_PARAMETER: Final = re.compile(r"\?|\$(\d+)")
_TABLE: Final = re.compile(r'\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+"?(\w+)"?', re.IGNORECASE)
_INSERTED: Final = re.compile(r"\s*INSERT INTO\s+\S+\s*\(([^)]*)\)\s*VALUES\s*\(", re.IGNORECASE)
_COMPARED: Final = re.compile(r'(\w+)"?\s*=\s*$')


@lru_cache(maxsize=1000)
def _names_of_parameters(statement: str) -> tuple[str, tuple[str, ...]]:
    """
    Return the table that *statement* writes to, and the column that each of its parameters is for, if that is plain.
    """
    table = _TABLE.match(statement)
    inserted = _INSERTED.match(statement)
    columns = [column.strip(' "\n\t') for column in inserted[1].split(",")] if inserted else []
    names: dict[int, str] = {}
    for ordinal, parameter in enumerate(_PARAMETER.finditer(statement)):
        number = int(parameter[1]) - 1 if parameter[1] else ordinal
        name = ""
        if compared := _COMPARED.search(statement, 0, parameter.start()):
            name = compared[1]
        elif inserted:
            position = _position_in_list(statement[inserted.end() : parameter.start()])
            name = columns[position] if position < len(columns) else ""
        names.setdefault(number, name)
    return (table[1] if table else ""), tuple(names[number] for number in sorted(names))


def _position_in_list(text: str) -> int:
    """
    Count the commas before the end of *text* that part values, not arguments; a further list of values begins anew.
    """
    depth = position = 0
    for letter in text:
        if letter == "(":
            if depth < 0:
                position = 0
            depth += 1
        elif letter == ")":
            depth -= 1
        elif letter == "," and depth == 0:
            position += 1
    return position
