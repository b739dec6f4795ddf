"""
The public Wycheproof vectors: each is opened or refused as it says, with the class of error that FORMAT §3.12 gives it.
"""

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.base.secret import Secret
from gateway.crypto.chunked import (
    CHUNK_SIZE,
    MESSAGE_HEADER_SIZE,
    SALT_SIZE,
    SEALED_CHUNK_SIZE,
    Opener,
    plaintext_size,
    sealed_size,
)
from gateway.crypto.errors import CryptoError, DamagedChunk, SealBroken, Truncated, WrongKey
from gateway.crypto.wrap import open_record, seal_record
from tests.unit.crypto.blobs import open_message, seal_message

VECTORS: Final = Path(__file__).parents[2] / "vectors"

DAMAGED_CHUNK: Final = {11: 0, 12: 1, 13: 1, 14: 1, 15: 0, 18: 1, 32: 1, 33: 0, 34: 1, 35: 1}
TRUNCATED: Final = {16, 17, 19, 20, 27, 28, 29, 30, 31}
WRONG_KEY: Final = {21, 22, 25, 26}
WRONG_KEY_SIZE: Final = {23, 24}


def _vectors(file: str, **group: Any) -> list[Any]:
    groups = json.loads((VECTORS / file).read_text())["testGroups"]
    chosen = [one for one in groups if group.items() <= one.items()]
    return [pytest.param(test, id=f"{test['tcId']}") for one in chosen for test in one["tests"]]


CHUNKED: Final = _vectors(
    "c2sp_chunked_encryption_aes_256_gcm_test.json", aead="AEAD_AES_256_GCM", sha="SHA-512"
)
GCM_SIV: Final = _vectors("aes_gcm_siv_test.json", keySize=256, ivSize=96, tagSize=128)


def test_no_vector_is_missing() -> None:
    assert (35, 103) == (len(CHUNKED), len(GCM_SIV))
    refused = set(DAMAGED_CHUNK) | TRUNCATED | WRONG_KEY | WRONG_KEY_SIZE
    assert refused == {one.values[0]["tcId"] for one in CHUNKED if one.values[0]["result"] == "invalid"}


@pytest.mark.parametrize("vector", CHUNKED)
def test_chunked_encryption(vector: dict[str, Any]) -> None:
    number = vector["tcId"]
    key, context = Secret(bytes.fromhex(vector["key"])), bytes.fromhex(vector["ctx"])
    message = zlib.decompress(bytes.fromhex(vector["ct"]))

    if number in WRONG_KEY_SIZE:
        with pytest.raises(ValueError, match="32 bytes"):
            open_message(key, context, message)
    elif number in WRONG_KEY:
        with pytest.raises(WrongKey):
            open_message(key, context, message)
    elif number in TRUNCATED:
        with pytest.raises(Truncated):
            open_message(key, context, message)
        with pytest.raises(Truncated):
            plaintext_size(len(message))
    elif number in DAMAGED_CHUNK:
        with pytest.raises(DamagedChunk) as damaged:
            open_message(key, context, message)
        assert DAMAGED_CHUNK[number] == damaged.value.chunk
    else:
        plaintext = open_message(key, context, message)
        assert vector["msgSha512"] == hashlib.sha512(plaintext).hexdigest()
        assert vector["msgLength"] == len(plaintext) == plaintext_size(len(message))
        assert len(message) == sealed_size(len(plaintext))
        assert message == seal_message(key, context, plaintext, salt=message[:SALT_SIZE])


@pytest.mark.parametrize("vector", [one for one in CHUNKED if "aeadKey" in one.values[0]])
def test_chunks_of_broken_messages_open_one_by_one_as_far_as_they_are_whole(vector: dict[str, Any]) -> None:
    message = zlib.decompress(bytes.fromhex(vector["ct"]))
    header, chunks = message[:MESSAGE_HEADER_SIZE], message[MESSAGE_HEADER_SIZE:]
    opener = Opener(Secret(bytes.fromhex(vector["key"])), bytes.fromhex(vector["ctx"]), header)
    assert vector["baseNonce"] == opener._message_key.nonce(0).hex()

    whole = vector.get("msgLength", 0) // CHUNK_SIZE
    prefix = opener.open_chunks(0, chunks[: whole * SEALED_CHUNK_SIZE], ends_message=False)
    if "PartialPlaintext" in vector["flags"]:
        assert vector["msgSha512"] == hashlib.sha512(prefix).hexdigest()

    last = len(chunks) // SEALED_CHUNK_SIZE
    try:
        opener.open_chunks(last, chunks[last * SEALED_CHUNK_SIZE :], ends_message=True)
    except CryptoError:
        last_opens = False
    else:
        last_opens = True
    assert (vector["result"] == "valid" or "ValidFinalChunk" in vector["flags"]) == last_opens


@pytest.mark.parametrize("vector", GCM_SIV)
def test_aes_gcm_siv(vector: dict[str, Any]) -> None:
    key = Secret(bytes.fromhex(vector["key"]))
    nonce, associated_data = bytes.fromhex(vector["iv"]), bytes.fromhex(vector["aad"])
    plaintext = bytes.fromhex(vector["msg"])
    record = nonce + bytes.fromhex(vector["ct"] + vector["tag"])

    if vector["result"] == "valid":
        assert plaintext == open_record(key, record, associated_data)
        assert record == seal_record(key, plaintext, associated_data, nonce=nonce)
    else:
        with pytest.raises(SealBroken):
            open_record(key, record, associated_data)
