"""
When an account was last used: the day of it, and no more.
"""

from typing import Any

import pytest

from gateway.catalog import users
from tests.http.phone import Phone
from tests.support.clock import FakeClock
from tests.support.gateway import Served

DAY = 24 * 3600


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

    async def counted(connection: Any, user_id: Any, *, day: int) -> None:
        written.append(day)
        await note_use(connection, user_id, day=day)

    monkeypatch.setattr(users, "note_use", counted)
    for _ in range(3):
        clock.advance(DAY)
        for _ in range(3):
            await phone.listed()
    assert 3 == len(written)
