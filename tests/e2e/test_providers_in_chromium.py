"""
Accounts at providers, in a real browser: signing in with them, and linking them as storage.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from tests.e2e.chromium import Watched, chromium
from tests.e2e.test_pages_in_chromium import sign_in
from tests.emulators.cloud import Cloud
from tests.emulators.dropbox.cloud import DropboxEmulator
from tests.emulators.gdrive.cloud import DriveEmulator
from tests.emulators.oauth import CLIENT_ID, CLIENT_SECRET
from tests.emulators.oidc import DropboxSignIn, GoogleSignIn, MicrosoftSignIn, SignIn
from tests.emulators.onedrive.graph import GraphEmulator
from tests.http.newcomer import Newcomer
from tests.http.phone import speech
from tests.support.gateway import Served, serving

CLIENT = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
QUIET = {"level": "error"}


def settings_of(provider: SignIn) -> dict[str, Any]:
    if isinstance(provider, GoogleSignIn):
        return {
            **CLIENT,
            "authorize_url": f"{provider.url}/o/oauth2/v2/auth",
            "token_url": f"{provider.url}/token",
            "keys_url": f"{provider.url}/oauth2/v3/certs",
            "issuers": [provider.url],
        }
    if isinstance(provider, MicrosoftSignIn):
        return {**CLIENT, "login_url": provider.url}
    return {**CLIENT, "api_root": provider.url, "web_root": provider.url}


@pytest.fixture(params=[GoogleSignIn, MicrosoftSignIn, DropboxSignIn], ids=lambda kind: kind.kind)
def provider(request: pytest.FixtureRequest) -> Iterator[SignIn]:
    with request.param() as provider:
        yield provider


async def test_signing_in_with_an_account_that_one_has(provider: SignIn, tmp_path: Path) -> None:
    provider.new_account("Ada")
    kinds = {"console": {}, provider.kind: settings_of(provider)}
    async with (
        serving(tmp_path / "data", with_workers=False, sign_in={"kinds": kinds}, log=QUIET) as served,
        chromium(served.url) as window,
    ):
        provider.register(f"{served.url}/v1/auth/{provider.kind}/callback")
        page = window.page
        for _ in range(2):
            await page.goto("/account")
            await window.picture("sign-in-providers")
            await page.get_by_role("button", name=f"Go on with {provider.title}").click()
            await page.get_by_role("button", name="Allow").click()
            # Back, and at the page that was wanted.
            await expect(page.get_by_role("heading", name="Account")).to_be_visible()
            await page.get_by_role("button", name="Sign out", exact=True).first.click()
            await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        async with served.gateway.context.catalog.read() as connection:
            from gateway.catalog.users import iterate_users

            assert 1 == len([user async for user in iterate_users(connection)])


@pytest.fixture(params=[DriveEmulator, DropboxEmulator, GraphEmulator], ids=lambda kind: kind.kind)
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    with request.param() as cloud:
        yield cloud


@pytest.fixture
async def served(cloud: Any, tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(
        tmp_path / "data",
        with_workers=False,
        links={"kinds": {cloud.kind: cloud.settings()}},
        sign_in={"resend_after_s": 0},
        log=QUIET,
    ) as gateway:
        yield gateway


async def test_a_cloud_is_linked_used_moved_to_and_unlinked(
    cloud: Any, served: Served, window: Watched
) -> None:
    cloud.new_account("Ada")
    page = await sign_in(window, served)
    app = Newcomer(served)
    await app.sign_in()
    recording = await app.as_phone().record(speech(50_000), party_name="Grace")
    await served.placed()

    # Link.
    await page.get_by_role("link", name="Storage").click()
    await page.get_by_role("button", name="Link ").click()
    await page.get_by_role("button", name="Allow").click()
    await expect(page.get_by_text("In use")).to_be_visible()

    # Choose the route.
    await page.get_by_role("checkbox").nth(1).check()
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Saved.")).to_be_visible()
    await expect(page.get_by_role("checkbox").nth(1)).to_be_checked()

    # Move.
    await page.get_by_role("button", name="Move all recordings").click()
    await expect(page.get_by_text("0 of 1")).to_be_visible()
    await served.placed()
    await page.reload()
    await expect(page.get_by_text("Done: 1 of 1")).to_be_visible()
    await window.picture("storage")
    await page.goto(f"/recordings/{recording}")
    await expect(page.get_by_text("there, sealed")).to_be_visible()
    assert 206 == (await app.as_phone().audio(recording, {"Range": "bytes=0-9"})).status

    # Unlink, and everything comes home.
    await page.goto("/storage")
    await page.get_by_text("Unlink", exact=True).click()
    await page.get_by_role("button", name="Unlink ").click()
    await served.placed()
    await page.goto("/storage")
    await expect(page.get_by_text("None is linked.")).to_be_visible()
    assert speech(50_000) == (await app.as_phone().audio(recording)).body
