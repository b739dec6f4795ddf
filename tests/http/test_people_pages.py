"""
What people do on the pages, and what other sites cannot do for them.
"""

import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from yarl import URL

from gateway.base.ids import RecordingId
from gateway.services.holds import Cause
from tests.http.browser import Browser
from tests.http.newcomer import NUMBER, OTHER_NUMBER, Newcomer, wrong
from tests.http.phone import Phone, speech
from tests.support.actors import OPS
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving

SESSION = "__Host-session"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def served(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Served]:
    async with serving(
        tmp_path / "data", clock=clock, with_workers=False, sign_in={"resend_after_s": 0}
    ) as gateway:
        yield gateway


@pytest.fixture
async def browser(served: Served) -> AsyncIterator[Browser]:
    async with Browser(served) as browser:
        yield browser


@pytest.fixture
async def app(served: Served) -> Phone:
    """
    The same person's phone.
    """
    newcomer = Newcomer(served)
    await newcomer.sign_in()
    return newcomer.as_phone()


async def recorded(app: Phone, name: str = "Grace Hopper") -> str:
    return await app.record(
        speech(20_000), party_name=name, direction="in", duration_ms="65000", filetype="audio/wav"
    )


async def test_whoever_is_not_signed_in_is_asked_to_and_comes_back(browser: Browser) -> None:
    page = await browser.go("/account")
    assert ("/sign-in", "/account") == (page.url.path, page.url.query["next"])

    await browser.send("/sign-in/code", number=NUMBER)
    page = await browser.send("/sign-in/proof", code=browser.read_code())

    assert (200, "/account") == (page.status, page.url.path)
    assert NUMBER in page.text


async def test_a_wrong_code_is_told_and_another_may_be_named(browser: Browser) -> None:
    await browser.go("/sign-in")
    await browser.send("/sign-in/code", number=NUMBER)
    page = await browser.send("/sign-in/proof", code=wrong(browser.read_code()))
    assert 422 == page.status
    assert "4 more may be tried" in page.text

    page = await browser.send("/sign-in/proof", code=browser.read_code())

    assert "/recordings" == page.url.path


async def test_what_is_no_number_is_told_and_kept_in_its_field(browser: Browser) -> None:
    await browser.go("/sign-in")
    page = await browser.send("/sign-in/code", number="4155550100")

    assert 400 == page.status
    assert "begins with + and the country" in page.text
    assert ("number", "4155550100") in page.form("/sign-in/code").fields


async def test_the_sessions_cookie_is_for_this_host_and_no_script(browser: Browser) -> None:
    await browser.sign_in()
    cookie = browser.cookie(SESSION)

    assert cookie is not None
    await browser.go("/sign-in")
    set_cookies = []
    async with browser.http.get("/recordings") as response:
        set_cookies = response.headers.getall("Set-Cookie", [])
    assert [] == set_cookies


async def test_cookies_say_what_they_may(browser: Browser) -> None:
    await browser.go("/sign-in")
    await browser.send("/sign-in/code", number=NUMBER)
    form = browser.page.form("/sign-in/proof")
    fields = [pair for pair in form.fields if pair[0] != "code"]
    page = await browser.post(
        "/sign-in/proof",
        *fields,
        ("code", browser.read_code()),
        ("remember", "1"),
        allow_redirects=False,
    )

    [session] = [line for line in page.headers.getall("Set-Cookie") if line.startswith(SESSION)]
    assert {"HttpOnly", "Secure", "Path=/", "SameSite=Lax"} <= set(re.split("; ?", session))
    assert f"Max-Age={90 * 86400}" in session
    assert "Domain" not in session


async def test_a_session_ends_by_itself_and_by_signing_out(browser: Browser, clock: FakeClock) -> None:
    await browser.sign_in()
    clock.advance(12 * 3600 + 1)
    assert "/sign-in" == (await browser.go("/recordings")).url.path

    await browser.sign_in()
    before = browser.cookie(SESSION).value
    await browser.send("/sign-out")
    browser.http.cookie_jar.update_cookies({SESSION: before}, URL(browser.served.url))

    assert "/sign-in" == (await browser.go("/recordings")).url.path


async def test_each_signing_in_makes_a_session_of_its_own(browser: Browser) -> None:
    """
    A session that somebody else put there is never the one that counts then.
    """
    await browser.sign_in()
    planted = browser.cookie(SESSION).value
    browser.http.cookie_jar.clear()
    await browser.go("/sign-in")
    await browser.send("/sign-in/code", number=OTHER_NUMBER)
    browser.http.cookie_jar.update_cookies({SESSION: planted}, URL(browser.served.url))
    await browser.send("/sign-in/proof", code=browser.read_code())

    assert planted != browser.cookie(SESSION).value
    assert OTHER_NUMBER in (await browser.go("/account")).text
    browser.http.cookie_jar.update_cookies({SESSION: planted}, URL(browser.served.url))
    assert "/sign-in" == (await browser.go("/account")).url.path


@pytest.mark.parametrize(
    "onward", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:x"]
)
async def test_signing_in_leads_nowhere_else(browser: Browser, onward: str) -> None:
    await browser.go(str(URL("/sign-in").with_query(next=onward)))
    await browser.send("/sign-in/code", number=NUMBER)
    page = await browser.send("/sign-in/proof", code=browser.read_code())

    assert "/recordings" == page.url.path
    assert URL(browser.served.url).host == page.url.host


async def test_nobody_is_signed_in_as_somebody_else_by_a_form_from_elsewhere(
    browser: Browser, served: Served
) -> None:
    """
    Login CSRF: the attacker's own attempt and code, sent by a page of his in the victim's browser.
    """
    async with Browser(served) as attacker:
        await attacker.go("/sign-in")
        await attacker.send("/sign-in/code", number=OTHER_NUMBER)
        fields = [pair for pair in attacker.page.form("/sign-in/proof").fields if pair[0] != "code"]
        page = await browser.post("/sign-in/proof", *fields, ("code", attacker.read_code()))

    assert 403 == page.status
    assert browser.cookie(SESSION) is None


@pytest.mark.parametrize(
    "path",
    [
        "/sign-out",
        "/recordings/delete",
        "/account/personal",
        "/account/identities/code",
        "/account/devices/end-others",
        "/account/delete",
        "/account/stay",
    ],
)
@pytest.mark.parametrize("csrf", ["", "0" * 64])
async def test_forms_from_elsewhere_do_nothing(browser: Browser, path: str, csrf: str) -> None:
    await browser.sign_in()
    page = await browser.post(path, ("csrf", csrf), ("word", "delete"), ("sure", "1"), ("id", "x"))

    assert 403 == page.status
    assert 200 == (await browser.go("/account")).status
    assert "/account" == browser.page.url.path


async def test_the_api_takes_a_session_only_with_its_own_token(browser: Browser) -> None:
    await browser.sign_in()
    csrf = dict(browser.page.form("/sign-out").fields)["csrf"]
    assert 200 == (await browser.go("/v1/recordings")).status

    assert 401 == (await browser.post("/v1/auth/sign-out")).status
    assert 401 == (await browser.post("/v1/auth/sign-out", headers={"X-CSRF-Token": "0" * 64})).status
    assert 204 == (await browser.post("/v1/auth/sign-out", headers={"X-CSRF-Token": csrf})).status
    assert 401 == (await browser.go("/v1/recordings")).status


async def test_a_session_is_no_bearer_token(browser: Browser) -> None:
    await browser.sign_in()
    token = browser.cookie(SESSION).value
    browser.http.cookie_jar.clear()
    async with browser.http.get("/v1/recordings", headers={"Authorization": f"Bearer {token}"}) as response:
        assert 401 == response.status


async def test_recordings_are_listed_found_and_heard(browser: Browser, app: Phone) -> None:
    await recorded(app, "Grace Hopper")
    await recorded(app, "Alan <b>Turing</b>")
    await browser.sign_in()

    assert "Grace Hopper" in browser.page.text
    assert "Alan <b>Turing</b>" in browser.page.text
    assert "1:05" in browser.page.text
    await browser.go("/recordings?party=grace")
    assert "Grace Hopper" in browser.page.text
    assert "Turing" not in browser.page.text
    [link] = [link for link in browser.page.links if link.startswith("/recordings/")]
    page = await browser.go(link)
    assert "/v1/recordings/" in page.source
    async with browser.http.get(f"/v1{link}/audio", headers={"Range": "bytes=0-99"}) as response:
        assert (206, speech(20_000)[:100]) == (response.status, await response.read())


async def test_a_filter_that_makes_no_sense_is_told(browser: Browser) -> None:
    await browser.sign_in()
    page = await browser.go("/recordings?from=yesterday")

    assert 400 == page.status
    assert "From: is no date" in page.text


async def test_details_are_edited_unless_somebody_else_just_did(browser: Browser, app: Phone) -> None:
    recording = await recorded(app)
    await browser.sign_in()
    await browser.go(f"/recordings/{recording}")
    stale = browser.page.form(f"/recordings/{recording}").fields
    page = await browser.send(
        f"/recordings/{recording}", party_name="Admiral Hopper", note="Debts", labels="work, navy"
    )
    assert "Admiral Hopper" in page.text
    assert "Saved." in page.text

    page = await browser.post(f"/recordings/{recording}", *stale)

    assert 409 == page.status
    assert "Admiral Hopper" in page.text


async def test_deleting_asks_first_and_gives_a_receipt(browser: Browser, app: Phone) -> None:
    recording = await recorded(app)
    await browser.sign_in()
    await browser.go(f"/recordings/{recording}")
    page = await browser.send("/recordings/delete")
    assert "Delete this recording?" in page.text
    assert "Grace Hopper" in page.text
    assert 200 == (await app.audio(recording)).status

    page = await browser.send("/recordings/delete")

    assert f"/receipts/{recording}" == page.url.path
    assert "Gone for good" in page.text
    assert 404 == (await app.audio(recording)).status
    assert 404 == (await browser.go(f"/recordings/{recording}")).status


async def test_several_are_deleted_at_once(browser: Browser, app: Phone) -> None:
    recordings = [await recorded(app, f"Caller {number}") for number in range(3)]
    await browser.sign_in()
    csrf = dict(browser.page.form("/recordings/delete").fields)["csrf"]
    await browser.post("/recordings/delete", ("csrf", csrf), *(("id", one) for one in recordings[:2]))
    assert "Delete 2 recordings?" in browser.page.text

    page = await browser.send("/recordings/delete", sure="1")

    assert "2 recordings are gone for good" in page.text
    assert ["Caller 2"] == re.findall(r"Caller \d", page.text)


async def test_what_is_held_stays_and_the_others_go(browser: Browser, app: Phone, served: Served) -> None:
    recordings = [await recorded(app, f"Caller {number}") for number in range(3)]
    held = RecordingId(uuid.UUID(recordings[0]))
    cause = Cause(reason="case 12 of the court", placed_by="ops")
    await served.gateway.holds.place(app.user_id, cause, by=OPS, recording_id=held, tells_user=True)
    await browser.sign_in()
    assert "A legal hold keeps this recording" in (await browser.go(f"/recordings/{recordings[0]}")).text
    csrf = dict(browser.page.form("/sign-out").fields)["csrf"]

    page = await browser.post(
        "/recordings/delete", ("csrf", csrf), ("sure", "1"), *(("id", one) for one in recordings)
    )

    assert "2 recordings are gone for good" in page.text
    assert "One recording could not be deleted" in page.text
    assert ["Caller 0"] == re.findall(r"Caller \d", page.text)


async def test_a_strangers_recordings_are_not_there(browser: Browser, app: Phone) -> None:
    recording = await recorded(app)
    await browser.sign_in(OTHER_NUMBER)
    csrf = dict(browser.page.form("/sign-out").fields)["csrf"]

    assert "Grace" not in browser.page.text
    assert 404 == (await browser.go(f"/recordings/{recording}")).status
    await browser.post("/recordings/delete", ("csrf", csrf), ("id", recording), ("sure", "1"))
    assert 200 == (await app.audio(recording)).status


async def test_what_is_known_is_seen_and_corrected(browser: Browser) -> None:
    await browser.sign_in()
    await browser.go("/account")
    page = await browser.send("/account/personal", name="Ada Lovelace", email="ada@example.org")

    assert "Saved." in page.text
    assert ("name", "Ada Lovelace") in page.form("/account/personal").fields
    page = await browser.send("/account/personal", email="nowhere")
    assert 400 == page.status
    assert "holds no @" in page.text


async def test_another_number_is_added_and_the_first_removed(browser: Browser) -> None:
    await browser.sign_in()
    await browser.go("/account")
    await browser.send("/account/identities/code", number=OTHER_NUMBER)
    page = await browser.send("/account/identities/proof", code=browser.read_code())
    assert OTHER_NUMBER in page.text
    assert 2 == sum("/remove" in form.action for form in page.forms)

    page = await browser.send("/account/identities/")
    page = await browser.send("/account/identities/")

    assert 409 == page.status
    assert "only way to sign in" in page.text


async def test_devices_are_seen_and_signed_out(browser: Browser, app: Phone) -> None:
    await browser.sign_in()
    page = await browser.go("/account")
    assert "Ada's phone" in page.text
    assert "This browser" in page.text

    await browser.send("/account/devices/end-others")

    assert "Ada's phone" not in browser.page.text
    assert 401 == (await app.ask("GET", "/v1/recordings")).status


async def test_the_account_is_deleted_by_whoever_means_it(browser: Browser, app: Phone) -> None:
    recording = await recorded(app)
    await browser.sign_in()
    await browser.go("/account/delete")
    page = await browser.send("/account/delete", word="no")
    assert 400 == page.status
    assert 200 == (await app.audio(recording)).status

    page = await browser.send("/account/delete", word="Delete", now="1")

    assert "Gone for good" in page.text
    assert 401 == (await app.ask("GET", "/v1/recordings")).status
    assert "/sign-in" == (await browser.go("/recordings")).url.path
    # The number is free: whoever has it begins anew, with nothing.
    await browser.sign_in()
    assert "There are no recordings yet" in browser.page.text


async def test_the_account_is_deleted_in_some_days_unless_its_user_comes_back(
    browser: Browser, app: Phone, served: Served, clock: FakeClock
) -> None:
    recording = await recorded(app)
    await browser.sign_in()
    assert "in 7 days" in (await browser.go("/account/delete")).text
    page = await browser.send("/account/delete", word="delete")
    assert "Your account will be deleted After 21 November 2023" in page.text
    assert "/sign-in" == (await browser.go("/account")).url.path

    page = await browser.sign_in()
    assert "/account" == page.url.path
    assert "This account will be deleted after 21 November 2023" in page.text
    assert (
        403
        == (await browser.post("/storage/route", *page.form("/account/stay").fields, ("home", "1"))).status
    )
    await browser.go("/account")
    page = await browser.send("/account/stay")

    assert "You stay." in page.text
    assert "will be deleted" not in page.text
    # And once more, to the end.
    await browser.go("/account/delete")
    await browser.send("/account/delete", word="delete")
    for _ in range(2):
        clock.advance(4 * 86400)
        await served.gateway.context.leaving.tick()
    await served.placed()
    page = await browser.go(f"/farewell/{app.user_id}")
    assert "Gone for good" in page.text
    assert "can still find out that your numbers and accounts had an account here" in page.text
    await served.gateway.look_ups.tick()
    await served.placed()
    assert "Nobody can find out" in (await browser.go(f"/farewell/{app.user_id}")).text
    await browser.sign_in()
    assert 404 == (await browser.go(f"/recordings/{recording}")).status


async def test_deleting_at_once_wants_a_sign_in_of_just_now(
    browser: Browser, app: Phone, clock: FakeClock
) -> None:
    await browser.sign_in()
    clock.advance(3600)
    await browser.go("/account/delete")
    page = await browser.send("/account/delete", word="delete", now="1")

    assert 403 == page.status
    assert "sign in again and repeat it" in page.text
    assert 200 == (await browser.go("/account")).status


@pytest.mark.parametrize("path", ["/sign-in", "/recordings", "/account", "/account/delete"])
async def test_browsers_are_held_to_what_a_page_needs(browser: Browser, path: str) -> None:
    await browser.sign_in()
    if path == "/sign-in":
        browser.http.cookie_jar.clear()
    page = await browser.go(path)

    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "no-store" == page.headers["Cache-Control"]
    assert "nosniff" == page.headers["X-Content-Type-Options"]
    assert not re.search(r"<[^>]+ (style|on\w+)=", page.source)
