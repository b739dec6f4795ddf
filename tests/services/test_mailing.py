"""
Notices by e-mail: what is taken, what is not, and what comes of each answer of a mail server.
"""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from structlog.testing import capture_logs

from gateway.base.errors import ConfigurationError
from gateway.catalog import notices as catalog
from gateway.catalog.jobs import list_jobs
from tests.conftest import DatabaseUrls
from tests.emulators.faults import Effect
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving
from tests.support.mailbox import Mailbox
from tests.support.mails import ADDRESS, PUBLIC_URL, mail_sections, mailed, person, tell, try_again

DAY = 24 * 3600


@pytest.fixture
def sections(mailbox: Mailbox) -> dict[str, dict[str, Any]]:
    return mail_sections(mailbox)


async def jobs_left(served: Served) -> list[str]:
    async with served.gateway.context.catalog.read() as connection:
        return [job.kind for job in await list_jobs(connection)]


async def test_a_notice_is_sent_to_its_users_address_once(served: Served, mailbox: Mailbox) -> None:
    user_id = await person(served)
    await tell(served, user_id)
    await served.placed()
    await served.placed()

    [mail] = mailbox.mails
    assert (ADDRESS,) == mail.recipients
    assert "Your Box account does not work here" == mail.message["Subject"]
    assert "Calls <gateway@calls.example.org>" == mail.message["From"]
    assert mail.message["List-Unsubscribe"] is None
    plain, html = (part.get_content() for part in mail.message.iter_parts())
    assert f"Your linked accounts: <{PUBLIC_URL}/storage>" in plain
    assert f'<a href="{PUBLIC_URL}/storage">Your linked accounts</a>' in html
    assert [("sent", None)] == await mailed(served, user_id)
    assert [] == await jobs_left(served)


async def test_it_goes_to_the_address_that_is_known_when_it_goes(served: Served, mailbox: Mailbox) -> None:
    accounts = served.gateway.context.accounts
    user_id = await person(served)
    await tell(served, user_id)
    await accounts.change_personal(await accounts.get_user(user_id), {"email": "new@example.org"})
    await served.placed()
    assert [("new@example.org",)] == [mail.recipients for mail in mailbox.mails]


@pytest.mark.parametrize(
    ("address", "reason"),
    [(None, ("none", "no-address")), ("ada@example.org\r\nBcc: bo@example.org", ("refused", "bad-address"))],
)
async def test_who_has_no_address_is_told_on_the_pages(
    served: Served, mailbox: Mailbox, address: str | None, reason: tuple[str, str]
) -> None:
    user_id = await person(served, address)
    await tell(served, user_id)
    await served.placed()
    assert [reason] == await mailed(served, user_id)
    assert [] == mailbox.mails


async def test_whoever_was_erased_meanwhile_gets_nothing(served: Served, mailbox: Mailbox) -> None:
    user_id = await person(served)
    await tell(served, user_id)
    await served.gateway.context.erasure.bury_account(user_id)
    await served.placed()
    assert [] == mailbox.mails
    assert [("none", "erased")] == await mailed(served, user_id)


@pytest.mark.parametrize(
    ("operation", "code", "expected"),
    [
        ("rcpt", 550, ("refused", "address-refused 550 5.3.0")),
        ("content", 554, ("refused", "mail-refused 554 5.3.0")),
        ("mail", 550, ("queued", "server-refused 550 5.3.0")),
        ("connect", 554, ("queued", "server-unreachable")),
    ],
)
async def test_a_permanent_answer_is_about_the_mail_or_about_us(
    served: Served, mailbox: Mailbox, operation: str, code: int, expected: tuple[str, str]
) -> None:
    user_id = await person(served)
    mailbox.faults.order(operation, Effect.FAIL, amount=code)
    await tell(served, user_id)
    await served.placed()
    assert [expected] == await mailed(served, user_id)
    # What is about us is tried again, and then it goes.
    await try_again(served)
    assert ("sent" if expected[0] == "queued" else "refused") == (await mailed(served, user_id))[0][0]


@pytest.mark.parametrize(
    ("operation", "code", "reason"),
    [
        ("rcpt", 450, "address-busy 450 4.3.0"),
        ("rcpt", 421, "server-busy 421 4.3.0"),
        ("mail", 451, "server-busy 451 4.3.0"),
        ("content", 452, "server-busy 452 4.3.0"),
    ],
)
async def test_a_temporary_answer_puts_it_off(
    served: Served, mailbox: Mailbox, operation: str, code: int, reason: str
) -> None:
    user_id = await person(served)
    mailbox.faults.order(operation, Effect.THROTTLE, amount=code)
    await tell(served, user_id)
    await served.placed()
    assert [("queued", reason)] == await mailed(served, user_id)
    assert [] == mailbox.mails

    await try_again(served)
    assert [("sent", None)] == await mailed(served, user_id)
    assert 1 == len(mailbox.mails)


async def test_what_is_put_off_waits_longer_each_time_and_is_given_up_in_the_end(
    served: Served, mailbox: Mailbox, clock: FakeClock
) -> None:
    user_id = await person(served)
    mailbox.faults.order("mail", Effect.THROTTLE, times=100)
    await tell(served, user_id)
    await served.placed()
    waits = []
    for _ in range(12):
        async with served.gateway.context.catalog.read() as connection:
            [job] = await list_jobs(connection)
        waits.append(job.run_at - await served.gateway.context.catalog.now_ms())
        await try_again(served)
    rounded = [round(wait / 60_000) for wait in waits]
    assert [1, 2, 4, 8, 16, 32, 64, 128, 240, 240, 240, 240] == rounded

    clock.advance(5 * DAY)
    await try_again(served)
    assert [("given-up", "server-busy 451 4.3.0")] == await mailed(served, user_id)
    assert [] == await jobs_left(served)


async def test_what_was_put_off_often_has_not_failed(
    tmp_path: Path, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(
        tmp_path / "data", with_workers=False, jobs={"max_attempts": 3}, **mail_sections(mailbox)
    ) as served:
        user_id = await person(served)
        mailbox.faults.order("mail", Effect.THROTTLE, times=5)
        await tell(served, user_id)
        for _ in range(5):
            await try_again(served)
        with monkeypatch.context() as patched:

            async def fail(*_: object, **__: object) -> None:
                raise RuntimeError("for once")

            patched.setattr(catalog, "get_notice", fail)
            await try_again(served)
        # One failure is the first of its kind, and not the sixth.
        await try_again(served)
        assert [("sent", None)] == await mailed(served, user_id)


async def test_a_lost_answer_brings_the_same_message_again(served: Served, mailbox: Mailbox) -> None:
    user_id = await person(served)
    mailbox.faults.order("content", Effect.LOSE_ANSWER)
    await tell(served, user_id)
    await served.placed()
    assert [("queued", "server-unreachable")] == await mailed(served, user_id)
    await try_again(served)

    first, second = mailbox.mails
    assert first.message["Message-ID"] == second.message["Message-ID"]
    assert first.message["Date"] == second.message["Date"]
    assert [("sent", None)] == await mailed(served, user_id)


async def test_a_crash_before_the_note_brings_the_same_message_again(
    served: Served, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = await person(served)
    await tell(served, user_id)
    with monkeypatch.context() as patched:

        async def crash(*_: object, **__: object) -> bool:
            raise RuntimeError("the power went")

        patched.setattr(catalog, "note_mail", crash)
        await served.placed()
    await try_again(served)
    assert 2 == len(mailbox.mails)
    assert 1 == len({mail.message["Message-ID"] for mail in mailbox.mails})
    assert [("sent", None)] == await mailed(served, user_id)


async def test_a_connection_serves_several_mails_and_one_that_was_closed_is_replaced(
    served: Served, mailbox: Mailbox
) -> None:
    user_id = await person(served)
    for _ in range(3):
        await tell(served, user_id)
    await served.placed()
    assert (3, 1) == (len(mailbox.mails), mailbox.faults.requests["connect"])

    mailbox.faults.order("rcpt", Effect.CUT_BEFORE)
    await tell(served, user_id)
    await served.placed()
    await try_again(served)
    assert (4, 2) == (len(mailbox.mails), mailbox.faults.requests["connect"])


async def test_neither_addresses_nor_what_the_server_says_is_logged(served: Served, mailbox: Mailbox) -> None:
    user_id = await person(served)
    mailbox.unknown = {ADDRESS}
    with capture_logs() as logs:
        await tell(served, user_id)
        await served.placed()
    assert ["mail.not_sent"] == [line["event"] for line in logs if line["event"].startswith("mail")]
    assert ADDRESS not in str(logs)
    assert "No such mailbox" not in str(logs)


@pytest.fixture
async def encrypted(
    tmp_path: Path, clock: FakeClock, database_urls: DatabaseUrls
) -> AsyncIterator[tuple[Served, Mailbox]]:
    """
    A server that wants TLS and a password.
    """
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    certificates = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(certificates))
    password = tmp_path / "password"
    password.write_text("let me in\n")
    with Mailbox(tls=context, gateway="let me in") as mailbox:
        sections = mail_sections(
            mailbox,
            security="starttls",
            ca_file=str(certificates),
            user_name="gateway",
            password_file=str(password),
        )
        async with serving(
            tmp_path / "data",
            catalog_url=database_urls.catalog,
            keys_url=database_urls.keys,
            clock=clock,
            with_workers=False,
            **sections,
        ) as served:
            yield served, mailbox


async def test_over_tls_with_a_password(encrypted: tuple[Served, Mailbox]) -> None:
    served, mailbox = encrypted
    user_id = await person(served)
    await tell(served, user_id)
    await served.placed()
    [mail] = mailbox.mails
    assert (True, "gateway") == (mail.is_encrypted, mail.user)


async def test_a_server_that_does_not_let_us_in_is_told_to_the_operator(
    encrypted: tuple[Served, Mailbox],
) -> None:
    served, mailbox = encrypted
    mailbox.users = {"gateway": "another"}
    user_id = await person(served)
    await tell(served, user_id)
    with capture_logs() as logs:
        await served.placed()
    assert [("queued", "server-refused 535 5.7.8")] == await mailed(served, user_id)
    assert "mail.misconfigured" in [line["event"] for line in logs]


async def test_nothing_goes_in_clear_where_tls_is_asked_for(encrypted: tuple[Served, Mailbox]) -> None:
    served, mailbox = encrypted
    mailbox.tls = None
    user_id = await person(served)
    await tell(served, user_id)
    await served.placed()
    assert [] == mailbox.mails
    assert "queued" == (await mailed(served, user_id))[0][0]


@pytest.mark.parametrize(
    ("server", "mail", "setting"),
    [
        ({"public_url": ""}, {}, "public_url"),
        ({}, {"from_address": "nobody"}, "from_address"),
        ({}, {"reply_to": "a@b, c@d"}, "reply_to"),
        ({"production": True}, {}, "mail.security"),
        ({}, {"user_name": "x", "password": "y"}, "mail.security"),
        ({}, {"security": "tls", "user_name": "x"}, "mail.password"),
        ({}, {"security": "tls", "user_name": "x", "password_file": "nowhere"}, "mail.password_file"),
        ({}, {"security": "tls", "ca_file": "nowhere"}, "mail.ca_file"),
    ],
)
async def test_settings_that_do_not_do_are_named(
    tmp_path: Path, mailbox: Mailbox, server: dict[str, Any], mail: dict[str, Any], setting: str
) -> None:
    sections = mail_sections(mailbox, **mail)
    sections["server"] |= server
    sections["sign_in"] = {"kinds": {}}
    with pytest.raises(ConfigurationError, match=setting):
        async with serving(tmp_path / "data", with_workers=False, **sections):
            pass
