"""
What a person is told, in a real browser: a banner, the notices, the policy, and the mail that he wants.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.e2e.chromium import chromium
from tests.e2e.steps import prove_number
from tests.http.newcomer import Newcomer
from tests.support.gateway import Served, serving
from tests.support.mailbox import Mailbox
from tests.support.mails import mail_sections

DAY_MS = 24 * 3600 * 1000
POLICY = """\
# How your recordings are kept

They are sealed under your own key, for a year at the most. Nobody else hears them.

## Whom to ask

Write to [the operator](https://calls.example.org/contact).
"""


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    with Mailbox() as mailbox:
        async with serving(
            tmp_path / "data",
            with_workers=False,
            sign_in={"resend_after_s": 0},
            log={"level": "error"},
            **mail_sections(mailbox),
        ) as gateway:
            yield gateway


async def sign_in(page: Page, served: Served) -> None:
    await page.goto("/recordings")
    await prove_number(page, Newcomer(served))
    await expect(page.get_by_role("heading", name="Recordings")).to_be_visible()


async def tell(served: Served) -> None:
    """
    Publish a policy, and tell of recordings that expire.
    """
    context = served.gateway.context
    now = context.people.clock.now_ms()
    await context.policies.publish(POLICY, format="markdown", effective_at=now - now % DAY_MS)
    await served.placed()
    users = [user.id async for user, _ in context.accounts.counted_users()]
    windows = [{"count": 2, "until": now + 14 * DAY_MS}, {"count": 9, "until": now + 37 * DAY_MS}]
    async with context.catalog.write() as connection:
        for user_id in users:
            await context.notices.tell(
                connection,
                user_id,
                "expiring",
                {"windows": windows, "first": now + 7 * DAY_MS, "kept_days": 365},
            )
    await served.placed()


async def test_what_a_person_is_told_and_asked(served: Served) -> None:
    async with chromium(served.url) as window:
        page = window.page
        await sign_in(page, served)
        await page.goto("/account")
        await page.get_by_label("E-mail", exact=True).fill("ada@example.org")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("Saved.")).to_be_visible()
        await tell(served)

        # On every page, until it is read.
        await page.goto("/recordings")
        await expect(page.get_by_role("complementary", name="Notice")).to_contain_text(
            "This service has a policy"
        )
        await window.picture("notice-on-every-page")
        await page.get_by_role("complementary", name="Notice").get_by_role("link").click()
        await expect(page.get_by_role("heading", name="2 recordings will be erased by")).to_be_visible()
        await expect(page.get_by_text("sent by e-mail").first).to_be_visible()
        await window.picture("notices")

        await page.get_by_role("link", name="Read it, and say whether you accept it").click()
        await expect(page.get_by_role("heading", name="How your recordings are kept")).to_be_visible()
        await window.picture("policy")
        await page.get_by_role("button", name="I accept this version").click()
        await expect(page.get_by_text("You accepted this version")).to_be_visible()
        await page.goto("/recordings")
        await expect(page.get_by_role("complementary", name="Notice")).to_have_count(0)

        # What mail he wants, and what he accepted.
        await page.goto("/account")
        await page.get_by_label("Send me news by e-mail").check()
        await page.get_by_role("button", name="Change what mail I get").click()
        await expect(page.get_by_label("Send me news by e-mail")).to_be_checked()
        await expect(page.get_by_text("You accepted version 1")).to_be_visible()
        await window.picture("account-mail")

        await page.get_by_role("link", name="What this service does").click()
        await expect(page.get_by_role("heading", name="Do Not Track")).to_be_visible()
        await window.picture("privacy")


async def test_the_link_in_a_mail_ends_news_without_signing_in(served: Served) -> None:
    accounts = served.gateway.context.accounts
    preferences = served.gateway.context.preferences
    user_id = await accounts.add_user(name="Ada", email="ada@example.org")
    await preferences.set_promotional(user_id, True)
    token = await preferences.unsubscribe_token(user_id)
    async with chromium(served.url, java_script_enabled=False) as window:
        page = window.page
        await page.goto(f"/unsubscribe/{token}")
        await page.get_by_role("button", name="I want no more of it").click()
        await expect(page.get_by_role("heading", name="You get no more of it")).to_be_visible()
    assert not await preferences.wants_promotional(user_id)


@pytest.mark.parametrize("is_dark", [False, True])
async def test_on_a_phones_width_nothing_is_cut_off(served: Served, is_dark: bool) -> None:
    async with chromium(served.url, is_narrow=True, is_dark=is_dark) as window:
        page = window.page
        await sign_in(page, served)
        await tell(served)
        for path in ("/recordings", "/notices", "/policy", "/privacy", "/account"):
            await page.goto(path)
            shade = "dark" if is_dark else "light"
            if path == "/notices":
                await window.picture(f"narrow-{shade}-notices")
            overflow = await page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert overflow <= 0, path
