"""
The pages of the people who run the service, in a real browser, with scripts and without, wide and narrow, light and dark.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from sqlalchemy import update

from gateway.catalog.jobs import claim_jobs, enqueue_job, find_due, park_job
from gateway.catalog.tables import notices
from tests.e2e.chromium import chromium
from tests.emulators.cloud import Account
from tests.emulators.emulator import EmulatedClock
from tests.emulators.oidc import GoogleSignIn
from tests.http.phone import Phone, speech
from tests.operators.browsing import operated
from tests.support.clock import FakeClock
from tests.support.gateway import Served
from tests.support.mailbox import Mailbox
from tests.support.mails import mail_sections
from tests.support.s3_store import free_ports

DAY = 24 * 3600
PEOPLE = [f"{role}-people" for role in ("support", "privacy", "operator")]


@pytest.fixture
def provider(clock: FakeClock) -> Iterator[GoogleSignIn]:
    with GoogleSignIn(clock=EmulatedClock(clock)) as provider:
        yield provider


@pytest.fixture
async def served(
    tmp_path: Path, provider: GoogleSignIn, clock: FakeClock, mailbox: Mailbox
) -> AsyncIterator[Served]:
    # Mails lead to pages, so whoever sends some has an address that is known before.
    [port] = free_ports(1)
    server = {"port": port, "shutdown_timeout_s": 1, "public_url": f"http://127.0.0.1:{port}"}
    async with operated(
        tmp_path / "data",
        provider,
        clock,
        log={"level": "error"},
        retention={"recordings_days": 20},
        **{**mail_sections(mailbox), "server": server},
    ) as served:
        yield served


async def lived_in(served: Served, clock: FakeClock, *, days: int = 14) -> Phone:
    """
    Have *days* pass, in which people record, and something goes wrong.
    """
    phone = await Phone.of_new_user(served, "Ada Lovelace")
    counts = served.gateway.context.operating.counts
    for day in range(days):
        headers = await served.gateway.context.accounts.new_token(phone.user_id, lifetime_s=DAY)
        phone = Phone(served, phone.user_id, {"Authorization": f"Bearer {headers.reveal().decode()}"})
        stored = [await phone.record(speech(20_000 + 3_000 * day)) for _ in range(1 + day * 5 % 7)]
        if day % 3 == 2:
            await phone.erase(stored[0])
        await served.placed()
        await counts.bring()
        clock.advance(DAY)
    context = served.gateway.context
    async with context.catalog.write() as connection:
        await enqueue_job(connection, "check", "56cbf801-4c04-40f0-9dd9-1cbc6dcaf09a")
        [job] = await claim_jobs(
            connection, await find_due(connection, ["check"]), holder="test", lease_ms=1000
        )
        await park_job(connection, job, error="QuotaExceeded: the account is full")
    await told_of_a_breach(served)
    return phone


async def told_of_a_breach(served: Served) -> None:
    """
    Have all be told something, and no mail server take all of it.
    """
    announcing = served.gateway.telling.announcing
    others = [await served.gateway.context.accounts.add_user(name="Grace") for _ in range(5)]
    for kind, title in (("breach", "A breach at our hoster"), ("announcement", "We move to new machines")):
        run = await announcing.announce(kind, title=title, body="What happened, and what you can do.")
        await announcing.carry_on(run)
        states = dict(zip(others, ("sent", "sent", "refused", "given-up", "queued"), strict=True))
        async with served.gateway.context.catalog.write() as connection:
            for user_id, state in states.items():
                await connection.execute(
                    update(notices)
                    .where(notices.c.run_id == run, notices.c.user_id == user_id)
                    .values(mail_state=state)
                )


async def sign_in(page: Page, provider: GoogleSignIn, account: Account) -> None:
    await page.goto("/operator")
    await expect(page.get_by_role("heading", name="Operators")).to_be_visible()
    provider.oauth.change_claims(groups=PEOPLE)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    # The provider's own page, which knows one account.
    assert [account.subject] == list(provider.accounts)
    await page.get_by_role("button", name="Allow").click()
    await expect(page.get_by_role("heading", name="Health", exact=True)).to_be_visible()


async def test_a_day_of_an_operator(served: Served, provider: GoogleSignIn, clock: FakeClock) -> None:
    phone = await lived_in(served, clock)
    account = provider.new_account("Grace")
    async with chromium(served.url) as window:
        page = window.page
        await page.goto("/operator")
        await window.picture("operator-sign-in")
        await sign_in(page, provider, account)
        await window.picture("operator-health")
        navigation = page.get_by_role("navigation", name="Site")

        await navigation.get_by_role("link", name="Work").click()
        await window.picture("operator-work")
        await page.get_by_role("button", name="Try all again").click()
        await expect(page.get_by_text("1 job will be tried again")).to_be_visible()

        await navigation.get_by_role("link", name="Users").click()
        await page.locator("#id").fill(phone.user_id)
        await page.get_by_role("button", name="Find").click()
        await expect(page.get_by_text("Ada Lovelace")).to_have_count(0)
        await page.get_by_label("Why you look").fill("She wrote to us and cannot sign in")
        await page.get_by_role("button", name="Look").click()
        await expect(page.get_by_text("Ada Lovelace")).to_be_visible()
        await window.picture("operator-user")

        await page.get_by_role("link", name="Place a hold").click()
        await page.locator("#reason").fill("Case 12 of the district court")
        await page.get_by_role("button", name="Place the hold").click()
        await expect(page.get_by_text("All that the user has", exact=True)).to_be_visible()
        await window.picture("operator-holds")

        await navigation.get_by_role("link", name="Notices").click()
        await expect(page.get_by_role("rowheader", name="A breach at our hoster")).to_be_visible()
        await window.picture("operator-notices")
        await page.get_by_role("button", name="Try again: A breach at our hoster").click()
        await expect(page.get_by_text("1 mail will be tried again")).to_be_visible()

        await served.gateway.retention.tick()
        await navigation.get_by_role("link", name="Retention").click()
        await window.picture("operator-retention")

        await navigation.get_by_role("link", name="Audit").click()
        await window.picture("operator-audit")
        await page.get_by_role("button", name="Check the whole log").click()
        await expect(page.get_by_role("heading", name="The log is whole")).to_be_visible()

        await navigation.get_by_role("link", name="Counts").click()
        await expect(page.get_by_role("img", name="Recordings stored")).to_be_visible()
        await window.picture("operator-counts")
        await page.get_by_text("The same as a table").first.click()
        await expect(page.get_by_role("table").first).to_be_visible()

        await page.get_by_role("button", name="Sign out").click()
        await page.goto("/operator/audit")
        await expect(page.get_by_role("heading", name="Operators")).to_be_visible()


async def test_where_the_browser_runs_no_script(
    served: Served, provider: GoogleSignIn, clock: FakeClock
) -> None:
    await lived_in(served, clock, days=1)
    async with chromium(served.url, java_script_enabled=False) as window:
        page = window.page
        await sign_in(page, provider, provider.new_account("Grace"))
        await page.goto("/operator/jobs")
        await page.get_by_role("button", name="Try all again").click()
        await expect(page.get_by_text("1 job will be tried again")).to_be_visible()
        await page.goto("/operator/audit")
        await page.get_by_role("button", name="Check the whole log").click()
        await expect(page.get_by_role("heading", name="The log is whole")).to_be_visible()


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
async def test_on_a_phone(served: Served, provider: GoogleSignIn, clock: FakeClock, is_dark: bool) -> None:
    phone = await lived_in(served, clock)
    look = "narrow-dark" if is_dark else "narrow-light"
    async with chromium(served.url, is_narrow=True, is_dark=is_dark) as window:
        page = window.page
        await sign_in(page, provider, provider.new_account("Grace"))
        for path in ("", "/jobs", "/notices", "/users", f"/users/{phone.user_id}", "/holds", "/retention"):
            await page.goto(f"/operator{path}")
            await window.fits(path)
        for name in ("audit", "counts"):
            await page.goto(f"/operator/{name}")
            await window.picture(f"{look}-operator-{name}")


async def test_what_its_user_sees(served: Served, provider: GoogleSignIn, clock: FakeClock) -> None:
    from tests.e2e.steps import sign_in as sign_user_in
    from tests.support.actors import OPS

    async with chromium(served.url) as window:
        page = await sign_user_in(window, served)
        context = served.gateway.context
        [user] = [user async for user, _ in context.accounts.counted_users()]
        await context.operating.desk.look(user.id, by=OPS, reason="You wrote to us and could not sign in")
        await context.operating.disclosures.add(
            user.id,
            by=OPS,
            recipient="The district court",
            what="Your phone number",
            why="It ordered so in case 12",
        )
        await page.goto("/account")
        await page.get_by_role("link", name="Who looked at your data").click()
        await expect(page.get_by_text("You wrote to us and could not sign in")).to_be_visible()
        await window.picture("who-looked")
        await page.goto("/account/disclosures")
        await expect(page.get_by_text("The district court")).to_be_visible()
        await window.picture("disclosures")
