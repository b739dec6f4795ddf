"""
Legal holds: what is held is not erased, whoever asks, until the hold is lifted or has ended.
"""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from gateway.base.ids import RecordingId, UserId
from gateway.catalog.holds import list_holds
from gateway.services.errors import Held, InvalidField, NotFound
from gateway.services.holds import Cause, HoldService
from tests.http.phone import Phone
from tests.support.actors import OPS
from tests.support.clock import FakeClock
from tests.support.gateway import Served

CAUSE = Cause(reason="case 12 of the court", placed_by="ops")


def holds_of(served: Served) -> HoldService:
    return served.gateway.holds


def id_of(text: str) -> RecordingId:
    import uuid

    return RecordingId(uuid.UUID(text))


async def test_a_held_recording_cannot_be_erased_and_others_can(served: Served) -> None:
    phone = await Phone.of_new_user(served)
    held, free = await phone.record(b"held"), await phone.record(b"free")
    hold = await holds_of(served).place(
        phone.user_id, CAUSE, by=OPS, recording_id=id_of(held), tells_user=True
    )

    answer = await phone.erase(held)
    assert (423, "held", False) == (answer.status, answer.problem["code"], answer.problem.get("retry", False))
    assert "case 12 of the court" in answer.problem["detail"]
    assert "Retry-After" not in answer.headers
    assert 200 == (await phone.erase(free)).status
    assert [held] == await phone.listed()

    await holds_of(served).lift(hold, by=OPS)
    # What was refused is not remembered.
    assert [held] == await phone.listed()
    assert 200 == (await phone.erase(held)).status


async def test_all_of_a_held_user_is_held_also_what_comes_later(served: Served) -> None:
    phone, other = await Phone.of_new_user(served), await Phone.of_new_user(served, "Grace")
    earlier = await phone.record(b"earlier")
    await holds_of(served).place(phone.user_id, CAUSE, by=OPS)
    later = await phone.record(b"later")

    for recording in (earlier, later):
        assert 423 == (await phone.erase(recording)).status
        assert (
            423 == (await phone.ask("DELETE", f"/v1/uploads/{recording}", {"Tus-Resumable": "1.0.0"})).status
        )
    assert 200 == (await other.erase(await other.record(b"free"))).status


async def test_a_user_who_is_not_told_sees_nothing_but_the_refusal(served: Served) -> None:
    phone = await Phone.of_new_user(served)
    recording = await phone.record(b"held")
    await holds_of(served).place(phone.user_id, CAUSE, by=OPS, tells_user=False)

    assert not await shown_as_held(phone, recording)
    answer = await phone.erase(recording)
    assert "held" == answer.problem["code"]
    assert "case 12" not in json.dumps(answer.document)


async def test_a_user_who_is_told_sees_what_is_held(served: Served) -> None:
    phone = await Phone.of_new_user(served)
    held, free = await phone.record(b"held"), await phone.record(b"free")
    await holds_of(served).place(phone.user_id, CAUSE, by=OPS, recording_id=id_of(held), tells_user=True)

    assert await shown_as_held(phone, held)
    assert not await shown_as_held(phone, free)


async def shown_as_held(phone: Phone, recording: str) -> bool:
    one = (await phone.ask("GET", f"/v1/recordings/{recording}")).document["held"]
    page = (await phone.ask("GET", "/v1/recordings")).document["recordings"]
    [listed] = [found["held"] for found in page if found["id"] == recording]
    assert one == listed
    assert isinstance(one, bool)
    return one


async def test_an_account_with_anything_held_cannot_be_erased(served: Served) -> None:
    phone = await Phone.of_new_user(served)
    recording = await phone.record(b"held")
    erasure = served.gateway.context.erasure
    hold = await holds_of(served).place(phone.user_id, CAUSE, by=OPS, recording_id=id_of(recording))
    with pytest.raises(Held):
        await erasure.bury_account(phone.user_id)
    assert [recording] == await phone.listed()

    await holds_of(served).lift(hold, by=OPS)
    await erasure.bury_account(phone.user_id)
    await served.placed()
    # Nothing is left of why it was held.
    async with served.gateway.context.catalog.read() as connection:
        assert [] == await list_holds(connection)


async def test_a_hold_ends_by_itself(served: Served, clock: FakeClock) -> None:
    phone = await Phone.of_new_user(served)
    recording = await phone.record(b"held")
    await holds_of(served).place(phone.user_id, CAUSE, by=OPS, ends_at=clock.now_ms() + 60_000)
    clock.advance(59)
    assert 423 == (await phone.erase(recording)).status
    clock.advance(1)
    assert 200 == (await phone.erase(recording)).status


async def test_a_repeated_deletion_still_gives_its_receipt(served: Served) -> None:
    phone = await Phone.of_new_user(served)
    recording = await phone.record(b"gone")
    await phone.erase(recording)
    await holds_of(served).place(phone.user_id, CAUSE, by=OPS)
    assert 200 == (await phone.erase(recording)).status


async def test_a_hold_and_a_deletion_at_once_one_comes_first(served: Served) -> None:
    phones = [await Phone.of_new_user(served) for _ in range(12)]
    recordings = [await phone.record(b"either") for phone in phones]

    async def hold(phone: Phone, recording: str) -> bool:
        try:
            await holds_of(served).place(phone.user_id, CAUSE, by=OPS, recording_id=id_of(recording))
        except NotFound:
            return False
        return True

    held = asyncio.gather(*[hold(*pair) for pair in zip(phones, recordings, strict=True)])
    erased = asyncio.gather(*[phone.erase(one) for phone, one in zip(phones, recordings, strict=True)])
    for was_held, answer in zip(await held, await erased, strict=True):
        assert (was_held, answer.status) in ((True, 423), (False, 200))


async def test_a_deletion_waits_for_a_hold_that_is_being_placed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = await Phone.of_new_user(served)
    recording = await phone.record(b"held")
    from gateway.catalog import holds as catalog

    insert, is_placing, goes_on = catalog.insert_hold, asyncio.Event(), asyncio.Event()

    async def slow_insert(connection: Any, hold: Any) -> None:
        is_placing.set()
        await goes_on.wait()
        await insert(connection, hold)

    monkeypatch.setattr(catalog, "insert_hold", slow_insert)
    placing = asyncio.create_task(holds_of(served).place(phone.user_id, CAUSE, by=OPS))
    await is_placing.wait()
    erasing = asyncio.create_task(phone.erase(recording))
    for _ in range(20):
        await asyncio.sleep(0)
    goes_on.set()
    await placing
    assert 423 == (await erasing).status


async def test_what_cannot_be_held(served: Served, clock: FakeClock) -> None:
    phone, other = await Phone.of_new_user(served), await Phone.of_new_user(served, "Grace")
    recording = await phone.record(b"one")
    service = holds_of(served)
    with pytest.raises(NotFound):
        await service.place(other.user_id, CAUSE, by=OPS, recording_id=id_of(recording))
    with pytest.raises(NotFound):
        await service.place(UserId("00000000-0000-0000-0000-000000000000"), CAUSE, by=OPS)
    with pytest.raises(InvalidField):
        await service.place(phone.user_id, Cause(reason=" ", placed_by="ops"), by=OPS)
    with pytest.raises(InvalidField):
        await service.place(phone.user_id, CAUSE, by=OPS, ends_at=clock.now_ms())
    with pytest.raises(NotFound):
        await service.lift("none", by=OPS)


async def test_the_reason_is_sealed_and_not_logged(
    served: Served, logs: list[MutableMapping[str, Any]]
) -> None:
    phone = await Phone.of_new_user(served)
    hold = await holds_of(served).place(phone.user_id, CAUSE, by=OPS)
    async with served.gateway.context.catalog.read() as connection:
        [row] = await list_holds(connection)
    assert b"case 12" not in row.sealed
    assert "case 12" not in repr(logs)
    assert hold in repr(logs)
    [view] = await holds_of(served).list_holds()
    assert (None, True) == (view.cause, view.is_active)
    [looked] = await holds_of(served).look_at_causes(by=OPS, reason="the court asks")
    assert CAUSE == looked.cause
