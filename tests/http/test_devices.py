"""
Tokens of a device: short-lived ones, refresh tokens that count once, and signing out.
"""

import asyncio
from typing import Any

import pytest

from tests.http.newcomer import OTHER_NUMBER, Newcomer
from tests.http.phone import speech
from tests.support.clock import FakeClock
from tests.support.gateway import Served

LIMITS = {
    "access_lifetime_s": 900,
    "refresh_lifetime_s": 90 * 86400,
    "refresh_grace_s": 60,
    "resend_after_s": 0,
    "max_devices": 3,
}
DAY = 86400


@pytest.fixture
def sections() -> dict[str, dict[str, Any]]:
    return {"sign_in": LIMITS}


@pytest.fixture
async def ada(served: Served) -> Newcomer:
    ada = Newcomer(served)
    assert 200 == (await ada.sign_in()).status
    return ada


async def test_an_access_token_runs_out_and_a_refresh_brings_another(ada: Newcomer, clock: FakeClock) -> None:
    assert 900 == ada.tokens["expires_in"]
    for _ in range(2):
        # From the second time on it is remembered, and must run out all the same.
        assert 200 == (await ada.mine("GET", "/v1/recordings")).status
    clock.advance(901)
    assert 401 == (await ada.mine("GET", "/v1/recordings")).status

    assert 200 == (await ada.refresh()).status

    assert 200 == (await ada.mine("GET", "/v1/recordings")).status


async def test_a_refresh_token_lives_on_by_being_used(ada: Newcomer, clock: FakeClock) -> None:
    for _ in range(4):
        clock.advance(80 * DAY)
        assert 200 == (await ada.refresh()).status
    clock.advance(91 * DAY)

    answer = await ada.refresh()

    assert (401, "signed-out") == (answer.status, answer.document["code"])


async def test_a_used_refresh_token_signs_the_device_out(ada: Newcomer, clock: FakeClock) -> None:
    """
    Whoever brings it again has a copy: the thief or the owner, and nobody can tell which.
    """
    stolen = ada.tokens["refresh_token"]
    await ada.refresh()
    clock.advance(61)

    assert 401 == (await ada.refresh(stolen)).status

    assert 401 == (await ada.mine("GET", "/v1/recordings")).status
    assert 401 == (await ada.refresh()).status


async def test_the_thief_who_comes_first_is_found_out_by_the_owner(ada: Newcomer, clock: FakeClock) -> None:
    thief = (await ada.refresh(ada.tokens["refresh_token"])).document
    clock.advance(61)

    assert 401 == (await ada.refresh()).status

    assert 401 == (await ada.call("GET", "/v1/recordings", token=thief["access_token"])).status
    assert 401 == (await ada.refresh(thief["refresh_token"])).status


async def test_a_lost_answer_can_be_asked_for_again(ada: Newcomer, clock: FakeClock) -> None:
    before = ada.tokens["refresh_token"]
    lost = (await ada.refresh(before)).document
    clock.advance(5)

    again = await ada.refresh(before)

    assert 200 == again.status
    # What was lost counts no more, so a thief who caught it has nothing.
    assert lost["refresh_token"] != again.document["refresh_token"]
    assert 401 == (await ada.refresh(lost["refresh_token"])).status
    assert 200 == (await ada.refresh(again.document["refresh_token"])).status


async def test_an_answer_that_was_used_was_not_lost(ada: Newcomer) -> None:
    before = ada.tokens["refresh_token"]
    await ada.refresh()
    await ada.refresh()

    assert 401 == (await ada.refresh(before)).status
    assert 401 == (await ada.refresh()).status


async def test_of_refreshes_at_once_the_last_counts(ada: Newcomer) -> None:
    before = ada.tokens["refresh_token"]
    answers = await asyncio.gather(*(ada.refresh(before) for _ in range(4)))

    assert [200] * 4 == [answer.status for answer in answers]
    tried = [await ada.refresh(answer.document["refresh_token"]) for answer in answers]
    assert [200, 401, 401, 401] == sorted(answer.status for answer in tried)


async def test_signing_out_ends_this_device_alone(ada: Newcomer, served: Served) -> None:
    other = Newcomer(served, device="Ada's tablet")
    await other.sign_in()

    assert 204 == (await ada.mine("POST", "/v1/auth/sign-out")).status

    assert 401 == (await ada.mine("GET", "/v1/recordings")).status
    assert 401 == (await ada.refresh()).status
    assert 200 == (await other.mine("GET", "/v1/recordings")).status


async def test_a_token_that_was_made_by_command_can_sign_out_too(served: Served) -> None:
    _, auth = await served.new_user()
    async with served.http.post("/v1/auth/sign-out", headers=auth) as response:
        assert 204 == response.status
    async with served.http.get("/v1/recordings", headers=auth) as response:
        assert 401 == response.status


async def test_devices_are_listed_and_signed_out_one_by_one(
    ada: Newcomer, served: Served, clock: FakeClock
) -> None:
    clock.advance(60)
    tablet = Newcomer(served, device="Ada's tablet")
    await tablet.sign_in()

    listed = (await ada.mine("GET", "/v1/me/devices")).document["devices"]

    assert [("Ada's tablet", False), ("Ada's phone", True)] == [
        (device["name"], device["is_this"]) for device in listed
    ]
    assert 204 == (await ada.mine("DELETE", f"/v1/me/devices/{listed[0]['id']}")).status
    assert 401 == (await tablet.mine("GET", "/v1/recordings")).status
    assert 404 == (await ada.mine("DELETE", f"/v1/me/devices/{listed[0]['id']}")).status
    assert 1 == len((await ada.mine("GET", "/v1/me/devices")).document["devices"])


async def test_all_others_are_signed_out_at_once(ada: Newcomer, served: Served) -> None:
    others = [Newcomer(served, device=f"tablet {number}") for number in range(2)]
    for other in others:
        await other.sign_in()

    assert 204 == (await ada.mine("DELETE", "/v1/me/devices")).status

    assert 200 == (await ada.mine("GET", "/v1/recordings")).status
    assert [401, 401] == [(await other.mine("GET", "/v1/recordings")).status for other in others]


async def test_a_stranger_cannot_sign_a_device_out(ada: Newcomer, served: Served) -> None:
    bob = Newcomer(served, OTHER_NUMBER)
    await bob.sign_in()

    assert 404 == (await bob.mine("DELETE", f"/v1/me/devices/{ada.tokens['device']}")).status
    assert 200 == (await ada.mine("GET", "/v1/recordings")).status


async def test_the_device_that_was_used_least_lately_makes_room(
    ada: Newcomer, served: Served, clock: FakeClock
) -> None:
    people = [ada]
    for number in range(3):
        clock.advance(60)
        people.append(Newcomer(served, device=f"tablet {number}"))
        assert 200 == (await people[-1].sign_in()).status

    statuses = [(await person.mine("GET", "/v1/recordings")).status for person in people]

    assert [401, 200, 200, 200] == statuses


async def test_an_upload_goes_on_under_the_next_token(ada: Newcomer, clock: FakeClock) -> None:
    content = speech(300_000)
    upload = await ada.as_phone().begin(len(content))
    assert 204 == (await ada.as_phone().patch(upload, 0, content[:100_000])).status
    clock.advance(901)
    assert 401 == (await ada.as_phone().patch(upload, 100_000, content[100_000:])).status

    await ada.refresh()

    assert 204 == (await ada.as_phone().patch(upload, 100_000, content[100_000:])).status
    assert content == (await ada.as_phone().audio(upload)).body


async def test_one_more_number_is_joined_by_proving_it(ada: Newcomer, served: Served) -> None:
    work = Newcomer(served, OTHER_NUMBER)
    answer = await join(ada, work)

    assert 201 == answer.status
    listed = (await ada.mine("GET", "/v1/me/identities")).document["identities"]
    assert {("phone", ada.number), ("phone", OTHER_NUMBER)} == {
        (identity["way"], identity["label"]) for identity in listed
    }
    await work.sign_in()
    assert ada.tokens["user"] == work.tokens["user"]
    # Joined once more, it stays what it was.
    assert answer.document == (await join(ada, work)).document


async def test_a_number_of_another_account_is_not_joined(ada: Newcomer, served: Served) -> None:
    bob = Newcomer(served, OTHER_NUMBER)
    await bob.sign_in()

    answer = await join(ada, bob)

    assert (409, "identity-taken") == (answer.status, answer.document["code"])
    assert 1 == len((await ada.mine("GET", "/v1/me/identities")).document["identities"])


async def test_the_last_identity_cannot_be_left(ada: Newcomer, served: Served) -> None:
    await join(ada, Newcomer(served, OTHER_NUMBER))
    held = (await ada.mine("GET", "/v1/me/identities")).document["identities"]
    ids = {identity["label"]: identity["id"] for identity in held}

    assert 204 == (await ada.mine("DELETE", f"/v1/me/identities/{ids[ada.number]}")).status
    last = await ada.mine("DELETE", f"/v1/me/identities/{ids[OTHER_NUMBER]}")

    assert (409, "last-identity") == (last.status, last.document["code"])
    # What was left is free for whoever proves it.
    newcomer = Newcomer(served)
    await newcomer.sign_in()
    assert newcomer.tokens["is_new"]


async def join(person: Newcomer, other: Newcomer) -> Any:
    """
    Prove the other's number, and join it to the person's account.
    """
    sent = await other.ask_code()
    body = {"grant_type": "phone_code", "attempt": sent.document["attempt"], "code": other.read_code()}
    return await person.mine("POST", "/v1/me/identities", body)
