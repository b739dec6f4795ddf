"""
How often a client command tries again, and when it doesn't.
"""

import aiohttp
import pytest

from gateway.cli.client.connection import Connection, ConnectionLost, Patience, RequestRefused

LOST = ConnectionLost("the server broke the connection")


def refused(*, is_worth_retrying: bool) -> RequestRefused:
    return RequestRefused("No", status=507, is_worth_retrying=is_worth_retrying, retry_after_s=3600)


async def waits_until_giving_up(
    error: ConnectionLost | RequestRefused, *, has_answered: bool = True
) -> list[str]:
    """
    Return what is told while nothing moves, up to the end.
    """
    told: list[str] = []
    async with aiohttp.ClientSession() as session:
        connection = Connection(session, "http://gateway.invalid")
        connection.has_answered = has_answered
        patience = Patience(connection, tell=told.append, tries=5, first_wait_s=0.001, longest_wait_s=0.003)

        async def fail() -> None:
            raise error

        with pytest.raises(type(error)):
            await patience.until_done(fail)
    return told


async def test_waits_longer_each_time_up_to_a_limit_and_then_gives_up() -> None:
    told = await waits_until_giving_up(LOST)

    assert [f"{LOST}; trying again in {wait} s" for wait in ("0.001", "0.002", "0.003", "0.003")] == told


async def test_leaves_the_server_alone_as_long_as_it_asks_within_the_limit() -> None:
    told = await waits_until_giving_up(refused(is_worth_retrying=True))

    assert ["No; trying again in 0.003 s"] * 4 == told


async def test_does_not_try_again_what_was_refused_for_good() -> None:
    assert [] == await waits_until_giving_up(refused(is_worth_retrying=False))


async def test_does_not_try_again_where_no_server_was_ever_seen() -> None:
    assert [] == await waits_until_giving_up(LOST, has_answered=False)


async def test_counts_anew_once_something_moved() -> None:
    told: list[str] = []
    async with aiohttp.ClientSession() as session:
        connection = Connection(session, "http://gateway.invalid")
        connection.has_answered = True
        patience = Patience(connection, tell=told.append, tries=2, first_wait_s=0.001)
        for _ in range(10):
            await patience.wait_after(LOST)
            patience.reset()

    assert [f"{LOST}; trying again in 0.001 s"] * 10 == told
