"""
What users are told of what others did with their data.
"""

from collections.abc import AsyncIterator

import pytest

from gateway.base.ids import UserId
from gateway.services.holds import Cause
from tests.http.browser import Browser
from tests.http.newcomer import NUMBER, Newcomer
from tests.http.phone import Phone
from tests.support.actors import OPS
from tests.support.gateway import Served


@pytest.fixture
def sections() -> dict[str, dict[str, object]]:
    return {"sign_in": {"resend_after_s": 0}}


@pytest.fixture
async def browser(served: Served) -> AsyncIterator[Browser]:
    async with Browser(served) as browser:
        yield browser


async def looked_at(served: Served, user_id: UserId, reason: str) -> None:
    await served.gateway.context.operating.desk.look(user_id, by=OPS, reason=reason)


async def test_a_user_reads_who_looked_and_why_and_nobody_elses(served: Served) -> None:
    ada, grace = await Phone.of_new_user(served), await Phone.of_new_user(served, "Grace")
    await looked_at(served, ada.user_id, "She wrote to us")
    answer = await ada.ask("GET", "/v1/me/audit")
    [entry] = answer.document["entries"]
    assert (200, None) == (answer.status, answer.document["next"])
    assert ("user.looked-at", "console", "She wrote to us") == (
        entry["action"],
        entry["role"],
        entry["reason"],
    )
    # As what somebody did it, not who it was.
    assert OPS.id not in str(answer.document)
    assert [] == (await grace.ask("GET", "/v1/me/audit")).document["entries"]
    for path in ("/v1/me/audit", "/v1/me/disclosures"):
        async with served.http.get(path) as refused:
            assert 401 == refused.status


async def test_a_hold_that_he_is_not_told_of_is_not_there_either(served: Served) -> None:
    ada = await Phone.of_new_user(served)
    cause = Cause(reason="case 12", placed_by="ops")
    told = await served.gateway.holds.place(ada.user_id, cause, by=OPS, tells_user=True)
    secret = await served.gateway.holds.place(ada.user_id, cause, by=OPS, tells_user=False)
    for hold in (told, secret):
        await served.gateway.holds.lift(hold, by=OPS)
    entries = (await ada.ask("GET", "/v1/me/audit")).document["entries"]
    assert ["hold.lifted", "hold.placed"] == [entry["action"] for entry in entries]


async def test_pages_are_as_long_with_a_secret_hold_as_without(served: Served) -> None:
    ada = await Phone.of_new_user(served)
    for number in range(51):
        await looked_at(served, ada.user_id, f"reason {number}")
        if number == 30:
            await served.gateway.holds.place(ada.user_id, Cause(reason="case 12", placed_by="ops"), by=OPS)
    first = (await ada.ask("GET", "/v1/me/audit")).document
    second = (await ada.ask("GET", f"/v1/me/audit?before={first['next']}")).document
    assert (50, 1, None) == (len(first["entries"]), len(second["entries"]), second["next"])


async def test_pages_of_it_lead_on(served: Served) -> None:
    ada = await Phone.of_new_user(served)
    for number in range(60):
        await looked_at(served, ada.user_id, f"reason {number}")
    first = (await ada.ask("GET", "/v1/me/audit")).document
    second = (await ada.ask("GET", f"/v1/me/audit?before={first['next']}")).document
    told = [entry["reason"] for entry in [*first["entries"], *second["entries"]]]
    assert [f"reason {number}" for number in reversed(range(60))] == told
    assert second["next"] is None
    for wrong in ("before=0", "before=x", "after=1"):
        assert 400 == (await ada.ask("GET", f"/v1/me/audit?{wrong}")).status


async def test_disclosures_are_listed_by_year(served: Served) -> None:
    ada = await Phone.of_new_user(served)
    await served.gateway.context.operating.disclosures.add(
        ada.user_id, by=OPS, recipient="The court of Rome", what="a number", why="case 12"
    )
    everything = (await ada.ask("GET", "/v1/me/disclosures")).document
    assert (None, ["The court of Rome"]) == (
        everything["year"],
        [one["recipient"] for one in everything["disclosures"]],
    )
    year = int(everything["disclosures"][0]["at"][:4])
    assert (
        everything["disclosures"]
        == (await ada.ask("GET", f"/v1/me/disclosures?year={year}")).document["disclosures"]
    )
    assert [] == (await ada.ask("GET", f"/v1/me/disclosures?year={year - 1}")).document["disclosures"]
    assert 400 == (await ada.ask("GET", "/v1/me/disclosures?year=0")).status


async def test_the_pages_say_the_same(served: Served, browser: Browser) -> None:
    await browser.sign_in()
    newcomer = Newcomer(served)
    await newcomer.sign_in()
    user = UserId(newcomer.tokens["user"])
    await looked_at(served, user, "<b>She</b> wrote to us")
    await served.gateway.context.operating.disclosures.add(
        user, by=OPS, recipient="The court of Rome", what="a number", why="case 12"
    )
    page = await browser.go("/account")
    assert {"/account/looks", "/account/disclosures"} <= set(page.links)
    page = await browser.go("/account/looks")
    assert "Looked at what is known about you" in page.text
    assert "“<b>She</b> wrote to us”" in page.text
    page = await browser.go("/account/disclosures")
    assert "The court of Rome" in page.text
    # The codes of this gateway go into its own log: nobody else learned of the number.
    assert "code" not in page.text.lower()
    [year] = [link for link in page.links if "year=" in link]
    assert "The court of Rome" in (await browser.go(year)).text
    assert "Nothing in 1999" in (await browser.go("/account/disclosures?year=1999")).text
    assert 400 == (await browser.go("/account/disclosures?year=x")).status
    assert NUMBER not in page.text
