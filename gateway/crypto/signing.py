"""
Signatures: Ed25519, RFC 8032.
"""

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.base.secret import Secret
from gateway.crypto.errors import SignatureWrong
from gateway.crypto.keys import key_bytes

PUBLIC_KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64


class SigningKey:
    """
    Signs; what it signed is checked with `verify` and the public key alone.
    """

    __slots__ = ("_private", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public: Final = private.public_key().public_bytes_raw()
        """The 32 bytes that may be published."""

    @classmethod
    def from_seed(cls, seed: Secret) -> "SigningKey":
        """
        Return the key that RFC 8032 derives from 32 bytes; the same seed gives the same key.
        """
        return cls(Ed25519PrivateKey.from_private_bytes(key_bytes(seed)))

    def sign(self, message: bytes) -> bytes:
        """
        Return the 64 bytes of the signature; signing twice gives the same.
        """
        return self._private.sign(message)


def verify(public: bytes, signature: bytes, message: bytes) -> None:
    """
    Return if *signature* is that of *message* by the holder of *public*.

    Raises:
        SignatureWrong: it is not, or *public* is no public key.
    """
    if len(public) != PUBLIC_KEY_SIZE:
        raise SignatureWrong(f"a public key has {PUBLIC_KEY_SIZE} bytes, not {len(public)}")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise SignatureWrong("the signature is not this key's for this message") from error
