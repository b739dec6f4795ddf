"""
When an account was last used, and what becomes of one that nobody uses.
"""

from typing import Any

import pytest

from gateway.base.ids import UserId
from gateway.catalog import users
from gateway.services.holds import Cause
from gateway.services.unused_accounts import UnusedAccounts, nobody_is_told
from gateway.settings import Retention
from tests.http.phone import Phone
from tests.support.clock import FakeClock
from tests.support.gateway import Served

DAY = 24 * 3600
ON = Retention(erase_unused_accounts=True)


async def used_at(phone: Phone) -> int | None:
    async with phone.served.gateway.context.catalog.read() as connection:
        user = await users.get_user(connection, phone.user_id)
    assert user is not None
    return user.used_at


async def phone_of(served: Served) -> Phone:
    accounts = served.gateway.context.accounts
    user_id = await accounts.add_user(name="Ada")
    token = await accounts.new_token(user_id, lifetime_s=3000 * DAY)
    return Phone(served, user_id, {"Authorization": f"Bearer {token.reveal().decode()}"})


async def test_any_request_with_a_token_counts_as_use_and_tells_the_day_only(
    served: Served, clock: FakeClock
) -> None:
    phone = await phone_of(served)
    clock.advance(10 * DAY)
    await phone.listed()
    assert users.day_of(clock.now_ms()) == await used_at(phone)


async def test_use_is_written_once_a_day(
    served: Served, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = await phone_of(served)
    written: list[Any] = []
    note_use = users.note_use

    async def counted(connection: Any, user_ids: Any, *, day: int) -> None:
        written.append(day)
        await note_use(connection, user_ids, day=day)

    monkeypatch.setattr(users, "note_use", counted)
    for _ in range(3):
        clock.advance(DAY)
        for _ in range(3):
            await phone.listed()
    assert 3 == len(written)


async def test_accounts_that_nobody_used_end_if_their_users_were_told(
    served: Served, clock: FakeClock
) -> None:
    used, unused, held = [await phone_of(served) for _ in range(3)]
    hold = await served.gateway.holds.place(held.user_id, Cause(reason="case", placed_by="ops"))
    clock.advance(731 * DAY)
    await used.listed()
    context = served.gateway.context
    told: list[UserId] = []

    async def tell(user_id: UserId) -> bool:
        told.append(user_id)
        return True

    async def erase(limits: Retention, was_told: Any) -> int:
        return await UnusedAccounts(
            context.catalog, context.erasure, clock, limits, was_told=was_told
        ).erase()

    assert 0 == await erase(Retention(), tell)
    assert 0 == await erase(ON, nobody_is_told)
    assert 1 == await erase(ON, tell)
    assert {unused.user_id, held.user_id} == set(told)
    assert 401 == (await unused.ask("GET", "/v1/recordings")).status
    await served.gateway.holds.lift(hold)
    assert 1 == await erase(ON, tell)
    assert 200 == (await used.ask("GET", "/v1/recordings")).status
