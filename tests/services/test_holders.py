"""
Who holds an upload: one request at a time, and the newest has the right to it.
"""

import asyncio
import uuid

import pytest

from gateway.base.ids import RecordingId
from gateway.services.holders import BodyIdle, Holder, Holders, LetGo

UPLOAD, OTHER = RecordingId(uuid.UUID(int=1)), RecordingId(uuid.UUID(int=2))
PATIENT_S = 60


class Sender:
    """
    A body that brings what it is told to.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.send = self._queue.put_nowait

    async def read(self) -> bytes:
        return await self._queue.get()


async def taken(holder: Holder, sender: Sender) -> bytes:
    """
    Read until a newcomer asks.
    """
    received = b""
    try:
        while True:
            received += await holder.read(sender.read(), idle_timeout_s=PATIENT_S)
    except LetGo:
        return received


async def test_a_newcomer_waits_until_the_holder_has_let_go() -> None:
    holders = Holders(handover_timeout_s=PATIENT_S)
    sender, order = Sender(), []
    holds = asyncio.Event()

    async def first() -> None:
        async with holders.hold(UPLOAD) as holder:
            holds.set()
            order.append(await taken(holder, sender))

    holding = asyncio.create_task(first())
    await holds.wait()
    sender.send(b"hello")
    await asyncio.sleep(0)
    async with holders.hold(UPLOAD):
        order.append(b"newcomer")

    await holding
    assert [b"hello", b"newcomer"] == order


async def test_whoever_was_asked_takes_what_has_come_and_waits_for_no_more() -> None:
    holder, sender = Holder(), Sender()
    sender.send(b"came before")
    holder.request_release()

    assert b"came before" == await holder.read(sender.read(), idle_timeout_s=PATIENT_S)
    with pytest.raises(LetGo):
        await holder.read(sender.read(), idle_timeout_s=PATIENT_S)


async def test_a_sender_that_never_pauses_does_not_keep_the_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.services.holders.LONGEST_GRACE_S", 0.02)
    holder = Holder()
    holder.request_release()

    async def endless() -> bytes:
        await asyncio.sleep(0)
        return b"more"

    async def read_on() -> None:
        while True:
            await holder.read(endless(), idle_timeout_s=PATIENT_S)

    with pytest.raises(LetGo):
        await asyncio.wait_for(read_on(), 10)


async def test_a_holder_that_does_not_answer_is_passed_by() -> None:
    holders = Holders(handover_timeout_s=0)
    may_end, holds = asyncio.Event(), asyncio.Event()

    async def deaf() -> None:
        async with holders.hold(UPLOAD):
            holds.set()
            await may_end.wait()

    hanging = asyncio.create_task(deaf())
    await holds.wait()
    async with holders.hold(UPLOAD) as newcomer:
        may_end.set()
        await hanging
        # The one that was passed by leaves, and does not take the newcomer's hold along.
        assert newcomer is holders._current[UPLOAD]

    assert {} == holders._current


async def test_of_many_newcomers_each_holds_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.services.holders.GRACE_S", 0.001)
    holders = Holders(handover_timeout_s=PATIENT_S)
    inside = most = 0

    async def visit() -> None:
        nonlocal inside, most
        async with holders.hold(UPLOAD) as holder:
            inside += 1
            most = max(most, inside)
            await taken(holder, Sender())
            inside -= 1

    visits = [asyncio.create_task(visit()) for _ in range(20)]
    async with asyncio.timeout(10):
        while sum(visit.done() for visit in visits) < 19 or not inside:  # noqa: ASYNC110 - each turn is a step
            await asyncio.sleep(0)
        assert [1, 1] == [inside, most]
        holders.request_release_of_all()
        await asyncio.gather(*visits)

    assert {} == holders._current


async def test_other_uploads_are_not_disturbed() -> None:
    holders = Holders(handover_timeout_s=PATIENT_S)

    async with holders.hold(UPLOAD) as one, holders.hold(OTHER) as other:
        assert one._lets_go_at is None
        assert other._lets_go_at is None


async def test_a_body_that_brings_nothing_is_idle() -> None:
    with pytest.raises(BodyIdle):
        await Holder().read(Sender().read(), idle_timeout_s=0)


async def test_a_newcomer_that_gives_up_leaves_the_holder_in_place() -> None:
    holders = Holders(handover_timeout_s=PATIENT_S)

    async with holders.hold(UPLOAD) as holder:

        async def newcomer() -> None:
            async with holders.hold(UPLOAD):
                pass

        waiting = asyncio.create_task(newcomer())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert holder is holders._current[UPLOAD]

    assert {} == holders._current
