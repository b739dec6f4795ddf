"""
The chain of the audit log: what an entry's hash is of. FORMAT §8.

Knows no database.
"""

import hashlib
import hmac
from typing import Final

from gateway.base.secret import Secret
from gateway.catalog.audit import Entry
from gateway.crypto.keys import key_bytes
from gateway.keyring.receipts import canonical

FIRST_PREVIOUS: Final = bytes(32)
"""What the first entry carries in place of a hash."""


def entry_hash(entry: Entry, previous: bytes) -> bytes:
    """
    Return the hash of *entry*, which follows the one with the hash *previous*.

    Of the reason only the hash of its sealed bytes goes in, so that the chain holds when the reason is gone.
    """
    document = {
        "format": "recording-gateway-audit-entry",
        "version": 1,
        "previous": previous.hex(),
        "sequence": entry.sequence,
        "id": entry.id,
        "at_ms": entry.at,
        "actor": entry.actor,
        "role": entry.role,
        "action": entry.action,
        "user": entry.user_id,
        "subject": entry.subject,
        "facts": entry.facts,
        "sealed": None if entry.sealed_hash is None else entry.sealed_hash.hex(),
    }
    return hashlib.sha256(canonical(document)).digest()


def entry_mac(key: Secret, digest: bytes) -> bytes:
    """
    Return what shows that this service made the entry with that hash, not somebody who can write to the catalog alone.
    """
    return hmac.new(key_bytes(key), digest, hashlib.sha256).digest()


def flaws_of(entry: Entry, previous: bytes, key: Secret) -> list[str]:
    """
    Return what is wrong with an entry that should follow the one with the hash *previous*.
    """
    found = []
    if not hmac.compare_digest(entry_hash(entry, previous), entry.entry_hash):
        found.append("it, or the entry before it, is not as it was written")
    if not hmac.compare_digest(entry_mac(key, entry.entry_hash), entry.mac):
        found.append("it was not written by this service")
    if entry.sealed is not None and hashlib.sha256(entry.sealed).digest() != entry.sealed_hash:
        found.append("its reason is not the one that was given")
    return found
