import copy
import hashlib
import json
from typing import Any

import pytest

from gateway.base.ids import Epoch
from gateway.base.secret import Secret
from gateway.crypto.signing import SigningKey
from gateway.keyring import Acknowledgement, HolderAnswer, PurgeState, Receipt, subject_hash, verify_receipt
from gateway.keyring.errors import NotShredded, ReceiptInvalid
from gateway.keyring.receipts import (
    Link,
    ShredFacts,
    canonical,
    key_id,
    receipt_hash,
    sign_purged,
    sign_shredded,
)
from tests.keyring.world import SALT, World

KEY = SigningKey.from_seed(Secret(bytes(range(32))))
OTHER_KEY = SigningKey.from_seed(Secret(bytes(32)))
PURGED = (PurgeState("home", "purged", 5), PurgeState("dropbox", "recoverable-until", 9))


def shredded(link: Link | None = None, subject_id: str = "a recording") -> Receipt:
    facts = ShredFacts(
        kind="recording",
        subject_hash=subject_hash(subject_id, SALT),
        leaves=1,
        commitment=bytes(range(32)),
        revoked_at_ms=1000,
        shredded_at_ms=1002,
        epoch=Epoch(8),
        destroyed_root=bytes(range(16)),
        root_store_label="a label with ümlauts",
        acknowledgement=Acknowledgement((HolderAnswer("file", "a label", "destroyed"),)),
        placements=(PurgeState("home", "pending", None),),
    )
    return sign_shredded(facts, link or Link.after(None), KEY)


def purged(before: Receipt) -> Receipt:
    return sign_purged(before, PURGED, 2000, Link.after(before), KEY)


def test_a_receipt_verifies_with_the_public_key_alone() -> None:
    first = shredded()
    second = purged(first)
    verify_receipt(first.document, [OTHER_KEY.public, KEY.public])
    verify_receipt(
        second.document, [KEY.public], subject_id="a recording", salt=SALT, previous=first.document
    )


def test_a_receipt_verifies_after_a_journey_through_json() -> None:
    first = shredded()
    second = purged(first)
    verify_receipt(
        json.loads(json.dumps(second.document, indent=2)), [KEY.public], previous=json.loads(first.to_json())
    )


def test_the_canonical_form_is_sorted_tight_utf_8() -> None:
    document = {"b": [1, True, None, "ü\n\u2028"], "a": {"d": "", "c": -1}}
    assert '{"a":{"c":-1,"d":""},"b":[1,true,null,"ü\\n\u2028"]}'.encode() == canonical(document)


@pytest.mark.parametrize("value", [1.0, float("nan"), b"bytes", (1,), {1: 2}, "\ud800"])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(ReceiptInvalid):
        canonical({"field": [value]})


def test_the_signature_is_over_the_canonical_form_without_itself() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    document = shredded().document
    signature = document.pop("signature")
    import base64

    message = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    Ed25519PublicKey.from_public_bytes(KEY.public).verify(base64.urlsafe_b64decode(signature + "=="), message)
    assert hashlib.sha256(KEY.public).hexdigest()[:32] == document["key_id"] == key_id(KEY.public)


def test_the_first_receipt_follows_nothing_and_the_next_the_hash_of_the_first() -> None:
    first = shredded()
    second = purged(first)
    assert "0" * 64 == first.document["previous"]
    assert hashlib.sha256(first.to_json().encode()).hexdigest() == second.document["previous"]
    assert [1, 2] == [first.document["sequence"], second.document["sequence"]]
    assert receipt_hash(first.document) == second.document["shredded_receipt"]


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """
    Return the path of each value in a document, innermost only.
    """
    inner = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    if inner is None:
        return [path]
    return [found for name, below in inner for found in paths(below, (*path, name))]


def other_than(value: Any) -> list[Any]:
    """
    Return plausible and implausible values that could be put in place of *value*.
    """
    if value is None:
        return [0, "", "00" * 32]
    if isinstance(value, int):
        return [value + 1, value - 1, str(value), float(value), None, value == 1]
    changed = [value + " ", value[:-1], "", None, value[::-1], value.upper(), 1]
    flipped = [value.replace(old, new, 1) for old, new in (("0", "1"), ("a", "b"), ("e", "f"))]
    return [new for new in changed + flipped if new != value]


@pytest.mark.parametrize("path", paths(shredded().document), ids=lambda path: ".".join(map(str, path)))
def test_no_field_of_a_shredded_receipt_can_be_changed(path: tuple[Any, ...]) -> None:
    refuse_changes(shredded().document, path)


@pytest.mark.parametrize(
    "path", paths(purged(shredded()).document), ids=lambda path: ".".join(map(str, path))
)
def test_no_field_of_a_purged_receipt_can_be_changed(path: tuple[Any, ...]) -> None:
    refuse_changes(purged(shredded()).document, path)


def refuse_changes(document: dict[str, Any], path: tuple[Any, ...]) -> None:
    *above, last = path
    for change in ("remove", "replace"):
        original = document
        for name in above:
            original = original[name]
        for new in other_than(original[last]) if change == "replace" else [None]:
            tampered = copy.deepcopy(document)
            inner = tampered
            for name in above:
                inner = inner[name]
            if change == "replace":
                inner[last] = new
            else:
                del inner[last]
            with pytest.raises(ReceiptInvalid):
                verify_receipt(tampered, [KEY.public])


@pytest.mark.parametrize("inside", [(), ("subject",), ("epochs",), ("root_store",), ("placements", 0)])
def test_nothing_can_be_added_to_a_receipt(inside: tuple[Any, ...]) -> None:
    tampered = copy.deepcopy(shredded().document)
    inner = tampered
    for name in inside:
        inner = inner[name]
    inner["more"] = 1
    with pytest.raises(ReceiptInvalid):
        verify_receipt(tampered, [KEY.public])


def test_a_signature_has_one_text() -> None:
    document = shredded().document
    for text in (document["signature"] + "=", document["signature"] + "==", document["signature"][:-1] + "!"):
        with pytest.raises(ReceiptInvalid, match="signature"):
            verify_receipt({**document, "signature": text}, [KEY.public])
    last = document["signature"][-1]
    stray = chr(ord(last) + 1)
    with pytest.raises(ReceiptInvalid, match="signature"):
        verify_receipt({**document, "signature": document["signature"][:-1] + stray}, [KEY.public])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"signature": "AAAA"}, "signature"),
        ({"shredded_at_ms": 1}, "signature"),
        ({"key_id": "0" * 32}, "key_id"),
        ({"format": "another"}, "format"),
        ({"version": 2}, "version"),
        ({"version": True}, "version"),
        ({"statement": "forgotten"}, "statement"),
        ({"statement": "purged"}, "shredded_receipt: missing"),
        ({"leaves": -1}, "leaves"),
        ({"destroyed_root": "00"}, "destroyed_root"),
        ({"epochs": {"from": 7, "to": 9}}, "epochs"),
        ({"subject": {"kind": "planet", "hash": "0" * 64}}, "subject"),
        ({"previous": "1" * 64}, "previous"),
        ({"sequence": 2}, "previous"),
        ({"placements": [{"backend": "home"}]}, "placements"),
    ],
)
def test_the_refusal_names_what_is_wrong(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ReceiptInvalid, match=named):
        verify_receipt({**shredded().document, **change}, [KEY.public])


def test_another_key_s_receipt_is_refused() -> None:
    with pytest.raises(ReceiptInvalid, match="key_id"):
        verify_receipt(shredded().document, [OTHER_KEY.public])
    with pytest.raises(ReceiptInvalid, match="key_id"):
        verify_receipt(shredded().document, [])
    forged = {**shredded().document, "key_id": key_id(OTHER_KEY.public)}
    with pytest.raises(ReceiptInvalid, match="signature"):
        verify_receipt(forged, [OTHER_KEY.public, KEY.public])


def test_another_subject_or_salt_is_refused() -> None:
    document = shredded().document
    for subject_id, salt in (("another", SALT), ("a recording", b"another")):
        with pytest.raises(ReceiptInvalid, match="subject"):
            verify_receipt(document, [KEY.public], subject_id=subject_id, salt=salt)


def test_an_id_without_its_salt_checks_nothing_and_says_so() -> None:
    with pytest.raises(ValueError, match="salt"):
        verify_receipt(shredded().document, [KEY.public], subject_id="a recording")


def test_a_receipt_that_follows_another_one_is_refused() -> None:
    first, stranger = shredded(), shredded(subject_id="another")
    with pytest.raises(ReceiptInvalid, match="previous"):
        verify_receipt(purged(first).document, [KEY.public], previous=stranger.document)
    skipping = shredded(Link(3, receipt_hash(first.document)))
    with pytest.raises(ReceiptInvalid, match="sequence"):
        verify_receipt(skipping.document, [KEY.public], previous=first.document)


def test_a_receipt_says_what_it_covers_and_what_it_cannot_prove() -> None:
    for document in (shredded().document, purged(shredded()).document):
        assert "cannot prove that no other copy of a key exists" in document["limits"]
        assert len(document["covers"]) > 100


def test_a_receipt_does_not_name_its_subject() -> None:
    assert "a recording" not in shredded().to_json().replace("this recording", "")


async def test_a_receipt_tells_the_whole_story(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    request = world.recording(slot, 5, 7)
    world.clock.advance(3)
    receipt = await keyring.shred(request)
    told = {
        name: receipt.document[name]
        for name in (
            "statement",
            "sequence",
            "leaves",
            "revoked_at_ms",
            "shredded_at_ms",
            "epochs",
            "placements",
        )
    }
    assert {
        "statement": "shredded",
        "sequence": 1,
        "leaves": 3,
        "revoked_at_ms": request.revoked_at_ms,
        "shredded_at_ms": request.revoked_at_ms + 3000,
        "epochs": {"from": 1, "to": 2},
        "placements": [{"backend": "home", "state": "pending", "at_ms": None}],
    } == told
    assert world.roots.label == receipt.document["root_store"]["label"]
    assert ["destroyed"] == [holder["outcome"] for holder in receipt.document["root_store"]["holders"]]
    assert request.subject_id not in receipt.to_json()
    verify_receipt(
        receipt.document, await keyring.public_keys(), subject_id=request.subject_id, salt=SALT, previous=None
    )


async def test_an_account_s_receipt_is_about_all_of_it(world: World) -> None:
    keyring = await world.open()
    receipt = await keyring.shred(world.account(await keyring.add_slot()))
    assert receipt.document["leaves"] is None
    assert receipt.document["commitment"] is None
    assert "No key of this account" in receipt.document["covers"]


async def test_receipts_are_chained_over_rounds_restarts_and_purges(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    chain: list[Receipt] = []
    for index in range(3):
        request = world.recording(slot, index)
        chain.append(await keyring.shred(request))
        chain.append(await keyring.record_purge(request.subject_id, PURGED))
        await keyring.close()
        keyring = await world.open()
    keys = await keyring.public_keys()
    for before, after in zip([None, *chain], chain, strict=False):
        verify_receipt(after.document, keys, previous=before.document if before else None)
    assert list(range(1, 7)) == [receipt.sequence for receipt in chain]


async def test_what_is_read_back_is_what_was_signed(world: World) -> None:
    keyring = await world.open()
    request = world.recording(await keyring.add_slot(), 0)
    signed = [await keyring.shred(request), await keyring.record_purge(request.subject_id, PURGED)]
    read = await keyring.receipts_of(request.subject_id)
    assert signed == read
    assert [receipt.to_json() for receipt in signed] == [receipt.to_json() for receipt in read]
    assert ["shredded", "purged"] == [receipt.document["statement"] for receipt in read]
    assert [] == await keyring.receipts_of("another")


async def test_a_purge_said_again_gives_the_same_receipt(world: World) -> None:
    keyring = await world.open()
    request = world.recording(await keyring.add_slot(), 0)
    await keyring.shred(request)
    first = await keyring.record_purge(request.subject_id, PURGED)
    world.clock.advance(60)
    assert first == await keyring.record_purge(request.subject_id, PURGED)
    later = await keyring.record_purge(request.subject_id, [PurgeState("home", "purged", 5)])
    assert first.sequence < later.sequence


async def test_a_purge_follows_a_shred_and_is_not_said_too_early(world: World) -> None:
    keyring = await world.open()
    request = world.recording(await keyring.add_slot(), 0)
    with pytest.raises(NotShredded):
        await keyring.record_purge(request.subject_id, PURGED)
    await keyring.shred(request)
    with pytest.raises(ValueError, match="pending"):
        await keyring.record_purge(request.subject_id, request.placements)


async def test_the_public_key_stays_the_same(world: World) -> None:
    keyring = await world.open()
    keys = await keyring.public_keys()
    await keyring.shred(world.recording(await keyring.add_slot(), 0))
    await keyring.close()
    assert keys == await (await world.open()).public_keys()
