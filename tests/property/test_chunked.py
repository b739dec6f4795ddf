"""
Properties of sealed blobs, for any size, any damage and any range.

The oracle is `cryptography.cobblestone`, an implementation of the same public format that shares no code with ours.
"""

import random
import uuid
from typing import Final

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.base.ids import KeySlot, LeafIndex
from gateway.base.secret import Secret
from gateway.crypto.chunked import (
    CHUNK_SIZE,
    MESSAGE_HEADER_SIZE,
    SEALED_CHUNK_SIZE,
    TAG_SIZE,
    Opener,
    chunk_range,
    plaintext_size,
    sealed_size,
)
from gateway.crypto.errors import CryptoError, DamagedChunk, MalformedBlob, Truncated, WrongKey
from gateway.crypto.pieces import PieceExtent, measure_piece
from gateway.crypto.preamble import PREAMBLE_SIZE, Preamble
from tests.unit.crypto.blobs import open_blob, open_message, seal_blob, seal_message

FIRST_CHUNK: Final = PREAMBLE_SIZE + MESSAGE_HEADER_SIZE
KEY: Final = Secret(bytes(range(32)))

keys = st.binary(min_size=32, max_size=32).map(Secret)
contexts = st.binary(max_size=50)
preambles = st.builds(
    Preamble,
    st.uuids(),
    st.integers(0, 2**32 - 1).map(KeySlot),
    st.integers(0, 2**32 - 1).map(LeafIndex),
)


@st.composite
def sizes(draw: st.DrawFn, *, max_chunks: int = 4) -> int:
    """
    Any size, often one near the edge of a chunk.
    """
    near_an_edge = st.builds(
        lambda chunks, step: max(0, chunks * CHUNK_SIZE + step),
        st.integers(0, max_chunks),
        st.integers(-TAG_SIZE - 1, TAG_SIZE + 1),
    )
    return draw(near_an_edge | st.integers(0, max_chunks * CHUNK_SIZE))


@st.composite
def plaintexts(draw: st.DrawFn, *, min_chunks: int = 0) -> bytes:
    """
    Bytes no two chunks of which are equal.
    """
    size = draw(sizes()) + min_chunks * CHUNK_SIZE
    return random.Random(draw(st.integers(0, 2**32))).randbytes(size)


def _chunks(blob: bytes) -> list[bytes]:
    return [
        blob[start : start + SEALED_CHUNK_SIZE] for start in range(FIRST_CHUNK, len(blob), SEALED_CHUNK_SIZE)
    ]


class TestOracle:
    @given(keys, contexts, plaintexts())
    def test_it_opens_what_we_seal(self, key: Secret, context: bytes, plaintext: bytes) -> None:
        oracle = Cobblestone256Decryptor(key.reveal(), context)
        opened = oracle.update(seal_message(key, context, plaintext)) + oracle.finalize()
        assert plaintext == opened

    @given(keys, contexts, plaintexts())
    def test_we_open_what_it_seals(self, key: Secret, context: bytes, plaintext: bytes) -> None:
        oracle = Cobblestone256Encryptor(key.reveal(), context)
        assert plaintext == open_message(key, context, oracle.update(plaintext) + oracle.finalize())


class TestSizes:
    @given(sizes(), preambles)
    def test_are_known_before_sealing(self, size: int, preamble: Preamble) -> None:
        blob = seal_blob(KEY, preamble, bytes(size))
        assert PREAMBLE_SIZE + sealed_size(size) == len(blob)
        assert size == plaintext_size(sealed_size(size))

    @given(st.integers(0, 2**53))
    def test_that_are_possible_are_those_that_sealing_gives(self, size: int) -> None:
        try:
            plaintext = plaintext_size(size)
        except CryptoError:
            return
        assert size == sealed_size(plaintext)


class TestBlob:
    @given(keys, preambles, plaintexts())
    def test_opens_to_what_was_sealed(self, key: Secret, preamble: Preamble, plaintext: bytes) -> None:
        assert (preamble, plaintext) == open_blob(key, seal_blob(key, preamble, plaintext))

    @given(keys, keys, preambles)
    def test_opens_with_its_own_key_only(self, key: Secret, other: Secret, preamble: Preamble) -> None:
        assume(key != other)
        with pytest.raises(WrongKey):
            open_blob(other, seal_blob(key, preamble, b"hello"))

    @given(preambles, preambles, plaintexts())
    def test_opens_under_its_own_preamble_only(
        self, preamble: Preamble, other: Preamble, plaintext: bytes
    ) -> None:
        assume(preamble != other)
        blob = seal_blob(KEY, preamble, plaintext)
        with pytest.raises(WrongKey):
            open_blob(KEY, other.to_bytes() + blob[PREAMBLE_SIZE:])


class TestDamage:
    """
    Whatever is done to a blob, it is refused, and the fault is told apart as FORMAT §3.12 has it.
    """

    @given(preambles, plaintexts(), st.data())
    def test_any_flipped_bit(self, preamble: Preamble, plaintext: bytes, data: st.DataObject) -> None:
        blob = bytearray(seal_blob(KEY, preamble, plaintext))
        offset = data.draw(
            st.integers(0, len(blob) - 1) | st.integers(0, FIRST_CHUNK + TAG_SIZE - 1), "offset"
        )
        blob[offset] ^= 1 << data.draw(st.integers(0, 7), "bit")

        if offset < FIRST_CHUNK:
            with pytest.raises((MalformedBlob, WrongKey)):
                open_blob(KEY, bytes(blob))
        else:
            with pytest.raises(DamagedChunk) as damaged:
                open_blob(KEY, bytes(blob))
            assert (offset - FIRST_CHUNK) // SEALED_CHUNK_SIZE == damaged.value.chunk

    @given(preambles, plaintexts(), st.data())
    def test_any_cut(self, preamble: Preamble, plaintext: bytes, data: st.DataObject) -> None:
        blob = seal_blob(KEY, preamble, plaintext)
        edges = st.sampled_from([0, PREAMBLE_SIZE, *range(FIRST_CHUNK, len(blob), SEALED_CHUNK_SIZE)])
        size = data.draw(st.integers(0, len(blob) - 1) | edges, "size")

        if size < PREAMBLE_SIZE:
            expected: type[CryptoError] = MalformedBlob
        elif size < FIRST_CHUNK or (size - FIRST_CHUNK) % SEALED_CHUNK_SIZE < TAG_SIZE:
            expected = Truncated
        else:
            expected = DamagedChunk
        with pytest.raises(expected):
            open_blob(KEY, blob[:size])

    @given(
        preambles,
        plaintexts(),
        st.binary(min_size=1, max_size=2 * TAG_SIZE)
        | st.integers(1, 2).map(lambda n: bytes(n * SEALED_CHUNK_SIZE)),
    )
    def test_any_bytes_more(self, preamble: Preamble, plaintext: bytes, more: bytes) -> None:
        with pytest.raises((DamagedChunk, Truncated)):
            open_blob(KEY, seal_blob(KEY, preamble, plaintext) + more)

    @given(preambles, plaintexts(min_chunks=2), st.data())
    def test_any_order_of_chunks_but_the_right_one(
        self, preamble: Preamble, plaintext: bytes, data: st.DataObject
    ) -> None:
        blob = seal_blob(KEY, preamble, plaintext)
        *full, last = _chunks(blob)
        order = data.draw(st.lists(st.integers(0, len(full) - 1), max_size=len(full) + 1), "order")
        assume(order != list(range(len(full))))

        with pytest.raises(DamagedChunk) as damaged:
            open_blob(KEY, blob[:FIRST_CHUNK] + b"".join(full[number] for number in order) + last)
        wrong = [place for place, number in enumerate(order) if place != number]
        assert (wrong[0] if wrong else len(order)) == damaged.value.chunk

    @given(preambles, preambles, plaintexts(), st.booleans(), st.data())
    def test_any_chunk_of_another_blob_under_the_same_key(
        self,
        preamble: Preamble,
        other: Preamble,
        plaintext: bytes,
        is_same_preamble: bool,
        data: st.DataObject,
    ) -> None:
        """
        Even one of the same plaintext at the same place, sealed for the same recording.
        """
        blob = seal_blob(KEY, preamble, plaintext)
        donor = seal_blob(KEY, preamble if is_same_preamble else other, plaintext)
        place = data.draw(st.integers(0, len(_chunks(blob)) - 1), "place")
        spliced = _chunks(blob)
        spliced[place] = _chunks(donor)[place]

        with pytest.raises(DamagedChunk) as damaged:
            open_blob(KEY, blob[:FIRST_CHUNK] + b"".join(spliced))
        assert place == damaged.value.chunk

    @given(preambles, plaintexts())
    def test_the_header_of_another_message_under_the_same_key(
        self, preamble: Preamble, plaintext: bytes
    ) -> None:
        blob, donor = seal_blob(KEY, preamble, plaintext), seal_blob(KEY, preamble, plaintext)
        with pytest.raises(DamagedChunk):
            open_blob(KEY, donor[:FIRST_CHUNK] + blob[FIRST_CHUNK:])

    @given(st.uuids(), st.uuids())
    def test_a_blob_in_another_recordings_place_says_so(self, one: uuid.UUID, other: uuid.UUID) -> None:
        """
        A blob swapped whole still opens with its own key, so readers compare the id (and have another key anyway).
        """
        assume(one != other)
        blob = seal_blob(KEY, Preamble(one, KeySlot(1), LeafIndex(1)), b"hello")
        preamble, _ = open_blob(KEY, blob)
        assert one == preamble.recording_id


class TestRange:
    @given(plaintexts(), st.data())
    def test_gives_the_slice_of_the_plaintext(self, plaintext: bytes, data: st.DataObject) -> None:
        message = seal_message(KEY, b"", plaintext)
        edges = st.sampled_from(sorted({*range(0, len(plaintext) + 1, CHUNK_SIZE), len(plaintext)}))
        places = st.integers(0, len(plaintext)) | edges
        start, stop = sorted([data.draw(places, "start"), data.draw(places, "stop")])

        wanted = chunk_range(start, stop - start, len(plaintext))
        sealed = message[wanted.sealed_start : wanted.sealed_start + wanted.sealed_length]
        opener = Opener(KEY, b"", message[:MESSAGE_HEADER_SIZE])
        opened = opener.open_chunks(wanted.first_chunk, sealed, ends_message=wanted.ends_message)

        assert wanted.sealed_length == len(sealed)
        assert plaintext[start:stop] == opened[wanted.skip : wanted.skip + wanted.length]
        assert wanted.skip < CHUNK_SIZE
        assert wanted.chunks == len(_chunks(bytes(PREAMBLE_SIZE) + message[:MESSAGE_HEADER_SIZE] + sealed))
        assert len(opened) < wanted.length + 2 * CHUNK_SIZE

    @given(plaintexts(), st.data())
    def test_to_the_end_tells_a_cut_message(self, plaintext: bytes, data: st.DataObject) -> None:
        message = seal_message(KEY, b"", plaintext)
        start = data.draw(st.integers(0, len(plaintext)), "start")
        wanted = chunk_range(start, len(plaintext) - start, len(plaintext))
        kept = data.draw(st.integers(wanted.sealed_start, len(message) - 1), "kept")
        opener = Opener(KEY, b"", message[:MESSAGE_HEADER_SIZE])
        with pytest.raises((DamagedChunk, Truncated)):
            opener.open_chunks(wanted.first_chunk, message[wanted.sealed_start : kept], ends_message=True)


class TestPiece:
    @given(plaintexts(), st.integers(1, 3 * SEALED_CHUNK_SIZE), st.data())
    def test_that_was_cut_counts_up_to_its_whole_chunks(
        self, plaintext: bytes, slab: int, data: st.DataObject
    ) -> None:
        slab = max(slab, 100)
        message = seal_message(KEY, b"", plaintext)
        kept = data.draw(st.integers(MESSAGE_HEADER_SIZE, len(message)), "kept")
        cut = message[:kept]

        opener = Opener(KEY, b"", message[:MESSAGE_HEADER_SIZE])
        slabs = (cut[start : start + slab] for start in range(MESSAGE_HEADER_SIZE, kept, slab))
        extent = measure_piece(opener, slabs)

        if kept == len(message):
            assert PieceExtent(len(plaintext), kept, is_ended=True) == extent
        else:
            chunks = (kept - MESSAGE_HEADER_SIZE) // SEALED_CHUNK_SIZE
            size = MESSAGE_HEADER_SIZE + chunks * SEALED_CHUNK_SIZE
            assert PieceExtent(chunks * CHUNK_SIZE, size, is_ended=False) == extent
