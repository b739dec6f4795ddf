"""
What may be wrong with an ID token, and tokens with which that is so.
"""

import enum
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from tests.emulators.oidc.keys import SigningKey, encoded

SOMEBODY_ELSE: Final = "somebody-elses-client"
ELSEWHERE: Final = "https://issuer.example.org"


class Forgery(enum.Enum):
    """
    What is wrong; everything else of the token is as it should be.
    """

    WRONG_ISSUER = "iss is another issuer"
    WRONG_AUDIENCE = "aud and azp are another client"
    OTHER_PRESENTER = "aud names this client and another, azp the other"
    NO_AUDIENCE = "there is no aud"
    EXPIRED = "exp is an hour ago"
    NO_EXPIRY = "there is no exp"
    FROM_THE_FUTURE = "iat and nbf are in an hour"
    NO_SUBJECT = "there is no sub"
    NO_NONCE = "there is no nonce"
    OTHER_NONCE = "nonce is that of another request"
    BAD_SIGNATURE = "one bit of the signature is wrong"
    CHANGED_CLAIMS = "sub was changed after it was signed"
    FOREIGN_KEY = "signed by a key that the provider does not have, under the kid of one that it has"
    EMBEDDED_KEY = "signed by a key that only the header's jwk tells"
    KEY_ADDRESS = "signed by a key that only an address in the header's jku tells"
    UNKNOWN_KEY_ID = "signed by the provider, under a kid that it does not publish"
    NO_SIGNATURE = "alg is none"
    NO_SIGNATURE_SHOUTED = "alg is NONE"
    MAC_BY_PUBLIC_KEY = "alg is HS256, the key is the provider's public key as PEM"
    MAC_BY_SECRET = "alg is HS256, the key is the client's secret; the provider tells RS256 alone"
    CRITICAL_HEADER = "crit has a header that nobody knows"
    WRONG_TOKEN_HASH = "at_hash is that of another access token"
    NO_TOKEN = "there is none"
    NO_JWT = "it is three words"


@dataclass
class Token:
    """
    An ID token in the making.
    """

    claims: dict[str, Any]
    key: SigningKey
    header: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.header = {"alg": "RS256", "kid": self.key.kid, "typ": "JWT"} | self.header

    @property
    def signed_part(self) -> str:
        return f"{_json(self.header)}.{_json(self.claims)}"

    @property
    def signature(self) -> bytes:
        return self.key.private.sign(self.signed_part.encode(), padding.PKCS1v15(), hashes.SHA256())

    def __str__(self) -> str:
        return f"{self.signed_part}.{encoded(self.signature)}"

    def with_mac(self, key: bytes) -> str:
        """
        Return it as HS256 with *key*.
        """
        self.header["alg"] = "HS256"
        return f"{self.signed_part}.{encoded(hmac.digest(key, self.signed_part.encode(), hashlib.sha256))}"


@dataclass(frozen=True)
class Forger:
    """
    What whoever forges has.
    """

    key: SigningKey
    key_address: str
    client_secret: str

    def forged(self, token: Token, forgery: Forgery) -> str | None:
        """
        Return *token* with that wrong; None if there is none.
        """
        claims, header, an_hour = token.claims, token.header, 3600
        match forgery:
            case Forgery.WRONG_ISSUER:
                claims["iss"] = ELSEWHERE
            case Forgery.WRONG_AUDIENCE:
                claims["aud"] = claims["azp"] = SOMEBODY_ELSE
            case Forgery.OTHER_PRESENTER:
                claims["aud"], claims["azp"] = [claims["aud"], SOMEBODY_ELSE], SOMEBODY_ELSE
            case Forgery.NO_AUDIENCE:
                del claims["aud"]
            case Forgery.EXPIRED:
                claims["exp"], claims["iat"] = claims["iat"] - an_hour, claims["iat"] - 2 * an_hour
            case Forgery.NO_EXPIRY:
                del claims["exp"]
            case Forgery.FROM_THE_FUTURE:
                claims["iat"] = claims["nbf"] = claims["iat"] + an_hour
                claims["exp"] += an_hour
            case Forgery.NO_SUBJECT:
                del claims["sub"]
            case Forgery.NO_NONCE:
                claims.pop("nonce", None)
            case Forgery.OTHER_NONCE:
                claims["nonce"] = "of-another-request"
            case Forgery.WRONG_TOKEN_HASH:
                claims["at_hash"] = access_token_hash("another")
            case Forgery.BAD_SIGNATURE:
                signature = bytearray(token.signature)
                signature[0] ^= 1
                return f"{token.signed_part}.{encoded(signature)}"
            case Forgery.CHANGED_CLAIMS:
                signature = bytearray(token.signature)
                claims["sub"] = "changed"
                return f"{token.signed_part}.{encoded(signature)}"
            case Forgery.FOREIGN_KEY:
                token.key = self.key
            case Forgery.EMBEDDED_KEY:
                token.key, header["jwk"], header["kid"] = self.key, self.key.jwk, self.key.kid
            case Forgery.KEY_ADDRESS:
                token.key, header["jku"], header["kid"] = self.key, self.key_address, self.key.kid
            case Forgery.UNKNOWN_KEY_ID:
                header["kid"] = "unheard-of"
            case Forgery.NO_SIGNATURE:
                header["alg"] = "none"
                return f"{token.signed_part}."
            case Forgery.NO_SIGNATURE_SHOUTED:
                header["alg"] = "NONE"
                return f"{token.signed_part}."
            case Forgery.MAC_BY_PUBLIC_KEY:
                return token.with_mac(
                    token.key.private.public_key().public_bytes(
                        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                    )
                )
            case Forgery.MAC_BY_SECRET:
                return token.with_mac(self.client_secret.encode())
            case Forgery.CRITICAL_HEADER:
                header |= {"crit": ["unheard-of"], "unheard-of": True}
            case Forgery.NO_TOKEN:
                return None
            case Forgery.NO_JWT:
                return "not.a.token"
        return str(token)


def access_token_hash(access_token: str) -> str:
    """
    Return the claim ``at_hash``, OpenID Connect Core section 3.1.3.6.
    """
    return encoded(hashlib.sha256(access_token.encode()).digest()[:16])


def _json(document: dict[str, Any]) -> str:
    return encoded(json.dumps(document, separators=(",", ":")).encode())
