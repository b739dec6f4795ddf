"""
Telephone numbers, in the one form in which they are compared: E.164.
"""

from collections.abc import Collection

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType

from gateway.services.errors import CannotBeReached, InvalidField

_COSTLY = frozenset({PhoneNumberType.PREMIUM_RATE, PhoneNumberType.SHARED_COST, PhoneNumberType.UAN})


def as_e164(text: str, *, field: str = "number") -> str:
    """
    Return a number that was written with its country's code as E.164, such as ``+14155550100``.

    Raises:
        InvalidField: it is no such number.
    """
    if not text.strip().startswith("+"):
        raise InvalidField(field, "begins with + and the country's code")
    try:
        number = phonenumbers.parse(text.strip())
    except NumberParseException:
        raise InvalidField(field, "is no telephone number") from None
    if not phonenumbers.is_possible_number(number) or number.extension:
        raise InvalidField(field, "is no telephone number")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def check_reachable(number: str, countries: Collection[str]) -> None:
    """
    Make sure that a code may be sent to *number*: calls and messages to some cost whoever sends them.

    Raises:
        CannotBeReached: it may not.
    """
    parsed = phonenumbers.parse(number)
    if phonenumbers.number_type(parsed) in _COSTLY:
        raise CannotBeReached("codes are not sent to numbers that cost extra")
    if countries and phonenumbers.region_code_for_number(parsed) not in countries:
        raise CannotBeReached("codes are not sent to this number's country")
