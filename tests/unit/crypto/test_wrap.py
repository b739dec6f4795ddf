from unittest import mock

import pytest
from cryptography.exceptions import UnsupportedAlgorithm

from gateway.base.errors import RefusesToServe
from gateway.base.secret import Secret
from gateway.crypto import wrap
from gateway.crypto.errors import SealBroken
from gateway.crypto.wrap import RECORD_OVERHEAD, open_record, require_aes_gcm_siv, seal_record

KEY = Secret(bytes(range(32)))
RECORD = seal_record(KEY, b"what is sealed", b"its place")


def test_a_record_is_28_bytes_longer_than_what_it_seals() -> None:
    assert len(b"what is sealed") + 28 == len(RECORD)
    assert 28 == RECORD_OVERHEAD


def test_a_record_opens_beside_its_place_only() -> None:
    assert b"what is sealed" == open_record(KEY, RECORD, b"its place")
    with pytest.raises(SealBroken):
        open_record(KEY, RECORD, b"another place")
    with pytest.raises(SealBroken):
        open_record(Secret(bytes(32)), RECORD, b"its place")


@pytest.mark.parametrize("offset", range(len(RECORD)))
def test_any_changed_byte_is_refused(offset: int) -> None:
    changed = bytearray(RECORD)
    changed[offset] ^= 0x10
    with pytest.raises(SealBroken):
        open_record(KEY, bytes(changed), b"its place")


@pytest.mark.parametrize("size", range(len(RECORD)))
def test_any_cut_is_refused(size: int) -> None:
    with pytest.raises(SealBroken):
        open_record(KEY, RECORD[:size], b"its place")


def test_an_empty_record_opens_as_empty() -> None:
    assert b"" == open_record(KEY, seal_record(KEY, b"", b"its place"), b"its place")


def test_each_sealing_draws_a_fresh_nonce() -> None:
    assert 100 == len({seal_record(KEY, b"", b"")[:12] for _ in range(100)})


@pytest.mark.parametrize("size", [0, 11, 13])
def test_a_nonce_of_another_size_is_a_mistake(size: int) -> None:
    with pytest.raises(ValueError, match="nonce"):
        seal_record(KEY, b"", b"", nonce=bytes(size))


@pytest.mark.parametrize("size", [16, 24, 33])
def test_a_key_of_another_size_is_a_mistake(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        seal_record(Secret(bytes(size)), b"", b"")
    with pytest.raises(ValueError, match="32 bytes"):
        open_record(Secret(bytes(size)), RECORD, b"")


def test_this_machine_has_aes_gcm_siv() -> None:
    require_aes_gcm_siv()


def test_without_aes_gcm_siv_nothing_is_served() -> None:
    with (
        mock.patch.object(wrap, "AESGCMSIV", side_effect=UnsupportedAlgorithm("no AES-GCM-SIV")),
        pytest.raises(RefusesToServe) as refused,
    ):
        require_aes_gcm_siv()
    assert "OpenSSL 3.2" in refused.value.advice
