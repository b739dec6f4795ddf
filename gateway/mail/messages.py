"""
What a mail looks like: RFC 5322, with a text and an HTML part.

No header can be made to say more than one thing: addresses are of one strict form, and every other value comes from us or
has its line breaks taken out before `email` would refuse it.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from typing import Final

from gateway.mail.errors import BadAddress

_LOCAL: Final = re.compile(r"[^\s\x00-\x20\x7f()<>\[\]:;@\\,\"]{1,64}")
_DOMAIN: Final = re.compile(
    r"(?=.{1,253}$)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9-]{1,63}"
)


def mail_address(text: str) -> str:
    """
    Return an address as it is sent to: its domain in ASCII, for which names in other letters are encoded (IDNA).

    Raises:
        BadAddress: it is none.
    """
    local, _, domain = text.strip().rpartition("@")
    try:
        domain = domain.encode("idna").decode("ascii")
    except UnicodeError:
        raise BadAddress from None
    parts = local.split(".")
    if not _LOCAL.fullmatch(local) or not all(parts) or not _DOMAIN.fullmatch(domain):
        raise BadAddress
    if not local.isprintable():
        raise BadAddress
    return f"{local}@{domain}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """
    Who mails come from.
    """

    address: str
    name: str = ""
    reply_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """
    A message to one recipient.

    Attributes:
        id: what the Message-ID is made of: the same message has the same one, however often it is sent.
        unsubscribe_url: where one request ends mail of this kind (RFC 8058); None for mail that nobody can opt out of.
    """

    id: str
    recipient: str
    at_ms: int
    subject: str
    plain: str
    html: str
    unsubscribe_url: str | None = None

    @property
    def needs_utf8(self) -> bool:
        """
        Whether its recipient's address can be written in SMTPUTF8 alone.
        """
        return not self.recipient.isascii()

    def composed(self, sender: Sender) -> bytes:
        """
        Return the message as it is sent.
        """
        policy = SMTPUTF8 if self.needs_utf8 else SMTP
        message = EmailMessage(policy=policy)
        message["From"] = _mailbox(sender.address, sender.name)
        message["To"] = _mailbox(self.recipient)
        if sender.reply_to:
            message["Reply-To"] = _mailbox(sender.reply_to)
        message["Subject"] = " ".join(self.subject.split())
        message["Date"] = datetime.fromtimestamp(self.at_ms / 1000, UTC)
        message["Message-ID"] = f"<{self.id}@{sender.address.rpartition('@')[2]}>"
        # RFC 3834: nobody's holiday notice is to answer it.
        message["Auto-Submitted"] = "auto-generated"
        if self.unsubscribe_url is not None:
            message["List-Unsubscribe"] = f"<{self.unsubscribe_url}>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message.set_content(self.plain, cte="quoted-printable")
        message.add_alternative(self.html, subtype="html", cte="quoted-printable")
        return message.as_bytes(policy=policy)


def _mailbox(address: str, name: str = "") -> Address:
    local, _, domain = address.rpartition("@")
    return Address(" ".join(name.split()), username=local, domain=domain)
