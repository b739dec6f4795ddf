"""
Whole messages and blobs in one call, for tests that look at them as a whole.
"""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from gateway.base.secret import Secret
from gateway.crypto.chunked import CHUNK_SIZE, MESSAGE_HEADER_SIZE, SEALED_CHUNK_SIZE, Opener, Sealer
from gateway.crypto.preamble import PREAMBLE_SIZE, Preamble


def seal_message(key: Secret, context: bytes, plaintext: bytes, *, salt: bytes | None = None) -> bytes:
    if salt is not None:
        return _seal_by_the_book(key, context, plaintext, salt)
    sealer = Sealer(key, context)
    chunks = len(plaintext) // CHUNK_SIZE
    sealed = bytearray(chunks * SEALED_CHUNK_SIZE)
    assert len(sealed) == sealer.seal_into(plaintext[: chunks * CHUNK_SIZE], sealed)
    return sealer.header + sealed + sealer.finish(plaintext[chunks * CHUNK_SIZE :])


def _seal_by_the_book(key: Secret, context: bytes, plaintext: bytes, salt: bytes) -> bytes:
    """
    Seal under a salt that is given, which only check values want; word by word FORMAT §3, with nothing of the gateway.
    """
    label = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"
    derived = HKDFExpand(SHA512(), 32 + 12 + 32, label + salt + context).derive(key.reveal())
    aead, base = AESGCM(derived[:32]), int.from_bytes(derived[32:44], "big")
    chunks = [
        aead.encrypt((base ^ number).to_bytes(12, "big"), plaintext[start : start + 16_384], None)
        for number, start in enumerate(range(0, len(plaintext) - len(plaintext) % 16_384 + 1, 16_384))
    ]
    return salt + derived[44:] + b"".join(chunks)


def open_message(key: Secret, context: bytes, message: bytes) -> bytes:
    opener = Opener(key, context, message[:MESSAGE_HEADER_SIZE])
    return bytes(opener.open_chunks(0, message[MESSAGE_HEADER_SIZE:], ends_message=True))


def seal_blob(key: Secret, preamble: Preamble, plaintext: bytes, *, salt: bytes | None = None) -> bytes:
    context = preamble.to_bytes()
    return context + seal_message(key, context, plaintext, salt=salt)


def open_blob(key: Secret, blob: bytes) -> tuple[Preamble, bytes]:
    context = blob[:PREAMBLE_SIZE]
    return Preamble.from_bytes(context), open_message(key, context, blob[PREAMBLE_SIZE:])
