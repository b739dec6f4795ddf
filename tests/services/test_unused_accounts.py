"""
Accounts that nobody uses: told of in time, ended after that, and kept for whoever comes back.
"""

from pathlib import Path
from typing import Any

import pytest

from gateway.base.ids import UserId
from gateway.services.errors import NotFound
from gateway.services.holds import Cause
from tests.emulators.faults import Effect
from tests.http.phone import Phone
from tests.support.actors import OPS
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving
from tests.support.mailbox import Mailbox
from tests.support.mails import ADDRESS, mail_sections, mailed, person, told, try_again

DAY = 24 * 3600


@pytest.fixture
def sections(mailbox: Mailbox) -> dict[str, dict[str, Any]]:
    return mail_sections(mailbox)


async def days_pass(served: Served, clock: FakeClock, days: int, *, stride: int = 1) -> None:
    for _ in range(0, days, stride):
        clock.advance(stride * DAY)
        await served.gateway.retention.tick()
        await try_again(served)


@pytest.fixture(autouse=True)
async def at_start(served: Served) -> None:
    await served.gateway.retention.tick()
    await served.placed()


async def is_there(served: Served, user_id: UserId) -> bool:
    try:
        await served.gateway.context.accounts.get_user(user_id)
    except NotFound:
        return False
    return True


async def phone_of(served: Served, user_id: UserId) -> Phone:
    token = await served.gateway.context.accounts.new_token(user_id, lifetime_s=3000 * DAY)
    return Phone(served, user_id, {"Authorization": f"Bearer {token.reveal().decode()}"})


async def nearly_two_years(served: Served, clock: FakeClock, days: int = 660) -> None:
    await days_pass(served, clock, days, stride=330)


async def test_two_years_pass(served: Served, clock: FakeClock, mailbox: Mailbox) -> None:
    user_id = await person(served)
    phone = await phone_of(served, user_id)
    await phone.record(b"one")
    await nearly_two_years(served, clock, 330)
    mailbox.mails.clear()  # that its recording expires
    await days_pass(served, clock, 338, stride=338)
    assert [] == [m for m in mailbox.mails if "account" in m.message["Subject"]]

    told_at = []
    for day in range(669, 740):
        await days_pass(served, clock, 1)
        told_at += [day] * (len(mailbox.mails) - len(told_at))
        if not await is_there(served, user_id):
            break
    # Days are counted from the beginning of the last one of use.
    assert [669, 700, 723, 730] == [*told_at, day]
    subjects = {mail.message["Subject"] for mail in mailbox.mails}
    assert 1 == len(subjects)
    assert subjects.pop().startswith("Your account will be erased on 13 November 2025 unless")
    assert 401 == (await phone.ask("GET", "/v1/recordings")).status


async def test_use_in_between_cancels_it(served: Served, clock: FakeClock, mailbox: Mailbox) -> None:
    user_id = await person(served)
    phone = await phone_of(served, user_id)
    await nearly_two_years(served, clock)
    await days_pass(served, clock, 60)
    assert 2 == len(mailbox.mails)
    context = served.gateway.context
    user = await context.accounts.get_user(user_id)
    assert await context.notices.pressing_of(user) is not None

    await phone.listed()
    assert await context.notices.pressing_of(user) is None
    await days_pass(served, clock, 100)
    assert await is_there(served, user_id)
    assert 2 == len(mailbox.mails)
    # And two years after that it ends, as before.
    await days_pass(served, clock, 560, stride=280)
    await days_pass(served, clock, 75)
    assert 5 == len(mailbox.mails)
    assert not await is_there(served, user_id)


async def test_use_wins_until_the_transaction_that_ends_it(
    served: Served, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = await person(served)
    phone = await phone_of(served, user_id)
    await nearly_two_years(served, clock)
    await days_pass(served, clock, 69)
    erasure = served.gateway.context.erasure
    bury = erasure.bury_account

    async def used_just_now(user_id: UserId, **options: Any) -> bytes:
        await phone.listed()
        return await bury(user_id, **options)

    monkeypatch.setattr(erasure, "bury_account", used_just_now)
    await days_pass(served, clock, 3)
    assert await is_there(served, user_id)


async def test_a_hold_wins_and_its_user_is_not_told_what_is_not_so(
    served: Served, clock: FakeClock, mailbox: Mailbox
) -> None:
    user_id = await person(served)
    hold = await served.gateway.holds.place(user_id, Cause(reason="case", placed_by="ops"), by=OPS)
    await nearly_two_years(served, clock)
    await days_pass(served, clock, 120, stride=3)
    assert await is_there(served, user_id)
    assert [] == mailbox.mails

    await served.gateway.holds.lift(hold, by=OPS)
    await days_pass(served, clock, 58)
    assert await is_there(served, user_id)
    assert 3 == len(mailbox.mails)
    await days_pass(served, clock, 4)
    assert not await is_there(served, user_id)


async def test_a_hold_that_comes_after_the_notices_wins_too(served: Served, clock: FakeClock) -> None:
    user_id = await person(served)
    await nearly_two_years(served, clock)
    await days_pass(served, clock, 69)
    await served.gateway.holds.place(user_id, Cause(reason="case", placed_by="ops"), by=OPS)
    await days_pass(served, clock, 20)
    assert await is_there(served, user_id)


@pytest.mark.parametrize("address", [None, ADDRESS])
async def test_who_cannot_be_reached_is_erased_all_the_same(
    served: Served, clock: FakeClock, mailbox: Mailbox, address: str | None
) -> None:
    mailbox.unknown = {ADDRESS}
    user_id = await person(served, address)
    await nearly_two_years(served, clock)
    await days_pass(served, clock, 69)
    assert await is_there(served, user_id)
    assert 3 == len(await told(served, user_id))
    expected = ("none", "no-address") if address is None else ("refused", "address-refused 550 5.1.1")
    assert {expected} == set(await mailed(served, user_id))
    await days_pass(served, clock, 2)
    assert not await is_there(served, user_id)


async def test_who_is_not_told_for_our_own_fault_is_waited_for_and_told_again(
    served: Served, clock: FakeClock, mailbox: Mailbox
) -> None:
    user_id = await person(served)
    await nearly_two_years(served, clock)
    mailbox.faults.order("mail", Effect.FAIL, times=10**6, amount=550)
    await days_pass(served, clock, 75)
    assert await is_there(served, user_id)
    assert {"given-up"} == {state for state, _ in await mailed(served, user_id)}

    # Somebody mends it: he is told, has a week, and then it ends.
    mailbox.faults.clear()
    await days_pass(served, clock, 6)
    assert 1 == len(mailbox.mails)
    assert await is_there(served, user_id)
    await days_pass(served, clock, 9)
    assert not await is_there(served, user_id)


async def test_it_is_not_waited_for_ever(served: Served, clock: FakeClock, mailbox: Mailbox) -> None:
    user_id = await person(served)
    await nearly_two_years(served, clock)
    mailbox.faults.order("mail", Effect.FAIL, times=10**6, amount=550)
    await days_pass(served, clock, 99)
    assert await is_there(served, user_id)
    await days_pass(served, clock, 3)
    assert not await is_there(served, user_id)


async def test_a_clock_that_jumps_tells_and_ends_nothing(
    served: Served, clock: FakeClock, mailbox: Mailbox
) -> None:
    user_id = await person(served)
    clock.jump(3 * 365 * DAY)
    await days_pass(served, clock, 3)
    assert await is_there(served, user_id)
    assert [] == await told(served, user_id)


async def test_whoever_is_found_late_has_the_whole_time_all_the_same(
    tmp_path: Path, clock: FakeClock, mailbox: Mailbox
) -> None:
    sections = mail_sections(mailbox)
    async with serving(
        tmp_path / "late",
        clock=clock,
        with_workers=False,
        retention={"erase_unused_accounts": False},
        **sections,
    ) as served:
        await served.gateway.retention.tick()
        user_id = await person(served)
        await days_pass(served, clock, 3 * 365, stride=365)
        assert [] == await told(served, user_id)
    async with serving(tmp_path / "late", clock=clock, with_workers=False, **sections) as served:
        await days_pass(served, clock, 58)
        assert await is_there(served, user_id)
        await days_pass(served, clock, 4)
        assert 3 == len(mailbox.mails)
        assert not await is_there(served, user_id)


async def test_more_than_are_usual_wait_for_an_operator(
    tmp_path: Path, clock: FakeClock, mailbox: Mailbox
) -> None:
    async with serving(
        tmp_path / "many",
        clock=clock,
        with_workers=False,
        retention={"max_accounts_per_sweep": 2},
        **mail_sections(mailbox),
    ) as served:
        await served.gateway.retention.tick()
        users = [await person(served) for _ in range(3)]
        await nearly_two_years(served, clock)
        await days_pass(served, clock, 75)
        assert [True] * 3 == [await is_there(served, user_id) for user_id in users]
        unused = served.gateway.unused
        stop = await unused.waiting()
        assert stop is not None
        assert 3 == stop.due
        # What expires otherwise does not wait for that.
        assert (await served.gateway.retention.state()).stop is None
        for due, before in ((2, stop.stored_before), (3, stop.stored_before + 24 * 3600 * 1000)):
            with pytest.raises(NotFound):
                await unused.approve(by=OPS, due=due, ends_before=before, at=clock.now_ms())
        await unused.approve(by=OPS, due=3, ends_before=stop.stored_before, at=clock.now_ms())
        await served.gateway.retention.tick()
        await served.placed()
        assert [False] * 3 == [await is_there(served, user_id) for user_id in users]
        assert await unused.waiting() is None


async def test_a_sweep_that_is_cut_short_tells_nobody_twice(
    served: Served, clock: FakeClock, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [await person(served) for _ in range(3)]
    await nearly_two_years(served, clock)
    notices = served.gateway.context.notices
    tell = notices.tell
    count = 0

    async def cut(*arguments: Any, **options: Any) -> bool:
        nonlocal count
        count += 1
        if count == 2:
            raise RuntimeError("the power went")
        return await tell(*arguments, **options)

    monkeypatch.setattr(notices, "tell", cut)
    await days_pass(served, clock, 15)
    assert [1, 1, 1] == [len(await told(served, user_id)) for user_id in users]
    assert 3 == len(mailbox.mails)
