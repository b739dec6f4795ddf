"""
Sealing and opening one message: FORMAT §3, which is C2SP chunked-encryption v1 with AES-256-GCM and SHA-512.

`Sealer` goes from front to back, `Opener` anywhere.
Neither holds bytes back: whoever calls brings whole chunks, and `chunk_range` says which ones a range needs.
"""

import hmac
from dataclasses import dataclass
from typing import Final, TypeAlias

from cryptography.cobblestone import Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.base.secret import Secret
from gateway.crypto.errors import DamagedChunk, MalformedBlob, Truncated, WrongKey
from gateway.crypto.keys import KEY_SIZE, expand

CHUNK_SIZE: Final = 16_384
TAG_SIZE: Final = 16
SEALED_CHUNK_SIZE: Final = CHUNK_SIZE + TAG_SIZE
SALT_SIZE: Final = 24
COMMITMENT_SIZE: Final = 32
MESSAGE_HEADER_SIZE: Final = SALT_SIZE + COMMITMENT_SIZE
MAX_CHUNKS: Final = 2**38
MAX_PLAINTEXT_SIZE: Final = MAX_CHUNKS * CHUNK_SIZE - 1

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Bytes that are read where they lie."""

_LABEL: Final = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"
_NONCE_SIZE: Final = 12


class _MessageKey:
    """
    What one salt yields: key ‖ base nonce ‖ commitment (FORMAT §3.2).
    """

    __slots__ = ("_base_nonce", "aead", "commitment")

    def __init__(self, input_key: Secret, salt: bytes, context: bytes) -> None:
        derived = expand(input_key, _LABEL + salt + context, KEY_SIZE + _NONCE_SIZE + COMMITMENT_SIZE)
        self.aead = AESGCM(derived[:KEY_SIZE])
        self._base_nonce = int.from_bytes(derived[KEY_SIZE : KEY_SIZE + _NONCE_SIZE], "big")
        self.commitment = derived[KEY_SIZE + _NONCE_SIZE :]

    def nonce(self, chunk: int) -> bytes:
        """
        Return base nonce XOR *chunk* (FORMAT §3.6).
        """
        return (self._base_nonce ^ chunk).to_bytes(_NONCE_SIZE, "big")


class Sealer:
    """
    Seals one message, front to back: `header`, then `seal_into` any number of times, then `finish`.

    One sealer serves one unbroken stretch of bytes; its salt is fresh, as FORMAT §3.3 demands.
    Use it from one thread at a time; while it seals, other threads run.
    """

    def __init__(self, key: Secret, context: bytes) -> None:
        # The library's own form of this construction: one call for many chunks takes half the time of one for each.
        self._encryptor = Cobblestone256Encryptor(key.reveal(), context)
        self._left = MAX_CHUNKS
        """Chunks that the message may still get, the last one included."""
        self._is_spent = False
        self.header: Final = self._encryptor.update(b"")
        """The message's first bytes, salt ‖ commitment; the caller writes them before any chunk."""
        self.commitment: Final = self.header[SALT_SIZE:]
        """Names this key and this message without telling anything of either."""

    def seal_into(self, plaintext: Buffer, out: bytearray | memoryview) -> int:
        """
        Seal whole chunks of *plaintext* into the front of *out*; return how many bytes of *out* were written.

        Raises:
            ValueError: *plaintext* is no whole number of chunks, *out* is too small, or the message would be too long.
                Nothing was sealed.
            RuntimeError: the message is finished, or sealing failed before.
        """
        chunks, rest = divmod(len(plaintext), CHUNK_SIZE)
        if rest:
            raise ValueError(f"{len(plaintext)} bytes are no whole number of chunks of {CHUNK_SIZE}")
        if len(out) < chunks * SEALED_CHUNK_SIZE:
            raise ValueError(f"{chunks} sealed chunks do not fit into {len(out)} bytes")
        if chunks >= self._left:
            raise ValueError(f"a message has at most {MAX_CHUNKS} chunks, the last one included")
        self._spend()
        size = self._encryptor.update_into(plaintext, out)
        self._left -= chunks
        self._is_spent = False
        return size

    def finish(self, rest: Buffer) -> bytes:
        """
        Seal the last chunk, which is always shorter than the others and may be empty (FORMAT §3.5).

        Raises:
            ValueError: *rest* is a whole chunk or more.
            RuntimeError: the message is finished, or sealing failed before.
        """
        if len(rest) >= CHUNK_SIZE:
            raise ValueError(f"the last chunk is shorter than {CHUNK_SIZE} bytes, not {len(rest)}")
        self._spend()
        return self._encryptor.update(rest) + self._encryptor.finalize()

    def _spend(self) -> None:
        """
        Make the sealer useless, for good unless the caller takes that back.

        So no nonce meets two plaintexts: not after the end, not when sealing was interrupted half-way and is tried
        again, and not when two threads share a sealer by mistake.
        """
        if self._is_spent:
            raise RuntimeError("this message is finished or failed; its nonces are spent")
        self._is_spent = True


class Opener:
    """
    Opens chunks of one message, in any order; holds the message's key, none of its bytes.

    It has no state that changes, so threads may share it.
    """

    def __init__(self, key: Secret, context: bytes, header: bytes) -> None:
        """
        Check the commitment in *header*, the message's first 56 bytes, before any chunk can be opened (FORMAT §3.9).

        Raises:
            WrongKey: *key* or *context* is not what the message was sealed with, or the header is damaged.
            Truncated: the header is incomplete.
        """
        if len(header) < MESSAGE_HEADER_SIZE:
            raise Truncated(
                f"the message ends after {len(header)} of the {MESSAGE_HEADER_SIZE} bytes of its header"
            )
        if len(header) > MESSAGE_HEADER_SIZE:
            raise ValueError(f"a message's header has {MESSAGE_HEADER_SIZE} bytes, not {len(header)}")
        self._message_key = _MessageKey(key, header[:SALT_SIZE], context)
        self.commitment: Final = self._message_key.commitment
        if not hmac.compare_digest(self.commitment, header[SALT_SIZE:]):
            raise WrongKey

    def open_chunks(self, first_chunk: int, sealed: Buffer, *, ends_message: bool) -> bytearray:
        """
        Open consecutive chunks, the first of them number *first_chunk*; return their plaintext once all have verified.

        Otherwise as `open_into`.
        """
        chunks = len(sealed) // SEALED_CHUNK_SIZE + ends_message
        plaintext = bytearray(max(0, len(sealed) - chunks * TAG_SIZE))
        self.open_into(first_chunk, sealed, plaintext, ends_message=ends_message)
        return plaintext

    def open_into(
        self, first_chunk: int, sealed: Buffer, out: bytearray | memoryview, *, ends_message: bool
    ) -> int:
        """
        Open consecutive chunks into the front of *out*; return how many bytes of it were written once all have verified.

        With *ends_message* the last of them is the message's last chunk, and it is checked to be one (FORMAT §3.10).
        Without, all of them are full.

        Raises:
            DamagedChunk: a chunk is not what was sealed at its place, or was cut within.
            Truncated: *sealed* is too short for what it should be.
            ValueError: *out* is too small, or there are no such chunks. Nothing was opened.
        """
        full_chunks, rest = divmod(len(sealed), SEALED_CHUNK_SIZE)
        if ends_message and rest < TAG_SIZE:
            raise Truncated(f"the message ends before its last chunk, at chunk {first_chunk + full_chunks}")
        if not ends_message and rest:
            raise Truncated(f"chunk {first_chunk + full_chunks} has {rest} of its {SEALED_CHUNK_SIZE} bytes")
        chunks = full_chunks + ends_message
        if first_chunk < 0 or first_chunk + chunks > MAX_CHUNKS:
            raise ValueError(f"chunks are numbered from 0 to {MAX_CHUNKS - 1}")
        size = len(sealed) - chunks * TAG_SIZE
        if len(out) < size:
            raise ValueError(f"{size} bytes do not fit into {len(out)}")
        decrypt_into, nonce = self._message_key.aead.decrypt_into, self._message_key.nonce
        with memoryview(sealed) as source, memoryview(out) as target:
            start = opened = 0
            for chunk in range(first_chunk, first_chunk + chunks):
                end = min(opened + CHUNK_SIZE, size)
                try:
                    decrypt_into(
                        nonce(chunk),
                        source[start : start + SEALED_CHUNK_SIZE],
                        None,
                        target[opened:end],
                    )
                except InvalidTag as error:
                    # What did not verify lies in *out* by now, and what came before it counts no more either.
                    target[:size] = bytes(size)
                    raise DamagedChunk(chunk) from error
                start, opened = start + SEALED_CHUNK_SIZE, end
        return size


def sealed_size(plaintext_size: int) -> int:
    """
    Return the size of the message that *plaintext_size* bytes become (FORMAT §3.8).
    """
    if not 0 <= plaintext_size <= MAX_PLAINTEXT_SIZE:
        raise ValueError(f"a message holds 0 to {MAX_PLAINTEXT_SIZE} bytes, not {plaintext_size}")
    chunks = plaintext_size // CHUNK_SIZE + 1
    return MESSAGE_HEADER_SIZE + plaintext_size + chunks * TAG_SIZE


def plaintext_size(message_size: int) -> int:
    """
    Return how much plaintext a message of this size holds (FORMAT §3.8).

    Raises:
        Truncated: no message has this size, and one that is longer can have been cut to it.
        MalformedBlob: no message is that long.
    """
    full_chunks, rest = divmod(message_size - MESSAGE_HEADER_SIZE, SEALED_CHUNK_SIZE)
    if message_size < MESSAGE_HEADER_SIZE or rest < TAG_SIZE:
        raise Truncated(f"a message of {message_size} bytes ends before its last chunk")
    if full_chunks >= MAX_CHUNKS:
        raise MalformedBlob(f"a message of {message_size} bytes has more than {MAX_CHUNKS} chunks")
    return full_chunks * CHUNK_SIZE + rest - TAG_SIZE


@dataclass(frozen=True, slots=True)
class ChunkRange:
    """
    Which chunks a range of plaintext needs, and where in the message they lie.
    """

    first_chunk: int
    chunks: int
    sealed_start: int
    """Where the first of them begins in the message, its header included."""
    sealed_length: int
    skip: int
    """How many bytes of the first chunk's plaintext come before the range."""
    length: int
    """How many bytes the range has: what is asked for is ``opened[skip : skip + length]``."""
    ends_message: bool
    """Whether the last of them is the message's last chunk."""


def chunk_range(start: int, length: int, plaintext_size: int) -> ChunkRange:
    """
    Say which chunks hold the *length* bytes from *start* of a message with *plaintext_size* bytes (FORMAT §3.11).

    A range that reaches the end takes in the last chunk even when that is empty,
    so whoever has read to the end knows that it was the end.

    Raises:
        ValueError: the range is not within the plaintext.
    """
    message_size = sealed_size(plaintext_size)
    end = start + length
    if start < 0 or length < 0 or end > plaintext_size:
        raise ValueError(f"{length} bytes from {start} are not within {plaintext_size} bytes")
    last_chunk = plaintext_size // CHUNK_SIZE
    first_chunk = start // CHUNK_SIZE
    stop_chunk = last_chunk + 1 if end == plaintext_size else -(-end // CHUNK_SIZE)
    ends_message = stop_chunk > last_chunk
    sealed_start = _chunk_offset(first_chunk)
    sealed_stop = message_size if ends_message else _chunk_offset(stop_chunk)
    return ChunkRange(
        first_chunk=first_chunk,
        chunks=stop_chunk - first_chunk,
        sealed_start=sealed_start,
        sealed_length=sealed_stop - sealed_start,
        skip=start - first_chunk * CHUNK_SIZE,
        length=length,
        ends_message=ends_message,
    )


def _chunk_offset(chunk: int) -> int:
    return MESSAGE_HEADER_SIZE + chunk * SEALED_CHUNK_SIZE
