"""
How operators sign in, and what does not get anybody in.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from gateway.base.errors import ConfigurationError
from gateway.services.audit import View
from tests.emulators.cloud import Account
from tests.emulators.emulator import EmulatedClock
from tests.emulators.faults import Effect
from tests.emulators.oidc import Forgery, GoogleSignIn
from tests.http.browser import Browser
from tests.operators.browsing import (
    BINDING,
    SESSION,
    OperatorsBrowser,
    operated,
    operators_section,
    provider_link,
)
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving


async def entries(served: Served) -> list[View]:
    return await served.gateway.audit.page(before=None, limit=100)


async def actions(served: Served) -> list[str]:
    """
    Return what was written down, oldest first.
    """
    return [view.entry.action for view in reversed(await entries(served))]


async def test_whoever_has_a_role_gets_in_and_it_is_written_down(
    served: Served, browser: OperatorsBrowser, provider: GoogleSignIn
) -> None:
    ada = provider.new_account("Ada")
    page = await browser.sign_in_as("support", account=ada)
    assert (200, "/operator") == (page.status, page.url.path)
    assert f"{ada.email} · support" in page.text

    [entry] = [view.entry for view in await entries(served)]
    assert ("sign-in", "support") == (entry.action, entry.role)
    assert re.fullmatch(r"operator:[0-9a-f-]{36}", entry.actor)
    # Nothing in the catalog says in clear who that is.
    folder = served.gateway.settings.data_dir
    assert not any(ada.email.encode() in file.read_bytes() for file in folder.rglob("*") if file.is_file())

    await browser.send("/operator/sign-out")
    assert "/operator/sign-in" == (await browser.go("/operator")).url.path
    again = await browser.sign_in_as("support", account=ada)
    assert 200 == again.status
    assert ["sign-in", "session.ended", "sign-in"] == await actions(served)
    assert 1 == len({view.entry.actor for view in await entries(served)})


async def test_the_cookie_goes_to_the_operators_pages_alone(
    browser: OperatorsBrowser,
) -> None:
    back = await browser.consent(groups=["support-people"])
    async with browser.http.get(back) as answer:
        [session] = [line for line in answer.headers.getall("Set-Cookie") if line.startswith(f"{SESSION}=")]
        parts = set(re.split("; ?", session))
        assert {"HttpOnly", "Secure", "Path=/operator", "SameSite=Strict", "Max-Age=1800"} <= parts
        policy = answer.headers["Content-Security-Policy"]
    assert "script-src" not in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


async def test_a_session_ends_by_itself(browser: OperatorsBrowser, clock: FakeClock) -> None:
    await browser.sign_in_as("support")
    clock.advance(1799)
    assert 200 == (await browser.go("/operator")).status
    assert "/operator" == browser.page.url.path
    clock.advance(1)
    assert "/operator/sign-in" == (await browser.go("/operator")).url.path


async def test_a_verified_address_gives_a_role_and_one_that_is_not_does_not(
    tmp_path: Path, provider: GoogleSignIn, clock: FakeClock
) -> None:
    ada = provider.new_account("Ada")
    section = operators_section(provider, privacy={"emails": [ada.email.upper()]})
    async with (
        operated(tmp_path / "data", provider, clock, operators=section) as served,
        OperatorsBrowser(served, provider) as browser,
    ):
        page = await browser.go(await browser.consent(ada))
        assert 200 == page.status
        assert "privacy" in (await browser.go("/operator")).text
        await browser.send("/operator/sign-out")

        ada.is_email_verified = False
        page = await browser.go(await browser.consent(ada))
        assert 403 == page.status
        assert "no role" in page.text


async def test_whoever_has_no_role_stays_out_and_it_is_written_down(
    served: Served, browser: OperatorsBrowser
) -> None:
    page = await browser.go(await browser.consent(groups=["everybody"]))
    assert 403 == page.status
    assert browser.cookie(SESSION) is None
    [entry] = await entries(served)
    assert ("sign-in.refused", {"why": "no-role"}) == (entry.entry.action, entry.facts)


@pytest.mark.parametrize("forgery", Forgery, ids=lambda forgery: forgery.name)
async def test_a_proof_that_does_not_hold_gets_nobody_in(
    served: Served, browser: OperatorsBrowser, provider: GoogleSignIn, forgery: Forgery
) -> None:
    await browser.go("/operator/sign-in")
    page = await browser.send("/operator/sign-in")
    provider.oauth.forge(forgery)
    back = provider.approve(provider_link(page), provider.new_account())
    page = await browser.go(back.removeprefix(served.url))
    assert 422 == page.status, page.text
    assert browser.cookie(SESSION) is None
    [entry] = await entries(served)
    assert ("sign-in.refused", {"why": "not-proved"}) == (entry.entry.action, entry.facts)


async def test_an_answer_of_another_provider_gets_nobody_in(
    browser: OperatorsBrowser, provider: GoogleSignIn
) -> None:
    provider.oauth.mix_up("https://elsewhere.example.org")
    page = await browser.go(await browser.consent())
    assert 422 == page.status
    assert browser.cookie(SESSION) is None


async def test_an_answer_counts_once_in_the_browser_that_began(
    served: Served, browser: OperatorsBrowser, provider: GoogleSignIn
) -> None:
    back = await browser.consent(groups=["support-people"])
    async with OperatorsBrowser(served, provider) as other:
        await other.go("/operator/sign-in")
        assert 410 == (await other.go(back)).status
        assert other.cookie(SESSION) is None
    # It was used up by whoever brought it first.
    assert 410 == (await browser.go(back)).status
    back = await browser.consent(groups=["support-people"])
    assert 200 == (await browser.go(back)).status
    assert 410 == (await browser.go(back)).status


async def test_an_answer_that_comes_too_late_or_to_nobody_counts_for_nothing(
    browser: OperatorsBrowser, clock: FakeClock
) -> None:
    back = await browser.consent(groups=["support-people"])
    clock.advance(601)
    assert 410 == (await browser.go(back)).status
    assert 400 == (await browser.go("/operator/callback")).status
    assert 410 == (await browser.go("/operator/callback?state=x&code=y")).status


async def test_an_attempt_of_a_user_is_none_of_an_operators(tmp_path: Path, clock: FakeClock) -> None:
    """
    The same provider for both: what was begun on one side does not end on the other.
    """
    with GoogleSignIn(clock=EmulatedClock(clock)) as provider:
        kind = {
            **{key: operators_section(provider)[key] for key in ("client_id", "client_secret")},
            "authorize_url": f"{provider.url}/o/oauth2/v2/auth",
            "token_url": f"{provider.url}/token",
            "keys_url": f"{provider.url}/oauth2/v3/certs",
            "issuers": [provider.url],
        }
        async with (
            operated(tmp_path / "data", provider, clock, sign_in={"kinds": {"google": kind}}) as served,
            OperatorsBrowser(served, provider) as browser,
        ):
            provider.register(f"{served.url}/operator/callback", f"{served.url}/v1/auth/google/callback")
            await browser.go("/sign-in")
            page = await browser.send("/sign-in/with/google")
            back = URL(provider.approve(provider_link(page), provider.new_account()))
            await browser.go("/operator/sign-in")
            assert 410 == (await browser.go(f"/operator/callback?{back.query_string}")).status

            back = URL(await browser.consent(groups=["support-people"]))
            assert 410 == (await browser.go(f"/v1/auth/google/callback?{back.query_string}")).status


async def test_signing_in_needs_our_own_page(served: Served, browser: OperatorsBrowser) -> None:
    assert 403 == (await browser.post("/operator/sign-in")).status
    await browser.go("/operator/sign-in")
    token = browser.page.form("/operator/sign-in").fields[0]
    async with Browser(served) as other:
        await other.go("/operator/sign-in")
        assert 403 == (await other.post("/operator/sign-in", token)).status
    assert browser.cookie(BINDING) is None  # It is not even sent elsewhere than to the operators' pages.


async def test_a_users_session_opens_no_page_of_operators_and_the_reverse(
    served: Served, browser: OperatorsBrowser
) -> None:
    await browser.sign_in()
    users = browser.cookie("__Host-session").value
    assert "/operator/sign-in" == (await browser.go("/operator")).url.path

    await browser.sign_in_as("privacy")
    operators = await operators_token(browser)
    for name, token, path, door in (
        (SESSION, users, "/operator", "/operator/sign-in"),
        ("__Host-session", operators, "/recordings", "/sign-in"),
    ):
        async with Browser(served) as other:
            page = await other.post(path, headers={"Cookie": f"{name}={token}"}, allow_redirects=False)
            assert page.status in (303, 405), page.text
            async with other.http.get(path, headers={"Cookie": f"{name}={token}"}) as answer:
                assert door == answer.url.path
    for token in (operators, users):
        async with served.http.get("/v1/recordings", headers={"Authorization": f"Bearer {token}"}) as answer:
            assert 401 == answer.status


async def operators_token(browser: OperatorsBrowser) -> str:
    cookies = browser.http.cookie_jar.filter_cookies(URL(browser.served.url) / "operator")
    return str(cookies[SESSION].value)


@asynccontextmanager
async def again(
    tmp_path: Path, provider: GoogleSignIn, clock: FakeClock, token: str, **changes: Any
) -> AsyncIterator[tuple[Served, Browser]]:
    """
    Start again with other settings, and go on in the browser that has *token*.
    """
    section = operators_section(provider, **changes)
    async with (
        operated(tmp_path / "data", provider, clock, operators=section) as served,
        Browser(served) as browser,
    ):
        browser.http.headers["Cookie"] = f"{SESSION}={token}"
        yield served, browser


async def test_a_role_that_was_taken_away_in_the_settings_counts_no_more(
    tmp_path: Path, provider: GoogleSignIn, clock: FakeClock
) -> None:
    async with (
        operated(tmp_path / "data", provider, clock) as served,
        OperatorsBrowser(served, provider) as browser,
    ):
        await browser.sign_in_as("privacy", "support")
        token = await operators_token(browser)
        assert 200 == (await browser.go("/operator/holds")).status

    async with again(tmp_path, provider, clock, token, privacy={}) as (served, other):
        assert 403 == (await other.go("/operator/holds")).status
        assert 200 == (await other.go("/operator/users")).status
        assert "role.refused" == (await actions(served))[-1]

    async with again(tmp_path, provider, clock, token, privacy={}, support={}) as (served, other):
        assert "/operator/sign-in" == (await other.go("/operator/users")).url.path
        assert ("session.ended", {"why": "no-role"}) == (
            (last := (await entries(served))[0]).entry.action,
            last.facts,
        )
    # It does not come back with the role: the session has ended.
    async with again(tmp_path, provider, clock, token) as (served, other):
        assert "/operator/sign-in" == (await other.go("/operator/users")).url.path


async def test_a_provider_that_does_not_answer_is_told(
    served: Served, browser: OperatorsBrowser, provider: GoogleSignIn
) -> None:
    await browser.go("/operator/sign-in")
    provider.faults.order("discovery", Effect.FAIL)
    page = await browser.send("/operator/sign-in")
    assert 503 == page.status
    assert "does not answer" in page.text
    assert 200 == (await browser.send("/operator/sign-in")).status


async def test_a_discovery_document_of_another_is_not_believed(
    browser: OperatorsBrowser, provider: GoogleSignIn
) -> None:
    provider.oauth.metadata_changes["issuer"] = "https://elsewhere.example.org"
    await browser.go("/operator/sign-in")
    assert 503 == (await browser.send("/operator/sign-in")).status
    provider.oauth.metadata_changes.clear()
    provider.oauth.metadata_changes["token_endpoint"] = None
    assert 503 == (await browser.send("/operator/sign-in")).status


async def test_many_failures_from_one_address_are_not_all_written_down(
    tmp_path: Path, provider: GoogleSignIn, clock: FakeClock
) -> None:
    async with (
        operated(tmp_path / "data", provider, clock, sign_in={"tries_per_address": 3}) as served,
        OperatorsBrowser(served, provider) as browser,
    ):
        statuses = [(await browser.go(await browser.consent(groups=["everybody"]))).status for _ in range(5)]
        assert [403, 403, 403, 429, 429] == statuses
        assert ["sign-in.refused"] * 3 == await actions(served)


async def test_without_a_provider_there_are_no_pages(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", with_workers=False) as served, Browser(served) as browser:
        for path in ("/operator", "/operator/sign-in", "/operator/users", "/operator/callback?state=x"):
            assert 404 == (await browser.go(path)).status
        assert 404 == (await browser.post("/operator/sign-in")).status


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"client_id": ""}, "operators.client_id"),
        ({"issuer": "login.example.org"}, "operators.issuer"),
        ({"scopes": ["email"]}, "operators.scopes"),
        ({"algorithms": ["none"]}, "operators.algorithms"),
        ({"algorithms": ["HS256"]}, "operators.algorithms"),
        ({"client_secret_file": "somewhere"}, "client_secret_file"),
        ({"client_secret": "", "client_secret_file": "no-such-file"}, "no-such-file"),
    ],
)
async def test_wrong_settings_are_named(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    section = {"issuer": "https://login.example.org", "client_id": "x", "client_secret": "y", **changes}
    with pytest.raises(ConfigurationError, match=named):
        async with serving(tmp_path / "data", with_workers=False, operators=section):
            pass


async def test_in_production_the_provider_is_spoken_to_in_private(
    tmp_path: Path, provider: GoogleSignIn
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape("operators.issuer")):
        async with serving(
            tmp_path / "data",
            with_workers=False,
            server={"port": 0, "production": True},
            sign_in={"kinds": {}},
            operators=operators_section(provider),
        ):
            pass


async def test_the_secret_may_lie_in_a_file(tmp_path: Path, provider: GoogleSignIn, clock: FakeClock) -> None:
    file = tmp_path / "secret"
    section = operators_section(provider)
    file.write_text(section.pop("client_secret") + "\n")
    section["client_secret_file"] = str(file)
    async with (
        operated(tmp_path / "data", provider, clock, operators=section) as served,
        OperatorsBrowser(served, provider) as browser,
    ):
        assert 200 == (await browser.sign_in_as("support", account=new(provider))).status


def new(provider: GoogleSignIn) -> Account:
    return provider.new_account("Grace")
