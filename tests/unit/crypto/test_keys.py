import hashlib
import hmac
from pathlib import Path
from typing import get_args

import pytest

from gateway.base.secret import Secret
from gateway.crypto.keys import Purpose, expand, root_id, subkey

FORMAT = (Path(__file__).parents[3] / "docs" / "FORMAT.md").read_text()
KEY = Secret(bytes(range(32)))


def _expand_by_hand(key: bytes, info: bytes, size: int) -> bytes:
    block, output, number = b"", b"", 0
    while len(output) < size:
        number += 1
        block = hmac.digest(key, block + info + bytes([number]), hashlib.sha512)
        output += block
    return output[:size]


@pytest.mark.parametrize("size", [16, 32, 64, 65, 76])
def test_expand_is_the_second_half_of_rfc_5869(size: int) -> None:
    assert _expand_by_hand(KEY.reveal(), b"some info", size) == expand(KEY, b"some info", size)


def test_the_id_of_a_root_is_expanded_from_it() -> None:
    assert _expand_by_hand(KEY.reveal(), b"root-id", 16) == root_id(KEY)


PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


def test_sub_keys_of_one_leaf_differ_by_purpose() -> None:
    keys = [subkey(KEY, purpose) for purpose in PURPOSES]
    assert len(PURPOSES) == len({key.reveal() for key in keys})
    assert all(len(key) == 32 for key in keys)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_each_purpose_is_in_the_table_of_format(purpose: Purpose) -> None:
    assert f"\n| `{purpose}` |" in FORMAT


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_of_another_size_is_a_mistake(size: int) -> None:
    with pytest.raises(ValueError, match=f"not {size}"):
        subkey(Secret(bytes(size)), "audio")
