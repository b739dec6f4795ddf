"""
The keys that sign ID tokens: published as a JWK set, RFC 7517, and changed now and then.
"""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa

_BITS: Final = 2048


def encoded(content: bytes | bytearray) -> str:
    """
    Return base64url without padding.
    """
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class _Pool:
    """
    RSA keys that are lent, for making one takes a good part of a test; no two have the same at the same time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[rsa.RSAPrivateKey] = []

    def take(self) -> rsa.RSAPrivateKey:
        with self._lock:
            return self._free.pop() if self._free else rsa.generate_private_key(65537, _BITS)

    def give_back(self, key: rsa.RSAPrivateKey) -> None:
        with self._lock:
            self._free.append(key)


_POOL: Final = _Pool()


@dataclass
class SigningKey:
    """
    An RSA key for RS256.

    Attributes:
        members: what its provider publishes of it besides.
    """

    private: rsa.RSAPrivateKey
    members: dict[str, str] = field(default_factory=dict)

    @property
    def kid(self) -> str:
        return self.members["kid"]

    @property
    def jwk(self) -> dict[str, str]:
        """
        The public key as its provider publishes it.
        """
        return self.bare_jwk | {"use": "sig"} | self.members

    @property
    def bare_jwk(self) -> dict[str, str]:
        numbers = self.private.public_key().public_numbers()
        return {
            "kty": "RSA",
            "n": encoded(numbers.n.to_bytes(_BITS // 8, "big")),
            "e": encoded(numbers.e.to_bytes(3, "big")),
        }

    @property
    def thumbprint(self) -> bytes:
        """
        The key's hash, RFC 7638.
        """
        canonical = json.dumps(self.bare_jwk, separators=(",", ":"), sort_keys=True)
        return hashlib.sha256(canonical.encode()).digest()


class SigningKeys:
    """
    The keys of one provider.

    Attributes:
        current: what signs.
        published: what the JWK set holds, in its order.
        others: members of the set that are no keys for ID tokens.
    """

    def __init__(self) -> None:
        self._lent: list[rsa.RSAPrivateKey] = []
        self.others: list[dict[str, Any]] = []
        self.current = self.new()
        self.published = [self.current]

    def new(self) -> SigningKey:
        """
        Return another key, which is not published.
        """
        self._lent.append(_POOL.take())
        key = SigningKey(self._lent[-1])
        key.members |= self.members_of(key)
        return key

    def members_of(self, key: SigningKey) -> dict[str, str]:
        """
        Return what the provider publishes of *key* besides the key.
        """
        return {"kid": encoded(key.thumbprint), "alg": "RS256"}

    def rotate(self, *, is_published: bool = True) -> SigningKey:
        """
        Sign with another key from now on; tokens of the one before stay good. Return the new one.

        A provider publishes a key before it signs with it, unless *is_published* is False; see `publish`.
        """
        self.current = self.new()
        if is_published:
            self.publish()
        return self.current

    def publish(self) -> None:
        """
        Publish what signs.
        """
        self.published.append(self.current)

    def withdraw_older(self) -> None:
        """
        Publish nothing but what signs.
        """
        self.published = [self.current]

    def give_back(self) -> None:
        """
        Have no keys any more.
        """
        while self._lent:
            _POOL.give_back(self._lent.pop())
