"""
The attacker owes nothing to the gateway's code, and does as FORMAT says.
"""

import ast
import hashlib
import os
import struct
import sys
import uuid
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from tests.closure import attacker as module
from tests.closure import attackers_records
from tests.closure.attacker import Attacker, descend, expand, parse_page, parse_state, roots_in, subkey

SEED = bytes(range(32))
RECORDING = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
TREE = bytes(16)
ROOT, PAGE_1, PAGE_2, PAGE_3, STATE = (bytes([number]) * 32 for number in range(1, 6))
NONCE = bytes(12)


def modules_imported_by(source: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert 0 == node.level
            found.add(node.module or "")
    return {name.partition(".")[0] for name in found}


def test_the_attacker_imports_nothing_of_the_product() -> None:
    for part in (module, attackers_records):
        assert part.__file__ is not None
        source = Path(part.__file__).read_text().replace("from tests.closure.attackers_records import", "#")
        assert "cryptography" in modules_imported_by(source)
        assert set() == modules_imported_by(source) - {"cryptography"} - sys.stdlib_module_names
        assert "import_module" not in source
        assert "__import__" not in source


def test_the_check_values_of_the_format() -> None:
    expected = {
        0: "f9d79c775f0b35826c6b08c6c44a19ec87bc8dd438a915743ed9ad9e9785bf5e",
        5: "7bdcd92c7487d09e1d19683e8465584d5890703449fe8dacb39e92007bf97976",
        2**32 - 1: "152c2768536f1fc48b2460d2b4d03cfa30ce93640c537847b4b24bb220e0eec1",
    }
    assert expected == {index: descend(SEED, 0, index).hex() for index in expected}
    leaf = descend(SEED, 0, 5)
    assert "2e441fa53a2c952d84244f18acc2c904798bb0757144b22db8a8946216eeb7ae" == subkey(leaf, "audio").hex()
    assert "2bcc410285153e472dc3581c290d3dc42811a8b0333a4a3af4898139fedb8558" == subkey(leaf, "details").hex()


def root_file(*roots: tuple[int, bytes]) -> bytes:
    slots = bytearray(8192)
    for number, (epoch, root) in enumerate(roots):
        record = b"RGRS\x01" + bytes(3) + epoch.to_bytes(8, "big") + root
        slots[number * 4096 : number * 4096 + 80] = record + hashlib.sha256(record).digest()
    return bytes(slots)


def sealed_node(key: bytes, content: bytes, kind: bytes, depth: int, slot: int, epoch: int) -> bytes:
    context = TREE + kind + struct.pack(">BIQ", depth, slot, epoch)
    return NONCE + AESGCMSIV(key).encrypt(NONCE, content, context)


def entry(number: int, key: bytes) -> bytes:
    return bytes([number]) + key


def who_saw(slot: int, *, state: bytes, placeholder: str = "?") -> Attacker:
    """
    Return an attacker who saw one user's part of a tree go into the database, and a blob of his.
    """

    def mark(number: int) -> str:
        return f"${number}::BIGINT" if placeholder == "$" else "?"

    attacker = Attacker()
    attacker.write_down_statement(
        f"INSERT INTO tree_head (id, tree_id, epoch, next_slot) "
        f"VALUES ({mark(1)}, {mark(2)}, {mark(3)}, {mark(4)})",
        [(1, TREE, 0, 0)],
    )
    pages = [
        (0, 0, 7, sealed_node(ROOT, entry(0, PAGE_1), b"P", 0, 0, 7)),
        (1, 0, 7, sealed_node(PAGE_1, entry(0, PAGE_2), b"P", 1, 0, 7)),
        (2, 0, 7, sealed_node(PAGE_2, entry(slot >> 8, PAGE_3), b"P", 2, 0, 7)),
    ]
    attacker.write_down_statement(
        f"INSERT INTO tree_pages (depth, first_slot, epoch, sealed) "
        f"VALUES ({mark(1)}, {mark(2)}, {mark(3)}, {mark(4)})",
        pages,
    )
    bottom = slot & ~0xFF
    attacker.write_down_statement(
        f"UPDATE tree_pages SET epoch={mark(1)}, sealed={mark(2)} "
        f"WHERE tree_pages.depth = {mark(3)} AND tree_pages.first_slot = {mark(4)}",
        [(7, sealed_node(PAGE_3, entry(slot & 0xFF, STATE), b"P", 3, bottom, 7), 3, bottom)],
    )
    attacker.write_down_statement(
        f"UPDATE tree_states SET epoch={mark(1)}, sealed={mark(2)} WHERE tree_states.slot = {mark(3)}",
        [(7, sealed_node(STATE, state, b"S", 4, slot, 7), slot)],
    )
    attacker.write_down_file(blob(slot, 5))
    return attacker


def blob(slot: int, index: int) -> bytes:
    """
    Return the beginning of a blob, sealed by hand.
    """
    preamble = b"RECG\x01\x01\0\0" + RECORDING.bytes + struct.pack(">QI", slot, index)
    salt = bytes(range(0x40, 0x58))
    audio = subkey(descend(SEED, 0, index), "audio")
    derived = expand(audio, b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + preamble, 76)
    return preamble + salt + derived[44:]


@pytest.mark.parametrize("placeholder", ["?", "$"])
@pytest.mark.parametrize("slot", [7, 300])
def test_it_walks_from_the_root_to_a_blob(slot: int, placeholder: str) -> None:
    attacker = who_saw(slot, state=struct.pack(">BI", 0, 0) + SEED, placeholder=placeholder)
    assert [RECORDING] == list(attacker.attack({"root/slots": root_file((7, ROOT))}).audio)
    assert [] == list(attacker.attack({"root/slots": root_file((7, bytes(31) + b"x"))}).audio)
    assert [] == list(attacker.attack({}).audio)


def test_a_punctured_leaf_is_out_of_its_reach() -> None:
    right_half = struct.pack(">BI", 1, 2**31) + descend(SEED, 0, 2**31)
    attacker = who_saw(7, state=right_half)
    loot = attacker.attack({"root/slots": root_file((7, ROOT))}, exhaustive=True)
    assert {} == loot.audio
    assert [] == [index for slot, index in loot.leaves if index == 5]


@pytest.mark.parametrize(
    "live",
    [
        {"notes.txt": f"the root is {ROOT.hex()}\n".encode()},
        {"root/slots": bytes(4096 + 16) + ROOT + bytes(4048)},
        {"root/slots": root_file((7, ROOT))[:24] + bytes(24) + ROOT},
    ],
    ids=["written down", "its record is damaged", "somewhere else"],
)
def test_it_takes_a_key_wherever_it_lies(live: dict[str, bytes]) -> None:
    attacker = who_saw(7, state=struct.pack(">BI", 0, 0) + SEED)
    assert [RECORDING] == list(attacker.attack(live).audio)


@pytest.mark.parametrize(
    "value",
    [PAGE_2, PAGE_2.hex(), struct.pack(">BI", 0, 0) + SEED, entry(3, PAGE_3)],
    ids=["key", "in hexadecimal", "state", "page"],
)
def test_a_key_that_was_stored_in_clear_is_found(value: object) -> None:
    attacker = who_saw(7, state=struct.pack(">BI", 0, 0) + SEED)
    attacker.write_down_statement("INSERT INTO anywhere (what) VALUES (?)", [(value,)])
    assert [RECORDING] == list(attacker.attack({}).audio)


def test_a_leaf_that_was_stored_in_clear_is_found_by_trying_everything() -> None:
    attacker = who_saw(7, state=struct.pack(">BI", 1, 2**31) + bytes(32))
    attacker.write_down_row("anywhere", [("what", descend(SEED, 0, 5))])
    assert [RECORDING] == list(attacker.attack({}, exhaustive=True).audio)


def test_whole_roots_are_told_from_damaged_ones() -> None:
    slots = root_file((7, ROOT), (8, STATE))
    assert {7: ROOT, 8: STATE} == roots_in(slots)
    assert {8: STATE} == roots_in(slots[:20] + b"?" + slots[21:])
    assert {} == roots_in(bytes(8192))


def test_what_is_no_page_and_no_state_gives_no_keys() -> None:
    assert [] == parse_page(entry(2, ROOT) + entry(1, ROOT))
    assert [] == parse_page(os.urandom(32))
    assert [] == parse_state(struct.pack(">BI", 33, 0) + SEED)
    assert [] == parse_state(struct.pack(">BI", 1, 1) + SEED)
    assert [] == parse_state(b"")
