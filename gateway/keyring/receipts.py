"""
Receipts: what they say, how they are signed and chained, and how anybody checks one.

Knows no database and no key tree.
FORMAT §6.6 gives every field and the canonical form.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.base.ids import Epoch
from gateway.crypto.errors import SignatureWrong
from gateway.crypto.signing import SigningKey, verify
from gateway.keyring.errors import ReceiptInvalid
from gateway.keyring.receipt_shape import FIRST_PREVIOUS, FORMAT, VERSION, check_shape
from gateway.keyring.requests import PurgeState, SubjectKind
from gateway.keyring.roots import Acknowledgement

_COVERS: Final = {
    "recording": (
        "The key of this recording can no longer be derived from anything that is stored. Its audio, and what was "
        "noted about it, were only ever stored sealed under that key, so every copy of them is unreadable: at every "
        "storage backend, in every backup of the blobs, of the catalog and of the key database, of any age. This holds "
        "because the key tree was written anew without this key, and because the root key that led to it, named here "
        "as destroyed_root, was destroyed as root_store says."
    ),
    "recordings": (
        "The keys of these recordings, as many as leaves says, can no longer be derived from anything that is stored. "
        "They are the recordings of one user whose leaves lie in the range that the subject names. Their audio, and "
        "what was noted about them, were only ever stored sealed under those keys, so every copy of them is "
        "unreadable: at every storage backend, in every backup of the blobs, of the catalog and of the key database, "
        "of any age. This holds because the key tree was written anew without these keys, and because the root key "
        "that led to them, named here as destroyed_root, was destroyed as root_store says."
    ),
    "export": (
        "The key of this export can no longer be derived from anything that is stored. What the gateway kept for it, "
        "personal data and what was noted about recordings, was only ever stored sealed under that key, so every copy "
        "of that is unreadable, in every backup of the catalog and of the key database, of any age. What was "
        "downloaded of it is not the gateway's to delete, and the recordings themselves are not erased by this."
    ),
    "account": (
        "No key of this account can be derived any more from anything that is stored. All its recordings, what was "
        "noted about them, and the personal data of the account were only ever stored sealed under those keys, so "
        "every copy of them is unreadable: at every storage backend, in every backup of the blobs, of the catalog and "
        "of the key database, of any age. This holds because the key tree was written anew without these keys, and "
        "because the root key that led to them, named here as destroyed_root, was destroyed as root_store says. Not "
        "covered are the keyed hashes by which its numbers and accounts were found: whoever holds an old catalog can "
        "compare numbers with them as long as the look-up key of that time exists. That key is the gateway's own; when "
        "it is shredded too, another receipt says so, whose subject is a service-key."
    ),
    "service-key": (
        "This key, one of the gateway's own, can no longer be derived from anything that is stored. By a look-up key "
        "people were found: nobody can find out any more whether a number or an account is among the keyed hashes that "
        "were made with it, in any catalog or backup of it, of any age. This holds because the key tree was written "
        "anew without this key, and because the root key that led to it, named here as destroyed_root, was destroyed "
        "as root_store says."
    ),
}
SERVICE_KEY_SALT: Final = bytes(32)
"""The salt of a service key's receipts: its purpose is nobody's secret."""
_COVERS_PURGED: Final = (
    "The sealed blobs of this subject, unreadable since the receipt named by shredded_receipt, have also been removed "
    "from the storage backends, as placements says. Where it says recoverable-until, the backend itself may bring "
    "the sealed bytes back until then, or for as long as it likes where no time is given; they stay unreadable. Where "
    "it says left, the gateway could no longer reach the account; the sealed bytes that lie there stay unreadable too."
)
_LIMITS: Final = (
    "This is a claim that the operator of this gateway signed. It cannot prove that no other copy of a key exists, "
    "for instance in a snapshot of the disk under the root store, in a backup of the root store, or in what somebody "
    "read from a running machine before. It says nothing about copies that were taken in the clear, such as downloads, "
    "nor about recordings that the phone itself still keeps."
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """
    A signed statement about one subject, and its place in the chain.
    """

    document: dict[str, Any]
    sequence: int
    signed: str | None = field(default=None, repr=False, compare=False)
    """Its canonical JSON, where it was signed just now."""

    def to_json(self) -> str:
        """
        Return the canonical JSON, signature included: what the next receipt's ``previous`` is the hash of.
        """
        return canonical(self.document).decode() if self.signed is None else self.signed


@dataclass(frozen=True, slots=True)
class Link:
    """
    Where in the chain a receipt goes.
    """

    sequence: int
    previous: str

    @classmethod
    def after(cls, receipt: Receipt | None) -> "Link":
        """
        Return the place after *receipt*, or the first.
        """
        if receipt is None:
            return cls(1, FIRST_PREVIOUS)
        return cls(receipt.sequence + 1, hashlib.sha256(receipt.to_json().encode()).hexdigest())


@dataclass(frozen=True, slots=True)
class ShredFacts:
    """
    What a "shredded" receipt tells.
    """

    kind: SubjectKind
    subject_hash: bytes
    leaves: int | None
    commitment: bytes | None
    revoked_at_ms: int
    shredded_at_ms: int
    epoch: Epoch
    """The first without the keys; the destroyed root is of the one before."""
    destroyed_root: bytes
    root_store_label: str
    acknowledgement: Acknowledgement
    placements: Sequence[PurgeState]


def sign_shredded(facts: ShredFacts, link: Link, key: SigningKey) -> Receipt:
    """
    Sign that the keys of a subject are gone.
    """
    return _sign(
        {
            "statement": "shredded",
            "subject": _subject(facts.kind, facts.subject_hash),
            "leaves": facts.leaves,
            "commitment": None if facts.commitment is None else facts.commitment.hex(),
            "revoked_at_ms": facts.revoked_at_ms,
            "shredded_at_ms": facts.shredded_at_ms,
            "epochs": {"from": facts.epoch - 1, "to": facts.epoch},
            "destroyed_root": facts.destroyed_root.hex(),
            "root_store": {
                "label": facts.root_store_label,
                "holders": [
                    {"holder": answer.holder, "label": answer.label, "outcome": answer.outcome}
                    for answer in facts.acknowledgement.answers
                ],
            },
            "placements": placements_document(facts.placements),
            "covers": _COVERS[facts.kind],
        },
        link,
        key,
    )


def sign_purged(
    shredded: Receipt, purges: Sequence[PurgeState], purged_at_ms: int, link: Link, key: SigningKey
) -> Receipt:
    """
    Sign that the blobs of the subject of *shredded* are removed from the backends as well.
    """
    return _sign(
        {
            "statement": "purged",
            "subject": shredded.document["subject"],
            "shredded_receipt": receipt_hash(shredded.document),
            "purged_at_ms": purged_at_ms,
            "placements": placements_document(purges),
            "covers": _COVERS_PURGED,
        },
        link,
        key,
    )


def placements_document(purges: Sequence[PurgeState]) -> list[dict[str, Any]]:
    """
    Return how a receipt tells the purge states.
    """
    return [{"backend": purge.backend, "state": purge.state, "at_ms": purge.at_ms} for purge in purges]


def canonical(document: Mapping[str, Any]) -> bytes:
    """
    Return the one JSON text of *document*: sorted keys, no spaces, UTF-8, integers only. FORMAT §6.6.

    Raises:
        ReceiptInvalid: it holds something other than strings, integers, booleans, null, lists and objects.
    """
    _refuse_other_than_plain(document)
    try:
        text = json.dumps(
            document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        return text.encode()
    except UnicodeEncodeError:
        raise ReceiptInvalid("the receipt holds a string that is no Unicode text") from None


def receipt_hash(document: Mapping[str, Any]) -> str:
    """
    Return the SHA-256 of the whole receipt, signature included, in hex.
    """
    return hashlib.sha256(canonical(document)).hexdigest()


def key_id(public_key: bytes) -> str:
    """
    Return the name of a public key: the first 16 bytes of its SHA-256, in hex.
    """
    return hashlib.sha256(public_key).hexdigest()[:32]


def subject_hash(subject_id: str, salt: bytes) -> bytes:
    """
    Return how receipts name a subject: SHA-256(salt ‖ id), which tells nothing without the salt.
    """
    return hashlib.sha256(salt + subject_id.encode()).digest()


def verify_receipt(
    document: dict[str, Any],
    public_keys: Sequence[bytes],
    *,
    subject_id: str | None = None,
    salt: bytes | None = None,
    previous: dict[str, Any] | None = None,
) -> None:
    """
    Return if *document* is what the holder of one of *public_keys* signed.

    With *subject_id* and *salt*, also that it is about this subject;
    with *previous*, also that it follows that receipt in the chain (whose own signature is another call's matter).

    Raises:
        ReceiptInvalid: names what is wrong.
    """
    if (subject_id is None) != (salt is None):
        raise ValueError("a subject is checked with its id and its salt, or not at all")
    check_shape(document)
    check_signature(document, public_keys)
    if subject_id is not None and salt is not None:
        wanted = subject_hash(subject_id, salt).hex()
        if not hmac.compare_digest(wanted, document["subject"]["hash"]):
            raise ReceiptInvalid("subject: the receipt is about another subject, or the salt is another's")
    if previous is not None:
        if document["previous"] != receipt_hash(previous):
            raise ReceiptInvalid("previous: the receipt does not follow the one given")
        if previous.get("sequence") != document["sequence"] - 1:
            raise ReceiptInvalid("sequence: it does not count on from the receipt before")


def signed(facts: Mapping[str, Any], key: SigningKey) -> dict[str, Any]:
    """
    Return *facts* with the name of the key that signs them, and the signature over their canonical form.
    """
    document = {**facts, "key_id": key_id(key.public)}
    signature = base64.urlsafe_b64encode(key.sign(canonical(document))).rstrip(b"=").decode()
    return {**document, "signature": signature}


def check_signature(document: Mapping[str, Any], public_keys: Sequence[bytes]) -> None:
    """
    Return if *document* is as the holder of one of *public_keys* signed it.

    Raises:
        ReceiptInvalid: it is not.
    """
    public_key = next((key for key in public_keys if key_id(key) == document["key_id"]), None)
    if public_key is None:
        raise ReceiptInvalid(
            f"key_id: {document['key_id']} is none of the {len(public_keys)} public keys given"
        )
    unsigned = {field: value for field, value in document.items() if field != "signature"}
    try:
        verify(public_key, _base64url(document["signature"]), canonical(unsigned))
    except SignatureWrong:
        raise ReceiptInvalid("signature: the receipt is not as it was signed") from None


def _sign(facts: dict[str, Any], link: Link, key: SigningKey) -> Receipt:
    document = {
        "format": FORMAT,
        "version": VERSION,
        "sequence": link.sequence,
        "previous": link.previous,
        "limits": _LIMITS,
        **facts,
    }
    document = signed(document, key)
    return Receipt(document, link.sequence, canonical(document).decode())


def _subject(kind: SubjectKind, hashed: bytes) -> dict[str, Any]:
    return {"kind": kind, "hash": hashed.hex()}


def _base64url(text: str) -> bytes:
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ReceiptInvalid("signature: it is not base64url") from None
    # One text for one signature: stray bits in the last character would be a second.
    if base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() != text:
        raise ReceiptInvalid("signature: it is not base64url without padding")
    return decoded


def _refuse_other_than_plain(value: object) -> None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise ReceiptInvalid("the receipt has a field whose name is no string")
            _refuse_other_than_plain(inner)
    elif isinstance(value, list):
        for inner in value:
            _refuse_other_than_plain(inner)
    elif not (value is None or isinstance(value, str | int)):
        raise ReceiptInvalid(f"the receipt holds a {type(value).__name__}, which has no canonical form")
