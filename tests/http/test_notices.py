"""
What users are told, asked and offered: over the API and on the pages, and what nobody else can do with it.
"""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.base.ids import UserId
from tests.http.browser import Browser
from tests.http.phone import Answer, Phone
from tests.support.clock import FakeClock
from tests.support.gateway import Served
from tests.support.mailbox import Mailbox
from tests.support.mails import PUBLIC_URL, mail_sections, person, tell, told, try_again

DAY_MS = 24 * 3600 * 1000
JSON = {"Content-Type": "application/json"}
POLICY = (
    "# What we keep\n\nNothing for **longer**. <script>alert(1)</script> ![](https://spy.example/x.png)\n"
)


@pytest.fixture
def sections(mailbox: Mailbox) -> dict[str, dict[str, Any]]:
    return {**mail_sections(mailbox), "sign_in": {"resend_after_s": 0}}


@pytest.fixture
async def browser(served: Served) -> AsyncIterator[Browser]:
    async with Browser(served) as browser:
        yield browser


async def phone_of(served: Served, user_id: UserId) -> Phone:
    token = await served.gateway.context.accounts.new_token(user_id, lifetime_s=3600)
    return Phone(served, user_id, {"Authorization": f"Bearer {token.reveal().decode()}"})


async def put(phone: Phone, path: str, body: bytes, method: str = "PUT") -> Answer:
    return await phone.ask(method, path, JSON, body)


async def publish(served: Served, body: str = POLICY, *, days: int = 0) -> None:
    now = served.gateway.context.people.clock.now_ms()
    await served.gateway.context.policies.publish(
        body, format="markdown", effective_at=now - now % DAY_MS + days * DAY_MS
    )
    await served.placed()


async def browsing(served: Served, browser: Browser) -> UserId:
    """
    Sign the browser in, and return as whom.
    """
    await browser.sign_in()
    async with served.gateway.context.catalog.read() as connection:
        from sqlalchemy import text

        found = (await connection.execute(text("SELECT user_id FROM identities"))).scalars().all()
    return UserId(found[-1])


async def test_notices_are_listed_page_by_page_and_read_one_by_one(served: Served) -> None:
    phone = await phone_of(served, await person(served))
    for _ in range(3):
        await tell(served, phone.user_id)
    first = (await phone.ask("GET", "/v1/me/notices", params={"limit": "2"})).document
    rest = (await phone.ask("GET", "/v1/me/notices", params={"cursor": first["next"]})).document
    assert (2, 1, None) == (len(first["notices"]), len(rest["notices"]), rest["next"])
    [last] = rest["notices"]
    assert ("link-trouble", "Your Box account does not work here", "queued", None) == (
        last["kind"],
        last["title"],
        last["mail"],
        last["read_at"],
    )
    await served.placed()
    assert 204 == (await phone.ask("POST", f"/v1/me/notices/{last['id']}/read")).status
    listed = (await phone.ask("GET", "/v1/me/notices")).document["notices"]
    assert {"sent"} == {each["mail"] for each in listed}
    assert [False, False, True] == [each["read_at"] is not None for each in listed]


async def test_nobody_sees_or_reads_anothers_notices(served: Served) -> None:
    phone, other = [await phone_of(served, await person(served)) for _ in range(2)]
    await tell(served, phone.user_id)
    [notice] = await told(served, phone.user_id)
    assert [] == (await other.ask("GET", "/v1/me/notices")).document["notices"]
    assert 404 == (await other.ask("POST", f"/v1/me/notices/{notice.id}/read")).status
    assert 401 == (await Phone(served, phone.user_id, {}).ask("GET", "/v1/me/notices")).status


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "101"}, {"cursor": "x"}, {"other": "1"}])
async def test_what_cannot_be_asked_for_is_named(served: Served, query: dict[str, str]) -> None:
    phone = await phone_of(served, await person(served))
    assert next(iter(query)) == (await phone.ask("GET", "/v1/me/notices", params=query)).field


async def test_promotional_mail_is_off_until_asked_for(served: Served, mailbox: Mailbox) -> None:
    asked, not_asked = [await phone_of(served, await person(served)) for _ in range(2)]
    assert {"promotional": False} == (await asked.ask("GET", "/v1/me/mail")).document
    assert 200 == (await put(asked, "/v1/me/mail", b'{"promotional": true}')).status
    announcing = served.gateway.telling.announcing
    await announcing.announce("announcement", title="News", body="Some.", is_promotional=True)
    await announcing.announce("announcement", title="Works", body="On Sunday.")
    await served.placed()
    assert ["News", "Works", "Works"] == sorted(mail.message["Subject"] for mail in mailbox.mails)
    # On the pages it is all the same.
    for phone in (asked, not_asked):
        assert 2 == len((await phone.ask("GET", "/v1/me/notices")).document["notices"])


async def unsubscribe_link(served: Served, mailbox: Mailbox, user_id: UserId) -> str:
    await served.gateway.context.preferences.set_promotional(user_id, True)
    await served.gateway.telling.announcing.announce(
        "announcement", title="News", body="Some.", is_promotional=True
    )
    await served.placed()
    message = mailbox.mails[-1].message
    assert "List-Unsubscribe=One-Click" == message["List-Unsubscribe-Post"]
    link = message["List-Unsubscribe"].strip("<>")
    assert link in message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    return str(link).removeprefix(PUBLIC_URL)


async def test_one_click_unsubscribes_without_signing_in(served: Served, mailbox: Mailbox) -> None:
    user_id = await person(served)
    link = await unsubscribe_link(served, mailbox, user_id)
    preferences = served.gateway.context.preferences
    # Programs that look at links in mails change nothing.
    async with served.http.get(link) as response:
        assert 200 == response.status
    assert await preferences.wants_promotional(user_id)
    announcing = served.gateway.telling.announcing
    queued = await announcing.announce("announcement", title="More", body="Some.", is_promotional=True)
    await announcing.carry_on(queued)

    for _ in range(2):
        async with served.http.post(link, data={"List-Unsubscribe": "One-Click"}) as response:
            assert 200 == response.status
        assert not await preferences.wants_promotional(user_id)
    # One that was queued before that is not sent any more, nor is any that comes after.
    await announcing.announce("announcement", title="Even more", body="Some.", is_promotional=True)
    await served.placed()
    assert 1 == len(mailbox.mails)
    assert {"opted-out": 2} == Counter(
        notice.mail_reason for notice in await told(served, user_id) if notice.mail_reason
    )


async def test_no_link_can_be_made_for_somebody_else(served: Served, mailbox: Mailbox) -> None:
    ada, bo = await person(served), await person(served, "bo@example.org")
    link = await unsubscribe_link(served, mailbox, ada)
    await served.gateway.context.preferences.set_promotional(bo, True)
    import base64
    import uuid

    path, _, token = link.rpartition("/")
    raw = base64.urlsafe_b64decode(token + "==")
    forged = base64.urlsafe_b64encode(uuid.UUID(bo).bytes + raw[16:]).decode().rstrip("=")
    for wrong in (forged, token[:-4], "x", "%00", token + "AAAA"):
        async with served.http.post(f"{path}/{wrong}") as response:
            assert 404 == response.status
    assert await served.gateway.context.preferences.wants_promotional(bo)
    # Of somebody who is erased there is nothing left to end, and that is no error.
    await served.gateway.context.erasure.bury_account(ada)
    async with served.http.post(link) as response:
        assert 200 == response.status


async def test_a_policy_is_announced_shown_and_accepted(
    served: Served, mailbox: Mailbox, browser: Browser, clock: FakeClock
) -> None:
    user_id = await browsing(served, browser)
    page = await browser.go("/policy")
    assert "has not published a policy" in page.text
    phone = await phone_of(served, user_id)
    assert {"accepted": [], "in_force": None} == (await phone.ask("GET", "/v1/me/policy")).document
    other = await person(served)

    await publish(served, days=0)
    assert ["ada@example.org"] == [each.recipients[0] for each in mailbox.mails]
    assert f"<{PUBLIC_URL}/policy/1>" in mailbox.mails[0].message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert 1 == len(await told(served, other))
    page = await browser.go("/recordings")
    assert "This service has a policy from" in page.text
    page = await browser.go("/policy")
    assert "What we keep" in page.text
    assert "<strong>longer</strong>" in page.source
    assert "<script>alert" not in page.source
    assert '<img src="https' not in page.source

    page = await browser.send("/policy/1/accept")
    assert "You accepted this version on" in page.text
    [accepted] = (await phone.ask("GET", "/v1/me/policy")).document["accepted"]
    assert 1 == accepted["version"]
    assert "This service has a policy from" not in (await browser.go("/recordings")).text
    assert "You accepted version 1 on" in (await browser.go("/account")).text

    # The next one is in force from its day on, and the first time of accepting stays.
    await publish(served, "# What we keep now\n\nLess.\n", days=3)
    assert "What we keep Nothing" in (await browser.go("/policy")).text
    assert "What we keep now" in (await browser.go("/policy/2")).text
    clock.advance(4 * 24 * 3600)
    assert "What we keep now" in (await browser.go("/policy")).text
    await put(phone_again := await phone_of(served, user_id), "/v1/me/policy", b'{"version": 1}', "POST")
    listed = (await phone_again.ask("GET", "/v1/me/policy")).document
    assert ([accepted], 2) == (listed["accepted"], listed["in_force"])


async def test_policies_are_there_for_whoever_asks(served: Served) -> None:
    await publish(served)
    nobody = Phone(served, UserId(""), {})
    [summary] = (await nobody.ask("GET", "/v1/policies")).document["policies"]
    assert (1, True) == (summary["version"], summary["is_in_force"])
    assert POLICY == (await nobody.ask("GET", "/v1/policies/1")).document["text"]
    for path in ("/v1/policies/2", "/v1/policies/x", "/v1/policies/0"):
        assert 404 == (await nobody.ask("GET", path)).status
    phone = await phone_of(served, await person(served))
    assert 404 == (await put(phone, "/v1/me/policy", b'{"version": 2}', "POST")).status


async def test_what_presses_is_on_every_page_until_it_is_read(served: Served, browser: Browser) -> None:
    user_id = await browsing(served, browser)
    await served.gateway.telling.announcing.announce(
        "breach", title="Something <happened>", body="See [what](https://status.example)."
    )
    await tell(served, user_id)
    await served.placed()
    for path in ("/recordings", "/storage", "/account"):
        page = await browser.go(path)
        assert "Something <happened> . Read it" in page.text.replace("<happened>.", "<happened> .")
    page = await browser.go("/notices")
    assert "https://status.example" in page.links
    assert "Your Box account does not work here" in page.text
    [breach] = [notice for notice in await told(served, user_id) if notice.kind == "breach"]
    await browser.send(f"/notices/{breach.id}/read")
    assert "Something" not in (await browser.go("/recordings")).text


async def test_forms_of_other_sites_do_nothing(served: Served, browser: Browser) -> None:
    user_id = await browsing(served, browser)
    await publish(served)
    for path in ("/notices/read", "/policy/1/accept", "/account/mail"):
        page = await browser.post(path, ("promotional", "1"))
        assert 403 == page.status
    assert [None] == [notice.read_at for notice in await told(served, user_id)]
    assert not await served.gateway.context.preferences.wants_promotional(user_id)


async def test_mail_is_asked_for_on_the_accounts_page(served: Served, browser: Browser) -> None:
    user_id = await browsing(served, browser)
    await browser.go("/account")
    page = await browser.send("/account/mail", promotional="1")
    assert "Saved." in page.text
    assert await served.gateway.context.preferences.wants_promotional(user_id)
    await browser.send("/account/mail")
    assert not await served.gateway.context.preferences.wants_promotional(user_id)


async def test_the_page_on_what_the_service_does_says_what_is_so(served: Served, browser: Browser) -> None:
    page = await browser.go("/privacy")
    assert {"__Host-session", "__Host-signing-in"} <= set(page.text.split())
    assert "365 days" in page.text
    assert [] == page.headers.getall("Set-Cookie", [])


async def test_a_mail_that_cannot_be_delivered_is_told_on_the_page(
    served: Served, browser: Browser, mailbox: Mailbox
) -> None:
    user_id = await browsing(served, browser)
    accounts = served.gateway.context.accounts
    await accounts.change_personal(await accounts.get_user(user_id), {"email": "gone@example.org"})
    mailbox.unknown = {"gone@example.org"}
    await tell(served, user_id)
    await try_again(served)
    assert "your e-mail address did not take it" in (await browser.go("/notices")).text
