"""
Deriving keys from keys: FORMAT §1.4 and §5.4.
"""

from typing import Final, Literal

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from gateway.base.secret import Secret

KEY_SIZE: Final = 32
ROOT_ID_SIZE: Final = 16

Purpose = Literal[
    "audio",
    "details",
    "personal",
    "look-up",
    "signing",
    "receipt-salt",
    "links",
    "put-session",
    "identities",
    "devices",
    "sign-in",
    "hold",
    "notice",
    "unsubscribe",
    "export",
    "export-entry",
    "audit",
    "audit-mac",
    "operators",
    "disclosure",
]
"""What a sub-key is for; each purpose has one use and one format, listed in FORMAT §5.4."""

_SUBKEY_LABEL: Final = b"recording-gateway/v1/"


def subkey(leaf: Secret, purpose: Purpose) -> Secret:
    """
    Derive the key that serves one *purpose* of this leaf. FORMAT §5.4.

    Sub-keys of one leaf tell nothing of each other, so the audio key of a recording may be handed out alone.
    """
    return Secret(expand(leaf, _SUBKEY_LABEL + purpose.encode("ascii"), KEY_SIZE))


def root_id(root: Secret) -> bytes:
    """
    Return the public name of a root key, which tells nothing of the key itself.
    """
    return expand(root, b"root-id", ROOT_ID_SIZE)


def expand(key: Secret, info: bytes, size: int) -> bytes:
    """
    HKDF-Expand-SHA512(*key*, *info*, *size*). FORMAT §1.4.
    """
    return HKDFExpand(SHA512(), size, info).derive(key_bytes(key))


def key_bytes(key: Secret) -> bytes:
    """
    Return the 32 bytes of *key*.

    A shorter key would not fail by itself: AES takes 16 bytes as well, and HMAC any number.
    """
    if len(key) != KEY_SIZE:
        raise ValueError(f"a key has {KEY_SIZE} bytes, not {len(key)}")
    return key.reveal()
