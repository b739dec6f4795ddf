"""
Bytes that must not be shown.
"""

import hmac
from typing import NoReturn


class Secret:
    """
    Holds key material and prints as nothing.

    Every key that crosses a module's border is one of these, so that no log line, traceback or debugger's repr shows it.
    Comparison takes constant time.
    Python cannot wipe memory; DELETION says what that means.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    def reveal(self) -> bytes:
        """
        Return the bytes, for the one call that needs them.
        """
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        raise TypeError("a Secret is no dictionary key")

    def __repr__(self) -> str:
        return f"Secret(<{len(self._value)} bytes>)"

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, format_spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")
