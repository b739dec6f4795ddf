"""
What `Sealer` and `Opener` promise beyond the bytes, which the vectors and the properties show.
"""

from unittest import mock

import pytest

from gateway.base.secret import Secret
from gateway.crypto.chunked import (
    CHUNK_SIZE,
    MAX_CHUNKS,
    MAX_PLAINTEXT_SIZE,
    MESSAGE_HEADER_SIZE,
    SALT_SIZE,
    SEALED_CHUNK_SIZE,
    TAG_SIZE,
    Opener,
    Sealer,
    chunk_range,
    plaintext_size,
    sealed_size,
)
from gateway.crypto.errors import DamagedChunk, MalformedBlob, Truncated, WrongKey
from tests.unit.crypto.blobs import open_message, seal_message

KEY = Secret(bytes(range(32)))
CONTEXT = b"context"


class TestSealer:
    def test_draws_a_fresh_salt_for_each_message(self) -> None:
        headers = {Sealer(KEY, CONTEXT).header for _ in range(100)}
        assert 100 == len({header[:SALT_SIZE] for header in headers}) == len({h[SALT_SIZE:] for h in headers})

    def test_header_is_salt_and_commitment(self) -> None:
        sealer = Sealer(KEY, CONTEXT)
        assert MESSAGE_HEADER_SIZE == len(sealer.header)
        assert (
            sealer.header[SALT_SIZE:] == sealer.commitment == Opener(KEY, CONTEXT, sealer.header).commitment
        )

    def test_the_same_bytes_come_out_however_they_go_in(self) -> None:
        plaintext = bytes(range(256)) * (64 * 3) + b"end"
        sealer = Sealer(KEY, CONTEXT)
        out = bytearray(2 * SEALED_CHUNK_SIZE)
        message = bytearray(sealer.header)
        for start, stop in [(0, 0), (0, 1), (1, 1), (1, 3)]:
            part = memoryview(plaintext)[start * CHUNK_SIZE : stop * CHUNK_SIZE]
            message += out[: sealer.seal_into(part, memoryview(out))]
        message += sealer.finish(bytearray(b"end"))
        assert seal_message(KEY, CONTEXT, plaintext, salt=sealer.header[:SALT_SIZE]) == message

    def test_bytes_of_out_behind_the_sealed_ones_stay(self) -> None:
        out = bytearray(b"\xaa" * (SEALED_CHUNK_SIZE + 5))
        assert SEALED_CHUNK_SIZE == Sealer(KEY, CONTEXT).seal_into(bytes(CHUNK_SIZE), out)
        assert b"\xaa" * 5 == out[SEALED_CHUNK_SIZE:]

    @pytest.mark.parametrize("size", [1, CHUNK_SIZE - 1, CHUNK_SIZE + 1])
    def test_takes_whole_chunks_only(self, size: int) -> None:
        with pytest.raises(ValueError, match="whole number of chunks"):
            Sealer(KEY, CONTEXT).seal_into(bytes(size), bytearray(2 * SEALED_CHUNK_SIZE))

    def test_refuses_an_output_that_is_too_small_and_goes_on(self) -> None:
        sealer = Sealer(KEY, CONTEXT)
        with pytest.raises(ValueError, match="do not fit"):
            sealer.seal_into(bytes(CHUNK_SIZE), bytearray(SEALED_CHUNK_SIZE - 1))
        assert open_message(KEY, CONTEXT, sealer.header + sealer.finish(b"")) == b""

    @pytest.mark.parametrize("size", [CHUNK_SIZE, CHUNK_SIZE + 1])
    def test_the_last_chunk_is_short(self, size: int) -> None:
        with pytest.raises(ValueError, match="shorter"):
            Sealer(KEY, CONTEXT).finish(bytes(size))

    def test_seals_nothing_after_the_end(self) -> None:
        sealer = Sealer(KEY, CONTEXT)
        sealer.finish(b"end")
        with pytest.raises(RuntimeError, match="spent"):
            sealer.finish(b"end")
        with pytest.raises(RuntimeError, match="spent"):
            sealer.seal_into(bytes(CHUNK_SIZE), bytearray(SEALED_CHUNK_SIZE))

    def test_seals_nothing_after_it_was_interrupted(self) -> None:
        """
        Some chunks may be out by then, and the caller cannot know which.
        """
        sealer = Sealer(KEY, CONTEXT)
        with mock.patch.object(sealer, "_encryptor") as encryptor:
            encryptor.update_into.side_effect = KeyboardInterrupt
            with pytest.raises(KeyboardInterrupt):
                sealer.seal_into(bytes(2 * CHUNK_SIZE), bytearray(2 * SEALED_CHUNK_SIZE))
        with pytest.raises(RuntimeError, match="spent"):
            sealer.seal_into(bytes(CHUNK_SIZE), bytearray(SEALED_CHUNK_SIZE))
        with pytest.raises(RuntimeError, match="spent"):
            sealer.finish(b"")

    def test_no_nonce_is_used_twice(self) -> None:
        """
        Each chunk opens at its own place, whose nonce nothing else has.
        """
        sealer = Sealer(KEY, CONTEXT)
        message = bytearray()
        for chunks in (0, 1, 2, 297):
            out = bytearray(chunks * SEALED_CHUNK_SIZE)
            sealer.seal_into(bytes(chunks * CHUNK_SIZE), out)
            message += out
        message += sealer.finish(b"end")

        opener = Opener(KEY, CONTEXT, sealer.header)
        assert bytes(300 * CHUNK_SIZE) + b"end" == opener.open_chunks(0, message, ends_message=True)
        assert 301 == len({opener._message_key.nonce(chunk) for chunk in range(301)})

    def test_stops_before_the_counter_runs_out(self) -> None:
        sealer = Sealer(KEY, CONTEXT)
        sealer._left = 2
        out = bytearray(2 * SEALED_CHUNK_SIZE)
        with pytest.raises(ValueError, match="at most"):
            sealer.seal_into(bytes(2 * CHUNK_SIZE), out)
        assert SEALED_CHUNK_SIZE == sealer.seal_into(bytes(CHUNK_SIZE), out)
        assert TAG_SIZE + 13 == len(sealer.finish(b"the very last"))

        opener = Opener(KEY, CONTEXT, sealer.header)
        with pytest.raises(ValueError, match="numbered"):
            opener.open_chunks(MAX_CHUNKS - 1, bytes(2 * SEALED_CHUNK_SIZE), ends_message=False)


class TestOpener:
    MESSAGE = seal_message(KEY, CONTEXT, bytes(2 * CHUNK_SIZE) + b"end", salt=bytes(24))
    HEADER = MESSAGE[:MESSAGE_HEADER_SIZE]
    CHUNKS = MESSAGE[MESSAGE_HEADER_SIZE:]

    def test_knows_its_message_by_the_commitment(self) -> None:
        assert self.HEADER[SALT_SIZE:] == Opener(KEY, CONTEXT, self.HEADER).commitment

    def test_another_key_or_context_is_told_before_any_chunk(self) -> None:
        with pytest.raises(WrongKey):
            Opener(Secret(bytes(32)), CONTEXT, self.HEADER)
        with pytest.raises(WrongKey):
            Opener(KEY, CONTEXT + b"\0", self.HEADER)

    @pytest.mark.parametrize("size", [0, 23, 24, 55])
    def test_an_incomplete_header_is_truncated(self, size: int) -> None:
        with pytest.raises(Truncated, match=f"after {size} of"):
            Opener(KEY, CONTEXT, self.HEADER[:size])

    def test_a_longer_header_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="header"):
            Opener(KEY, CONTEXT, self.MESSAGE)

    def test_chunks_open_in_any_order(self) -> None:
        opener = Opener(KEY, CONTEXT, self.HEADER)
        assert b"end" == opener.open_chunks(2, self.CHUNKS[2 * SEALED_CHUNK_SIZE :], ends_message=True)
        assert bytes(CHUNK_SIZE) == opener.open_chunks(0, self.CHUNKS[:SEALED_CHUNK_SIZE], ends_message=False)
        assert b"" == opener.open_chunks(1, b"", ends_message=False)

    def test_a_full_chunk_does_not_end_a_message(self) -> None:
        with pytest.raises(Truncated, match="chunk 2"):
            open_message(KEY, CONTEXT, self.MESSAGE[: MESSAGE_HEADER_SIZE + 2 * SEALED_CHUNK_SIZE])

    def test_a_short_chunk_amid_a_message_is_truncated(self) -> None:
        with pytest.raises(Truncated, match="chunk 2"):
            Opener(KEY, CONTEXT, self.HEADER).open_chunks(0, self.CHUNKS, ends_message=False)

    def test_the_number_of_the_damaged_chunk_is_told(self) -> None:
        damaged = bytearray(self.CHUNKS)
        damaged[SEALED_CHUNK_SIZE + 100] ^= 1
        with pytest.raises(DamagedChunk) as caught:
            Opener(KEY, CONTEXT, self.HEADER).open_chunks(0, damaged, ends_message=True)
        assert 1 == caught.value.chunk

    def test_nothing_of_damaged_chunks_is_left_where_they_were_opened(self) -> None:
        damaged = bytearray(self.CHUNKS)
        damaged[-1] ^= 1
        out = bytearray(b"\xff" * (2 * CHUNK_SIZE + 3 + 1))
        with pytest.raises(DamagedChunk):
            Opener(KEY, CONTEXT, self.HEADER).open_into(0, damaged, out, ends_message=True)
        # What lies behind was not for them.
        assert bytes(2 * CHUNK_SIZE + 3) + b"\xff" == out

    def test_chunks_that_do_not_fit_are_not_opened(self) -> None:
        out = bytearray(b"\xff" * (2 * CHUNK_SIZE + 2))
        with pytest.raises(ValueError, match="do not fit"):
            Opener(KEY, CONTEXT, self.HEADER).open_into(0, self.CHUNKS, out, ends_message=True)
        assert b"\xff" * len(out) == out

    def test_numbers_below_zero_are_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="numbered"):
            Opener(KEY, CONTEXT, self.HEADER).open_chunks(-1, self.CHUNKS, ends_message=True)


class TestSizes:
    @pytest.mark.parametrize(
        ("plaintext", "message"),
        [(0, 72), (10, 82), (16_383, 16_455), (16_384, 16_472), (16_385, 16_473), (200_000, 200_264)],
    )
    def test_agree_both_ways(self, plaintext: int, message: int) -> None:
        assert message == sealed_size(plaintext)
        assert plaintext == plaintext_size(message)

    def test_reach_up_to_the_longest_message(self) -> None:
        assert 2**52 - 1 == MAX_PLAINTEXT_SIZE
        longest = sealed_size(MAX_PLAINTEXT_SIZE)
        assert MAX_PLAINTEXT_SIZE == plaintext_size(longest)
        with pytest.raises(ValueError, match="holds"):
            sealed_size(MAX_PLAINTEXT_SIZE + 1)
        with pytest.raises(Truncated):
            plaintext_size(longest + 1)
        with pytest.raises(MalformedBlob, match="more than"):
            plaintext_size(longest + 1 + 16)

    def test_below_zero_are_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="holds"):
            sealed_size(-1)

    @pytest.mark.parametrize("size", [-1, 0, 55, 56, 71, 56 + 16_400, 56 + 16_400 + 15])
    def test_that_no_message_has_are_truncated(self, size: int) -> None:
        with pytest.raises(Truncated, match=f"{size} bytes"):
            plaintext_size(size)


class TestChunkRange:
    def test_names_the_chunks_that_hold_the_range_and_no_others(self) -> None:
        wanted = chunk_range(16_383, 2, 200_000)
        assert (0, 2, 56, 32_800) == (
            wanted.first_chunk,
            wanted.chunks,
            wanted.sealed_start,
            wanted.sealed_length,
        )
        assert (16_383, 2, False) == (wanted.skip, wanted.length, wanted.ends_message)

    def test_up_to_a_chunks_edge_needs_nothing_behind_it(self) -> None:
        wanted = chunk_range(16_384, 16_384, 200_000)
        assert (1, 1, 56 + 16_400, 16_400) == (
            wanted.first_chunk,
            wanted.chunks,
            wanted.sealed_start,
            wanted.sealed_length,
        )

    def test_up_to_the_end_takes_in_the_last_chunk_even_if_empty(self) -> None:
        wanted = chunk_range(16_383, 1, 16_384)
        assert (0, 2, 16_416, True) == (
            wanted.first_chunk,
            wanted.chunks,
            wanted.sealed_length,
            wanted.ends_message,
        )

    def test_within_the_last_chunk_needs_all_of_it(self) -> None:
        wanted = chunk_range(16_390, 2, 20_000)
        assert (1, 1, 20_000 - 16_384 + 16, 6, True) == (
            wanted.first_chunk,
            wanted.chunks,
            wanted.sealed_length,
            wanted.skip,
            wanted.ends_message,
        )

    def test_of_an_empty_message_is_its_empty_chunk(self) -> None:
        wanted = chunk_range(0, 0, 0)
        assert (0, 1, 56, 16, True) == (
            wanted.first_chunk,
            wanted.chunks,
            wanted.sealed_start,
            wanted.sealed_length,
            wanted.ends_message,
        )

    @pytest.mark.parametrize(("start", "length"), [(-1, 2), (0, -1), (0, 101), (100, 1), (101, 0)])
    def test_outside_of_the_plaintext_is_a_mistake(self, start: int, length: int) -> None:
        with pytest.raises(ValueError, match="not within"):
            chunk_range(start, length, 100)
