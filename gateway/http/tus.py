"""
The words of tus 1.0.0: its headers, read and checked.

Core protocol and the extensions creation, creation-with-upload, creation-defer-length, termination, checksum, expiration.
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final

from multidict import MultiMapping

from gateway.services.bodies import RunningHash
from gateway.services.errors import InvalidField

VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,creation-with-upload,creation-defer-length,termination,checksum,expiration"
CHECKSUM_ALGORITHMS: Final = ("sha1", "sha256")
CONTENT_TYPE: Final = "application/offset+octet-stream"

# Far more digits than any number here may have: such a length is too long, not malformed.
_NUMBER: Final = re.compile(r"[0-9]{1,1000}")
_BLANKS: Final = " \t"
_METADATA_KEY: Final = re.compile(r"[!-+\--~]+")  # ASCII without space and comma


def single_value(headers: MultiMapping[str], name: str) -> str | None:
    """
    Return the header's value, None if it is absent.

    Raises:
        InvalidField: it stands there more than once, and a proxy in front may have gone by another one.
    """
    values = headers.getall(name, [])
    if len(values) > 1:
        raise InvalidField(name, "stands twice")
    return values[0] if values else None


def joined_value(headers: MultiMapping[str], name: str) -> str | None:
    """
    Return the value of a header that is a list, which may come in several lines; None if it is absent.
    """
    values = headers.getall(name, [])
    return ",".join(values) if values else None


def parse_number(headers: MultiMapping[str], name: str) -> int | None:
    """
    Return a header's whole number, None if the header is absent.

    Raises:
        InvalidField: it is something else.
    """
    text = single_value(headers, name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text.strip(_BLANKS)):
        raise InvalidField(name, "is not a whole number")
    return int(text)


def parse_upload_length(headers: MultiMapping[str]) -> int | None:
    """
    Return the declared length of a new upload, None where it is deferred.

    Raises:
        InvalidField: neither or both of Upload-Length and Upload-Defer-Length are there.
    """
    length = parse_number(headers, "Upload-Length")
    deferred = single_value(headers, "Upload-Defer-Length")
    if deferred is not None and deferred.strip(_BLANKS) != "1":
        raise InvalidField("Upload-Defer-Length", "is not 1")
    if (length is None) == (deferred is None):
        raise InvalidField("Upload-Length", "give either this or Upload-Defer-Length: 1")
    return length


def parse_metadata(header: str | None) -> list[tuple[str, bytes]]:
    """
    Decode ``Upload-Metadata``: pairs of a key and base64, parted by commas; a value may be absent.

    Raises:
        InvalidField: names the key that is malformed or stands twice.
    """
    pairs: dict[str, bytes] = {}
    if header is None or not header.strip():
        return []
    for pair in header.split(","):
        key, _, value = pair.strip(_BLANKS).partition(" ")
        if not _METADATA_KEY.fullmatch(key):
            raise InvalidField("Upload-Metadata", "holds an empty or malformed key")
        if key in pairs:
            raise InvalidField(key, "stands twice in Upload-Metadata")
        try:
            pairs[key] = base64.b64decode(value.strip(_BLANKS), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidField(key, "its value in Upload-Metadata is not base64") from None
    return list(pairs.items())


@dataclass(frozen=True, slots=True)
class Checksum:
    """
    What a body must hash to.
    """

    algorithm: str
    digest: bytes

    def start(self) -> RunningHash:
        """
        Return a fresh hash of the algorithm.
        """
        return hashlib.new(self.algorithm, usedforsecurity=False)

    def matches(self, running: RunningHash) -> bool:
        """
        Tell whether what was hashed is what was promised.
        """
        return hmac.compare_digest(running.digest(), self.digest)


def parse_checksum(headers: MultiMapping[str]) -> Checksum | None:
    """
    Read ``Upload-Checksum``: an algorithm and a base64 digest.

    Raises:
        InvalidField: the algorithm is not offered, or the digest is malformed.
    """
    header = single_value(headers, "Upload-Checksum")
    if header is None:
        return None
    algorithm, _, encoded = header.strip(_BLANKS).partition(" ")
    algorithm = algorithm.lower()
    if algorithm not in CHECKSUM_ALGORITHMS:
        raise InvalidField("Upload-Checksum", f"the algorithm is none of {', '.join(CHECKSUM_ALGORITHMS)}")
    try:
        digest = base64.b64decode(encoded.strip(_BLANKS), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidField("Upload-Checksum", "the digest is not base64") from None
    if len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise InvalidField("Upload-Checksum", f"the digest is not as long as a {algorithm} digest")
    return Checksum(algorithm, digest)


def format_expires(at_ms: int) -> str:
    """
    Write a moment the way ``Upload-Expires`` wants it (RFC 9110, IMF-fixdate).
    """
    return formatdate(at_ms / 1000, usegmt=True)
