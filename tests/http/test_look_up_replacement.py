"""
After somebody has left, what people are found by is made anew, and the key of before is gone.
"""

import asyncio
import hashlib
import hmac
import shutil
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from gateway.base.ids import UserId
from gateway.catalog import identities as catalog
from gateway.catalog.tables import identities, users
from gateway.crypto.keys import subkey
from gateway.keyring.errors import LeafShredded
from gateway.services.identities import Proven
from gateway.services.look_up_replacement import IdentitiesUnreadable
from tests.http.newcomer import NUMBER, Newcomer
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving

INTERVAL_S = 86400
STAYING = [f"+141555501{number:02}" for number in range(1, 8)]


@pytest.fixture
def sections() -> dict[str, dict[str, Any]]:
    return {
        "sign_in": {"resend_after_s": 0, "codes_per_address": 500, "codes_per_number": 50},
        "leaving": {"look_ups_interval_s": INTERVAL_S, "look_ups_batch": 3},
    }


@pytest.fixture
async def staying(served: Served) -> list[Newcomer]:
    newcomers = [Newcomer(served, number=number) for number in STAYING]
    for newcomer in newcomers:
        await newcomer.sign_in()
    return newcomers


async def leave(served: Served, number: str = NUMBER) -> str:
    """
    Come, and leave at once; return the id.
    """
    newcomer = Newcomer(served, number=number)
    await newcomer.sign_in()
    assert 200 == (await newcomer.mine("DELETE", "/v1/me?now=true")).status
    await served.gateway.do_due_jobs()
    user_id: str = newcomer.tokens["user"]
    return user_id


async def tick(served: Served) -> None:
    await served.gateway.look_ups.tick()
    await served.gateway.do_due_jobs()


async def rows(served: Served) -> list[tuple[int, bytes]]:
    async with served.gateway.context.catalog.read() as connection:
        found = await connection.execute(select(identities.c.generation, identities.c.look_up))
        return [(row.generation, row.look_up) for row in found]


async def state_of(served: Served, user_id: str) -> dict[str, Any]:
    async with served.http.get(f"/v1/farewells/{user_id}") as response:
        document: dict[str, Any] = (await response.json())["look_ups"]
        return document


async def check_all_are_found(served: Served, people: list[Newcomer]) -> None:
    for newcomer in people:
        again = Newcomer(served, number=newcomer.number)
        await again.sign_in()
        assert (newcomer.tokens["user"], False) == (again.tokens["user"], again.tokens["is_new"])


async def test_the_key_is_replaced_and_everybody_is_still_found(
    served: Served, staying: list[Newcomer]
) -> None:
    keyring = served.gateway.context.keyring
    key = subkey(await keyring.service_key("look-up-1"), "look-up").reveal()
    before = await rows(served)
    gone = await leave(served)
    told = await state_of(served, gone)
    assert ("pending", "look-up-1", None) == (told["state"], told["key"], told["receipt"])
    # With the key of before, whoever tries numbers out finds who is here.
    wanted = hmac.digest(key, f"phone\0{STAYING[0]}".encode(), hashlib.sha256)
    assert wanted in [look_up for _, look_up in before]

    await tick(served)

    after = await rows(served)
    assert {2} == {generation for generation, _ in after}
    assert not {look_up for _, look_up in before} & {look_up for _, look_up in after}
    with pytest.raises(LeafShredded):
        await keyring.service_key("look-up-1")
    told = await state_of(served, gone)
    assert ("gone", "service-key") == (told["state"], told["receipt"]["subject"]["kind"])
    await check_all_are_found(served, staying)


async def test_many_who_leave_share_one_replacement(
    served: Served, staying: list[Newcomer], clock: FakeClock
) -> None:
    for number in ("+14155550190", "+14155550191"):
        await leave(served, number)
    await tick(served)
    late = await leave(served, "+14155550192")
    for _ in range(3):
        clock.advance(INTERVAL_S / 4)
        await tick(served)
    assert {2} == {generation for generation, _ in await rows(served)}
    told = await state_of(served, late)
    assert ("pending", "look-up-2") == (told["state"], told["key"])

    clock.advance(INTERVAL_S / 4)
    await tick(served)

    assert {3} == {generation for generation, _ in await rows(served)}
    assert "gone" == (await state_of(served, late))["state"]
    await check_all_are_found(served, staying)
    # Nobody has left since, so it stays.
    clock.advance(INTERVAL_S)
    await tick(served)
    assert {3} == {generation for generation, _ in await rows(served)}


async def test_a_clock_that_was_ahead_keeps_no_key_for_ever(served: Served, clock: FakeClock) -> None:
    clock.jump(1000 * INTERVAL_S)
    await leave(served)
    await tick(served)
    clock.jump(-1000 * INTERVAL_S)
    late = await leave(served)
    await tick(served)
    assert "gone" == (await state_of(served, late))["state"]


class Cut(Exception):
    """
    The process ends here.
    """


@pytest.mark.parametrize("place", ["prepare", "_renew_all", "second batch", "shred_service_key"])
async def test_a_replacement_that_was_cut_short_is_taken_up(
    served: Served, staying: list[Newcomer], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replacement, keyring = served.gateway.look_ups, served.gateway.context.keyring
    gone = await leave(served)

    async def cut(*args: object, **options: object) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        if place == "prepare":
            prepare = replacement._look_ups.prepare

            async def prepare_and_die(generation: int) -> None:
                await prepare(generation)
                raise Cut

            patch.setattr(replacement._look_ups, "prepare", prepare_and_die)
        elif place == "second batch":
            change, calls = catalog.change_look_ups, []

            async def change_once(*args: Any, **options: Any) -> None:
                calls.append(1)
                if len(calls) > 1:
                    raise Cut
                await change(*args, **options)

            patch.setattr(catalog, "change_look_ups", change_once)
        else:
            patch.setattr(keyring if place.startswith("shred") else replacement, place, cut)
        with suppress(Cut):
            await replacement.carry_on()

    # In between, everybody is found, old key or new; people come, leave, and are not there twice.
    await check_all_are_found(served, staying)
    newcomer = Newcomer(served, number="+14155550170")
    await newcomer.sign_in()
    await check_all_are_found(served, [*staying, newcomer])
    between = await leave(served, "+14155550171")
    assert "pending" == (await state_of(served, between))["state"]

    await tick(served)

    assert "gone" == (await state_of(served, gone))["state"]
    generation = 1 if place == "prepare" else 2
    assert f"look-up-{generation}" == (await state_of(served, between))["key"]
    assert {2} == {generation for generation, _ in await rows(served)}
    await check_all_are_found(served, [*staying, newcomer])


async def test_people_who_come_while_the_key_is_replaced_are_there_once(
    served: Served, staying: list[Newcomer]
) -> None:
    """
    Whoever read the key of before, and writes after the replacement, would make somebody a second time.
    """
    service = served.gateway.context.people.identities
    await leave(served)
    proven = Proven(space="phone", subject="+14155550160", label="")
    made = asyncio.Event()
    go_on = asyncio.Event()
    prepared = service._accounts.prepared

    async def slow(personal: Any) -> Any:
        made.set()
        await go_on.wait()
        return await prepared(personal)

    service._accounts.prepared = slow  # type: ignore[method-assign]
    entering = asyncio.create_task(service.enter(proven))
    await made.wait()
    service._accounts.prepared = prepared  # type: ignore[method-assign]
    first, _ = await service.enter(proven)
    await tick(served)
    go_on.set()

    user, is_new = await entering

    assert (first.id, False) == (user.id, is_new)
    assert {2} == {generation for generation, _ in await rows(served)}
    assert len(staying) + 1 == len(await rows(served))


async def test_what_cannot_be_read_keeps_the_old_key_until_its_owner_comes(
    served: Served, staying: list[Newcomer]
) -> None:
    gone = await leave(served)
    async with served.gateway.context.catalog.write() as connection:
        owner = UserId(staying[0].tokens["user"])
        await connection.execute(
            update(identities).where(identities.c.user_id == owner).values(sealed=bytes(60))
        )
    with pytest.raises(IdentitiesUnreadable, match="1 identities"):
        await served.gateway.look_ups.carry_on()
    assert "pending" == (await state_of(served, gone))["state"]

    await check_all_are_found(served, staying)
    await served.gateway.look_ups.carry_on()

    assert "gone" == (await state_of(served, gone))["state"]
    await check_all_are_found(served, staying)


async def test_an_older_catalog_is_brought_to_the_key_of_today(tmp_path: Path, clock: FakeClock) -> None:
    """
    The catalog of before the replacement, beside the keys of now: its look-ups are of a key that is gone.
    """
    data_dir = tmp_path / "data"
    limits = {"resend_after_s": 0, "codes_per_address": 500, "codes_per_number": 50}

    def opened() -> AbstractAsyncContextManager[Served]:
        return serving(data_dir, clock=clock, with_workers=False, sign_in=limits)

    async with opened() as served:
        ada, grace = Newcomer(served, number=STAYING[0]), Newcomer(served, number=STAYING[1])
        await ada.sign_in()
        await grace.sign_in()
    shutil.copy(data_dir / "catalog.db", tmp_path / "old.db")
    async with opened() as served:
        grace.served = served
        await grace.sign_in()
        assert 200 == (await grace.mine("DELETE", "/v1/me?now=true")).status
        await served.gateway.do_due_jobs()
        later = await leave(served)
        await tick(served)
        assert "gone" == (await state_of(served, later))["state"]
    for ending in ("-wal", "-shm"):
        (data_dir / f"catalog.db{ending}").unlink(missing_ok=True)
    shutil.copy(tmp_path / "old.db", data_dir / "catalog.db")

    async with opened() as served:
        assert {2} == {generation for generation, _ in await rows(served)}
        await check_all_are_found(served, [ada])
        anew = Newcomer(served, number=STAYING[1])
        await anew.sign_in()
        assert anew.tokens["is_new"]
        # Nothing tells any more which key he was last found by, so the newest has to go as well.
        async with served.gateway.context.catalog.read() as connection:
            left_by = (
                await connection.execute(
                    select(users.c.look_up_generation).where(users.c.id == grace.tokens["user"])
                )
            ).scalar_one()
        assert 2 == left_by
        await tick(served)
        assert {3} == {generation for generation, _ in await rows(served)}
        await check_all_are_found(served, [ada, anew])


async def test_the_key_is_not_replaced_while_somebody_is_being_freed_of_it(
    served: Served, staying: list[Newcomer]
) -> None:
    """
    Otherwise he could be found by the new key, and be noted as one who was found by the old one alone.
    """
    await leave(served)
    async with served.gateway.context.catalog.write() as connection:
        assert 1 == await catalog.look_up_generation(connection, holds=True)
        replacing = asyncio.create_task(served.gateway.look_ups.carry_on())
        done, _ = await asyncio.wait([replacing], timeout=0.3)
        assert not done
        assert 1 == await catalog.look_up_generation(connection)
    await replacing
    assert {2} == {generation for generation, _ in await rows(served)}


async def test_people_leave_and_sign_in_while_the_key_is_replaced(
    served: Served, staying: list[Newcomer], clock: FakeClock
) -> None:
    accounts = served.gateway.context.people.identities
    gone: list[str] = []

    async def come_and_go(number: str) -> None:
        user, _ = await accounts.enter(Proven(space="phone", subject=number, label=""))
        await served.gateway.context.leaving.erase_now(user.id, wait_s=30)
        gone.append(user.id)

    async def sign_in_again(newcomer: Newcomer) -> None:
        user, is_new = await accounts.enter(Proven(space="phone", subject=newcomer.number, label=""))
        assert (newcomer.tokens["user"], False) == (user.id, is_new)

    for turn in range(3):
        clock.advance(INTERVAL_S)
        await asyncio.gather(
            *(come_and_go(f"+1415555014{number}") for number in range(4)),
            *(sign_in_again(newcomer) for newcomer in staying),
            *([tick(served)] if turn else []),
        )
    for _ in range(2):
        clock.advance(INTERVAL_S)
        await tick(served)
    await served.gateway.do_due_jobs()

    assert 12 == len(set(gone))
    assert {"gone"} == {(await state_of(served, user))["state"] for user in gone}
    assert len(staying) == len(await rows(served))
    await check_all_are_found(served, staying)
