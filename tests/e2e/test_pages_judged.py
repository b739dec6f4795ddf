"""
Every page that people see, in its states, judged by axe: light and dark, on a desktop and on a phone.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.e2e.chromium import Watched, chromium
from tests.e2e.steps import choose, delete_account, press, prove_number, sign_in
from tests.http.newcomer import NUMBER, Newcomer, wrong
from tests.http.phone import speech
from tests.support.gateway import Served, serving


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(
        tmp_path / "data",
        with_workers=False,
        sign_in={"resend_after_s": 0},
        links={"kinds": {"s3": {}}},
        log={"level": "error"},
    ) as gateway:
        yield gateway


async def test_the_judge_sees_what_is_wrong(window: Watched) -> None:
    await window.page.goto("/sign-in")
    await window.page.locator("main").evaluate(
        "main => main.insertAdjacentHTML('beforeend', '<input><p id=pale>Pale</p>')"
    )
    await window.page.locator("#pale").evaluate(
        "pale => { pale.style.color = '#ccc'; pale.style.background = '#fff' }"
    )

    with pytest.raises(AssertionError) as caught:
        await window.judge("a bad page")

    for seen in ("390 px, dark: label", "1100 px, light: color-contrast"):
        assert seen in str(caught.value)


async def test_the_page_that_a_mails_link_opens(window: Watched, served: Served) -> None:
    user_id = await served.gateway.context.accounts.add_user(name="Ada", email="ada@example.org")
    token = await served.gateway.context.preferences.unsubscribe_token(user_id)
    await window.page.goto(f"/unsubscribe/{token}")
    await window.picture("unsubscribe")
    await press(window.page, "I want no more of it")
    await expect(window.page.get_by_role("heading", name="You get no more of it")).to_be_visible()
    await window.judge("news that are ended")
    await window.page.goto("/unsubscribe/of-no-mail")
    await window.judge("a link of no mail")


@pytest.mark.parametrize("path", ["/sign-in", "/no/such/page", "/privacy"])
async def test_pages_for_anybody(window: Watched, path: str) -> None:
    await window.page.goto(path)

    await window.judge(path)


async def test_the_documentation(window: Watched) -> None:
    await window.page.goto("/docs")
    # Its parts are alike: the first of each section stands for all, which would take a minute.
    await window.page.evaluate(
        "for (const part of document.querySelectorAll('article:not(:first-of-type)')) part.remove()"
    )

    await window.judge("the documentation")


async def test_signing_in_with_errors(window: Watched, served: Served) -> None:
    page = window.page
    await page.goto("/sign-in")
    await page.get_by_label("Your phone number").fill("+1")
    await press(page, "Send me a code")
    await expect(page.get_by_label("Your phone number")).to_be_visible()
    await window.judge("a number that is none")
    await page.get_by_label("Your phone number").fill(NUMBER)
    await press(page, "Send me a code")
    code = page.get_by_label("Code")
    await code.fill(wrong(Newcomer(served).read_code()))
    await press(page, "Sign in")
    await expect(page.get_by_text("not the code")).to_be_visible()
    await window.judge("a wrong code")


async def test_recordings(window: Watched, served: Served, tmp_path: Path) -> None:
    page = await sign_in(window, served)
    await window.judge("no recordings")
    await page.get_by_text("Find a recording").click()
    await page.get_by_label("Label").fill("nothing has it")
    await press(page, "Find")
    await window.judge("nothing found")
    newcomer = Newcomer(served)
    await newcomer.sign_in()
    phone = newcomer.as_phone()
    recording = await phone.record(
        speech(1000), party_name="Grace Hopper", labels="work,navy", note="about the navy"
    )
    await phone.record(speech(1000))
    await page.goto("/recordings")
    await window.judge("recordings")
    call = tmp_path / "call.wav"
    call.write_bytes(speech(5000))
    await choose(page, call)
    await expect(page.get_by_text("stored and sealed")).to_be_visible()
    await window.judge("an upload")
    await page.goto(f"/recordings/{recording}")
    await window.judge("a recording")
    await page.get_by_label("Labels, parted by commas").fill(101 * "x")
    await press(page, "Save")
    await expect(page.get_by_role("alert")).to_be_visible()
    await window.judge("details that cannot be saved")
    await page.goto("/recordings")
    await page.get_by_label("Select Grace Hopper").check()
    await press(page, "Delete what is selected")
    await window.judge("asked whether to delete")
    await press(page, "Delete for good")
    await expect(page.get_by_role("heading", name="Gone for good")).to_be_visible()
    await window.judge("a receipt")


async def test_an_upload_that_is_refused(tmp_path: Path) -> None:
    call = tmp_path / "call.wav"
    call.write_bytes(speech(5000))
    async with (
        serving(
            tmp_path / "data", with_workers=False, uploads={"max_length": 1000}, log={"level": "error"}
        ) as served,
        chromium(served.url) as window,
    ):
        page = await sign_in(window, served)
        await choose(page, call)
        await expect(page.get_by_role("button", name="Try again")).to_be_visible()
        await window.judge("an upload that is refused")


async def test_the_account(window: Watched, served: Served) -> None:
    page = await sign_in(window, served)
    await page.goto("/account")
    await window.judge("the account")
    await press(page, "Save")
    await window.judge("the account, saved")
    await page.goto("/account/delete")
    await page.get_by_label("Type delete to go on").fill("no")
    await press(page, "Delete everything for good")
    await window.judge("an account that is not deleted")
    await delete_account(page)
    await expect(page.get_by_role("heading", name="Your account will be deleted")).to_be_visible()
    await window.judge("an account that will be deleted")
    await page.goto("/sign-in")
    await prove_number(page, Newcomer(served))
    await expect(page.get_by_text("This account will be deleted after")).to_be_visible()
    await window.judge("an account that may be kept")
    await page.goto("/account/delete")
    await delete_account(page, at_once=True)
    await expect(page.get_by_role("heading", name="Gone for good")).to_be_visible()
    await window.judge("an account that is gone")


async def test_taking_everything_away(window: Watched, served: Served) -> None:
    page = await sign_in(window, served)
    await page.goto("/account/export")
    await window.judge("asking for an export")
    await press(page, "Make a copy")
    await window.judge("an export that is prepared")
    await served.placed()
    await page.goto("/account/export")
    await expect(page.get_by_role("link", name="Download")).to_be_visible()
    await window.judge("an export that is ready")


async def test_storage(window: Watched, served: Served) -> None:
    page = await sign_in(window, served)
    await page.goto("/storage")
    await window.judge("storage")
    await page.get_by_role("link", name="S3").or_(page.get_by_role("button", name="S3")).first.click()
    await window.judge("settings of a bucket")
    for field in await page.locator("input[required]").all():
        await field.fill("x")
    await page.locator("main button[type=submit], main form button").last.click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await window.judge("settings that cannot be taken")
