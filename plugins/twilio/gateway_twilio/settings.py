"""
What the operator says about his account at Twilio.
"""

import re
from dataclasses import dataclass, field
from typing import Final

_SERVICE: Final = re.compile(r"VA[0-9a-fA-F]{32}", re.ASCII)
_ACCOUNT: Final = re.compile(r"AC[0-9a-fA-F]{32}", re.ASCII)
_API_KEY: Final = re.compile(r"SK[0-9a-fA-F]{32}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioSettings:
    """
    The Verify service that sends codes, and what the gateway signs in with: an API key, or the account's own token.
    """

    service_sid: str
    """The Verify service, ``VA…``: its page sets the length of codes, the sender's name and the countries."""

    api_key_sid: str = ""
    """An API key, ``SK…``. It can be ended without touching the account, so it is the better one."""

    api_key_secret: str = field(default="", repr=False)

    account_sid: str = ""
    """The account, ``AC…``, where there is no API key."""

    auth_token: str = field(default="", repr=False)

    base_url: str = "https://verify.twilio.com"
    """Where Verify is spoken to: another one for a test."""

    timeout_s: float = 10.0
    """A call that takes longer is given up; whether a code was sent is not known then."""

    check_attempts: int = 2
    """How often the same code is checked while no answer comes. A start is not repeated: each may be paid for."""

    def __post_init__(self) -> None:
        for name, pattern in (
            ("service_sid", _SERVICE),
            ("api_key_sid", _API_KEY),
            ("account_sid", _ACCOUNT),
        ):
            value = getattr(self, name)
            if (value or name == "service_sid") and pattern.fullmatch(value) is None:
                raise ValueError(f"{name} must be {pattern.pattern[:2]} and 32 hexadecimal digits")
        if bool(self.api_key_sid) != bool(self.api_key_secret):
            raise ValueError("api_key_sid and api_key_secret go together")
        if bool(self.account_sid) != bool(self.auth_token):
            raise ValueError("account_sid and auth_token go together")
        if bool(self.api_key_sid) == bool(self.account_sid):
            raise ValueError("there must be either api_key_sid or account_sid, each with its secret")
        if not self.base_url.startswith(("https://", "http://")) or self.base_url.endswith("/"):
            raise ValueError("base_url must be a URL that begins with https:// and ends without a slash")
        if self.timeout_s <= 0:
            raise ValueError("timeout_s must be above zero")
        if not 1 <= self.check_attempts <= 5:
            raise ValueError(f"check_attempts must be from 1 to 5, not {self.check_attempts}")

    @property
    def user(self) -> str:
        """
        The user's name of the basic authentication.
        """
        return self.api_key_sid or self.account_sid

    @property
    def password(self) -> str:
        """
        What goes with it.
        """
        return self.api_key_secret or self.auth_token
