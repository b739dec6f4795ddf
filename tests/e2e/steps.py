"""
What people do on the pages, step by step, in whatever story.
"""

from pathlib import Path
from typing import Final

from playwright.async_api import CDPSession, FloatRect, Page, expect

from tests.e2e.chromium import Watched
from tests.http.newcomer import Newcomer
from tests.support.gateway import Served

_PLAY: Final = """async () => {
    const audio = document.querySelector("audio");
    audio.muted = true;
    await audio.play();
    audio.currentTime = audio.duration / 2;
    await new Promise((done) => audio.addEventListener("seeked", done));
    return audio.duration;
}"""


async def press(page: Page, name: str) -> None:
    """
    Press the first button of that very name.
    """
    await page.get_by_role("button", name=name, exact=True).first.click()


async def prove_number(page: Page, phone: Newcomer) -> None:
    """
    Sign in by the number of *phone*, on a page that asks for one.
    """
    await page.get_by_label("Your phone number").fill(phone.number)
    await press(page, "Send me a code")
    await page.get_by_label("Code").fill(phone.read_code())
    await press(page, "Sign in")


async def sign_in(window: Watched, served: Served, phone: Newcomer | None = None) -> Page:
    """
    Sign in by a number, with pictures.
    """
    phone = phone or Newcomer(served)
    page = window.page
    await page.goto("/recordings")
    await page.get_by_label("Your phone number").fill(phone.number)
    await window.picture("sign-in")
    await press(page, "Send me a code")
    await page.get_by_label("Code").fill(phone.read_code())
    await window.picture("sign-in-code")
    await press(page, "Sign in")
    await expect(page.get_by_role("heading", name="Recordings")).to_be_visible()
    return page


async def sign_out(page: Page) -> None:
    await press(page, "Sign out")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def allow(page: Page) -> None:
    """
    Allow what a provider asks, on its own page, as the first account there.
    """
    await press(page, "Allow")


async def sign_in_with(page: Page, title: str) -> None:
    await press(page, f"Go on with {title}")
    await allow(page)


async def choose(page: Page, file: Path) -> None:
    """
    Add a recording by choosing its file.
    """
    # Until the page's script runs, which takes a while after what is written on the page is there, nobody can.
    await expect(page.locator("#uploads")).to_be_visible()
    await page.get_by_label("Add recordings").set_input_files(file)


async def drop(page: Page, file: Path) -> None:
    """
    Drag a file from the desktop over the page and drop it where recordings are added.
    """
    place = page.locator("#uploads")
    await expect(place).to_be_visible()
    box = await place.bounding_box()
    assert box is not None
    browser = await page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver"):
        await _drag(browser, kind, box, file)
    await expect(place).to_have_class("uploads is-over")
    await _drag(browser, "drop", box, file)
    await browser.detach()


async def _drag(browser: CDPSession, kind: str, box: FloatRect, file: Path) -> None:
    await browser.send(
        "Input.dispatchDragEvent",
        {
            "type": kind,
            "x": box["x"] + box["width"] / 2,
            "y": box["y"] + box["height"] / 2,
            "data": {"items": [], "files": [str(file)], "dragOperationsMask": 1},
        },
    )


async def play(page: Page) -> float:
    """
    Play the recording on the page, jump to its middle, and return how many seconds it is long.
    """
    seconds = await page.evaluate(_PLAY)
    assert isinstance(seconds, int | float)
    return float(seconds)


async def download(page: Page, link: str) -> bytes:
    """
    Download what a link leads to.
    """
    async with page.expect_download() as begun:
        await page.get_by_role("link", name=link).click()
    return (await (await begun.value).path()).read_bytes()


async def link_cloud(page: Page) -> None:
    """
    Link the one cloud that can be linked.
    """
    await page.get_by_role("link", name="Storage").click()
    await page.get_by_role("button", name="Link ").click()
    await allow(page)
    await expect(page.get_by_text("In use")).to_be_visible()


async def send_new_ones_to_cloud(page: Page) -> None:
    """
    Choose the cloud as where new recordings go, besides this service.
    """
    cloud = page.get_by_role("checkbox").nth(1)
    await cloud.check()
    await press(page, "Save")
    await expect(page.get_by_text("Saved.")).to_be_visible()
    await expect(cloud).to_be_checked()


async def move_to_cloud(page: Page, served: Served, count: int) -> None:
    """
    Move all *count* recordings to the cloud.
    """
    await press(page, "Move all recordings")
    await expect(page.get_by_text(f"0 of {count}")).to_be_visible()
    await served.placed()
    await page.reload()
    await expect(page.get_by_text(f"Done: {count} of {count}")).to_be_visible()


async def delete_selected(window: Watched) -> None:
    """
    Delete the recordings that are ticked in the list, with pictures.
    """
    page = window.page
    await press(page, "Delete what is selected")
    await window.picture("delete")
    await press(page, "Delete for good")
    await expect(page.get_by_role("heading", name="Gone for good")).to_be_visible()
    await window.picture("receipt")


async def delete_account(page: Page, *, at_once: bool = False) -> None:
    """
    Ask for the account to be deleted, on the page that asks whether one means it.
    """
    await page.get_by_label("Type delete to go on").fill("delete")
    if at_once:
        await page.get_by_label("At once").check()
    await press(page, "Delete everything for good")
