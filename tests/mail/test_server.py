"""
The connections to a mail server: kept for the next mail, and not trusted to be there.
"""

from collections.abc import AsyncIterator

import pytest
from yarl import URL

from gateway.mail.errors import NotTaken
from gateway.mail.messages import Mail, Sender
from gateway.mail.server import MailServer
from tests.emulators.faults import Effect
from tests.support.mailbox import Mailbox
from tests.support.tcp_proxy import TcpProxy, proxying


@pytest.fixture
async def way() -> AsyncIterator[tuple[MailServer, Mailbox, TcpProxy]]:
    """
    A mail server that is spoken to through a proxy.
    """
    with Mailbox() as mailbox:
        async with proxying(f"http://{mailbox.host}:{mailbox.port}") as proxy:
            url = URL(proxy.url)
            assert url.host is not None
            assert url.port is not None
            server = MailServer(
                Sender(address="gateway@example.org"),
                host=url.host,
                port=url.port,
                security="none",
                our_name="calls.example.org",
                timeout_s=5,
            )
            yield server, mailbox, proxy
            await server.close()


def mail(number: int = 1, recipient: str = "ada@example.org") -> Mail:
    return Mail(
        id=str(number),
        recipient=recipient,
        at_ms=1_700_000_000_000,
        subject="A title",
        plain="A text.\n",
        html="<p>A text.</p>",
    )


async def test_a_connection_that_was_cut_while_it_was_idle_costs_nothing(
    way: tuple[MailServer, Mailbox, TcpProxy],
) -> None:
    server, mailbox, proxy = way
    await server.send(mail(1))
    await server.send(mail(2))
    assert 1 == mailbox.faults.requests["connect"]
    proxy.reset_all()
    await server.send(mail(3))
    assert (3, 2) == (len(mailbox.mails), mailbox.faults.requests["connect"])


async def test_a_refused_mail_spoils_no_connection(way: tuple[MailServer, Mailbox, TcpProxy]) -> None:
    server, mailbox, _ = way
    mailbox.faults.order("rcpt", Effect.THROTTLE)
    with pytest.raises(NotTaken):
        await server.send(mail(1))
    await server.send(mail(2))
    assert (1, 1) == (len(mailbox.mails), mailbox.faults.requests["connect"])


async def test_an_address_in_other_letters_goes_where_it_is_understood(
    way: tuple[MailServer, Mailbox, TcpProxy],
) -> None:
    server, mailbox, _ = way
    await server.send(mail(recipient="adä@example.org"))
    [kept] = mailbox.mails
    assert ("adä@example.org",) == kept.recipients
    assert "adä@example.org" == kept.message["To"]


async def test_a_server_that_says_nothing_is_given_up_for_now() -> None:
    with Mailbox() as mailbox:
        server = MailServer(
            Sender(address="gateway@example.org"),
            host=mailbox.host,
            port=mailbox.port,
            security="none",
            our_name="calls.example.org",
            timeout_s=0.2,
        )
        mailbox.faults.order("content", Effect.STALL)
        with pytest.raises(NotTaken, match="server-unreachable"):
            await server.send(mail())
        mailbox.faults.clear()
        await server.send(mail())
        assert 1 == len(mailbox.mails)
        await server.close()
