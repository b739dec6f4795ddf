"""
The check values of FORMAT §7.3: computed here, and the same on the page.
"""

import hashlib
import uuid
from pathlib import Path
from typing import Final

import pytest

from gateway.base.ids import USER_LEAF, KeySlot, LeafIndex
from gateway.base.secret import Secret
from gateway.crypto.ggm import GgmState
from gateway.crypto.keys import subkey
from gateway.crypto.preamble import Preamble
from gateway.crypto.wrap import open_record, seal_record
from tests.unit.crypto.blobs import open_blob, seal_blob

FORMAT: Final = (Path(__file__).parents[3] / "docs" / "FORMAT.md").read_text()

STATE: Final = GgmState.fresh(Secret(bytes(range(32))))
LEAF: Final = LeafIndex(5)
PREAMBLE: Final = Preamble(uuid.UUID("00112233-4455-6677-8899-aabbccddeeff"), KeySlot(7), LEAF)
SALT: Final = bytes(range(0x40, 0x58))


def _is_on_the_page(value: str) -> bool:
    return f"`{value}`" in FORMAT


@pytest.mark.parametrize(
    ("index", "leaf"),
    [
        (0, "f9d79c775f0b35826c6b08c6c44a19ec87bc8dd438a915743ed9ad9e9785bf5e"),
        (5, "7bdcd92c7487d09e1d19683e8465584d5890703449fe8dacb39e92007bf97976"),
        (2**32 - 1, "152c2768536f1fc48b2460d2b4d03cfa30ce93640c537847b4b24bb220e0eec1"),
    ],
)
def test_leaves(index: int, leaf: str) -> None:
    assert leaf == STATE.leaf(LeafIndex(index)).reveal().hex()
    assert _is_on_the_page(leaf)


def test_sub_keys() -> None:
    audio = "2e441fa53a2c952d84244f18acc2c904798bb0757144b22db8a8946216eeb7ae"
    details = "2bcc410285153e472dc3581c290d3dc42811a8b0333a4a3af4898139fedb8558"
    assert audio == subkey(STATE.leaf(LEAF), "audio").reveal().hex()
    assert details == subkey(STATE.leaf(LEAF), "details").reveal().hex()
    assert _is_on_the_page(audio)
    assert _is_on_the_page(details)


def test_states() -> None:
    only_the_last = "20 ffffffff 152c2768536f1fc48b2460d2b4d03cfa30ce93640c537847b4b24bb220e0eec1"
    assert bytes.fromhex(only_the_last) == STATE.puncture(LeafIndex(0), LeafIndex(USER_LEAF - 1)).to_bytes()
    assert _is_on_the_page(only_the_last)

    without_five = "7f94601e0f9b5f33e4b988765ade8a27125f81662b0e908dc0930b06429090ab"
    assert without_five == hashlib.sha256(STATE.puncture(LEAF).to_bytes()).hexdigest()
    assert _is_on_the_page(without_five)


def test_preamble() -> None:
    preamble = "524543470101000000112233445566778899aabbccddeeff000000000000000700000005"
    assert preamble == PREAMBLE.to_bytes().hex()
    assert _is_on_the_page(preamble)


@pytest.mark.parametrize(
    ("size", "blob_size", "digest"),
    [
        (0, 108, "70c32ec44414a75a9f585de719b954bbfb47e52fc9bed6fb6e9645e4b3dac55d"),
        (10, 118, "1896659d2bb36f3b656586c7b8485db51477205c9814ed80ba868659047383d5"),
        (16_383, 16_491, "392dbfc177d32f2d6d86deff346ccd795a05b0cad5eac9b1e4d399d4430d8d3e"),
        (16_384, 16_508, "24f9e2548ab6be94c5fa3d7762da38c821c387f0d57d1c46e0233ddc79a9e058"),
        (16_385, 16_509, "c9981cc2009915aadf498eb7a3efc7c52e9ca92ed682ae5be844f92c832728ff"),
        (200_000, 200_300, "b7164fdd0a2843d162fda0de6992d8c3c811851e127e185fec3f5caa6ecacdb2"),
    ],
)
def test_blobs(size: int, blob_size: int, digest: str) -> None:
    key = subkey(STATE.leaf(LEAF), "audio")
    plaintext = bytes(7 * j % 251 for j in range(size))

    blob = seal_blob(key, PREAMBLE, plaintext, salt=SALT)

    commitment = "7ab07df6d139108fa49b9ee9dc39731edf0fde99a2109f5bf8ad0485d8214a29"
    assert commitment == blob[60:92].hex()
    assert blob_size == len(blob)
    assert digest == hashlib.sha256(blob).hexdigest()
    assert (PREAMBLE, plaintext) == open_blob(key, blob)
    assert _is_on_the_page(commitment)
    assert _is_on_the_page(digest)
    assert f"| {size:,} |" in FORMAT
    assert f"| {blob_size:,} |" in FORMAT


def test_details_record() -> None:
    record = "000102030405060708090a0bfc55f5633db06d85348d831aec3b6286b4e2"
    key = subkey(STATE.leaf(LEAF), "details")
    associated_data = b"RECD\x01" + PREAMBLE.to_bytes()[8:]
    assert record == seal_record(key, b"{}", associated_data, nonce=bytes(range(12))).hex()
    assert b"{}" == open_record(key, bytes.fromhex(record), associated_data)
    assert _is_on_the_page(record)
