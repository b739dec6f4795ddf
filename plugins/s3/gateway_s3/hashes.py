"""
The hashes that are sent with bytes, and those that a store answers with.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_TAG: Final = re.compile(r"[0-9a-f]{32}(-[0-9]+)?", re.ASCII)

_KMS: Final = frozenset({"aws:kms", "aws:kms:dsse"})


def md5_of(content: bytes) -> bytes:
    """
    Return the MD5, which is what stores compare; it guards against accidents, not against an attacker.
    """
    return hashlib.md5(content, usedforsecurity=False).digest()


def sha256_of(content: bytes) -> str:
    """
    Return the SHA-256 in base64, as it stands in ``x-amz-checksum-sha256``.
    """
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def tag_of_parts(tags: Sequence[str]) -> str | None:
    """
    Return the tag of an object whose parts have *tags*, or None where those are no MD5s.
    """
    try:
        joined = b"".join(bytes.fromhex(tag.strip('"')) for tag in tags)
    except ValueError:
        return None
    return f"{md5_of(joined).hex()}-{len(tags)}"


def sha256_of_parts(hashes: Sequence[str | None]) -> str | None:
    """
    Return the SHA-256 of an object whose parts have *hashes*, or None where not all are known.
    """
    told = [base64.b64decode(sha256) for sha256 in hashes if sha256 is not None]
    return f"{sha256_of(b''.join(told))}-{len(told)}" if len(told) == len(hashes) else None


def tag_in(answer: Mapping[str, Any]) -> str | None:
    """
    Return the tag that an answer tells, or None where the store's tags look unlike Amazon's.
    """
    found = str(answer.get("ETag", "")).strip('"').lower()
    return found if _TAG.fullmatch(found) is not None else None


def agrees(answer: Mapping[str, Any], tag: str | None, sha256: str | None) -> bool:
    """
    Whether the store's hashes are those that the bytes have, as far as it tells any.

    Under KMS the tag is no MD5 and says nothing.
    """
    if sha256 is not None and answer.get("ChecksumSHA256", sha256) != sha256:
        return False
    return tag is None or answer.get("ServerSideEncryption") in _KMS or tag_in(answer) in {None, tag}
