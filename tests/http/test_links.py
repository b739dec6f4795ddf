"""
Linking accounts over HTTP: consent, what can go wrong with it, and what a user sees of his links.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
import pytest_asyncio

from gateway.services.link_secrets import LinkSecrets
from tests.emulators.cloud import Account
from tests.emulators.faults import Effect
from tests.http.link_client import Linker, gateway_for
from tests.support.clock import FakeClock
from tests.support.gateway import Served
from tests.support.pretend_drive import EVERYTHING, FILES, WHO, PretendDrive

UNKNOWN = "00000000-0000-4000-8000-000000000000"
POLICY = "default-src 'none'"


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def provider() -> Iterator[PretendDrive]:
    with PretendDrive() as drive:
        yield drive


@pytest.fixture
def drive(provider: PretendDrive) -> Iterator[PretendDrive]:
    yield provider
    provider.faults.clear()
    provider.refuses, provider.needs = 0, FILES


@pytest.fixture
def account(drive: PretendDrive) -> Account:
    return drive.new_account()


@pytest.fixture(scope="module")
def time() -> FakeClock:
    """
    The gateway's, which the tests of this file share as well.
    """
    return FakeClock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(
    provider: PretendDrive, tmp_path_factory: pytest.TempPathFactory, time: FakeClock
) -> AsyncIterator[Served]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        async with gateway_for(
            provider,
            tmp_path_factory.mktemp("links") / "data",
            monkeypatch,
            time,
            operator={"has_wider": True},
            max_per_user=2,
            return_to=["https://app.example.org/linked", "org.example.app:/"],
        ) as served:
            yield served


@pytest_asyncio.fixture(loop_scope="module")
async def ada(gateway: Served, drive: PretendDrive) -> Linker:
    return await Linker.of_new_user(gateway, drive)


# The way through the provider


async def test_an_account_is_linked_by_its_owners_consent(ada: Linker, account: Account) -> None:
    reply = await ada.come_back(ada.consent(await ada.begin(), account))

    assert 200 == reply.status
    assert reply.headers["Content-Type"].startswith("text/html")
    assert reply.headers["Content-Security-Policy"].startswith(POLICY)
    assert "no-referrer" == reply.headers["Referrer-Policy"]
    assert "Pretend Drive is linked" in reply.text
    assert account.email in reply.text
    [link] = await ada.links()
    assert ("pretend", "Pretend Drive", account.email) == (link["kind"], link["title"], link["label"])
    assert ("ok", None, None) == (link["state"], link["reason"], link["what_to_do"])
    assert link["manage_url"].endswith("/apps")


async def test_the_provider_is_asked_with_pkce_and_its_own_parameters(ada: Linker) -> None:
    url = urlsplit(await ada.begin())

    asked = dict(parse_qsl(url.query))
    assert "S256" == asked["code_challenge_method"]
    assert 43 == len(asked["code_challenge"])
    assert ("consent", "offline", f"{FILES} {WHO}") == (
        asked["prompt"],
        asked["access_type"],
        asked["scope"],
    )
    assert f"{ada.served.url}/v1/links/callback" == asked["redirect_uri"]
    assert len(asked["state"]) >= 43


async def test_the_public_address_is_where_providers_send_browsers(
    drive: PretendDrive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    server = {"public_url": "https://calls.example.org/"}
    async with gateway_for(drive, tmp_path / "data", monkeypatch, clock, server=server) as served:
        url = await (await Linker.of_new_user(served, drive)).begin()

    assert "https://calls.example.org/v1/links/callback" in parse_qs(urlsplit(url).query)["redirect_uri"]


async def test_an_answer_counts_once(ada: Linker, account: Account) -> None:
    back = ada.consent(await ada.begin(), account)
    await ada.come_back(back)

    again = await ada.come_back(back)

    assert 410 == again.status
    assert "Not linked" in again.text
    assert 1 == len(await ada.links())


async def test_an_answer_that_comes_late_counts_for_nothing(
    ada: Linker, account: Account, time: FakeClock
) -> None:
    back = ada.consent(await ada.begin(), account)
    time.advance(600)

    assert 410 == (await ada.come_back(back)).status
    assert [] == await ada.links()


@pytest.mark.parametrize("query", ["state=made-up&code=x", "state=&code=x", "state=%00%ff&error=x"])
async def test_an_answer_that_nobody_asked_for_counts_for_nothing(ada: Linker, query: str) -> None:
    assert 410 == (await ada.come_back(f"/v1/links/callback?{query}")).status


async def test_an_answer_without_its_state_is_malformed(ada: Linker) -> None:
    assert 400 == (await ada.come_back("/v1/links/callback?code=x")).status


async def test_a_code_that_was_made_for_somebody_elses_question_is_refused(
    ada: Linker, drive: PretendDrive, account: Account
) -> None:
    """
    What PKCE is for: a code that was stolen on its way does not fit the thief's own state.
    """
    thief = await Linker.of_new_user(ada.served, drive, "Eve")
    stolen = dict(parse_qsl(urlsplit(ada.consent(await ada.begin(), account)).query))["code"]
    own_state = dict(parse_qsl(urlsplit(await thief.begin()).query))["state"]

    reply = await thief.come_back("/v1/links/callback?" + urlencode({"state": own_state, "code": stolen}))

    assert 422 == reply.status
    assert [] == await thief.links()


async def test_who_does_not_allow_it_is_told_that_nothing_was_linked(ada: Linker) -> None:
    state = dict(parse_qsl(urlsplit(await ada.begin()).query))["state"]

    reply = await ada.come_back(f"/v1/links/callback?error=access_denied&state={state}")

    assert 422 == reply.status
    assert "was not allowed" in reply.text
    assert [] == await ada.links()


async def test_an_error_of_the_provider_cannot_speak_html(ada: Linker) -> None:
    state = dict(parse_qsl(urlsplit(await ada.begin()).query))["state"]

    reply = await ada.come_back(f"/v1/links/callback?error=%3Cscript%3E&state={state}")

    assert 422 == reply.status
    assert "script" not in reply.text


async def test_what_is_missing_of_what_was_allowed_is_named(ada: Linker, account: Account) -> None:
    back = ada.consent(await ada.begin(), account, scopes=frozenset({WHO}))

    reply = await ada.come_back(back)

    assert 422 == reply.status
    assert FILES in reply.text
    assert [] == await ada.links()


async def test_a_provider_that_does_not_answer_is_told_of(
    ada: Linker, account: Account, drive: PretendDrive
) -> None:
    back = ada.consent(await ada.begin(), account)
    drive.faults.order("token", Effect.FAIL)

    assert 503 == (await ada.come_back(back)).status
    assert [] == await ada.links()


async def test_an_account_that_is_full_is_linked_all_the_same(
    ada: Linker, account: Account, drive: PretendDrive
) -> None:
    drive.refuses = 507

    link = await ada.link(account)

    assert ("over_quota", "backend-quota-exceeded") == (link["state"], link["reason"])
    assert "full" in link["what_to_do"]


async def test_where_the_usual_scopes_do_not_do_a_second_consent_asks_for_more(
    ada: Linker, account: Account, drive: PretendDrive
) -> None:
    drive.needs = EVERYTHING
    link = await ada.link(account)
    assert "scope_missing" == link["state"]
    assert "again" in link["what_to_do"]

    wider = await ada.begin(relink=link["id"])
    await ada.come_back(ada.consent(wider, account))

    assert EVERYTHING in parse_qs(urlsplit(wider).query)["scope"][0].split()
    [mended] = await ada.links()
    assert (link["id"], "ok") == (mended["id"], mended["state"])


# Where the browser goes then


@pytest.mark.parametrize(
    "target", ["/docs", "/docs?a=b", "https://app.example.org/linked", "org.example.app:/done"]
)
async def test_the_browser_goes_on_where_it_is_allowed_to(ada: Linker, account: Account, target: str) -> None:
    reply = await ada.come_back(ada.consent(await ada.begin(return_to=target), account))

    [link] = await ada.links()
    assert 303 == reply.status
    assert reply.headers["Location"].startswith(target)
    told = dict(parse_qsl(urlsplit(reply.headers["Location"]).query))
    assert (link["id"], "ok") == (told["link"], told["state"])
    assert "no-referrer" == reply.headers["Referrer-Policy"]


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example.org/",
        "/\\evil.example.org",
        "https://evil.example.org/",
        "https://app.example.org/linked/more",
        "https://app.example.org.evil.example/linked",
        "https://app.example.org@evil.example/linked",
        "javascript:alert(1)",
        "docs",
        "/docs\r\nSet-Cookie: a=b",
        "",
    ],
)
async def test_the_browser_goes_nowhere_else(ada: Linker, target: str) -> None:
    reply = await ada.ask("POST", "/v1/links/pretend", {"return_to": target})

    assert (400, "return_to") == (reply.status, reply.json["field"])


# Linking anew


async def test_the_same_account_linked_again_stays_the_same_link(ada: Linker, account: Account) -> None:
    link = await ada.link(account)

    again = await ada.link(account)

    assert link["id"] == again["id"]
    assert 1 == len(await ada.links())


async def test_relinking_keeps_the_id_and_makes_a_revoked_link_well(
    ada: Linker, account: Account, drive: PretendDrive
) -> None:
    link = await ada.link(account)
    drive.oauth.revoke(account)
    assert "revoked" == (await ada.ask("POST", f"/v1/links/{link['id']}/check")).json["state"]

    again = await ada.link(account, relink=link["id"])

    assert (link["id"], "ok") == (again["id"], again["state"])


async def test_another_account_is_not_taken_for_the_one_that_was_linked(
    ada: Linker, account: Account, drive: PretendDrive
) -> None:
    link = await ada.link(account)
    other = drive.new_account("Mallory")

    reply = await ada.come_back(ada.consent(await ada.begin(relink=link["id"]), other))

    assert 422 == reply.status
    assert "another account" in reply.text
    [kept] = await ada.links()
    assert account.email == kept["label"]


async def test_a_user_may_have_so_many_links(ada: Linker, drive: PretendDrive) -> None:
    for name in ("One", "Two"):
        await ada.link(drive.new_account(name))

    reply = await ada.ask("POST", "/v1/links/pretend")

    assert (429, "too-many-links", False) == (
        reply.status,
        reply.json["code"],
        reply.json.get("retry", False),
    )


async def test_the_limit_holds_for_consents_that_were_asked_for_before(
    ada: Linker, drive: PretendDrive
) -> None:
    backs = [ada.consent(await ada.begin(), drive.new_account(str(number))) for number in range(3)]

    statuses = [(await ada.come_back(back)).status for back in backs]

    assert [200, 200, 429] == statuses
    assert 2 == len(await ada.links())


# What a user sees and does


async def test_a_grant_that_is_gone_shows_with_what_to_do(
    ada: Linker, account: Account, drive: PretendDrive, time: FakeClock
) -> None:
    link = await ada.link(account)
    drive.oauth.revoke(account)
    time.advance(3600)

    checked = await ada.ask("POST", f"/v1/links/{link['id']}/check")

    assert 200 == checked.status
    [shown] = await ada.links()
    assert shown == checked.json
    assert ("revoked", "backend-auth-revoked") == (shown["state"], shown["reason"])
    assert "Link Pretend Drive again" in shown["what_to_do"]


async def test_a_check_shows_how_full_the_account_is(ada: Linker, account: Account) -> None:
    link = await ada.link(account)
    assert link["quota"] is None

    checked = await ada.ask("POST", f"/v1/links/{link['id']}/check")

    assert {"used": 0, "limit": 15 << 30} == checked.json["quota"]


async def test_a_check_of_a_silent_provider_says_that_nothing_is_known(
    ada: Linker, account: Account, drive: PretendDrive
) -> None:
    link = await ada.link(account)
    drive.faults.order("use", Effect.FAIL, times=9)

    reply = await ada.ask("POST", f"/v1/links/{link['id']}/check")

    assert (503, "provider-unavailable") == (reply.status, reply.json["code"])
    assert "ok" == (await ada.links())[0]["state"]


async def test_unlinking_ends_the_grant_and_forgets_what_was_kept(
    ada: Linker, account: Account, drive: PretendDrive
) -> None:
    link = await ada.link(account)

    assert 204 == (await ada.ask("DELETE", f"/v1/links/{link['id']}")).status

    assert [] == await ada.links()
    [grant] = [grant for grant in drive.oauth.grants if grant.account is account]
    assert grant.is_revoked
    assert 404 == (await ada.ask("DELETE", f"/v1/links/{link['id']}")).status


async def test_unlinking_succeeds_without_the_provider(
    ada: Linker, account: Account, drive: PretendDrive
) -> None:
    link = await ada.link(account)
    drive.faults.order("revoke", Effect.CUT_BEFORE, times=9)

    assert 204 == (await ada.ask("DELETE", f"/v1/links/{link['id']}")).status
    assert [] == await ada.links()


async def test_what_is_to_become_of_the_copies_is_one_of_three(ada: Linker) -> None:
    reply = await ada.ask("DELETE", f"/v1/links/{UNKNOWN}?copies=burn")

    assert (400, "copies") == (reply.status, reply.json["field"])


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/v1/links/{}"), ("POST", "/v1/links/{}/check")])
async def test_a_strangers_link_is_not_there(
    ada: Linker, account: Account, drive: PretendDrive, method: str, path: str
) -> None:
    link = await ada.link(account)
    eve = await Linker.of_new_user(ada.served, drive, "Eve")

    assert [] == await eve.links()
    theirs, nobodys = [await eve.ask(method, path.format(link_id)) for link_id in (link["id"], UNKNOWN)]
    assert 404 == theirs.status == nobodys.status
    assert theirs.text == nobodys.text
    relink = await eve.ask("POST", "/v1/links/pretend", {"relink": link["id"]})
    assert 404 == relink.status
    assert 1 == len(await ada.links())


async def test_nothing_is_linked_without_a_token(ada: Linker) -> None:
    ada.auth = {}

    for method, path in (("GET", "/v1/links"), ("POST", "/v1/links/pretend"), ("DELETE", "/v1/links/x")):
        assert 401 == (await ada.ask(method, path)).status


async def test_the_kinds_that_can_be_linked_are_listed(ada: Linker) -> None:
    [kind] = (await ada.ask("GET", "/v1/links")).json["kinds"]

    assert {"kind": "pretend", "title": "Pretend Drive", "by": "consent", "settings": None} == kind


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/v1/links/nothing", None, 404, None),
        ("/v1/links/local", None, 404, None),
        ("/v1/links/pretend", {"settings": {"url": "http://x"}}, 400, "settings"),
        ("/v1/links/pretend", {"relink": "not an id"}, 400, "relink"),
        ("/v1/links/pretend", {"relink": UNKNOWN}, 404, None),
        ("/v1/links/pretend", {"unknown": 1}, 400, "unknown"),
    ],
)
async def test_what_cannot_be_linked_is_refused(
    ada: Linker, path: str, body: object, status: int, field: str | None
) -> None:
    reply = await ada.ask("POST", path, body)

    assert (status, field) == (reply.status, reply.json.get("field"))


async def test_an_erased_users_links_and_attempts_are_gone(ada: Linker, account: Account) -> None:
    await ada.link(account)
    waiting = ada.consent(await ada.begin(), account)
    context = ada.served.gateway.context

    await context.erasure.bury_account(ada.user_id)
    await ada.served.placed()

    assert 410 == (await ada.come_back(waiting)).status
    assert 401 == (await ada.ask("GET", "/v1/links")).status


async def test_nothing_secret_is_logged_or_answered(
    ada: Linker,
    account: Account,
    drive: PretendDrive,
    time: FakeClock,
    logs: list[dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    kept: list[LinkSecrets] = []
    vault = ada.served.gateway.links.places._vault
    opened = vault.open_link

    async def watched(link: object) -> LinkSecrets:
        secrets = await opened(link)  # type: ignore[arg-type]
        kept.append(secrets)
        return secrets

    monkeypatch.setattr(type(vault), "open_link", lambda _, link: watched(link))
    url = await ada.begin()
    back = ada.consent(url, account)
    said.append((await ada.come_back(back)).text)
    said.append((await ada.come_back(back)).text)
    [link] = await ada.links()
    time.advance(3600)
    await ada.ask("POST", f"/v1/links/{link['id']}/check")
    drive.oauth.revoke(account)
    time.advance(3600)
    said.append((await ada.ask("POST", f"/v1/links/{link['id']}/check")).text)
    drive.faults.order("token", Effect.FAIL)
    said.append((await ada.come_back(ada.consent(await ada.begin(relink=link["id"]), account))).text)
    said.append(str(await ada.links()))
    await ada.ask("DELETE", f"/v1/links/{link['id']}")

    query = dict(parse_qsl(urlsplit(back).query))
    tokens = {token for secrets in kept for token in (secrets.access_token, secrets.refresh_token) if token}
    assert len(tokens) >= 3
    everything = "\n".join([*said, str(logs), repr(kept), str(kept)])
    for secret in (query["code"], query["state"], *tokens, "gateway-test-secret"):
        assert secret not in everything
