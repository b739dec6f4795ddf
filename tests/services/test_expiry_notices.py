"""
Users are told before recordings expire: in time, once, and not of each.
"""

from typing import Any

import pytest

from gateway.base.ids import RecordingId, UserId
from gateway.services.expiry_notices import ExpiryNotices
from gateway.services.holds import Cause
from tests.http.phone import Phone
from tests.support.actors import OPS
from tests.support.clock import FakeClock
from tests.support.gateway import Served
from tests.support.mails import told

DAY = 24 * 3600
DAY_MS = DAY * 1000


@pytest.fixture
async def phone(served: Served) -> Phone:
    await served.gateway.retention.tick()
    await served.placed()
    accounts = served.gateway.context.accounts
    user_id = await accounts.add_user(name="Ada")
    token = await accounts.new_token(user_id, lifetime_s=3000 * DAY)
    return Phone(served, user_id, {"Authorization": f"Bearer {token.reveal().decode()}"})


async def days_pass(served: Served, clock: FakeClock, days: int) -> None:
    for _ in range(days):
        clock.advance(DAY)
        await served.gateway.retention.tick()
        await served.placed()


async def stride(served: Served, clock: FakeClock, days: int) -> None:
    """
    Let time pass of which nothing but the end matters.
    """
    clock.advance((days - 1) * DAY)
    await days_pass(served, clock, 1)


async def facts_of(served: Served, user_id: UserId) -> list[dict[str, Any]]:
    """
    Return what the user was told of that expires, oldest first.
    """
    context = served.gateway.context
    user = await context.accounts.get_user(user_id)
    found = [notice for notice in await told(served, user_id) if notice.kind == "expiring"]
    facts = [await context.notices.facts_of(notice, user.key_slot) for notice in found[::-1]]
    return [each for each in facts if each is not None]


async def test_thirty_and_seven_days_before(served: Served, clock: FakeClock, phone: Phone) -> None:
    stored_at = clock.now_ms()
    await phone.record(b"one")
    await phone.record(b"two")
    await stride(served, clock, 334)
    assert [] == await facts_of(served, phone.user_id)

    await days_pass(served, clock, 2)
    [first] = await facts_of(served, phone.user_id)
    assert [2] == [window["count"] for window in first["windows"]]
    assert stored_at + 365 * DAY_MS == first["first"]
    assert clock.now_ms() + 37 * DAY_MS == first["windows"][0]["until"]

    await days_pass(served, clock, 21)
    assert 1 == len(await facts_of(served, phone.user_id))
    await days_pass(served, clock, 2)
    assert 2 == len(await facts_of(served, phone.user_id))

    await days_pass(served, clock, 10)
    assert [] == await phone.listed()
    assert 2 == len(await facts_of(served, phone.user_id))


async def test_whoever_records_every_day_is_told_once_a_week(
    served: Served, clock: FakeClock, phone: Phone
) -> None:
    for _ in range(60):
        await phone.record(b"today's")
        await days_pass(served, clock, 1)
    await stride(served, clock, 365 - 60 - 35)
    before = len(await facts_of(served, phone.user_id))
    await days_pass(served, clock, 35)
    facts = (await facts_of(served, phone.user_id))[before:]
    # Of two numbers of days, each once a week.
    assert 5 <= len(facts) <= 8
    # None expired of which nobody told.
    listed = len(await phone.listed())
    assert facts[-1]["windows"][0]["count"] >= 60 - listed


async def test_both_are_one_notice_where_they_come_together(
    served: Served, clock: FakeClock, phone: Phone
) -> None:
    for _ in range(2):
        await phone.record(b"old")
    clock.advance(20 * DAY)
    await phone.record(b"younger")
    # So long nobody swept: of the first the last week has begun, the other comes within thirty days.
    await stride(served, clock, 365 - 20 - 3)
    for _ in range(3):
        state = await served.gateway.retention.state()
        if state.stop is not None:
            await served.gateway.retention.approve(
                due=state.stop.due, stored_before=state.stop.stored_before, by=OPS
            )
        await days_pass(served, clock, 1)
    [facts] = await facts_of(served, phone.user_id)
    assert [2, 3] == [window["count"] for window in facts["windows"]]


async def test_what_is_held_does_not_expire_and_is_not_told_of(
    served: Served, clock: FakeClock, phone: Phone
) -> None:
    import uuid

    held = await phone.record(b"held")
    await served.gateway.holds.place(
        phone.user_id,
        Cause(reason="case", placed_by="ops"),
        recording_id=RecordingId(uuid.UUID(held)),
        by=OPS,
    )
    await stride(served, clock, 340)
    assert [] == await facts_of(served, phone.user_id)


async def test_a_sweep_that_is_cut_short_tells_nobody_twice(
    served: Served, clock: FakeClock, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.services import expiry_notices

    others = [await Phone.of_new_user(served, f"user {number}") for number in range(3)]
    for each in (phone, *others):
        await each.record(b"one")
    monkeypatch.setattr(expiry_notices, "_LOOKED_AT", 2)
    context = served.gateway.context
    limits = served.gateway.settings

    telling = ExpiryNotices(context.catalog, context.notices, limits.retention, limits.notices)
    later = clock.now_ms() + 340 * DAY_MS
    whole = telling._tell_user
    count = 0

    async def cut(*arguments: Any) -> bool:
        nonlocal count
        count += 1
        if count == 3:
            raise RuntimeError("the power went")
        return await whole(*arguments)

    monkeypatch.setattr(telling, "_tell_user", cut)
    with pytest.raises(RuntimeError):
        await telling.tell(later)
    await telling.tell(later)
    await telling.tell(later)
    for each in (phone, *others):
        assert 1 == len(await facts_of(served, each.user_id))
