"""
Handing mails to a mail server: SMTP over TLS, one message after the other on a connection.

What the server answers is sorted by what to do about it (`errors`). A server that cannot be reached, does not know us, or
does not let us in is no fault of the recipient's: it is tried again, and told to the operator by the log.
"""

import re
import ssl
from pathlib import Path
from typing import Final, Literal, NoReturn

import aiosmtplib
import structlog
from aiosmtplib.errors import (
    SMTPAuthenticationError,
    SMTPConnectResponseError,
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)

from gateway.base.errors import ConfigurationError
from gateway.base.secret import Secret
from gateway.mail.errors import AddressBusy, AddressRefused, MailRefused, NotTaken
from gateway.mail.messages import Mail, Sender

log = structlog.get_logger()

Security = Literal["starttls", "tls", "none"]

_ENHANCED: Final = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})\b")
_MOST_ON_ONE: Final = 100
_PERMANENT: Final = 500


class MailServer:
    """
    One mail server, and the connections to it that are open.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        host: str,
        port: int,
        security: Security,
        user_name: str = "",
        password: Secret | None = None,
        ca_file: Path | None = None,
        our_name: str,
        timeout_s: float,
    ) -> None:
        """
        Args:
            our_name: what this machine calls itself, a host's name.

        Raises:
            ConfigurationError: the certificates cannot be read.
        """
        self._sender = sender
        self._host = host
        self._port = port
        self._security = security
        self._user_name = user_name
        self._password = password
        self._our_name = our_name
        self._timeout_s = timeout_s
        self._idle: list[tuple[aiosmtplib.SMTP, int]] = []
        self._tls = None
        if security != "none":
            try:
                self._tls = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
            except OSError as error:
                raise ConfigurationError(f"setting mail.ca_file: {error.strerror or error}") from None

    async def send(self, mail: Mail) -> None:
        """
        Hand *mail* over; the server has it once this returns.

        Where the answer to a message is lost, it may have been taken all the same.

        Raises:
            AddressRefused, MailRefused: it never will be taken.
            NotTaken: it was not taken this time.
        """
        content = mail.composed(self._sender)
        try:
            client, sent = await self._connected()
        except (SMTPException, OSError) as error:
            self._unreachable(error)
        is_well = False
        try:
            if mail.needs_utf8 and not client.supports_extension("smtputf8"):
                is_well = True
                raise AddressRefused("address-not-supported")
            options = ["SMTPUTF8", "BODY=8BITMIME"] if mail.needs_utf8 else []
            await client.sendmail(self._sender.address, [mail.recipient], content, mail_options=options)
            is_well = True
        except SMTPRecipientsRefused as error:
            is_well = client.is_connected
            _recipient_refused(error)
        except SMTPDataError as error:
            is_well = client.is_connected
            if error.code >= _PERMANENT:
                raise MailRefused(f"mail-refused {_codes(error)}") from None
            raise NotTaken(f"server-busy {_codes(error)}") from None
        except SMTPSenderRefused as error:
            _server_refused(error)
        except (SMTPException, OSError) as error:
            self._unreachable(error)
        finally:
            if is_well and sent + 1 < _MOST_ON_ONE:
                self._idle.append((client, sent + 1))
            else:
                client.close()

    async def close(self) -> None:
        """
        Close what is open.
        """
        while self._idle:
            client, _ = self._idle.pop()
            try:
                await client.quit()
            except (SMTPException, OSError):
                client.close()

    async def _connected(self) -> tuple[aiosmtplib.SMTP, int]:
        """
        Return a connection, with how many mails went over it.
        """
        while self._idle:
            client, sent = self._idle.pop()
            try:
                # It may have been closed while nobody looked; found out later, nobody would know what was taken.
                await client.rset()
            except (SMTPException, OSError):
                client.close()
            else:
                return client, sent
        client = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            use_tls=self._security == "tls",
            start_tls=self._security == "starttls",
            tls_context=self._tls,
            username=self._user_name or None,
            password=None if self._password is None else self._password.reveal().decode(),
            local_hostname=self._our_name,
            timeout=self._timeout_s,
        )
        try:
            await client.connect()
            # What it can do is asked anew: after STARTTLS it is not what it said in clear.
            await client.ehlo()
        except BaseException:
            client.close()
            raise
        return client, 0

    def _unreachable(self, error: Exception) -> NoReturn:
        if isinstance(error, SMTPResponseException) and not isinstance(error, SMTPConnectResponseError):
            _server_refused(error)
        if isinstance(error, SMTPNotSupported) or "STARTTLS" in str(error):
            log.error("mail.misconfigured", reason="the server does not offer what is asked of it")
            raise NotTaken("server-refused") from None
        if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
            log.error("mail.misconfigured", reason="the server's certificate is not believed")
        raise NotTaken("server-unreachable") from None


def _server_refused(error: SMTPResponseException) -> NoReturn:
    if error.code >= _PERMANENT:
        # Nobody's mail will be taken until somebody here acts.
        log.error(
            "mail.misconfigured",
            reason="the server does not let us in"
            if isinstance(error, SMTPAuthenticationError)
            else "the server does not take mail from us",
            code=_codes(error),
        )
        raise NotTaken(f"server-refused {_codes(error)}") from None
    raise NotTaken(f"server-busy {_codes(error)}") from None


def _recipient_refused(refused: SMTPRecipientsRefused) -> NoReturn:
    [error] = refused.recipients
    codes = _codes(error)
    if " 5.7." in codes or error.code == 530:
        # A matter of policy, such as relaying that is denied: about us, not about the address.
        _server_refused(error)
    if error.code >= _PERMANENT:
        raise AddressRefused(f"address-refused {codes}") from None
    if error.code == 421:
        raise NotTaken(f"server-busy {codes}") from None
    raise AddressBusy(f"address-busy {codes}") from None


def _codes(error: SMTPResponseException) -> str:
    """
    Return the codes of an answer, without its text.
    """
    enhanced = _ENHANCED.match(error.message)
    return f"{error.code} {enhanced[1]}" if enhanced else str(error.code)
