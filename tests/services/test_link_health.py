"""
Links that look after themselves: the ill are tried, the idle refreshed, and ends are told of beforehand.
"""

from typing import Any

import pytest
from sqlalchemy import func, select

from gateway.catalog.tables import link_attempts
from gateway.services.link_health import LinkHealth
from tests.conftest import DatabaseUrls
from tests.emulators.cloud import Account
from tests.emulators.faults import Effect
from tests.http.link_client import Linker
from tests.support.clock import FakeClock
from tests.support.gateway import Served
from tests.support.pretend_drive import PretendDrive

DAY_S = 24 * 3600
INTERVAL_S = 900


@pytest.fixture
def linking(database_urls: DatabaseUrls) -> dict[str, Any]:
    return {"catalog_url": database_urls.catalog, "keys_url": database_urls.keys}


@pytest.fixture
def health(gateway: Served) -> LinkHealth:
    return gateway.gateway.links.health


async def state_of(ada: Linker) -> str:
    [link] = await ada.links()
    return str(link["state"])


async def test_an_ill_link_is_tried_now_and_then_until_it_is_well(
    ada: Linker, account: Account, drive: PretendDrive, health: LinkHealth, clock: FakeClock
) -> None:
    drive.refuses = 507
    await ada.link(account)
    drive.faults.requests.clear()

    await health.sweep()
    assert 0 == drive.faults.requests["use"]

    clock.advance(INTERVAL_S)
    await health.sweep()
    tried = drive.faults.requests["use"]
    await health.sweep()
    assert tried == drive.faults.requests["use"] > 0
    assert "over_quota" == await state_of(ada)

    drive.refuses = 0
    clock.advance(INTERVAL_S)
    await health.sweep()
    assert "ok" == await state_of(ada)


async def test_an_account_without_a_free_byte_stays_full(
    ada: Linker, account: Account, drive: PretendDrive, health: LinkHealth, clock: FakeClock
) -> None:
    drive.refuses = 507
    await ada.link(account)
    drive.refuses, account.quota = 0, 0
    clock.advance(INTERVAL_S)

    await health.sweep()

    assert "over_quota" == await state_of(ada)
    assert {"used": 0, "limit": 0} == (await ada.links())[0]["quota"]


async def test_links_that_are_well_are_left_alone(
    ada: Linker, account: Account, drive: PretendDrive, health: LinkHealth, clock: FakeClock
) -> None:
    await ada.link(account)
    drive.faults.requests.clear()
    clock.advance(DAY_S)

    await health.sweep()

    assert 0 == drive.faults.requests.total()


async def test_an_idle_grant_is_refreshed_lest_it_die(
    ada: Linker, account: Account, drive: PretendDrive, health: LinkHealth, clock: FakeClock
) -> None:
    await ada.link(account)
    drive.faults.requests.clear()
    clock.advance(30 * DAY_S - 1)
    await health.sweep()
    assert 0 == drive.faults.requests["token"]

    clock.advance(1)
    await health.sweep()
    await health.sweep()

    assert 1 == drive.faults.requests["token"]


async def test_an_idle_grant_that_is_dead_is_told_of(
    ada: Linker, account: Account, drive: PretendDrive, health: LinkHealth, clock: FakeClock
) -> None:
    await ada.link(account)
    drive.oauth.revoke(account)
    clock.advance(30 * DAY_S)

    await health.sweep()

    assert "revoked" == await state_of(ada)


async def test_a_token_server_that_fails_is_asked_again_at_the_next_sweep(
    ada: Linker, account: Account, drive: PretendDrive, health: LinkHealth, clock: FakeClock
) -> None:
    await ada.link(account)
    clock.advance(30 * DAY_S)
    drive.faults.requests.clear()
    drive.faults.order("token", Effect.FAIL)

    await health.sweep()
    await health.sweep()

    assert 2 == drive.faults.requests["token"]
    assert "ok" == await state_of(ada)


async def test_a_grant_that_ends_soon_is_told_of_until_it_is_prolonged(
    ada: Linker, account: Account, drive: PretendDrive, health: LinkHealth, clock: FakeClock
) -> None:
    drive.oauth.grant_lasts_s = 7 * DAY_S
    link = await ada.link(account)
    await health.sweep()
    assert "ok" == await state_of(ada)

    clock.advance(4 * DAY_S)
    await health.sweep()
    [shown] = await ada.links()
    assert ("expiring", "grant-ends") == (shown["state"], shown["reason"])
    assert "again soon" in shown["what_to_do"]

    await ada.link(account, relink=link["id"])
    await health.sweep()
    assert "ok" == await state_of(ada)


async def told_of_links(ada: Linker) -> list[str]:
    """
    Return what the user was told, oldest first.
    """
    context = ada.served.gateway.context
    page = await context.notices.page_of(await context.accounts.get_user(ada.user_id), limit=50)
    return [view.text.title for view in reversed(page.notices) if view.text is not None]


ILL = "Your Pretend Drive account does not work here"


async def test_a_trouble_that_lasts_is_told_once_and_again_only_after_it_was_well(
    ada: Linker, account: Account, drive: PretendDrive, health: LinkHealth, clock: FakeClock
) -> None:
    await ada.link(account)
    told = []

    async def an_hour_passes(*, refuses: int) -> None:
        drive.refuses = refuses
        if refuses:
            await ada.ask("POST", f"/v1/links/{(await ada.links())[0]['id']}/check")
        for _ in range(5):
            clock.advance(INTERVAL_S)
            await health.sweep()
        told.append(await told_of_links(ada))

    for refuses in (0, 507, 507, 403, 0, 0, 507):
        await an_hour_passes(refuses=refuses)
    # Another trouble without being well in between is the same.
    assert [0, 1, 1, 1, 1, 1, 2] == [len(titles) for titles in told]
    assert [ILL, ILL] == told[-1]


async def test_a_trouble_that_is_soon_over_is_not_told(
    ada: Linker, account: Account, drive: PretendDrive, health: LinkHealth, clock: FakeClock
) -> None:
    drive.refuses = 507
    await ada.link(account)
    for _ in range(3):
        await health.sweep()
        clock.advance(INTERVAL_S)
    drive.refuses = 0
    clock.advance(3600)
    await health.sweep()
    await health.sweep()
    assert [] == await told_of_links(ada)


async def test_what_ends_soon_is_told_beforehand_and_what_has_ended_then(
    ada: Linker, account: Account, drive: PretendDrive, health: LinkHealth, clock: FakeClock
) -> None:
    drive.oauth.grant_lasts_s = 7 * DAY_S
    await ada.link(account)
    clock.advance(4 * DAY_S)
    for _ in range(3):
        await health.sweep()
    [ending] = await told_of_links(ada)
    assert ending.startswith("Your Pretend Drive account has to be linked again by")

    drive.oauth.revoke(account)
    clock.advance(30 * DAY_S)
    for _ in range(3):
        await health.sweep()
        clock.advance(3600)
    assert [ending, ILL] == await told_of_links(ada)


async def test_nobody_is_told_of_what_he_unlinked(
    ada: Linker, account: Account, drive: PretendDrive, health: LinkHealth, clock: FakeClock
) -> None:
    drive.refuses = 507
    link = await ada.link(account)
    await health.sweep()
    await ada.ask("DELETE", f"/v1/links/{link['id']}")
    clock.advance(2 * 3600)
    await health.sweep()
    assert [] == await told_of_links(ada)


async def test_attempts_that_expired_are_swept(ada: Linker, health: LinkHealth, clock: FakeClock) -> None:
    await ada.begin()
    clock.advance(600)

    await health.sweep()

    async with ada.served.gateway.context.catalog.read() as connection:
        assert 0 == await connection.scalar(select(func.count()).select_from(link_attempts))


async def test_of_many_attempts_the_oldest_are_forgotten(ada: Linker, clock: FakeClock) -> None:
    for _ in range(25):
        clock.advance(1)
        await ada.begin()

    async with ada.served.gateway.context.catalog.read() as connection:
        assert 20 == await connection.scalar(select(func.count()).select_from(link_attempts))
