"""
Nothing that holds a key shows it.
"""

import pickle

import pytest

from gateway.base.ids import LeafIndex
from gateway.base.secret import Secret
from gateway.crypto import errors
from gateway.crypto.chunked import Opener, Sealer
from gateway.crypto.errors import CryptoError, DamagedChunk, LeafPunctured
from gateway.crypto.ggm import GgmState
from gateway.crypto.keys import subkey
from gateway.crypto.signing import SigningKey

KEY = Secret(b"0123456789abcdef0123456789ABCDEF")
SEALER = Sealer(KEY, b"")
HOLDERS = [
    GgmState.fresh(KEY),
    GgmState.fresh(KEY)._nodes[0],
    SEALER,
    Opener(KEY, b"", SEALER.header),
    SigningKey.from_seed(KEY),
    subkey(KEY, "audio"),
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_a_holder_of_a_key_prints_none_of_it(holder: object) -> None:
    for shown in (repr(holder), str(holder), f"{holder}"):
        assert "0123456789" not in shown
        assert KEY.reveal().hex()[:16] not in shown


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_a_holder_of_a_key_is_not_pickled(holder: object) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(holder)


def test_a_state_is_no_dictionary_key() -> None:
    with pytest.raises(TypeError):
        hash(GgmState.fresh(KEY))


def test_each_error_has_a_code_of_its_own() -> None:
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, CryptoError)]
    assert len(classes) == len({one.code for one in classes})


def test_errors_tell_which_chunk_or_leaf() -> None:
    assert "chunk 7 is not what was sealed there" == str(DamagedChunk(7))
    assert "leaf 7 was punctured" == str(LeafPunctured(LeafIndex(7)))
