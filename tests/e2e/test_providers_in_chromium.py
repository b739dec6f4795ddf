"""
Accounts at providers, in a real browser: signing in with them, and linking them as storage.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from tests.e2e.chromium import Watched, chromium
from tests.e2e.steps import link_cloud, move_to_cloud, send_new_ones_to_cloud, sign_in, sign_in_with, sign_out
from tests.emulators.cloud import Cloud
from tests.emulators.dropbox.cloud import DropboxEmulator
from tests.emulators.gdrive.cloud import DriveEmulator
from tests.emulators.oidc import SignIn
from tests.emulators.onedrive.graph import GraphEmulator
from tests.http.newcomer import Newcomer
from tests.http.phone import speech
from tests.http.test_openid import PROVIDERS, settings_of
from tests.support.gateway import Served, serving

QUIET = {"level": "error"}


@pytest.fixture(params=PROVIDERS, ids=lambda kind: kind.kind)
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
            await sign_in_with(page, provider.title)
            # Back, and at the page that was wanted.
            await expect(page.get_by_role("heading", name="Account")).to_be_visible()
            await sign_out(page)
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

    await link_cloud(page)
    await send_new_ones_to_cloud(page)
    await move_to_cloud(page, served, 1)
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
