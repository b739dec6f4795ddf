"""
Finding the other party, however the number was written.
"""

import pytest

from gateway.services.details import build_details
from gateway.services.recordings import Filter


@pytest.mark.parametrize(
    ("number", "name", "wanted", "is_found"),
    [
        ("+49 30 123456", None, "+4930123456", True),
        ("+49 (30) 12-34-56", None, "49 30 123456", True),
        ("+49 30 123456", None, "123456", False),
        ("anonymous", None, "anonymous", True),
        ("anonymous", None, "", False),
        ("*#21#", None, "*#21#", True),
        (None, "Zoë", "ZOË", True),
        (None, "Straße", "strasse", True),
        (None, "Ann-Marie", "marie", True),
        (None, None, "x", False),
        ("112", "Ann", "ann", True),
    ],
)
def test_a_party_is_found_by_number_or_part_of_the_name(
    number: str | None, name: str | None, wanted: str, is_found: bool
) -> None:
    details = build_details({"party_number": number, "party_name": name})

    assert is_found == Filter(party=wanted).matches(details)


def test_what_cannot_be_opened_matches_no_filter_that_looks_inside() -> None:
    assert Filter().matches(None)
    assert Filter(stored_from=5).matches(None)
    assert not Filter(direction="in").matches(None)
