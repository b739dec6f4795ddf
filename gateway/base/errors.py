"""
The root of all errors that the gateway raises on purpose.

    GatewayError
    ├─ ConfigurationError     a setting is wrong; names its key and where it came from
    └─ RefusesToServe         starting would lose or resurrect something; carries the advice

Each package draws its own branch below `GatewayError`.
How an error looks on the wire is decided in one table, `gateway.http.problems`.
"""

from typing import ClassVar


class GatewayError(Exception):
    """
    An error with a message for people and a code for programs.

    The message is one sentence that names what was wrong; it never carries a key, a token or a person's data.
    """

    code: ClassVar[str] = "internal"


class ConfigurationError(GatewayError):
    """
    A setting is missing or wrong; the message names its key and its source.
    """

    code = "configuration"


class RefusesToServe(GatewayError):
    """
    The daemon will not start, because going on would lose data or bring back what was shredded.
    """

    code = "refuses-to-serve"

    def __init__(self, message: str, *, advice: str) -> None:
        super().__init__(message)
        self.advice = advice
        """What the operator should do now."""

    def __str__(self) -> str:
        return f"{self.args[0]} {self.advice}"
