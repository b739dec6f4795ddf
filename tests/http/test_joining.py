"""
Adding an account at a provider to what one signs in by, on the pages: in one's own browser, as long as it is one's own.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from yarl import URL

from gateway.http.sessions import BINDING_COOKIE
from tests.emulators.cloud import Account
from tests.emulators.oidc import GoogleSignIn
from tests.http.browser import Browser, Page
from tests.http.newcomer import NUMBER, OTHER_NUMBER
from tests.http.test_openid import settings_of
from tests.support.gateway import Served, serving

ADD = "/account/identities/with/google"


@pytest.fixture
def google() -> Iterator[GoogleSignIn]:
    with GoogleSignIn() as provider:
        yield provider


@pytest.fixture
async def served(tmp_path: Path, google: GoogleSignIn) -> AsyncIterator[Served]:
    kinds = {"console": {}, "google": settings_of(google)}
    sign_in = {"kinds": kinds, "resend_after_s": 0}
    async with serving(tmp_path / "data", with_workers=False, sign_in=sign_in) as gateway:
        google.register(f"{gateway.url}/v1/auth/google/callback")
        yield gateway


@pytest.fixture
async def ada(served: Served) -> AsyncIterator[Browser]:
    """
    A browser that is signed in by a number.
    """
    async with Browser(served) as browser:
        await browser.sign_in()
        yield browser


async def approved(browser: Browser, google: GoogleSignIn, account: Account) -> str:
    """
    Go to the provider from the account's page, and allow it; return where that leads back to.
    """
    await browser.go("/account")
    onward = await browser.send(ADD)
    address = next(link for link in onward.links if link.startswith(google.url))
    return str(URL(google.approve(address, account)).relative())


async def added(browser: Browser, google: GoogleSignIn, account: Account) -> Page:
    return await browser.go(await approved(browser, google, account))


async def by_google(served: Served, google: GoogleSignIn, account: Account) -> str:
    """
    Sign in with that account, in another browser; return what the account's page says.
    """
    async with Browser(served) as browser:
        await browser.go("/sign-in")
        onward = await browser.send("/sign-in/with/google")
        address = next(link for link in onward.links if link.startswith(google.url))
        await browser.go(str(URL(google.approve(address, account)).relative()))
        return (await browser.go("/account")).text


async def test_what_was_added_signs_in_to_the_same_account(
    served: Served, google: GoogleSignIn, ada: Browser
) -> None:
    account = google.new_account()
    page = await added(ada, google, account)
    assert "/account" == page.url.path
    assert account.email in page.text
    assert "Saved." in page.text

    assert NUMBER in await by_google(served, google, account)


async def test_adding_signs_nobody_in_who_is_signed_out_meanwhile(
    served: Served, google: GoogleSignIn, ada: Browser
) -> None:
    account = google.new_account()
    address = await approved(ada, google, account)
    await ada.send("/sign-out")

    assert 410 == (await ada.go(address)).status
    assert "/sign-in" == (await ada.go("/account")).url.path
    assert NUMBER not in await by_google(served, google, account)


async def test_it_is_not_added_to_whoever_signed_in_meanwhile(
    served: Served, google: GoogleSignIn, ada: Browser
) -> None:
    account = google.new_account()
    address = await approved(ada, google, account)
    binding = ada.cookie(BINDING_COOKIE).value
    await ada.send("/sign-out")
    await ada.sign_in(OTHER_NUMBER)
    ada.http.cookie_jar.update_cookies({BINDING_COOKIE: binding}, URL(served.url))

    page = await ada.go(address)
    assert (410, True) == (page.status, "Nothing was changed" in page.text)
    assert account.email not in (await ada.go("/account")).text


async def test_an_answer_that_is_slipped_to_somebody_else_adds_nothing(
    served: Served, google: GoogleSignIn, ada: Browser
) -> None:
    account = google.new_account("Mallory")
    async with Browser(served) as mallory:
        await mallory.sign_in(OTHER_NUMBER)
        address = await approved(mallory, google, account)

    assert 410 == (await ada.go(address)).status
    assert account.email not in (await ada.go("/account")).text


async def test_even_in_ones_other_browser(served: Served, google: GoogleSignIn, ada: Browser) -> None:
    account = google.new_account()
    async with Browser(served) as other:
        await other.sign_in()
        assert 410 == (await other.go(await approved(ada, google, account))).status
        assert account.email not in (await other.go("/account")).text


async def test_what_is_another_accounts_stays_there(
    served: Served, google: GoogleSignIn, ada: Browser
) -> None:
    account = google.new_account()
    await by_google(served, google, account)

    page = await added(ada, google, account)
    assert 409 == page.status
    assert "this belongs to another account" in page.text
    assert account.email not in (await ada.go("/account")).text


async def test_whoever_refuses_stays_signed_in_as_before(google: GoogleSignIn, ada: Browser) -> None:
    await ada.go("/account")
    onward = await ada.send(ADD)
    address = next(link for link in onward.links if link.startswith(google.url))

    page = await ada.go(str(URL(google.oauth.deny(address)).relative()))
    assert (422, True) == (page.status, "Nothing was changed" in page.text)
    assert NUMBER in (await ada.go("/account")).text


async def test_another_sites_form_adds_nothing(google: GoogleSignIn, ada: Browser) -> None:
    page = await ada.post(ADD, ("csrf", "of another"))

    assert 403 == page.status
    assert not [link for link in page.links if link.startswith(google.url)]
    assert 404 == (await ada.post("/account/identities/with/nobody", *(await form_of(ada)))).status


async def form_of(browser: Browser) -> list[tuple[str, str]]:
    return (await browser.go("/account")).form(ADD).fields
