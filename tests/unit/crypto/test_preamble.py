import uuid

import pytest

from gateway.base.ids import KeySlot, LeafIndex
from gateway.crypto.errors import MalformedBlob
from gateway.crypto.preamble import PREAMBLE_SIZE, Preamble

RECORDING = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
PREAMBLE = Preamble(RECORDING, KeySlot(7), LeafIndex(5))


@pytest.mark.parametrize(("slot", "index"), [(0, 0), (7, 5), (2**32 - 1, 2**32 - 1)])
def test_what_was_written_is_read(slot: int, index: int) -> None:
    preamble = Preamble(RECORDING, KeySlot(slot), LeafIndex(index))
    assert PREAMBLE_SIZE == len(preamble.to_bytes())
    assert preamble == Preamble.from_bytes(preamble.to_bytes())


@pytest.mark.parametrize(
    ("offset", "field"),
    [
        (0, "magic"),
        (3, "magic"),
        (4, "version"),
        (5, "suite"),
        (6, "flags"),
        (7, "flags"),
        (24, "key slot"),
        (27, "key slot"),
    ],
)
def test_a_foreign_value_is_refused_by_the_name_of_its_field(offset: int, field: str) -> None:
    foreign = bytearray(PREAMBLE.to_bytes())
    foreign[offset] ^= 0x80
    with pytest.raises(MalformedBlob, match=field):
        Preamble.from_bytes(bytes(foreign))


@pytest.mark.parametrize("size", [0, 4, 35, 37])
def test_another_size_is_refused(size: int) -> None:
    with pytest.raises(MalformedBlob, match=f"not {size}"):
        Preamble.from_bytes((PREAMBLE.to_bytes() + b"\0")[:size])


@pytest.mark.parametrize(("slot", "index"), [(2**32, 0), (-1, 0), (0, 2**32), (0, -1)])
def test_numbers_that_do_not_fit_are_a_mistake(slot: int, index: int) -> None:
    with pytest.raises(ValueError, match="2\\^32"):
        Preamble(RECORDING, KeySlot(slot), LeafIndex(index))
