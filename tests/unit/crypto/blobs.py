"""
Whole messages and blobs in one call, for tests that look at them as a whole.
"""

from gateway.base.secret import Secret
from gateway.crypto.chunked import CHUNK_SIZE, MESSAGE_HEADER_SIZE, SEALED_CHUNK_SIZE, Opener, Sealer
from gateway.crypto.preamble import PREAMBLE_SIZE, Preamble


def seal_message(key: Secret, context: bytes, plaintext: bytes, *, salt: bytes | None = None) -> bytes:
    sealer = Sealer(key, context, salt=salt)
    chunks = len(plaintext) // CHUNK_SIZE
    sealed = bytearray(chunks * SEALED_CHUNK_SIZE)
    assert len(sealed) == sealer.seal_into(plaintext[: chunks * CHUNK_SIZE], sealed)
    return sealer.header + sealed + sealer.finish(plaintext[chunks * CHUNK_SIZE :])


def open_message(key: Secret, context: bytes, message: bytes) -> bytes:
    opener = Opener(key, context, message[:MESSAGE_HEADER_SIZE])
    return bytes(opener.open_chunks(0, message[MESSAGE_HEADER_SIZE:], ends_message=True))


def seal_blob(key: Secret, preamble: Preamble, plaintext: bytes, *, salt: bytes | None = None) -> bytes:
    context = preamble.to_bytes()
    return context + seal_message(key, context, plaintext, salt=salt)


def open_blob(key: Secret, blob: bytes) -> tuple[Preamble, bytes]:
    context = blob[:PREAMBLE_SIZE]
    return Preamble.from_bytes(context), open_message(key, context, blob[PREAMBLE_SIZE:])
