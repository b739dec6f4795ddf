"""
Why a mail was not taken.

    GatewayError
    └─ MailError               .reason is a word of ours and the server's codes, never its text: that may name people
       ├─ BadAddress           it is no address that mail can be sent to
       ├─ AddressRefused       the server takes nothing for that address, now or later
       ├─ MailRefused          the server does not take this message, now or later
       └─ NotTaken             not now; another try may succeed
          └─ AddressBusy       not now, and for that address alone
"""

from gateway.base.errors import GatewayError


class MailError(GatewayError):
    """
    A mail that was not taken; *reason* may be kept and shown.
    """

    code = "mail"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the mail was not taken: {reason}")
        self.reason = reason


class BadAddress(MailError):
    code = "bad-address"

    def __init__(self) -> None:
        super().__init__("bad-address")


class AddressRefused(MailError):
    code = "address-refused"


class MailRefused(MailError):
    code = "mail-refused"


class NotTaken(MailError):
    code = "mail-not-taken"


class AddressBusy(NotTaken):
    code = "address-busy"
