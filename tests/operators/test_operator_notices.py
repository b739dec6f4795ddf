"""
What operators see of notices to many, on each database, and that a mail that was given up is tried once more.
"""

from typing import Any

import pytest

from gateway.catalog.jobs import claim_jobs, find_due, list_jobs, park_job
from tests.conftest import DatabaseUrls
from tests.emulators.faults import Effect
from tests.operators.browsing import OperatorsBrowser, own_token
from tests.support.clock import FakeClock
from tests.support.gateway import Served
from tests.support.mailbox import Mailbox
from tests.support.mails import mail_sections, person, try_again

DAY = 24 * 3600
TITLE = "A breach at our hoster"
PATH = "/operator/notices"


@pytest.fixture
def sections(database_urls: DatabaseUrls, mailbox: Mailbox) -> dict[str, Any]:
    return {
        "catalog_url": database_urls.catalog,
        "keys_url": database_urls.keys,
        **mail_sections(mailbox),
    }


async def announced(served: Served, *addresses: str | None) -> str:
    """
    Tell as many users as there are addresses of a breach; return the notice's id.
    """
    for address in addresses:
        await person(served, address)
    announcing = served.gateway.telling.announcing
    run = await announcing.announce("breach", title=TITLE, body="What happened.")
    await served.placed()
    return run


async def given_up(served: Served, mailbox: Mailbox, clock: FakeClock, *addresses: str) -> str:
    """
    Tell them while the mail server takes nothing for days.
    """
    mailbox.faults.order("mail", Effect.THROTTLE, times=100)
    run = await announced(served, *addresses)
    clock.advance(6 * DAY)
    await try_again(served)
    assert {"given-up": len(addresses)} == (await served.gateway.telling.announcing.get(run)).counts
    mailbox.faults.clear()
    return run


def row_of(browser: OperatorsBrowser) -> dict[str, str]:
    """
    Return what the only row of the table says.
    """
    cells = browser.page.source.partition("<tbody>")[2].partition("</tbody>")[0].split('<td data-title="')[1:]
    return {name: rest.partition("</td>")[0] for name, _, rest in (cell.partition('">') for cell in cells)}


async def test_what_became_of_a_notice_is_counted_and_nobody_is_named(
    served: Served, operator: OperatorsBrowser, mailbox: Mailbox
) -> None:
    mailbox.faults.order("rcpt", Effect.FAIL, amount=550)
    mailbox.faults.order("rcpt", Effect.THROTTLE, amount=450)
    users = {f"user{number}@example.org" for number in range(4)}
    run = await announced(served, *users, None)

    page = await operator.go(PATH)

    assert 200 == page.status
    assert TITLE in page.text
    assert "Breach to all" in page.text
    counts = row_of(operator)
    del counts["Since"]
    assert {
        "Told": "5",
        "Sent": "2",
        "Waiting": "1",
        "Given up": "0",
        "Refused": "1",
        "No mail": "1",
    } == counts
    ids = [notice.user_id async for notice in served.gateway.telling.announcing.told_by(run)]
    assert 5 == len(ids)
    for personal in (*ids, *users, "Ada"):
        assert personal not in page.source
    assert not [form for form in page.forms if form.action.startswith(PATH)]


async def test_a_policy_is_named_by_its_version(
    served: Served, operator: OperatorsBrowser, clock: FakeClock
) -> None:
    await served.gateway.telling.policies.publish(
        "# Policy\n\nAs before.", format="markdown", effective_at=clock.now_ms()
    )
    await served.placed()
    assert "Version 1 of the policy" in (await operator.go(PATH)).text


async def test_what_was_given_up_is_sent_once_the_server_is_well(
    served: Served, operator: OperatorsBrowser, mailbox: Mailbox, clock: FakeClock
) -> None:
    run = await given_up(served, mailbox, clock, "ada@example.org", "bo@example.org")
    await operator.sign_in_as("operator")
    await operator.go(PATH)
    page = await operator.send(f"{PATH}/{run}/retry")
    assert "2 mails will be tried again" in page.text
    assert "2" == row_of(operator)["Waiting"]
    await served.placed()

    assert ["ada@example.org", "bo@example.org"] == sorted(mail.recipients[0] for mail in mailbox.mails)
    page = await operator.go(PATH)
    assert ("2", "0") == (row_of(operator)["Sent"], row_of(operator)["Given up"])
    assert not [form for form in page.forms if form.action.startswith(PATH)]
    [newest, *_] = await served.gateway.audit.page(before=None, limit=5)
    assert ("notice.retried", run, {"mails": 2}) == (
        newest.entry.action,
        newest.entry.subject,
        newest.facts,
    )

    # There is nothing more to try, and nothing to write down.
    page = await operator.post(f"{PATH}/{run}/retry", await own_token(operator))
    assert "0 mails will be tried again" in page.text
    assert newest == (await served.gateway.audit.page(before=None, limit=5))[0]


async def test_what_is_not_taken_then_either_is_given_up_again(
    served: Served, operator: OperatorsBrowser, mailbox: Mailbox, clock: FakeClock
) -> None:
    run = await given_up(served, mailbox, clock, "ada@example.org")
    mailbox.faults.order("mail", Effect.THROTTLE, times=100)
    await operator.sign_in_as("operator")
    await operator.go(PATH)
    await operator.send(f"{PATH}/{run}/retry")
    await served.placed()

    await operator.go(PATH)
    assert ("0", "1") == (row_of(operator)["Waiting"], row_of(operator)["Given up"])
    async with served.gateway.context.catalog.read() as connection:
        assert [] == await list_jobs(connection)


async def test_many_are_queued_batch_by_batch_and_written_down_once(
    served: Served,
    operator: OperatorsBrowser,
    mailbox: Mailbox,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.services.mail_retries._BATCH", 2)
    run = await given_up(served, mailbox, clock, *(f"user{number}@example.org" for number in range(5)))
    await operator.sign_in_as("operator")
    await operator.go(PATH)
    page = await operator.send(f"{PATH}/{run}/retry")
    assert "5 mails will be tried again" in page.text
    await served.placed()
    assert 5 == len(mailbox.mails)
    log = [view.entry.action for view in await served.gateway.audit.page(before=None, limit=50)]
    assert 1 == log.count("notice.retried")


async def test_a_notice_whose_work_is_set_aside_is_said_to_be_stuck(
    served: Served, operator: OperatorsBrowser
) -> None:
    await person(served)
    announcing = served.gateway.telling.announcing
    await announcing.announce("breach", title=TITLE, body="What happened.")
    assert "0 so far" == (await row_after(operator))["Told"]
    async with served.gateway.context.catalog.write() as connection:
        due = await find_due(connection, ["announce"])
        [job] = await claim_jobs(connection, due, holder="test", lease_ms=1000)
        await park_job(connection, job, error="it did not work")
    assert "0 · stuck" == (await row_after(operator))["Told"]
    assert "that work is stuck" in operator.page.text


async def row_after(operator: OperatorsBrowser) -> dict[str, str]:
    await operator.go(PATH)
    return row_of(operator)


async def test_a_notice_that_never_was_is_not_there(operator: OperatorsBrowser) -> None:
    path = f"{PATH}/00000000-0000-4000-8000-000000000000/retry"
    assert 404 == (await operator.post(path, await own_token(operator))).status


async def test_whoever_answers_for_data_sees_it_and_tries_nothing(
    served: Served, browser: OperatorsBrowser, mailbox: Mailbox, clock: FakeClock
) -> None:
    await given_up(served, mailbox, clock, "ada@example.org")
    await browser.sign_in_as("privacy")
    page = await browser.go(PATH)
    assert "1" == row_of(browser)["Given up"]
    assert not [form for form in page.forms if form.action.startswith(PATH)]
