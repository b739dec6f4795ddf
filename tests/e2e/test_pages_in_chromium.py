"""
What a person does on the pages, in a real browser, where it is no matter of course; his whole life is in `test_a_life_in_chromium.py`.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Route, expect

from tests.e2e.chromium import Watched, chromium
from tests.e2e.steps import choose, delete_account, download, press, prove_number, sign_in, sign_out
from tests.http.newcomer import NUMBER, Newcomer
from tests.http.phone import speech
from tests.support.gateway import Served, serving


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(
        tmp_path / "data", with_workers=False, sign_in={"resend_after_s": 0}, log={"level": "error"}
    ) as gateway:
        yield gateway


async def test_whoever_leaves_may_stay_after_all(window: Watched, served: Served) -> None:
    page = await sign_in(window, served)
    await page.goto("/account")
    await page.get_by_role("link", name="Delete the account").click()
    await window.picture("delete-account")
    await delete_account(page)
    await expect(page.get_by_role("heading", name="Your account will be deleted")).to_be_visible()
    await window.picture("account-leaving")

    await page.get_by_role("link", name="sign in", exact=True).click()
    await prove_number(page, Newcomer(served))
    await expect(page.get_by_text("This account will be deleted after")).to_be_visible()
    await window.picture("account-stay")
    await press(page, "Keep my account")
    await expect(page.get_by_text("You stay. Nothing was deleted.")).to_be_visible()
    await page.goto("/recordings")
    await expect(page.get_by_text("There are no recordings yet")).to_be_visible()


async def test_an_upload_goes_on_after_the_browser_was_closed(served: Served, tmp_path: Path) -> None:
    content = speech(3_000_000)
    call = tmp_path / "long call.wav"
    call.write_bytes(content)
    profile = tmp_path / "state.json"
    async with chromium(served.url) as window:
        page = await sign_in(window, served)

        async def cutting(route: Route) -> None:
            if route.request.method in ("PATCH", "HEAD"):
                await route.abort("connectionreset")
            else:
                await route.continue_()

        await page.route("**/v1/uploads/**", cutting)
        await choose(page, call)
        await expect(page.get_by_text("trying again")).to_be_visible()
        await page.context.storage_state(path=profile)
    async with chromium(served.url, storage_state=profile) as window:
        page = window.page
        created = 0

        async def count(route: Route) -> None:
            nonlocal created
            created += route.request.method == "POST"
            await route.continue_()

        await page.route("**/v1/uploads", count)
        await page.goto("/recordings")
        await choose(page, call)
        await expect(page.get_by_text("stored and sealed")).to_be_visible()

        assert 0 == created
        await page.get_by_role("link", name="long call.wav").click()
        assert content == await download(page, "Download it")


async def test_what_is_refused_for_good_is_told_and_not_tried_again(tmp_path: Path) -> None:
    call = tmp_path / "call.wav"
    call.write_bytes(speech(5000))
    async with (
        serving(
            tmp_path / "data", with_workers=False, uploads={"max_length": 1000}, log={"level": "error"}
        ) as served,
        chromium(served.url) as window,
    ):
        page = await sign_in(window, served)
        tries = 0

        async def count(route: Route) -> None:
            nonlocal tries
            tries += 1
            await route.continue_()

        await page.route("**/v1/uploads", count)
        await choose(page, call)
        await expect(page.get_by_role("button", name="Try again")).to_be_visible()

        assert 1 == tries
        await expect(page.get_by_text("1000")).to_be_visible()


@pytest.mark.parametrize("is_dark", [False, True])
async def test_on_a_phones_width_nothing_is_cut_off(served: Served, is_dark: bool) -> None:
    async with chromium(served.url, is_narrow=True, is_dark=is_dark) as window:
        page = await sign_in(window, served)
        newcomer = Newcomer(served)
        await newcomer.sign_in()
        recording = await newcomer.as_phone().record(
            speech(1000), party_name="A name that is very long and has no end to speak of", labels="a,b,c"
        )
        for name, path in (
            ("recordings", "/recordings"),
            ("recording", f"/recordings/{recording}"),
            ("account", "/account"),
            ("delete-account", "/account/delete"),
        ):
            await page.goto(path)
            await window.picture(f"narrow-{'dark' if is_dark else 'light'}-{name}")


async def test_without_scripts_everything_but_upload_works(served: Served) -> None:
    async with chromium(served.url, java_script_enabled=False) as window:
        page = window.page
        await page.goto("/sign-in")
        await prove_number(page, Newcomer(served))
        await expect(page.get_by_text("Add recordings")).to_be_hidden()
        await page.get_by_role("link", name="Account").click()
        await page.get_by_label("Name").fill("Ada")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("Saved.")).to_be_visible()
        await sign_out(page)


async def test_with_the_keyboard_alone(window: Watched, served: Served) -> None:
    page = window.page
    await page.goto("/sign-in")
    await page.keyboard.press("Tab")
    await expect(page.get_by_text("Skip to the content")).to_be_focused()
    await page.get_by_label("Your phone number").focus()
    await page.keyboard.type(NUMBER)
    await page.keyboard.press("Enter")
    # The field for the code has the focus.
    await expect(page.get_by_label("Code")).to_be_focused()
    await page.keyboard.type(Newcomer(served).read_code())
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Recordings")).to_be_visible()
