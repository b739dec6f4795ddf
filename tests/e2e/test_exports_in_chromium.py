"""
Taking everything away in a real browser, and reading the copy in it, without scripts and without a network.
"""

import shutil
import subprocess
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.e2e.chromium import chromium
from tests.e2e.steps import download, play, press, prove_number
from tests.http.newcomer import Newcomer
from tests.support.audio import speak
from tests.support.gateway import Served, serving


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(
        tmp_path / "data", with_workers=False, sign_in={"resend_after_s": 0}, log={"level": "error"}
    ) as gateway:
        yield gateway


async def test_a_copy_is_asked_for_downloaded_read_and_deleted(served: Served, tmp_path: Path) -> None:
    call = tmp_path / "call.wav"
    speak("Hello. I take this call with me.", call)
    newcomer = Newcomer(served)
    await newcomer.sign_in()
    phone = newcomer.as_phone()
    await phone.record(
        call.read_bytes(), filename="call.wav", filetype="audio/wav", party_name="Grace Hopper"
    )
    gone = await phone.record(b"gone", party_name="Somebody else")
    async with chromium(served.url, java_script_enabled=False, accept_downloads=True) as window:
        page = window.page
        await page.goto("/sign-in")
        await prove_number(page, newcomer)
        await page.goto("/account")
        await page.get_by_role("link", name="Take everything away").click()
        await page.get_by_label("The sealed files too").check()
        await press(page, "Make a copy")
        await expect(page.get_by_text("0 of 2 done")).to_be_visible()
        await page.screenshot(path=tmp_path / "preparing.png")
        await phone.erase(gone)
        await served.placed()
        # The page looks again by itself, every few seconds.
        await expect(page.get_by_role("link", name="Download")).to_be_visible(timeout=30_000)
        await page.get_by_text("1 could not be taken along whole").click()
        await expect(page.get_by_text("Its key is destroyed")).to_be_visible()
        await page.screenshot(path=tmp_path / "ready.png")
        archive = tmp_path / "copy.zip"
        archive.write_bytes(await download(page, "Download"))
        await press(page, "Delete it here")
        await expect(page.get_by_role("button", name="Make a copy")).to_be_visible()

    folder = tmp_path / "copy"
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        opened.extractall(folder)
    unzip = shutil.which("unzip")
    assert unzip is not None
    assert 0 == subprocess.run([unzip, "-tq", archive], check=False).returncode
    [sound] = (folder / "recordings").iterdir()
    assert call.read_bytes() == sound.read_bytes()

    async with chromium("http://127.0.0.1:9", is_narrow=True) as window:
        page = window.page
        await page.goto((folder / "index.html").as_uri())
        await window.picture("copy-index")
        # What judges it asks for the style sheet as well, which nobody may of a page that is a file.
        window.complaints.clear()
        await expect(page.get_by_role("rowheader", name="Grace Hopper")).to_be_visible()
        await expect(page.get_by_text("Its key is destroyed")).to_be_visible()
        assert await play(page) > 1
        await page.get_by_role("link", name="What lies in which file").click()
        await expect(page.get_by_text("out of the gateway's reach")).to_be_visible()


@pytest.mark.parametrize("is_dark", [False, True])
async def test_on_a_phones_width_nothing_is_cut_off(served: Served, is_dark: bool) -> None:
    newcomer = Newcomer(served)
    await newcomer.sign_in()
    async with chromium(served.url, is_narrow=True, is_dark=is_dark) as window:
        page = window.page
        await page.goto("/sign-in")
        await prove_number(page, newcomer)
        await page.goto("/account/export")
        await press(page, "Make a copy")
        await expect(page.get_by_text("0 of 0 done")).to_be_visible()
        await served.placed()
        await page.goto("/account/export")
        await expect(page.get_by_role("link", name="Download")).to_be_visible()
        await window.picture(f"export-{'dark' if is_dark else 'light'}")
