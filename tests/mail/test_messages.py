"""
What a mail looks like, and that no header of it can be made to say more.
"""

import email.policy
from email import message_from_bytes
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.errors import BadAddress
from gateway.mail.messages import Mail, Sender, mail_address

SENDER = Sender(
    address="gateway@example.org", name="Calls, and\r\nBcc: x@example.org", reply_to="help@example.org"
)


def mail(**changes: Any) -> Mail:
    told: dict[str, Any] = {
        "id": "one",
        "recipient": "ada@example.org",
        "at_ms": 1_700_000_000_000,
        "subject": "Grüße",
        "plain": "A text.\n",
        "html": "<p>A text.</p>",
        **changes,
    }
    return Mail(**told)


def read(content: bytes) -> EmailMessage:
    found = message_from_bytes(content, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def test_it_has_what_a_mail_needs() -> None:
    content = mail().composed(SENDER)
    found = read(content)
    assert "<one@example.org>" == found["Message-ID"]
    assert "Tue, 14 Nov 2023 22:13:20 +0000" == found["Date"]
    assert ("ada@example.org", "help@example.org", "Grüße") == (
        found["To"],
        found["Reply-To"],
        found["Subject"],
    )
    assert "auto-generated" == found["Auto-Submitted"]
    assert ["text/plain", "text/html"] == [part.get_content_type() for part in found.iter_parts()]
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) < 998


def test_only_what_can_be_opted_out_of_says_how() -> None:
    assert not [name for name in read(mail().composed(SENDER)) if name.startswith("List-")]
    found = read(mail(unsubscribe_url="https://calls.example.org/unsubscribe/x").composed(SENDER))
    assert "<https://calls.example.org/unsubscribe/x>" == found["List-Unsubscribe"]
    assert "List-Unsubscribe=One-Click" == found["List-Unsubscribe-Post"]


def test_the_same_mail_is_the_same_but_for_its_boundary() -> None:
    first, second = (read(mail().composed(SENDER)) for _ in range(2))
    assert (first["Message-ID"], first["Date"]) == (second["Message-ID"], second["Date"])


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "@example.org",
        "ada@",
        "ada@example.org\r\nBcc: bo@example.org",
        "ada@example.org, bo@example.org",
        "Ada <ada@example.org>",
        "ada bo@example.org",
        '"ada bo"@example.org',
        "ada@exa mple.org",
        "ada@example..org",
        ".ada@example.org",
        "a\x00@example.org",
        "a\u2028b@example.org",
        "a" * 65 + "@example.org",
        "ada@-example.org",
        "ada@[127.0.0.1]",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(BadAddress):
        mail_address(address)


def test_domains_in_other_letters_are_encoded() -> None:
    assert "ada@xn--bcher-kva.example" == mail_address("ada@bücher.example")
    assert mail(recipient=mail_address("adä@example.org")).needs_utf8


@given(address=st.text(max_size=40), subject=st.text(max_size=300), name=st.text(max_size=60))
def test_no_header_says_more_than_one_thing(address: str, subject: str, name: str) -> None:
    try:
        recipient = mail_address(f"{address}@example.org")
    except BadAddress:
        recipient = "ada@example.org"
    expected = {
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "Auto-Submitted",
        "MIME-Version",
        "Content-Type",
    }
    content = mail(recipient=recipient, subject=subject).composed(Sender(address="g@example.org", name=name))
    found = read(content)
    assert expected == set(found.keys())
    assert len(expected) == len(found.keys())
    assert 1 == len(found["To"].addresses)
    assert 1 == len(found["From"].addresses)
