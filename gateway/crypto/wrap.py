"""
Small records and wrapped keys: AES-256-GCM-SIV, FORMAT §5.5.

Unlike a message, a record is sealed whole, and each sealing under one key draws a random nonce;
AES-GCM-SIV keeps its promise even if two of them should be equal.
"""

import os
from typing import Final

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from gateway.base.errors import RefusesToServe
from gateway.base.secret import Secret
from gateway.crypto.errors import SealBroken
from gateway.crypto.keys import KEY_SIZE, key_bytes

NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
RECORD_OVERHEAD: Final = NONCE_SIZE + TAG_SIZE


def seal_record(
    key: Secret, plaintext: bytes, associated_data: bytes, *, nonce: bytes | None = None
) -> bytes:
    """
    Seal *plaintext* so that only *key* opens it, and only beside the same *associated_data*.

    *associated_data* says what the record is and where it belongs; empty, the record could be moved anywhere.
    *nonce* is for check values; left out, it is fresh.
    """
    if nonce is None:
        nonce = os.urandom(NONCE_SIZE)
    if len(nonce) != NONCE_SIZE:
        raise ValueError(f"a nonce has {NONCE_SIZE} bytes, not {len(nonce)}")
    return nonce + AESGCMSIV(key_bytes(key)).encrypt(nonce, plaintext, associated_data)


def open_record(key: Secret, sealed: bytes, associated_data: bytes) -> bytes:
    """
    Open what `seal_record` made.

    Raises:
        SealBroken: it is damaged, or was sealed under another key or for another place.
    """
    if len(sealed) < RECORD_OVERHEAD:
        raise SealBroken
    nonce, ciphertext = sealed[:NONCE_SIZE], sealed[NONCE_SIZE:]
    try:
        return AESGCMSIV(key_bytes(key)).decrypt(nonce, ciphertext, associated_data)
    except InvalidTag as error:
        raise SealBroken from error


def require_aes_gcm_siv() -> None:
    """
    Make sure that records can be sealed and opened here at all; called before anything is served.

    Raises:
        RefusesToServe: the OpenSSL below has no AES-GCM-SIV.
    """
    try:
        AESGCMSIV(bytes(KEY_SIZE))
    except UnsupportedAlgorithm as error:
        raise RefusesToServe(
            "The OpenSSL that `cryptography` uses here has no AES-GCM-SIV, so no key could be opened.",
            advice="Install `cryptography` from its own wheel, or with OpenSSL 3.2 or newer.",
        ) from error
