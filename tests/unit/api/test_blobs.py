import pytest

from gateway.api import Quota, Span, as_blob_key, new_blob_key


def test_a_new_key_is_a_key_and_another_one_each_time() -> None:
    keys = {new_blob_key() for _ in range(100)}
    assert 100 == len(keys)
    assert keys == {as_blob_key(key) for key in keys}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        63 * "0",
        65 * "0",
        64 * "A",
        64 * "g",
        64 * "0" + "\n",
        "\n" + 63 * "0",
        64 * "\N{ARABIC-INDIC DIGIT ZERO}",
    ],
)
def test_anything_but_64_lower_case_hex_digits_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="64 lower-case hex digits"):
        as_blob_key(text)


def test_a_span_ends_behind_its_last_byte() -> None:
    assert 15 == Span(5, 10).end
    assert 5 == Span(5, 0).end


@pytest.mark.parametrize(("start", "length"), [(-1, 5), (0, -1)])
def test_a_span_has_nothing_negative(start: int, length: int) -> None:
    with pytest.raises(ValueError, match="negative"):
        Span(start, length)


@pytest.mark.parametrize(
    ("used", "limit", "free"), [(0, None, None), (5, None, None), (3, 10, 7), (10, 10, 0), (12, 10, 0)]
)
def test_what_is_free_is_what_is_left_below_the_limit(used: int, limit: int | None, free: int | None) -> None:
    assert free == Quota(used=used, limit=limit).free
