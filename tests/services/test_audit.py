"""
The audit log: what is done is in it, and whatever is changed in it shows.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update

from gateway.base.ids import UserId
from gateway.catalog.operator_tables import audit_entries
from gateway.catalog.tables import holds
from gateway.catalog.users import User
from gateway.database import Connection
from gateway.keyring import LogHead, read_head_document
from gateway.keyring.errors import HeadInvalid
from gateway.services.audit import AuditLog
from gateway.services.audit_chain import FIRST_PREVIOUS, entry_hash
from gateway.services.audit_check import AuditCheck, Report
from gateway.services.errors import Held, InvalidField, NotFound
from gateway.services.holds import Cause
from tests.http.phone import Phone
from tests.support.actors import OPS
from tests.support.gateway import Served


def audit_of(served: Served) -> AuditLog:
    return served.gateway.audit


async def check(served: Served, *pinned: LogHead, start: int = 1) -> Report:
    context = served.gateway.context
    return await AuditCheck(context.catalog, context.keyring, served.gateway.audit).run(
        pinned=pinned, start=start
    )


async def user_of(served: Served) -> User:
    user_id, _ = await served.new_user()
    return await served.gateway.context.accounts.get_user(user_id)


async def written(served: Served, count: int = 6) -> User:
    """
    Have *count* entries about one user.
    """
    user = await user_of(served)
    for number in range(count):
        await audit_of(served).note(OPS, "tried", user=user, subject=f"{number}", reason=f"because {number}")
    return user


async def by_hand(served: Served, work: Callable[[Connection], Awaitable[Any]]) -> None:
    """
    Change the catalog as somebody does who has its file or its password.
    """
    async with served.gateway.context.catalog.write() as connection:
        await work(connection)


async def test_entries_are_numbered_and_whole(served: Served) -> None:
    user = await written(served)
    await audit_of(served).note(OPS, "looked round", facts={"jobs": 3})

    views = await audit_of(served).page(before=None, limit=10)
    assert [7, 6, 5, 4, 3, 2, 1] == [view.entry.sequence for view in views]
    assert (None, {"jobs": 3}) == (views[0].entry.user_id, views[0].facts)
    assert [None] * 7 == [view.reason for view in views]
    assert ["because 5", "because 4"] == [view.reason for view in await audit_of(served).about(user, limit=2)]
    assert Report(entries=7, newest=7, heads=0, signed_to=0, flaws=()) == await check(served)
    # From the middle on it holds as well.
    assert (4, ()) == ((report := await check(served, start=4)).entries, report.flaws)


async def test_a_reason_is_sealed_for_its_user(served: Served) -> None:
    user = await written(served, 1)
    async with served.gateway.context.catalog.read() as connection:
        row = (await connection.execute(select(audit_entries))).one()
    assert b"because" not in row.sealed
    assert "because" not in row.facts
    other = await user_of(served)
    assert [] == await audit_of(served).about(other)
    assert ["because 0"] == [view.reason for view in await audit_of(served).about(user)]


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 1025])
async def test_a_reason_must_be_one(served: Served, reason: str) -> None:
    user = await user_of(served)
    with pytest.raises(InvalidField, match="reason"):
        await audit_of(served).note(OPS, "tried", user=user, reason=reason)
    assert [] == await audit_of(served).page(before=None, limit=10)


CHANGES = {
    "actor": "operator:somebody-else",
    "role": "support",
    "action": "nothing",
    "user_id": None,
    "subject": "another",
    "facts": '{"jobs":9}',
    "at": 1,
    "id": "00000000-0000-4000-8000-000000000000",
}


@pytest.mark.parametrize("column", CHANGES)
async def test_a_changed_entry_is_found(served: Served, column: str) -> None:
    await written(served)
    change = update(audit_entries).where(audit_entries.c.sequence == 3).values({column: CHANGES[column]})
    await by_hand(served, lambda connection: connection.execute(change))
    assert ("entry 3: it, or the entry before it, is not as it was written",) == (await check(served)).flaws


async def test_an_entry_that_was_taken_away_is_found(served: Served) -> None:
    await written(served)
    await by_hand(
        served,
        lambda connection: connection.execute(delete(audit_entries).where(audit_entries.c.sequence == 3)),
    )
    assert (
        "entry 3 is missing",
        "entry 4: it, or the entry before it, is not as it was written",
    ) == (await check(served)).flaws


async def test_the_first_entries_taken_away_are_found(served: Served) -> None:
    await written(served)
    await by_hand(
        served,
        lambda connection: connection.execute(delete(audit_entries).where(audit_entries.c.sequence < 3)),
    )
    flaws = (await check(served)).flaws
    assert (
        "entries 1 to 2 are missing",
        "entry 3: it, or the entry before it, is not as it was written",
    ) == flaws


async def test_entries_in_another_order_are_found(served: Served) -> None:
    await written(served)

    async def swap(connection: Connection) -> None:
        for before, after in ((3, 99), (4, 3), (99, 4)):
            change = update(audit_entries).where(audit_entries.c.sequence == before).values(sequence=after)
            await connection.execute(change)

    await by_hand(served, swap)
    flaws = (await check(served)).flaws
    assert {"entry 3", "entry 4", "entry 5"} == {flaw.partition(":")[0] for flaw in flaws}


async def test_a_rewritten_chain_is_found_by_who_cannot_have_written_it(served: Served) -> None:
    """
    Whoever changes an entry and computes every hash after it anew, but has no key of the service.
    """
    await written(served)

    async def rewrite(connection: Connection) -> None:
        from gateway.catalog.audit import entries_after

        previous = FIRST_PREVIOUS
        for entry in await entries_after(connection, 0, limit=100):
            changed = replace(entry, action="nothing") if entry.sequence == 3 else entry
            digest = entry_hash(changed, previous)
            change = update(audit_entries).where(audit_entries.c.sequence == entry.sequence)
            await connection.execute(change.values(action=changed.action, entry_hash=digest))
            previous = digest

    await by_hand(served, rewrite)
    assert (
        tuple(f"entry {number}: it was not written by this service" for number in (3, 4, 5, 6))
        == (await check(served)).flaws
    )


async def test_a_reason_that_was_taken_away_or_exchanged_is_found(served: Served) -> None:
    await written(served)

    async def change(connection: Connection) -> None:
        for sequence, sealed in ((2, None), (4, b"another" * 8)):
            where = audit_entries.c.sequence == sequence
            await connection.execute(update(audit_entries).where(where).values(sealed=sealed))

    await by_hand(served, change)
    assert {
        "entry 2: its reason was taken away",
        "entry 4: its reason is not the one that was given",
    } == set((await check(served)).flaws)


async def cut_tail(connection: Connection) -> None:
    """
    Take the two newest entries away, and what else in the catalog tells of them.
    """
    await connection.execute(delete(audit_entries).where(audit_entries.c.sequence > 4))
    await connection.execute(text("UPDATE markers SET position = 4 WHERE name = 'audit-log'"))


async def test_a_tail_that_was_cut_is_found_where_a_head_was_signed(served: Served) -> None:
    await written(served)
    await audit_of(served).sign_head()
    await by_hand(served, cut_tail)
    assert ("entries 5 to 6 are missing", "entry 6 was signed, and is not there") == (
        await check(served)
    ).flaws

    # What comes then gets other numbers, so the gap stays to be seen.
    await audit_of(served).note(OPS, "tried again")
    [view] = await audit_of(served).page(before=None, limit=1)
    assert 7 == view.entry.sequence
    assert "entries 5 to 6 are missing" in (await check(served)).flaws


async def test_a_tail_that_was_cut_where_nothing_was_signed_is_not_found(served: Served) -> None:
    """
    The limit that the documents speak of.
    """
    await written(served)
    await by_hand(served, cut_tail)
    assert () == (await check(served)).flaws


async def test_a_careless_cut_is_found_without_any_head(served: Served) -> None:
    await written(served)
    await by_hand(
        served,
        lambda connection: connection.execute(delete(audit_entries).where(audit_entries.c.sequence > 4)),
    )
    assert ("entries 5 to 6 are missing",) == (await check(served)).flaws


async def test_a_pinned_head_shows_what_was_cut_from_both_databases(served: Served) -> None:
    await written(served)
    signed = await audit_of(served).sign_head()
    assert signed.head is not None
    pinned = read_head_document(json.loads(json.dumps(signed.head.document)))
    assert () == (await check(served, pinned)).flaws
    async with served.gateway.context.keyring._database.write() as connection:
        await connection.execute(text("DELETE FROM log_heads"))
    await by_hand(served, cut_tail)
    assert () == (await check(served)).flaws
    assert "entry 6 was signed, and is not there" in (await check(served, pinned)).flaws


async def test_a_forged_head_is_refused(served: Served) -> None:
    await written(served)
    signed = await audit_of(served).sign_head()
    assert signed.head is not None
    forged = read_head_document({**signed.head.document, "sequence": 5})
    assert ("the head of entry 5 is not as it was signed",) == (await check(served, forged)).flaws
    for wrong in ({}, [], {**signed.head.document, "hash": "00"}, {**signed.head.document, "more": 1}):
        with pytest.raises(HeadInvalid):
            read_head_document(wrong)


async def test_signing_looks_through_what_is_new(served: Served) -> None:
    await written(served)
    assert () == (await audit_of(served).sign_head()).flaws
    await audit_of(served).note(OPS, "tried")
    change = update(audit_entries).where(audit_entries.c.sequence == 7).values(action="nothing")
    await by_hand(served, lambda connection: connection.execute(change))
    signed = await audit_of(served).sign_head()
    assert ("entry 7: it, or the entry before it, is not as it was written",) == signed.flaws
    # Signed all the same: what comes after is watched over.
    assert signed.head is not None
    assert 7 == signed.head.sequence
    change = update(audit_entries).where(audit_entries.c.sequence == 7).values(entry_hash=bytes(32))
    await by_hand(served, lambda connection: connection.execute(change))
    assert ("entry 7 is not there as it was signed",) == (await audit_of(served).sign_head()).flaws


async def test_an_erased_user_leaves_a_chain_that_holds_without_his_reasons(served: Served) -> None:
    user = await written(served, 3)
    other = await written(served, 2)
    erasure = served.gateway.context.erasure
    await erasure.bury_account(user.id, by=OPS, basis="asked-by-user")
    await served.placed()

    assert (6, ()) == ((report := await check(served)).entries, report.flaws)
    async with served.gateway.context.catalog.read() as connection:
        rows = (await connection.execute(select(audit_entries).order_by(audit_entries.c.sequence))).all()
    assert [None] * 3 == [row.sealed for row in rows if row.user_id == user.id and row.action == "tried"]
    assert ["because 1", "because 0"] == [view.reason for view in await audit_of(served).about(other)]
    assert ("user.erased", '{"basis":"asked-by-user"}', user.id) == (
        rows[-1].action,
        rows[-1].facts,
        rows[-1].user_id,
    )


async def test_entries_written_at_once_make_one_chain(served: Served) -> None:
    user = await user_of(served)
    await asyncio.gather(*[audit_of(served).note(OPS, f"tried-{n}", user=user) for n in range(20)])
    assert (20, ()) == ((report := await check(served)).entries, report.flaws)


async def test_what_fails_is_not_in_the_log_and_what_is_done_is(served: Served) -> None:
    phone = await Phone.of_new_user(served)
    recording = await phone.record(b"one")
    service = served.gateway.holds
    cause = Cause(reason="case 12", placed_by="ops")
    with pytest.raises(NotFound):
        await service.place(UserId("00000000-0000-0000-0000-000000000000"), cause, by=OPS)
    with pytest.raises(NotFound):
        await service.lift("none", by=OPS)
    assert [] == await audit_of(served).page(before=None, limit=10)

    hold = await service.place(phone.user_id, cause, by=OPS)
    with pytest.raises(Held):
        await served.gateway.context.erasure.bury_account(phone.user_id, by=OPS)
    await service.look_at_causes(by=OPS, reason="the court asks")
    await service.lift(hold, by=OPS)
    done = await audit_of(served).page(before=None, limit=10)
    assert ["hold.lifted", "user.looked-at", "hold.placed"] == [view.entry.action for view in done]
    user = await served.gateway.context.accounts.get_user(phone.user_id)
    assert [None, "the court asks", "case 12"] == [view.reason for view in await audit_of(served).about(user)]
    assert recording in await phone.listed()


async def test_an_action_that_cannot_be_written_down_is_not_done(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = await Phone.of_new_user(served)

    async def fails(*_: object) -> None:
        raise RuntimeError("no room in the log")

    monkeypatch.setattr(audit_of(served), "append", fails)
    with pytest.raises(RuntimeError):
        await served.gateway.holds.place(phone.user_id, Cause(reason="case 12", placed_by="ops"), by=OPS)
    async with served.gateway.context.catalog.read() as connection:
        assert [] == list(await connection.execute(select(holds)))
