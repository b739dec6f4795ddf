"""
That the mail server of the tests keeps what Python's own client sends, and refuses what it should.
"""

import smtplib
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

import pytest
import trustme

from tests.emulators.faults import Effect
from tests.support.mailbox import Mailbox

SENDER, RECIPIENT = "gateway@example.org", "ada@example.org"


def mail(body: str = "A line.\n.\n..\nThe last.\n", **headers: str) -> EmailMessage:
    message = EmailMessage()
    told = {
        "From": SENDER,
        "To": RECIPIENT,
        "Date": format_datetime(datetime.fromtimestamp(1_700_000_000, UTC)),
        "Subject": "Code",
        **headers,
    }
    for name, value in told.items():
        message[name] = value
    message.set_content(body)
    return message


@pytest.fixture
def client(mailbox: Mailbox) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP(mailbox.host, mailbox.port, timeout=10) as client:
        yield client


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """
    What a server and a client speak TLS with.
    """
    authority, server = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


def test_a_mail_is_kept_as_it_was_sent(mailbox: Mailbox, client: smtplib.SMTP) -> None:
    client.send_message(mail(), SENDER, [RECIPIENT, "bo@example.org"])
    [kept] = mailbox.mails
    assert (SENDER, (RECIPIENT, "bo@example.org"), False, None) == (
        kept.sender,
        kept.recipients,
        kept.is_encrypted,
        kept.user,
    )
    assert ["A line.", ".", "..", "The last."] == kept.message.get_content().splitlines()
    assert "Code" == kept.message["Subject"]


def test_several_mails_go_over_one_connection(mailbox: Mailbox, client: smtplib.SMTP) -> None:
    for number in range(3):
        client.send_message(mail(f"{number}\n"))
    assert ["0", "1", "2"] == [kept.message.get_content().strip() for kept in mailbox.mails]


async def test_a_test_can_wait_for_mails(mailbox: Mailbox) -> None:
    def send() -> None:
        with smtplib.SMTP(mailbox.host, mailbox.port, timeout=10) as client:
            client.send_message(mail())

    with ThreadPoolExecutor(2) as threads:
        for _ in range(2):
            threads.submit(send)
        assert 2 == len(await mailbox.arrived(2))


def test_it_speaks_tls_when_asked_and_takes_passwords_only_then(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    with (
        Mailbox(tls=contexts[0], gateway="s3cret") as mailbox,
        smtplib.SMTP(mailbox.host, mailbox.port, timeout=10) as client,
    ):
        with pytest.raises(smtplib.SMTPNotSupportedError):
            client.login("gateway", "s3cret")
        assert 503 == client.docmd("AUTH", "PLAIN AGdhdGV3YXkAczNjcmV0")[0]
        client.starttls(context=contexts[1])
        assert not client.has_extn("starttls")
        assert 503 == client.docmd("MAIL", f"FROM:<{SENDER}>")[0]
        client.ehlo()
        assert 530 == client.mail(SENDER)[0]
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("gateway", "wrong")
        client.login("gateway", "s3cret")
        client.send_message(mail())
        assert [(True, "gateway")] == [(kept.is_encrypted, kept.user) for kept in mailbox.mails]


@pytest.mark.parametrize("mechanism", ["auth_plain", "auth_login"])
def test_both_ways_to_sign_in_do(mechanism: str) -> None:
    with Mailbox(gateway="s3cret") as mailbox, smtplib.SMTP(mailbox.host, mailbox.port, timeout=10) as client:
        client.ehlo()
        client.user, client.password = "gateway", "s3cret"
        name = mechanism.removeprefix("auth_").upper()
        assert 235 == client.auth(name, getattr(client, mechanism))[0]


def test_it_speaks_tls_from_the_start(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    with (
        Mailbox(tls=contexts[0], is_tls_from_the_start=True) as mailbox,
        smtplib.SMTP_SSL(mailbox.host, mailbox.port, timeout=10, context=contexts[1]) as client,
    ):
        client.send_message(mail())
        assert mailbox.mails[0].is_encrypted


def test_what_was_sent_in_clear_behind_starttls_is_not_taken(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    with Mailbox(tls=contexts[0]) as mailbox, smtplib.SMTP(mailbox.host, mailbox.port, timeout=10) as client:
        client.ehlo()
        client.send("STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n")
        with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
            client.getreply()


# What is refused


@pytest.mark.parametrize(
    ("code", "commands"),
    [
        (503, ["MAIL FROM:<a@b>"]),
        (501, ["EHLO"]),
        (503, ["EHLO x", "RCPT TO:<a@b>"]),
        (503, ["EHLO x", "DATA"]),
        (503, ["EHLO x", "MAIL FROM:<a@b>", "DATA"]),
        (503, ["EHLO x", "MAIL FROM:<a@b>", "MAIL FROM:<a@b>"]),
        (503, ["EHLO x", "MAIL FROM:<a@b>", "RSET", "RCPT TO:<a@b>"]),
        (503, ["EHLO x", "STARTTLS"]),
        (501, ["EHLO x", "MAIL FROM:a@b"]),
        (501, ["EHLO x", "MAIL FROM:<a b@c>"]),
        (501, ["EHLO x", "MAIL FROM:<a@b>", "RCPT TO:<>"]),
        (501, ["EHLO x", "MAIL FROM:<a@b>", "RCPT TO:<a@b\tc>"]),
        (553, ["EHLO x", "MAIL FROM:<a@b>", "RCPT TO:<ä@b>"]),
        (552, ["EHLO x", "MAIL FROM:<a@b> SIZE=99999999"]),
        (555, ["EHLO x", "MAIL FROM:<a@b> RET=FULL"]),
        (250, ["EHLO x", "MAIL FROM:<>"]),
        (250, ["HELO x", "MAIL FROM:<ä@b> SMTPUTF8", "RCPT TO:<ö@b>"]),
        (500, ["TURN"]),
        (500, ["NOOP " + "x" * 600]),
        (500, ["NOOP\nNOOP"]),
    ],
)
def test_what_is_wrong_or_out_of_turn_gets_its_code(mailbox: Mailbox, code: int, commands: list[str]) -> None:
    with socket.create_connection((mailbox.host, mailbox.port), timeout=10) as connection:
        replies = connection.makefile("rb")
        replies.readline()
        reply = b""
        for command in commands:
            connection.sendall(command.encode() + b"\r\n")
            reply = replies.readline()
            while reply[3:4] == b"-":
                reply = replies.readline()
        replies.close()
    assert code == int(reply[:3])


@pytest.mark.parametrize(
    ("code", "content"),
    [
        (554, b"To: a@b\r\n\r\nno From, no Date"),
        (554, b"From: a@b\r\nFrom: c@d\r\nDate: x\r\n\r\ntwo senders"),
        (554, b"From: a@b\r\nDate: x\r\nSubject: a\r\nSubject: b\r\n\r\ntwo subjects"),
        (554, b"From: a@b\r\nDate: x\r\n\r\n" + b"x" * 999),
        (554, b"From: a@b\r\nDate: x\r\n\r\n\xc3\xa4"),
        (250, b"From: a@b\r\nDate: x\r\n\r\n" + b"x" * 998),
    ],
)
def test_content_that_breaks_the_rules_is_not_kept(
    mailbox: Mailbox, client: smtplib.SMTP, code: int, content: bytes
) -> None:
    client.ehlo()
    client.mail(SENDER)
    client.rcpt(RECIPIENT)
    assert code == client.data(content)[0]
    assert (code == 250) == bool(mailbox.mails)


def test_a_bare_line_feed_in_the_content_is_refused(mailbox: Mailbox, client: smtplib.SMTP) -> None:
    client.ehlo()
    client.mail(SENDER)
    client.rcpt(RECIPIENT)
    client.docmd("DATA")
    client.send(b"From: a@b\r\nDate: x\r\n\r\nx\n.\nMAIL FROM:<evil@example.org>\r\n.\r\n")
    assert 554 == client.getreply()[0]
    assert [] == mailbox.mails


def test_what_is_too_big_is_refused_whether_its_size_was_told_or_not(
    mailbox: Mailbox, client: smtplib.SMTP
) -> None:
    mailbox.most_bytes = 1000
    with pytest.raises(smtplib.SMTPSenderRefused, match="552"):
        client.send_message(mail("x" * 990 + "\n"))
    client.mail(SENDER)
    client.rcpt(RECIPIENT)
    assert 552 == client.data(mail("x" * 990 + "\n").as_bytes(policy=SMTP))[0]
    assert [] == mailbox.mails


def test_unknown_recipients_are_refused_one_by_one(mailbox: Mailbox, client: smtplib.SMTP) -> None:
    mailbox.unknown.add("nobody@example.org")
    refused = client.send_message(mail(), SENDER, ["nobody@example.org", RECIPIENT])
    assert 550 == refused["nobody@example.org"][0]
    assert [(RECIPIENT,)] == [kept.recipients for kept in mailbox.mails]


# Faults


@pytest.mark.parametrize("operation", ["connect", "hello", "mail", "rcpt", "data", "content"])
@pytest.mark.parametrize(
    ("effect", "amount", "expected"),
    [
        (Effect.THROTTLE, 0, 451),
        (Effect.THROTTLE, 421, 421),
        (Effect.FAIL, 0, 554),
        (Effect.FAIL, 550, 550),
        (Effect.CUT_BEFORE, 0, None),
    ],
)
def test_every_step_can_be_refused_or_cut_once(
    mailbox: Mailbox, operation: str, effect: Effect, amount: int, expected: int | None
) -> None:
    # Python's client says HELO when EHLO is refused.
    is_said_twice = operation == "hello" and effect is not Effect.CUT_BEFORE
    mailbox.faults.order(operation, effect, amount=amount, times=2 if is_said_twice else 1)
    with pytest.raises((smtplib.SMTPException, ConnectionError)) as failed:
        sent(mailbox)
    if expected is not None:
        assert expected == code_of(failed.value)
    assert [] == mailbox.mails
    assert mailbox.faults.are_spent
    sent(mailbox)
    assert 1 == len(mailbox.mails)


def code_of(failure: BaseException) -> int:
    if isinstance(failure, smtplib.SMTPRecipientsRefused):
        return int(failure.recipients[RECIPIENT][0])
    assert isinstance(failure, smtplib.SMTPResponseException)
    return failure.smtp_code


def sent(mailbox: Mailbox, timeout: float = 10) -> None:
    with smtplib.SMTP(mailbox.host, mailbox.port, timeout=timeout) as client:
        client.send_message(mail())


def test_the_connection_can_end_in_the_content(mailbox: Mailbox) -> None:
    mailbox.faults.order("content", Effect.CUT_IN_BODY, amount=20)
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        sent(mailbox)
    assert [] == mailbox.mails


def test_a_mail_can_be_kept_and_its_answer_lost(mailbox: Mailbox) -> None:
    mailbox.faults.order("content", Effect.LOSE_ANSWER)
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        sent(mailbox)
    assert 1 == len(mailbox.mails)


@pytest.mark.parametrize(("effect", "kept"), [(Effect.STALL, 0), (Effect.HOLD_ANSWER, 1)])
def test_an_answer_can_fail_to_come(mailbox: Mailbox, effect: Effect, kept: int) -> None:
    mailbox.faults.order("content", effect)
    with pytest.raises((smtplib.SMTPServerDisconnected, TimeoutError)):
        sent(mailbox, timeout=0.3)
    assert kept == len(mailbox.mails)
    mailbox.faults.clear()
    sent(mailbox)


def test_a_held_answer_comes_when_faults_are_cleared(mailbox: Mailbox) -> None:
    mailbox.faults.order("content", Effect.HOLD_ANSWER)
    with ThreadPoolExecutor(1) as thread:
        sending = thread.submit(sent, mailbox)
        mailbox.wait_for(1)
        assert not sending.done()
        mailbox.faults.clear()
        sending.result(timeout=10)
