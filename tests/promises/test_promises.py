"""
What the service promises to people: a test for each promise, by its name.

Each shows that the promise is kept in use; what is tried to break it is in the other tests that docs/PROMISES.md names.
"""

import io
import uuid
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gateway.base.ids import USER_LEAF, RecordingId, UserId
from gateway.catalog import users
from gateway.catalog.recordings import get_recording
from gateway.http.sessions import BINDING_COOKIE, SESSION_COOKIE
from gateway.keyring import verify_receipt
from gateway.keyring.errors import LeafShredded, SlotShredded
from gateway.services.errors import NotFound
from gateway.services.holds import Cause
from tests.emulators.emulator import EmulatedClock
from tests.emulators.oidc import GoogleSignIn, SignIn
from tests.http.browser import Browser
from tests.http.newcomer import Newcomer
from tests.http.phone import Phone, blob_files
from tests.http.test_openid import APP, PROVIDERS, App, settings_of
from tests.operators.browsing import OperatorsBrowser, operated
from tests.support.actors import OPS
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving
from tests.support.mailbox import Mailbox
from tests.support.mails import mail_sections, person, told, try_again

DAY = 24 * 3600
YEAR = 365 * DAY


@pytest.fixture
def sections(mailbox: Mailbox) -> dict[str, dict[str, Any]]:
    return {**mail_sections(mailbox), "sign_in": {"resend_after_s": 0}}


async def phone_of(served: Served, user_id: UserId) -> Phone:
    """
    Return a client whose token outlives the years that pass here.
    """
    token = await served.gateway.context.accounts.new_token(user_id, lifetime_s=20 * YEAR)
    return Phone(served, user_id, {"Authorization": f"Bearer {token.reveal().decode()}"})


async def days_pass(served: Served, clock: FakeClock, days: int, *, stride: int = 1) -> None:
    """
    Let time pass as it does for a daemon that runs.
    """
    for _ in range(0, days, stride):
        clock.advance(stride * DAY)
        await served.gateway.retention.tick()
        await try_again(served)


async def subjects_of(served: Served, user_id: UserId) -> list[str]:
    return [notice.kind for notice in await told(served, user_id)]


async def test_a_phone_number_is_enough_to_sign_in(served: Served) -> None:
    newcomer = Newcomer(served)
    assert 200 == (await newcomer.sign_in()).status
    assert [] == await newcomer.as_phone().listed()


@pytest.mark.parametrize("kind", PROVIDERS, ids=lambda kind: kind.kind)
async def test_an_account_at_google_microsoft_or_dropbox_is_enough_to_sign_in(
    tmp_path: Path, clock: FakeClock, kind: type[SignIn]
) -> None:
    with kind(clock=EmulatedClock(clock)) as provider:
        sign_in = {"kinds": {provider.kind: settings_of(provider)}, "return_to": [APP]}
        async with serving(tmp_path / "data", clock=clock, with_workers=False, sign_in=sign_in) as served:
            provider.register(f"{served.url}/v1/auth/{provider.kind}/callback")
            tokens = await App(served, provider, provider.new_account()).sign_in()
            phone = Phone(
                served, UserId(tokens["user"]), {"Authorization": f"Bearer {tokens['access_token']}"}
            )
            assert [] == await phone.listed()


async def test_recordings_are_stored_for_one_year(served: Served, clock: FakeClock) -> None:
    await served.gateway.retention.tick()
    phone = await phone_of(served, await person(served))
    recording = await phone.record(b"one year")
    await served.placed()
    await days_pass(served, clock, 364, stride=364)
    assert b"one year" == (await phone.audio(recording)).body
    await days_pass(served, clock, 2)
    assert [] == await phone.listed()
    assert 404 == (await phone.audio(recording)).status


async def test_a_deleted_recording_is_gone_for_good(served: Served) -> None:
    phone = await phone_of(served, await person(served))
    recording = await phone.record(b"not for anybody")
    await served.placed()
    async with served.gateway.context.catalog.read() as connection:
        row = await get_recording(connection, RecordingId(uuid.UUID(recording)))
    assert row is not None

    receipt = (await phone.erase(recording)).document
    await served.placed()

    assert 404 == (await phone.audio(recording)).status
    assert [] == blob_files(served)
    with pytest.raises(LeafShredded):
        await served.gateway.context.keyring.leaf(row.key_slot, row.leaf_index)
    keys = await served.gateway.context.keyring.public_keys()
    verify_receipt(receipt["receipt"], keys, subject_id=recording, salt=bytes.fromhex(receipt["salt"]))


async def test_personal_information_is_kept_no_longer_than_two_years_after_the_last_use(
    served: Served, clock: FakeClock
) -> None:
    await served.gateway.retention.tick()
    user_id = await person(served)
    async with served.gateway.context.catalog.read() as connection:
        user = await users.get_user(connection, user_id)
    assert user is not None
    await days_pass(served, clock, 660, stride=330)
    await days_pass(served, clock, 72)
    with pytest.raises(NotFound):
        await served.gateway.context.accounts.get_user(user_id)
    assert "unused" in await subjects_of(served, user_id)
    with pytest.raises(SlotShredded):
        await served.gateway.context.keyring.leaf(user.key_slot, USER_LEAF)


async def test_what_the_law_requires_is_kept_longer(served: Served, clock: FakeClock) -> None:
    await served.gateway.retention.tick()
    user_id = await person(served)
    phone = await phone_of(served, user_id)
    recording = await phone.record(b"evidence")
    await served.placed()
    await served.gateway.holds.place(user_id, Cause(reason="case 12", placed_by="ops"), by=OPS)
    await days_pass(served, clock, 990, stride=330)
    assert 423 == (await phone.erase(recording)).status
    assert b"evidence" == (await phone.audio(recording)).body


async def test_anyone_can_see_correct_take_away_and_delete_what_is_held_about_him(served: Served) -> None:
    newcomer = Newcomer(served)
    await newcomer.sign_in()
    phone = newcomer.as_phone()
    recording = await phone.record(b"what was said", party_name="Grace Hopper")
    await served.placed()

    # See, and correct.
    corrected = await newcomer.mine("PATCH", "/v1/me", {"name": "Ada Lovelace"})
    assert (200, "Ada Lovelace") == (corrected.status, corrected.document["name"])
    seen = (await newcomer.mine("GET", "/v1/me")).document
    assert "Ada Lovelace" == seen["name"]

    # Take away.
    asked = await newcomer.mine("POST", "/v1/exports", {"include": ["audio"]})
    assert 202 == asked.status, asked
    await served.placed()
    export = (await newcomer.mine("GET", f"/v1/exports/{asked.document['id']}")).document
    archive = (await phone.ask("GET", export["archive"])).body
    with zipfile.ZipFile(io.BytesIO(archive)) as taken:
        contents = {name: taken.read(name) for name in taken.namelist()}
    assert b"what was said" in contents.values()
    assert any(b"Ada Lovelace" in content for content in contents.values())
    assert any(b"Grace Hopper" in content for content in contents.values())

    # Delete: one recording, and the account with all that is left.
    assert 200 == (await phone.erase(recording)).status
    gone = await newcomer.mine("DELETE", "/v1/me?now=true")
    assert (200, "shredded") == (gone.status, gone.document["state"])
    await served.placed()
    assert 401 == (await newcomer.mine("GET", "/v1/me")).status
    with pytest.raises(NotFound):
        await served.gateway.context.accounts.get_user(phone.user_id)


async def test_promotional_messages_can_be_refused_while_service_messages_go_on(
    served: Served, mailbox: Mailbox
) -> None:
    user_id = await person(served)
    phone = await phone_of(served, user_id)
    wants = {"Content-Type": "application/json"}
    announcing = served.gateway.telling.announcing
    for answer in (b"true", b"false"):
        await phone.ask("PUT", "/v1/me/mail", wants, b'{"promotional": %s}' % answer)
        await announcing.announce("announcement", title="News", body="Some.", is_promotional=True)
        await announcing.announce("announcement", title="Works", body="On Sunday.")
        await served.placed()
    assert ["News", "Works", "Works"] == sorted(mail.message["Subject"] for mail in mailbox.mails)


async def test_changes_of_the_policy_are_announced_by_mail_and_on_the_pages(
    served: Served, mailbox: Mailbox
) -> None:
    async with Browser(served) as browser:
        await browser.sign_in()
        user_id = await person(served)
        now = served.gateway.context.people.clock.now_ms()
        await served.gateway.context.policies.publish(
            "# What we keep\n\nLess.\n", format="markdown", effective_at=now - now % (DAY * 1000)
        )
        await served.placed()
        assert "This service has a policy from" in (await browser.go("/recordings")).text
        assert "What we keep" in (await browser.go("/policy")).text
    assert [["ada@example.org"]] == [list(mail.recipients) for mail in mailbox.mails]
    assert ["policy"] == await subjects_of(served, user_id)


async def test_a_breach_can_be_announced_to_all_concerned(served: Served, mailbox: Mailbox) -> None:
    concerned = [await person(served, f"user{number}@example.org") for number in range(3)]
    other = await person(served, "other@example.org")
    await served.gateway.telling.announcing.announce(
        "breach", title="What happened", body="And what to do.", to=concerned
    )
    await served.placed()
    assert {f"user{number}@example.org" for number in range(3)} == {
        mail.recipients[0] for mail in mailbox.mails
    }
    assert [["breach"]] * 3 == [await subjects_of(served, user_id) for user_id in concerned]
    assert [] == await subjects_of(served, other)


async def test_staff_see_only_what_their_job_needs(tmp_path: Path, clock: FakeClock) -> None:
    with GoogleSignIn(clock=EmulatedClock(clock)) as provider:
        async with operated(tmp_path / "data", provider, clock) as served:
            user_id = await person(served)
            phone = await phone_of(served, user_id)
            await phone.record(b"nobody of the staff hears this", party_name="Grace Hopper")
            async with OperatorsBrowser(served, provider) as browser:
                await browser.sign_in_as("support")
                page = await browser.go(f"/operator/users/{user_id}")
                assert 200 == page.status
                assert "ada@example.org" not in page.text
                assert "Grace Hopper" not in page.text
            async with OperatorsBrowser(served, provider) as browser:
                await browser.sign_in_as("privacy")
                await browser.go(f"/operator/users/{user_id}")
                page = await browser.send(f"/operator/users/{user_id}/look", reason="he asked us to")
                assert "ada@example.org" in page.text
                assert "Grace Hopper" not in page.text
            # And he can see that somebody looked, as what, and why.
            looks = (await phone.ask("GET", "/v1/me/audit")).document
    assert "he asked us to" in str(looks)
    assert "privacy" in str(looks)


async def test_third_parties_who_got_data_can_be_listed(served: Served) -> None:
    phone = await phone_of(served, await person(served))
    await served.gateway.context.operating.disclosures.add(
        phone.user_id, by=OPS, recipient="A court", what="two recordings", why="an order"
    )
    [told] = (await phone.ask("GET", "/v1/me/disclosures")).document["disclosures"]
    assert ("A court", "two recordings", "an order") == (told["recipient"], told["what"], told["why"])


async def test_cookies_are_only_what_the_service_needs(served: Served) -> None:
    set_by: dict[str, str] = {}
    async with Browser(served) as browser:

        async def look(path: str) -> None:
            page = await browser.go(path)
            for cookie in page.headers.getall("Set-Cookie", []):
                set_by[cookie.partition("=")[0]] = path

        for path in ("/", "/privacy", "/policy", "/docs"):
            await look(path)
        assert {} == set_by
        await browser.sign_in()
        for path in ("/recordings", "/storage", "/account", "/notices", "/policy", "/privacy"):
            await look(path)
        names = {cookie.key for cookie in browser.http.cookie_jar}
    assert set_by.keys() | names <= {SESSION_COOKIE, BINDING_COOKIE}


@pytest.mark.parametrize("asks", [{}, {"DNT": "1"}, {"DNT": "0"}, {"Sec-GPC": "1"}], ids=str)
async def test_do_not_track_is_answered_honestly(served: Served, asks: dict[str, str]) -> None:
    async with served.http.get("/privacy", headers=asks) as response:
        text = await response.text()
        policy = response.headers["Content-Security-Policy"]
    assert "Do Not Track" in text
    assert "Nobody is tracked here, whether or not a browser asks for that" in text
    # What the page says is so: nothing can be loaded from elsewhere, and nothing is asked to be.
    assert "default-src 'none'" in policy
    assert "//" not in policy
    assert "Set-Cookie" not in response.headers
