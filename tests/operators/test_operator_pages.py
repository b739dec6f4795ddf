"""
What operators do on their pages, on each database.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.services.audit import View
from tests.conftest import DatabaseUrls
from tests.emulators.oidc import GoogleSignIn
from tests.http.newcomer import NUMBER, Newcomer
from tests.http.phone import Phone
from tests.operators.browsing import OperatorsBrowser, in_role, own_token
from tests.operators.scene import Scene
from tests.support.clock import FakeClock
from tests.support.gateway import Served

DAY = 24 * 3600


@pytest.fixture
def sections(database_urls: DatabaseUrls) -> dict[str, Any]:
    return {
        "catalog_url": database_urls.catalog,
        "keys_url": database_urls.keys,
        "sign_in": {"resend_after_s": 0},
    }


@pytest.fixture
async def privacy(served: Served, provider: GoogleSignIn) -> AsyncIterator[OperatorsBrowser]:
    async with in_role(served, provider, "privacy") as browser:
        yield browser


@pytest.fixture
async def support(served: Served, provider: GoogleSignIn) -> AsyncIterator[OperatorsBrowser]:
    async with in_role(served, provider, "support") as browser:
        yield browser


@pytest.fixture
async def ada(served: Served) -> Phone:
    """
    Somebody who signed in by his number.
    """
    newcomer = Newcomer(served)
    await newcomer.sign_in()
    return newcomer.as_phone()


async def about(served: Served, phone: Phone) -> list[View]:
    user = await served.gateway.context.accounts.get_user(phone.user_id)
    return await served.gateway.audit.about(user)


async def test_support_sees_that_there_is_a_user_and_nothing_about_him(
    support: OperatorsBrowser, ada: Phone
) -> None:
    await ada.record(b"0123456789")
    page = await support.go(f"/operator/users?id=+{ada.user_id.upper()}+")
    assert f"/operator/users/{ada.user_id}" == page.url.path
    assert "active" in page.text
    assert "1, 10 bytes" in page.text
    for secret in (NUMBER, "Ada's phone", "look-reason", "Erase"):
        assert secret not in page.source

    assert 404 == (await support.go("/operator/users/00000000-0000-4000-8000-000000000000")).status
    assert 400 == (await support.go("/operator/users?id=Ada")).status


async def test_a_look_needs_a_reason_and_is_there_for_its_user_to_see(
    served: Served, privacy: OperatorsBrowser, ada: Phone
) -> None:
    await privacy.go(f"/operator/users/{ada.user_id}")
    assert NUMBER not in privacy.page.source
    page = await privacy.send(f"/operator/users/{ada.user_id}/look", reason="  ")
    assert (400, False) == (page.status, NUMBER in page.source)
    assert [] == await about(served, ada)

    await privacy.go(f"/operator/users/{ada.user_id}")
    page = await privacy.send(f"/operator/users/{ada.user_id}/look", reason="She wrote to us,  ticket 7")
    assert 200 == page.status
    assert NUMBER in page.text
    assert "phone" in page.text
    [view] = await about(served, ada)
    assert ("user.looked-at", "privacy", "She wrote to us, ticket 7") == (
        view.entry.action,
        view.entry.role,
        view.reason,
    )


async def test_nothing_is_shown_that_cannot_be_written_down(
    served: Served, privacy: OperatorsBrowser, ada: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    await privacy.go(f"/operator/users/{ada.user_id}")

    async def fails(*_: object) -> None:
        raise RuntimeError("no room in the log")

    monkeypatch.setattr(served.gateway.audit, "append", fails)
    page = await privacy.send(f"/operator/users/{ada.user_id}/look", reason="a reason")
    assert (500, False) == (page.status, NUMBER in page.source)


async def test_holds_are_placed_seen_and_lifted(
    served: Served, privacy: OperatorsBrowser, ada: Phone
) -> None:
    held, free = await ada.record(b"held"), await ada.record(b"free")
    await privacy.go(f"/operator/holds?user={ada.user_id}")
    page = await privacy.send("/operator/holds", recording=held, reason="case 12", until="2999-01-31")
    assert 200 == page.status
    assert f"Recording {held}" in page.text
    assert "case 12" not in page.source
    assert 423 == (await ada.erase(held)).status
    assert 200 == (await ada.erase(free)).status

    await privacy.go(f"/operator/users/{ada.user_id}")
    await privacy.send(f"/operator/users/{ada.user_id}/look", reason="what was that hold about?")
    assert "case 12" in privacy.page.text

    await privacy.go("/operator/holds")
    [hold] = [view.hold.id for view in await served.gateway.holds.list_holds()]
    page = await privacy.send(f"/operator/holds/{hold}/lift")
    assert "lifted" in page.text
    assert 200 == (await ada.erase(held)).status
    assert ["hold.lifted", "user.looked-at", "hold.placed"] == [
        view.entry.action for view in await about(served, ada)
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [("user", "Ada"), ("recording", "one"), ("until", "tomorrow"), ("until", "1999-01-01"), ("reason", " ")],
)
async def test_what_is_wrong_in_a_hold_is_told(
    privacy: OperatorsBrowser, ada: Phone, field: str, value: str
) -> None:
    await privacy.go(f"/operator/holds?user={ada.user_id}")
    page = await privacy.send("/operator/holds", **{"reason": "case 12", field: value})
    assert 400 == page.status
    assert (field if field != "until" or value == "tomorrow" else "ends_at") in page.text.lower()


async def test_an_account_is_erased_by_whoever_means_it(
    served: Served, privacy: OperatorsBrowser, ada: Phone
) -> None:
    path = f"/operator/users/{ada.user_id}"
    await privacy.go(path)
    assert 400 == (await privacy.send(f"{path}/erase", word="yes", basis="abuse")).status
    await privacy.go(path)
    assert 400 == (await privacy.send(f"{path}/erase", word="erase", basis="for fun")).status
    assert 200 == (await ada.ask("GET", "/v1/recordings")).status
    await privacy.go(path)
    page = await privacy.send(f"{path}/erase", word="Erase", basis="asked-by-user")
    assert (200, path) == (page.status, page.url.path)
    assert "erased since" in page.text
    assert 401 == (await ada.ask("GET", "/v1/recordings")).status
    [newest, *_] = await served.gateway.audit.page(before=None, limit=5)
    assert ("user.erased", {"basis": "asked-by-user"}) == (newest.entry.action, newest.facts)


async def test_stuck_work_is_tried_again(served: Served, operator: OperatorsBrowser) -> None:
    scene = await Scene.of(served)
    page = await operator.go("/operator")
    assert "Work is stuck: 1 job set aside" in page.text
    page = await operator.go("/operator/jobs")
    assert "it did not work" in page.text
    form = [form for form in page.forms if ("job", scene.job) in form.fields]
    page = await operator.post(form[0].action, *form[0].fields)
    assert "1 job will be tried again" in page.text
    assert "Nothing is stuck" in page.text
    assert 404 == (await operator.post(form[0].action, *form[0].fields)).status
    [newest, *_] = await served.gateway.audit.page(before=None, limit=5)
    assert ("job.retried", scene.job, {"jobs": 1}) == (
        newest.entry.action,
        newest.entry.subject,
        newest.facts,
    )


async def test_a_sweep_that_waits_is_seen_and_approved(
    served: Served, operator: OperatorsBrowser, provider: GoogleSignIn, ada: Phone, clock: FakeClock
) -> None:
    await ada.record(b"old")
    clock.jump(400 * DAY)
    await operator.sign_in_as("operator")
    await served.gateway.retention.tick()
    page = await operator.go("/operator/retention")
    assert "1 recordings that were stored before" in page.text
    # Another one than was shown is not approved.
    page = await operator.post(
        "/operator/retention/approve",
        await own_token(operator),
        ("recordings", "2"),
        ("stored_before", "2020-01-01"),
    )
    assert 404 == page.status
    await operator.go("/operator/retention")
    page = await operator.send("/operator/retention/approve")
    assert "It is approved" in page.text
    [newest, *_] = await served.gateway.audit.page(before=None, limit=5)
    assert ("retention.approved", 1) == (newest.entry.action, newest.facts["recordings"])


async def test_the_log_is_read_checked_and_pinned(served: Served, operator: OperatorsBrowser) -> None:
    await Scene.of(served)
    page = await operator.go("/operator/audit")
    assert "hold.placed" in page.text
    assert "@" in page.text  # Operators are called by their names there.
    assert "case 12" not in page.source

    form = page.form("/operator/audit/head")
    async with operator.http.post(form.action, data=dict(form.fields)) as answer:
        assert "attachment" in answer.headers["Content-Disposition"]
        head = await answer.text()
    page = await operator.post("/operator/audit/verify", form.fields[0], ("head", head))
    assert "The log is whole" in page.text

    wrong = json.loads(head) | {"hash": "00" * 32}
    page = await operator.post("/operator/audit/verify", form.fields[0], ("head", json.dumps(wrong)))
    assert "is not as it was signed" in page.text
    assert 400 == (await operator.post("/operator/audit/verify", form.fields[0], ("head", "{"))).status


async def test_pages_of_the_log_lead_to_each_other(served: Served, operator: OperatorsBrowser) -> None:
    from tests.support.actors import OPS

    for number in range(60):
        await served.gateway.audit.note(OPS, f"tried-{number}")
    page = await operator.go("/operator/audit")
    assert ("tried-59" in page.text, "tried-5 " in page.text) == (True, False)
    [older] = [link for link in page.links if "before=" in link]
    page = await operator.go(older)
    assert "tried-5 " in page.text
    assert "tried-59" not in page.text


async def test_what_was_given_away_is_noted_for_its_user(
    served: Served, privacy: OperatorsBrowser, ada: Phone
) -> None:
    path = f"/operator/users/{ada.user_id}"
    await privacy.go(path)
    page = await privacy.send(
        f"{path}/disclosures", recipient="The court of Rome", what="a number", why="case 12"
    )
    assert "Noted; he can read it" in page.text
    assert "Rome" not in page.source
    page = await privacy.send(f"{path}/look", reason="Was it noted?")
    assert "The court of Rome. a number. case 12" in page.text
    [told] = (await ada.ask("GET", "/v1/me/disclosures")).document["disclosures"]
    assert "The court of Rome" == told["recipient"]


async def test_counts_by_day_are_drawn_and_told(
    served: Served, support: OperatorsBrowser, ada: Phone, clock: FakeClock
) -> None:
    counts = served.gateway.context.operating.counts
    for content in (b"0123456789", b"0123456789" * 9):
        await ada.record(content)
    gone = await ada.record(b"")
    await served.placed()
    await counts.bring()
    await counts.bring()
    assert 200 == (await ada.erase(gone)).status
    await served.placed()
    await counts.bring()

    page = await support.go("/operator/counts?days=7")
    assert "Recordings stored · 3 in all · at most 3 on a day" in page.text
    assert "Bytes received · 100 bytes in all" in page.text
    assert "Recordings erased by their users · 1 in all" in page.text
    assert "Blobs that arrived: local · 3 in all" in page.text
    assert "<script" not in page.source
    assert "style=" not in page.source
    # One bar for each day, and the same as a table.
    charts = page.source.count("<svg")
    assert (7 * charts, 7 * charts) == (page.source.count("<rect"), page.source.count('<th scope="row">'))

    clock.advance(2 * DAY)
    await support.sign_in_as("support")
    page = await support.go("/operator/counts?days=7")
    assert "Recordings stored · 3 in all" in page.text
    clock.advance(7 * DAY)
    await support.sign_in_as("support")
    assert "Recordings stored · 0 in all" in (await support.go("/operator/counts?days=7")).text
    assert "Recordings stored · 3 in all" in (await support.go("/operator/counts")).text
