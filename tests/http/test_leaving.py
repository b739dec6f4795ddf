"""
Leaving: in some days or now, taken back or not, by no clock that is wrong, and with nothing left behind.
"""

import asyncio
from typing import Any

import pytest

from gateway.catalog.users import User
from gateway.keyring import verify_receipt
from gateway.services.errors import NotFound
from gateway.services.holds import Cause
from tests.http.newcomer import OTHER_NUMBER, Answer, Newcomer
from tests.http.phone import blob_files, speech
from tests.support.actors import OPS
from tests.support.clock import FakeClock
from tests.support.gateway import Served

DAY = 86400
LEAVE = ("DELETE", "/v1/me")
NOW = ("DELETE", "/v1/me?now=true")


@pytest.fixture
def sections() -> dict[str, dict[str, Any]]:
    return {
        "sign_in": {"resend_after_s": 0, "codes_per_number": 50, "access_lifetime_s": 30 * DAY},
        "leaving": {"cooling_off_s": 7 * DAY, "fresh_sign_in_s": 600, "look_ups_interval_s": DAY},
        # Weeks pass in these tests, and uploads that nobody goes on with end in that time.
        "uploads": {"unfinished_lifetime_s": 90 * DAY},
    }


@pytest.fixture
async def ada(served: Served) -> Newcomer:
    newcomer = Newcomer(served)
    await newcomer.sign_in()
    return newcomer


async def pass_days(served: Served, clock: FakeClock, days: float) -> None:
    """
    Let the daemon run for so long, looking at the time now and then.
    """
    for _ in range(4):
        clock.advance(days * DAY / 4)
        await served.gateway.context.leaving.tick()
        await served.gateway.do_due_jobs()


async def farewell(ada: Newcomer) -> Answer:
    return await ada.call("GET", f"/v1/farewells/{ada.tokens['user']}")


async def test_what_is_known_is_seen_and_corrected(ada: Newcomer) -> None:
    seen = await ada.mine("GET", "/v1/me")
    assert (200, True, None) == (seen.status, seen.document["readable"], seen.document["leaving"])
    assert ada.number == seen.document["phone"]

    changed = await ada.mine("PATCH", "/v1/me", {"name": "Ada Lovelace", "email": "ada@example.org"})
    assert ("Ada Lovelace", "ada@example.org") == (changed.document["name"], changed.document["email"])
    assert changed.document == (await ada.mine("GET", "/v1/me")).document
    assert None is (await ada.mine("PATCH", "/v1/me", {"email": None})).document["email"]
    for body, field in (({"email": "nowhere"}, "email"), ({"age": 36}, "age"), ({"name": 1}, "name")):
        refused = await ada.mine("PATCH", "/v1/me", body)
        assert (400, field) == (refused.status, refused.document["field"])


async def test_whoever_leaves_is_erased_after_some_days(
    ada: Newcomer, served: Served, clock: FakeClock
) -> None:
    recording = await ada.as_phone().record(speech(20_000))
    await served.placed()
    asked = await ada.mine(*LEAVE)
    assert (202, "leaving", None) == (asked.status, asked.document["state"], asked.document["receipt"])
    # Everybody is signed out, and nothing is gone yet.
    assert 401 == (await ada.mine("GET", "/v1/me")).status
    assert 404 == (await farewell(ada)).status

    await pass_days(served, clock, 6.9)
    again = Newcomer(served)
    await again.sign_in()
    assert again.tokens["is_leaving"]
    assert 200 == (await again.as_phone().audio(recording)).status
    told = (await again.mine("GET", "/v1/me")).document["leaving"]
    assert asked.document["leaving"]["erased_after"][:16] == told["erased_after"][:16]

    await pass_days(served, clock, 0.2)

    assert 401 == (await again.mine("GET", "/v1/me")).status
    assert [] == blob_files(served)
    found = (await farewell(ada)).document
    assert ("purged", None, "pending") == (found["state"], found["salt"], found["look_ups"]["state"])
    keys = await served.gateway.context.keyring.public_keys()
    for receipt in (found["receipt"], found["purge_receipt"]):
        verify_receipt(
            receipt, keys, subject_id=ada.tokens["user"], salt=bytes.fromhex(asked.document["salt"])
        )
    # The number is free: whoever has it begins anew, with nothing.
    anew = Newcomer(served)
    await anew.sign_in()
    assert (True, False) == (anew.tokens["is_new"], anew.tokens["is_leaving"])
    assert ada.tokens["user"] != anew.tokens["user"]
    assert [] == await anew.as_phone().listed()


async def test_whoever_signs_in_again_may_stay(ada: Newcomer, served: Served, clock: FakeClock) -> None:
    recording = await ada.as_phone().record(speech(1000))
    await ada.mine(*LEAVE)
    await pass_days(served, clock, 6)
    await ada.sign_in()

    stays = await ada.mine("POST", "/v1/me/stay")

    assert (200, None) == (stays.status, stays.document["leaving"])
    await pass_days(served, clock, 20)
    assert 200 == (await ada.as_phone().audio(recording)).status
    # Whoever leaves later has the whole time again.
    await ada.mine(*LEAVE)
    await pass_days(served, clock, 6.9)
    await ada.sign_in()
    assert 200 == (await ada.as_phone().audio(recording)).status


async def test_asking_again_does_not_put_it_off(ada: Newcomer, served: Served, clock: FakeClock) -> None:
    first = (await ada.mine(*LEAVE)).document
    await pass_days(served, clock, 3)
    await ada.sign_in()
    again = (await ada.mine(*LEAVE)).document
    assert first["leaving"] == again["leaving"]
    assert first["salt"] == again["salt"]


async def test_nothing_is_added_meanwhile(ada: Newcomer, served: Served) -> None:
    phone = ada.as_phone()
    upload = await phone.begin(1000)
    await ada.mine(*LEAVE)
    await ada.sign_in()
    phone = ada.as_phone()

    refused = [
        await phone.create(10),
        await phone.patch(upload, 0, b"x" * 10),
    ]
    for answer in refused:
        assert (403, "leaving") == (answer.status, answer.problem["code"])
        assert "retry" not in answer.problem
    for method, path, body in (
        ("PUT", "/v1/route", {"home": True, "copies": []}),
        ("POST", "/v1/moves", {"source": "home", "target": "elsewhere"}),
    ):
        told = await ada.mine(method, path, body)
        assert (403, "leaving") == (told.status, told.document["code"])

    await ada.mine("POST", "/v1/me/stay")
    assert 204 == (await phone.patch(upload, 0, b"x" * 1000)).status


@pytest.mark.parametrize("jump", [400 * DAY, -400 * DAY])
async def test_a_clock_that_jumps_erases_nobody_and_keeps_nobody_waiting(
    ada: Newcomer, served: Served, clock: FakeClock, jump: float
) -> None:
    await ada.mine(*LEAVE)
    await pass_days(served, clock, 1)
    clock.jump(jump)
    await pass_days(served, clock, 1)
    clock.jump(-jump)
    await pass_days(served, clock, 1)
    assert 404 == (await farewell(ada)).status

    await pass_days(served, clock, 5.1)

    assert "purged" == (await farewell(ada)).document["state"]


async def test_at_once_wants_a_sign_in_of_just_now(ada: Newcomer, served: Served, clock: FakeClock) -> None:
    recording = await ada.as_phone().record(speech(1000))
    clock.advance(601)
    stale = await ada.mine(*NOW)
    assert (403, "not-fresh") == (stale.status, stale.document["code"])
    assert 200 == (await ada.as_phone().audio(recording)).status
    assert 400 == (await ada.mine("DELETE", "/v1/me?now=perhaps")).status
    await ada.refresh()
    assert 403 == (await ada.mine(*NOW)).status

    await ada.sign_in()
    gone = await ada.mine(*NOW)

    # What comes after the keys goes on meanwhile, and may be done.
    assert gone.status == 200
    assert gone.document["state"] in ("shredded", "purged")
    keys = await served.gateway.context.keyring.public_keys()
    verify_receipt(
        gone.document["receipt"],
        keys,
        subject_id=ada.tokens["user"],
        salt=bytes.fromhex(gone.document["salt"]),
    )
    assert 401 == (await ada.mine("GET", "/v1/me")).status
    await served.placed()
    assert [] == blob_files(served)


async def test_whoever_is_leaving_may_have_it_done_at_once(ada: Newcomer, served: Served) -> None:
    await ada.mine(*LEAVE)
    await ada.sign_in()
    assert 200 == (await ada.mine(*NOW)).status
    await served.placed()
    assert "purged" == (await farewell(ada)).document["state"]


async def test_what_is_held_is_not_left(ada: Newcomer, served: Served, clock: FakeClock) -> None:
    holds = served.gateway.holds
    user_id = ada.as_phone().user_id
    hold = await holds.place(user_id, Cause(reason="case 12", placed_by="ops"), tells_user=True, by=OPS)
    for how in (LEAVE, NOW):
        refused = await ada.mine(*how)
        assert (423, "held") == (refused.status, refused.document["code"])
        assert "case 12" in refused.document["detail"]
    await holds.lift(hold, by=OPS)
    await ada.mine(*LEAVE)
    hold = await holds.place(user_id, Cause(reason="case 13", placed_by="ops"), by=OPS)

    await pass_days(served, clock, 8)
    assert 404 == (await farewell(ada)).status
    await holds.lift(hold, by=OPS)
    await pass_days(served, clock, 0.1)

    assert "purged" == (await farewell(ada)).document["state"]


async def test_somebody_who_stays_at_the_last_moment_is_not_erased(
    ada: Newcomer, served: Served, clock: FakeClock
) -> None:
    """
    The job is there already when he takes it back.
    """
    await ada.mine(*LEAVE)
    clock.advance(7 * DAY)
    await served.gateway.context.leaving.tick()
    await ada.sign_in()
    await ada.mine("POST", "/v1/me/stay")

    await served.gateway.do_due_jobs()

    assert 200 == (await ada.mine("GET", "/v1/me")).status


async def test_an_account_that_never_was_has_no_farewell(ada: Newcomer, served: Served) -> None:
    for name in ("nobody", "00000000-0000-4000-8000-000000000000", ada.tokens["user"]):
        assert 404 == (await ada.call("GET", f"/v1/farewells/{name}")).status
    with pytest.raises(NotFound):
        await served.gateway.context.leaving.farewell_of(ada.as_phone().user_id)


async def test_others_are_left_alone(ada: Newcomer, served: Served, clock: FakeClock) -> None:
    grace = Newcomer(served, number=OTHER_NUMBER)
    await grace.sign_in()
    recording = await grace.as_phone().record(speech(1000))
    await ada.mine(*LEAVE)
    await pass_days(served, clock, 8)
    assert "purged" == (await farewell(ada)).document["state"]
    assert 200 == (await grace.as_phone().audio(recording)).status


async def test_staying_and_being_erased_at_the_same_moment_end_one_way(
    served: Served, clock: FakeClock
) -> None:
    """
    Either he stays with all he has, or he is erased with a receipt; never half of both.
    """
    context = served.gateway.context
    ends = set()
    for number in range(8):
        user_id, _ = await served.new_user(f"User {number}")
        user = await context.accounts.get_user(user_id)
        await context.leaving.tick()
        await context.leaving.ask(user)
        clock.advance(7 * DAY)
        await context.leaving.tick()

        async def stay(user: User = user) -> bool:
            try:
                await context.leaving.stay(user)
            except NotFound:
                return False
            return True

        leaving = context.leaving.leave(user_id)
        # Whichever of the two is begun first has a little start.
        stayed = (
            (await asyncio.gather(stay(), leaving))[0]
            if number % 2
            else (await asyncio.gather(leaving, stay()))[1]
        )
        await served.gateway.do_due_jobs()
        receipts = await context.keyring.receipts_of(user_id)
        assert stayed == (receipts == [])
        ends.add(stayed)
        if stayed:
            assert None is await context.leaving.leaving_of(user_id)
    print(ends)  # noqa: T201 - both, as a rule


async def test_whoever_leaves_is_told_and_so_is_whoever_stays(
    ada: Newcomer, served: Served, clock: FakeClock
) -> None:
    async def titles() -> list[str]:
        context = served.gateway.context
        user = await context.accounts.get_user(ada.as_phone().user_id)
        page = await context.notices.page_of(user, limit=50)
        return [view.text.title for view in page.notices if view.text is not None]

    leaving = "Your account will be erased after 21 November 2023, 22:13 UTC"
    await ada.mine(*LEAVE)
    assert [leaving] == await titles()
    await pass_days(served, clock, 5.9)
    assert [leaving] == await titles()
    await pass_days(served, clock, 0.9)
    assert [leaving, leaving] == await titles()
    await ada.sign_in()
    for _ in range(2):
        await ada.mine("POST", "/v1/me/stay")
    assert ["Your account stays", leaving, leaving] == await titles()
