"""
Rounds of shredding that run to their end, alone and in company.
"""

import asyncio

import pytest

from gateway.base.ids import USER_LEAF, Epoch, LeafIndex
from gateway.base.secret import Secret
from gateway.crypto.keys import root_id
from gateway.keyring import Receipt
from gateway.keyring.errors import (
    LeafShredded,
    RootStoreFailed,
    ShredConflict,
    ShredRefused,
    SlotShredded,
    TreeDamaged,
)
from gateway.keyring.requests import ShredRequest
from tests.keyring.world import STEPS, Fault, FaultyRoots, World


async def test_a_shredded_leaf_is_gone_and_its_neighbours_live(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    neighbours = [await keyring.leaf(slot, LeafIndex(index)) for index in (4, 6)]
    await keyring.shred(world.recording(slot, 5))
    with pytest.raises(LeafShredded):
        await keyring.leaf(slot, LeafIndex(5))
    assert neighbours == [await keyring.leaf(slot, LeafIndex(index)) for index in (4, 6)]
    await keyring.close()
    keyring = await world.open()
    with pytest.raises(LeafShredded):
        await keyring.leaf(slot, LeafIndex(5))
    assert neighbours == [await keyring.leaf(slot, LeafIndex(index)) for index in (4, 6)]


async def test_whoever_wrote_everything_down_derives_it_before_and_not_after(world: World) -> None:
    keyring = await world.open()
    slot, other = await keyring.add_slot(), await keyring.add_slot()
    leaf = await keyring.leaf(slot, LeafIndex(5))
    assert leaf.reveal() == world.attacker.leaf(slot, 5)
    await keyring.shred(world.recording(slot, 5))
    assert not world.attacker.can_derive(slot, 5)
    assert world.attacker.can_derive(slot, 4)
    assert world.attacker.can_derive(other, 5)
    await keyring.shred(world.account(slot))
    assert not world.attacker.can_derive(slot, 4)
    assert not world.attacker.can_derive(slot, USER_LEAF)
    assert world.attacker.can_derive(other, 5)


async def test_with_the_root_of_before_everything_would_come_back(world: World) -> None:
    """
    The positive control: it is the root's end, and nothing else, that makes the old rows worthless.
    """
    keyring = await world.open()
    slot = await keyring.add_slot()
    world.attacker.steal_roots()
    await keyring.shred(world.recording(slot, 5))
    assert world.attacker.can_derive(slot, 5, with_stolen_roots=True)
    assert not world.attacker.can_derive(slot, 5)


async def test_a_range_goes_at_once_and_the_user_s_own_leaf_stays(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    await keyring.shred(world.recording(slot, 0, 8999))
    assert {LeafIndex(9000), USER_LEAF} == set(
        await keyring.leaves(slot, [LeafIndex(index) for index in (0, 4500, 8999, 9000, USER_LEAF)])
    )
    assert not world.attacker.can_derive(slot, 8999)


async def test_the_steps_are_taken_in_their_order(world: World) -> None:
    world.roots = roots = FaultyRoots(world.roots)
    keyring = await world.open()
    slot = await keyring.add_slot()
    world.steps.seen.clear()
    roots.calls.clear()
    at: dict[str, tuple[int, list[Epoch]]] = {}
    request = world.recording(slot, 0)
    for step in STEPS:

        async def note(step: str = step) -> None:
            receipts = 0 if step == "5-before-commit" else len(await keyring.receipts_of(request.subject_id))
            at[step] = receipts, await roots.epochs()

        world.steps.at(step, note)
    await keyring.shred(request)
    assert STEPS == world.steps.seen
    expected = {
        "1-root-put": (0, [1, 2]),
        "2-before-commit": (0, [1, 2]),
        "2-committed": (0, [1, 2]),
        "3-read-back": (0, [1, 2]),
        "4-destroyed": (0, [2]),
        "5-before-commit": (0, [2]),
        "5-shredded": (1, [2]),
    }
    assert expected == at
    calls = [call for call in roots.calls if call != ("read", 1)]
    assert [("put", 2), ("read", 2)] == calls[:2]
    assert ("destroy", 1) == calls[-1]
    # Once more under the head's lock, once more to open the top page with.
    assert calls.count(("read", 2)) >= 3


async def test_the_receipt_names_the_root_that_was_destroyed(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    root = await world.roots.read(Epoch(1))
    receipt = await keyring.shred(world.recording(slot, 5))
    assert root_id(root).hex() == receipt.document["destroyed_root"]
    assert {"from": 1, "to": 2} == receipt.document["epochs"]


async def test_a_subject_that_was_shredded_gives_its_first_receipt_without_a_round(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    request = world.recording(slot, 5)
    first = await keyring.shred(request)
    world.clock.advance(60)
    rounds = world.steps.rounds
    assert first == await keyring.shred(request)
    await keyring.close()
    keyring = await world.open()
    assert first == await keyring.shred(request)
    assert rounds == world.steps.rounds
    assert 2 == await world.epoch()


async def test_the_first_receipt_is_given_even_where_no_round_can_run(world: World) -> None:
    keyring = await world.open()
    request = world.recording(await keyring.add_slot(), 5)
    first = await keyring.shred(request)
    (world.folder / "root" / "slots").unlink()
    assert first == await keyring.shred(request)


async def test_two_identical_requests_at_once_share_one_receipt(world: World) -> None:
    keyring = await world.open()
    request = world.recording(await keyring.add_slot(), 5)
    rounds = world.steps.rounds
    one, two = await asyncio.gather(keyring.shred(request), keyring.shred(request))
    assert one == two
    assert rounds + 1 == world.steps.rounds
    assert 1 == len(await keyring.receipts_of(request.subject_id))


async def test_a_request_joins_one_that_is_being_carried_out(world: World) -> None:
    keyring = await world.open()
    request = world.recording(await keyring.add_slot(), 5)
    joined: list[asyncio.Task[Receipt]] = []
    for step in STEPS[:-1]:

        async def join() -> None:
            joined.append(asyncio.ensure_future(keyring.shred(request)))
            await asyncio.sleep(0)

        world.steps.at(step, join)
    first = await keyring.shred(request)
    assert [first] * 6 == await asyncio.gather(*joined)
    assert 1 == len(await keyring.receipts_of(request.subject_id))


async def test_other_leaves_under_the_same_id_are_refused(world: World) -> None:
    """
    A receipt for these would be a lie: the leaves that it was given for are others.
    """
    keyring = await world.open()
    slot, other = await keyring.add_slot(), await keyring.add_slot()
    first = world.recording(slot, 5, subject_id="the same")
    others = [
        world.recording(slot, 6, subject_id="the same"),
        world.recording(slot, 5, 6, subject_id="the same"),
        world.recording(other, 5, subject_id="the same"),
        world.account(slot, subject_id="the same"),
    ]
    outcomes = await asyncio.gather(keyring.shred(first), *map(keyring.shred, others), return_exceptions=True)
    # Whichever was first has its receipt, and all of the others are refused.
    assert 1 == sum(isinstance(outcome, Receipt) for outcome in outcomes)
    assert 4 == sum(isinstance(outcome, ShredConflict) for outcome in outcomes)
    for request, outcome in zip([first, *others], outcomes, strict=True):
        if isinstance(outcome, ShredConflict):
            with pytest.raises(ShredConflict, match="the same"):
                await keyring.shred(request)


async def test_hundreds_at_once_share_a_few_rounds(world: World) -> None:
    keyring = await world.open()
    slots = [await keyring.add_slot() for _ in range(20)]
    requests = [world.recording(slot, index) for slot in slots for index in range(15)]
    rounds = world.steps.rounds
    receipts = await asyncio.gather(*map(keyring.shred, requests))
    assert 300 == len({receipt.sequence for receipt in receipts})
    assert world.steps.rounds - rounds <= 5
    for slot in slots:
        asked = [LeafIndex(index) for index in range(16)]
        assert [15] == list(await keyring.leaves(slot, asked))


async def test_those_that_come_while_a_round_runs_share_the_next(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    late: list[asyncio.Task[Receipt]] = []
    asked = asyncio.Event()

    async def many_come() -> None:
        late.extend(
            asyncio.ensure_future(keyring.shred(world.recording(slot, index))) for index in range(1, 50)
        )
        asked.set()

    world.steps.at("1-root-put", many_come)
    rounds = world.steps.rounds
    first = await keyring.shred(world.recording(slot, 0))
    await asked.wait()
    others = await asyncio.gather(*late)
    assert {"from": 1, "to": 2} == first.document["epochs"]
    assert {2} == {receipt.document["epochs"]["from"] for receipt in others[:1]}
    assert world.steps.rounds - rounds <= 3


async def test_a_lone_request_waits_for_no_timer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_later = loop.call_later

    def note(delay: float, *arguments: object, **options: object) -> asyncio.TimerHandle:
        timers.append(delay)
        return call_later(delay, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_later", note)
    await keyring.shred(world.recording(slot, 0))
    # What a database driver guards its own calls with is no waiting, and is far longer than any round.
    assert [] == [delay for delay in timers if delay < 5]


async def test_a_round_has_a_most_and_the_rest_share_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.keyring.group_commit.MOST_IN_A_ROUND", 10)
    keyring = await world.open()
    slot = await keyring.add_slot()
    sizes: list[int] = []
    shred = keyring._group_commit._shred

    async def note(requests: list[ShredRequest]) -> object:
        sizes.append(len(requests))
        return await shred(requests)

    monkeypatch.setattr(keyring._group_commit, "_shred", note)
    await asyncio.gather(*(keyring.shred(world.recording(slot, index)) for index in range(35)))
    assert 35 == sum(sizes)
    assert max(sizes) <= 10


async def test_giving_up_waiting_does_not_stop_the_round(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    request = world.recording(slot, 5)
    waiting = asyncio.ensure_future(keyring.shred(request))

    async def give_up() -> None:
        waiting.cancel()

    world.steps.at("2-before-commit", give_up)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await keyring.close()
    assert 1 == len(await keyring.receipts_of(request.subject_id))


async def test_recordings_and_their_account_may_share_a_round(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    requests = [world.recording(slot, 5), world.account(slot), world.recording(slot, 6)]
    receipts = await asyncio.gather(*map(keyring.shred, requests))
    assert ["recording", "account", "recording"] == [
        receipt.document["subject"]["kind"] for receipt in receipts
    ]
    with pytest.raises(SlotShredded):
        await keyring.leaf(slot, LeafIndex(7))
    assert not world.attacker.can_derive(slot, 7)


async def test_a_recording_of_a_shredded_account_gets_its_receipt(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    await keyring.shred(world.account(slot))
    receipt = await keyring.shred(world.recording(slot, 5))
    assert {"from": 2, "to": 3} == receipt.document["epochs"]


async def test_a_damaged_user_fails_alone(world: World) -> None:
    keyring = await world.open()
    damaged, whole = await keyring.add_slot(), await keyring.add_slot()
    await world.sql("DELETE FROM tree_states WHERE slot = 1")
    requests = [world.recording(damaged, 0), world.recording(whole, 0)]
    answers = await keyring._rounds.shred(requests)
    assert isinstance(answers[requests[0].subject_id], TreeDamaged)
    assert isinstance(answers[requests[1].subject_id], Receipt)
    assert [] == await keyring.receipts_of(requests[0].subject_id)
    with pytest.raises(TreeDamaged):
        await keyring.shred(requests[0])
    # The round that carried nothing out moved nothing, and leaves no root behind.
    assert 2 == await world.epoch()
    await keyring.shred(world.recording(whole, 1))
    assert [3] == await world.roots.epochs()


async def test_the_shredding_log_is_followed_from_any_place(world: World) -> None:
    keyring = await world.open()
    slot, other = await keyring.add_slot(), await keyring.add_slot()
    assert [] == await keyring.shredded_since(0, 10)
    requests = [world.recording(slot, 5, 7), world.account(other), world.recording(slot, 9)]
    for request in requests:
        await keyring.shred(request)
    await keyring.record_purge(requests[0].subject_id, [])
    entries = await keyring.shredded_since(0, 10)
    assert [request.subject_id for request in requests] == [entry.subject_id for entry in entries]
    expected = [("recording", slot, 5, 7, 2), ("account", other, None, None, 3), ("recording", slot, 9, 9, 4)]
    assert expected == [(entry.kind, entry.slot, entry.first, entry.last, entry.epoch) for entry in entries]
    assert entries[:2] == await keyring.shredded_since(0, 2)
    assert entries[2:] == await keyring.shredded_since(entries[1].sequence, 10)
    assert [] == await keyring.shredded_since(entries[2].sequence, 10)


async def test_what_is_not_final_is_not_in_the_log(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()

    async def look() -> None:
        assert [] == await keyring.shredded_since(0, 10)

    world.steps.at("4-destroyed", look)
    await keyring.shred(world.recording(slot, 0))
    assert 1 == len(await keyring.shredded_since(0, 10))


async def test_after_a_failed_put_the_next_round_starts_clean(world: World) -> None:
    world.roots = roots = FaultyRoots(world.roots)
    keyring = await world.open()
    slot = await keyring.add_slot()

    async def disk_full(epoch: Epoch) -> None:
        raise RootStoreFailed("no space left on the device")

    roots.before["put"] = disk_full
    requests = [world.recording(slot, index) for index in range(2)]
    outcomes = await asyncio.gather(*map(keyring.shred, requests), return_exceptions=True)
    failed = [outcome for outcome in outcomes if not isinstance(outcome, Receipt)]
    assert [RootStoreFailed] * len(failed) == [type(outcome) for outcome in failed]
    assert failed
    receipts = await asyncio.gather(*map(keyring.shred, requests))
    assert {1, 2} == {receipt.sequence for receipt in receipts}
    assert not world.attacker.can_derive(slot, 0)


async def test_all_that_share_a_failing_round_get_its_error(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    requests = [world.recording(slot, index) for index in range(5)]
    world.steps.fail_at("2-before-commit", Fault("the database is gone"))
    with pytest.raises(Fault, match="the database is gone"):
        await keyring._rounds.shred(requests)
    for request in requests:
        assert 32 == len(await keyring.leaf(slot, LeafIndex(request.first or 0)))
        assert [] == await keyring.receipts_of(request.subject_id)
    assert 1 == await world.epoch()
    assert 5 == len(await keyring._rounds.shred(requests))


async def test_a_store_that_loses_what_was_put_is_noticed_before_the_commit(world: World) -> None:
    world.roots = roots = FaultyRoots(world.roots)
    keyring = await world.open()
    slot = await keyring.add_slot()
    store = roots._store

    async def vanish() -> None:
        await store.destroy(Epoch(2))
        world.steps.at("1-root-put", vanish)

    world.steps.at("1-root-put", vanish)
    with pytest.raises(Exception, match="pending root of epoch 2"):
        await keyring.shred(world.recording(slot, 0))
    assert 1 == await world.epoch()
    assert 32 == len(await keyring.leaf(slot, LeafIndex(0)))


async def test_a_store_that_gives_another_root_back_is_noticed_before_the_commit(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    store = world.roots

    class Forgetful(FaultyRoots):
        async def put(self, epoch: Epoch, key: Secret) -> None:
            await store.put(epoch, Secret(bytes(32)))

    world.roots = Forgetful(store)
    keyring = await world.open()
    with pytest.raises(RootStoreFailed, match="does not read back"):
        await keyring.shred(world.recording(slot, 0))
    assert 1 == await world.epoch()


async def test_a_root_that_is_in_the_way_is_cleared_away_and_not_used(world: World) -> None:
    """
    A root of the next epoch that nobody here put: another process's, or left by one that died unnoticed.
    """
    keyring = await world.open()
    slot = await keyring.add_slot()
    await world.roots.put(Epoch(2), Secret(bytes(32)))
    await keyring.shred(world.recording(slot, 0))
    assert Secret(bytes(32)) != await world.roots.read(Epoch(2))
    assert not world.attacker.can_derive(slot, 0)


async def test_two_processes_that_shred_at_once_take_turns(world: World) -> None:
    """
    The lock on the data directory forbids this; if it fails, nothing is lost and nothing comes back.
    """
    keyring = await world.open()
    other = await world.open()
    slot = await keyring.add_slot()
    requests = [world.recording(slot, index) for index in range(12)]
    outcomes = await asyncio.gather(
        *(who.shred(request) for who, request in zip([keyring, other] * 6, requests, strict=True)),
        return_exceptions=True,
    )
    keyring = await world.open()
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, Receipt):
            assert not world.attacker.can_derive(slot, index)
    receipts = [await keyring.shred(request) for request in requests]
    assert list(range(1, 13)) == sorted(receipt.sequence for receipt in receipts)
    assert [LeafIndex(12)] == list(await keyring.leaves(slot, [LeafIndex(index) for index in range(13)]))


@pytest.mark.parametrize(
    "step", ["1-root-put", "2-before-commit", "2-committed", "3-read-back", "4-destroyed"]
)
async def test_a_process_that_wakes_after_another_one_took_over_does_no_harm(world: World, step: str) -> None:
    """
    A paused process holds a pending root that a second one, starting up, takes for a crash's and clears away.
    """
    keyring = await world.open()
    slot = await keyring.add_slot()
    sleeper, waker = world.recording(slot, 0), world.recording(slot, 1)

    async def take_over() -> None:
        other = await world.open()
        await other.shred(waker)

    if step == "2-before-commit":
        # Here the head is locked, so the second one waits; it is let go on together with the first.
        taken_over: list[asyncio.Task[None]] = []

        async def start() -> None:
            taken_over.append(asyncio.ensure_future(take_over()))
            await asyncio.sleep(0)

        world.steps.at(step, start)
    else:
        world.steps.at(step, take_over)
    try:
        await keyring.shred(sleeper)
    except Exception:  # noqa: BLE001 - what the sleeper is told matters less than what is true
        await keyring.shred(sleeper)
    if step == "2-before-commit":
        await asyncio.gather(*taken_over)
    for index in (0, 1):
        assert not world.attacker.can_derive(slot, index)
    assert 32 == len(await keyring.leaf(slot, LeafIndex(2)))
    for request in (sleeper, waker):
        assert 1 == len(await keyring.receipts_of(request.subject_id))


async def test_a_closed_keyring_shreds_no_more_and_ends_what_runs(world: World) -> None:
    keyring = await world.open()
    slot = await keyring.add_slot()
    running, waiting = world.recording(slot, 0), world.recording(slot, 1)
    tasks: list[asyncio.Task[Receipt]] = []
    closing: list[asyncio.Task[None]] = []

    async def close() -> None:
        tasks.append(asyncio.ensure_future(keyring._group_commit.submit(waiting)))
        await asyncio.sleep(0)
        closing.append(asyncio.ensure_future(keyring.close()))
        await asyncio.sleep(0)

    world.steps.at("2-before-commit", close)
    assert "shredded" == (await keyring.shred(running)).document["statement"]
    await closing[0]
    with pytest.raises(ShredRefused):
        await tasks[0]
    with pytest.raises(ShredRefused):
        await keyring.shred(waiting)
    assert 32 == len(await keyring.leaf(slot, LeafIndex(1)))


@pytest.mark.parametrize(
    "change",
    [
        {"subject_id": ""},
        {"slot": 0},
        {"slot": 2**32},
        {"first": None},
        {"last": None},
        {"first": 6},
        {"last": USER_LEAF},
        {"first": -1},
        {"subject_hash": b"short"},
        {"kind": "account"},
        {"kind": "service-key"},
        {"kind": "service-key", "slot": 0, "first": 4},
        {"kind": "service-key", "slot": 0, "first": None, "last": None},
    ],
)
def test_a_malformed_request_cannot_be_made(change: dict[str, object]) -> None:
    fields: dict[str, object] = {
        "subject_id": "one",
        "kind": "recording",
        "slot": 1,
        "first": 5,
        "last": 5,
        "revoked_at_ms": 1,
        "subject_hash": bytes(32),
        "commitment": None,
    }
    ShredRequest(**fields)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"subject|recording|account|service"):
        ShredRequest(**{**fields, **change})  # type: ignore[arg-type]
