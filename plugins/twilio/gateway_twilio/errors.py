"""
What Twilio's refusals mean, by their codes: what a message says may change, and may repeat the number.

https://www.twilio.com/docs/api/errors tells the codes.
"""

import json
from collections.abc import Mapping
from typing import Final, Literal

from gateway.api import (
    CodeGone,
    IdentityError,
    NumberRefused,
    ProviderDown,
    ProviderMisconfigured,
    TooManyCodes,
)

Operation = Literal["start", "check"]

INVALID_PARAMETER: Final = 60200
NOT_FOUND: Final = 20404

_CANNOT_SEND: Final = frozenset(
    {
        INVALID_PARAMETER,
        60220,  # to China, without its vetting
        60238,  # blocked by Twilio
        60410,  # blocked by Fraud Guard
        60605,  # blocked by the account's geographic permissions
    }
)
_LANDLINE: Final = 60205
_LIMITS: Final = {
    20429: 60,
    60202: 600,  # five checks: until the code runs out
    60203: 600,  # five starts: likewise
    60207: 600,  # the operator's own limits
    60212: 10,  # several starts for one number at once
}
"""By code, the seconds to wait where no Retry-After tells them."""


def of_answer(
    operation: Operation, status: int, body: bytes | bytearray, headers: Mapping[str, str]
) -> IdentityError:
    """
    Return the error that an answer which is none of success means.
    """
    code = _code(body)
    if status >= 500 or status == 408:
        return ProviderDown(f"it answered {status}")
    if status == 429 or code in _LIMITS:
        usual = _LIMITS.get(code or 0, 60)
        told = headers.get("Retry-After", "")
        wait_s = int(told) if told.isascii() and told.isdigit() and len(told) < 6 else usual
        return TooManyCodes("not now", retry_after_s=wait_s)
    if operation == "check" and code == NOT_FOUND:
        return CodeGone("no code is waited for")
    if operation == "start" and code == _LANDLINE:
        return NumberRefused("messages do not reach this number; have the code told by a call")
    if operation == "start" and code in _CANNOT_SEND:
        return NumberRefused("no code can be sent to this number")
    # What is left is about the account, the service or what this program asks.
    return ProviderMisconfigured(f"it refused with {code or status}")


def is_invalid_code(status: int, body: bytes | bytearray) -> bool:
    """
    Whether a check was refused because what was named can be no code.
    """
    return status == 400 and _code(body) == INVALID_PARAMETER


def _code(body: bytes | bytearray) -> int | None:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    code = document.get("code") if isinstance(document, dict) else None
    return code if isinstance(code, int) else None
