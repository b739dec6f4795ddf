import logging
import pickle

import pytest

from gateway.base.secret import Secret

KEY = b"0123456789abcdef0123456789abcdef"


def test_a_secret_prints_as_nothing() -> None:
    secret = Secret(KEY)
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret:>40}", "%s" % secret, repr([secret])):  # noqa: UP031
        assert "0123" not in shown
    record = logging.makeLogRecord({"msg": "%s", "args": (secret,)})
    assert "0123" not in record.getMessage()


def test_a_secret_reveals_itself_on_request_only() -> None:
    assert KEY == Secret(KEY).reveal()
    assert 32 == len(Secret(KEY))


def test_a_secret_is_not_pickled_and_is_no_dictionary_key() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret(KEY))
    with pytest.raises(TypeError):
        hash(Secret(KEY))


def test_secrets_compare_by_content_with_secrets_only() -> None:
    assert Secret(KEY) == Secret(KEY)
    assert Secret(KEY) != Secret(KEY[::-1])
    assert Secret(KEY) != KEY
