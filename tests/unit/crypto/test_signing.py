import pytest

from gateway.base.secret import Secret
from gateway.crypto.errors import SignatureWrong
from gateway.crypto.signing import SigningKey, verify

RFC_8032 = [
    pytest.param(
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        id="7.1 test 1",
    ),
    pytest.param(
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        id="7.1 test 2",
    ),
]

KEY = SigningKey.from_seed(Secret(bytes(range(32))))
MESSAGE = b"this was shredded"
SIGNATURE = KEY.sign(MESSAGE)


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_the_vectors_of_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    key = SigningKey.from_seed(Secret(bytes.fromhex(seed)))
    assert public == key.public.hex()
    assert signature == key.sign(bytes.fromhex(message)).hex()
    verify(key.public, bytes.fromhex(signature), bytes.fromhex(message))


@pytest.mark.parametrize("offset", range(64))
def test_a_changed_signature_is_wrong(offset: int) -> None:
    changed = bytearray(SIGNATURE)
    changed[offset] ^= 1
    with pytest.raises(SignatureWrong):
        verify(KEY.public, bytes(changed), MESSAGE)


def test_another_message_or_key_is_wrong() -> None:
    with pytest.raises(SignatureWrong):
        verify(KEY.public, SIGNATURE, MESSAGE + b".")
    with pytest.raises(SignatureWrong):
        verify(SigningKey.from_seed(Secret(bytes(32))).public, SIGNATURE, MESSAGE)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_what_is_no_public_key_verifies_nothing(size: int) -> None:
    with pytest.raises(SignatureWrong, match=f"not {size}"):
        verify(bytes(size), SIGNATURE, MESSAGE)


@pytest.mark.parametrize("size", [0, 63, 65])
def test_what_is_no_signature_verifies_nothing(size: int) -> None:
    with pytest.raises(SignatureWrong):
        verify(KEY.public, (SIGNATURE + b"\0")[:size], MESSAGE)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_seed_of_another_size_is_a_mistake(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey.from_seed(Secret(bytes(size)))
