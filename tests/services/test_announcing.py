"""
Telling many the same: all of them, each once, however often it is cut.
"""

from typing import Any

import pytest
from sqlalchemy import func, select

from gateway.base.ids import UserId
from gateway.catalog import notice_runs
from gateway.catalog.jobs import list_jobs
from gateway.catalog.tables import notice_audiences
from gateway.services.announcing import Announcing
from gateway.services.errors import InvalidField, NotFound
from gateway.services.work import NotNow
from tests.support.gateway import Served
from tests.support.mailbox import Mailbox
from tests.support.mails import mail_sections, person, told


@pytest.fixture
def sections(mailbox: Mailbox) -> dict[str, dict[str, Any]]:
    return {**mail_sections(mailbox), "notices": {"batch": 2}}


@pytest.fixture
def announcing(served: Served) -> Announcing:
    return served.gateway.telling.announcing


async def people(served: Served, count: int) -> list[UserId]:
    return [await person(served, f"user{number}@example.org") for number in range(count)]


async def test_all_are_told_batch_by_batch_and_each_once(
    served: Served, announcing: Announcing, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = await people(served, 7)
    asked: list[int] = []
    next_users = notice_runs.next_users

    async def counted(*arguments: Any, limit: int) -> list[UserId]:
        found = await next_users(*arguments, limit=limit)
        asked.append(len(found))
        return found

    monkeypatch.setattr(notice_runs, "next_users", counted)
    run = await announcing.announce("breach", title="A breach", body="What happened.")
    await served.placed()

    assert [2, 2, 2, 1, 0] == asked
    assert {f"user{number}@example.org" for number in range(7)} == {
        mail.recipients[0] for mail in mailbox.mails
    }
    assert 7 == len(mailbox.mails)
    assert [1] * 7 == [len(await told(served, user_id)) for user_id in users]
    view = await announcing.get(run)
    assert ("done", {"sent": 7}) == (view.run.state, view.counts)
    assert sorted(users) == [notice.user_id async for notice in announcing.told_by(run)]


async def test_a_run_that_is_cut_in_a_batch_goes_on_there(
    served: Served, announcing: Announcing, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people(served, 7)
    move_run, count = notice_runs.move_run, 0

    async def cut(*arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise RuntimeError("the power went")
        await move_run(*arguments)

    monkeypatch.setattr(notice_runs, "move_run", cut)
    run = await announcing.announce("transfer", title="A new owner", body="Who.")
    with pytest.raises(RuntimeError):
        await announcing.carry_on(run)
    await announcing.carry_on(run)
    await served.placed()
    assert 7 == len(mailbox.mails)
    assert {"sent": 7} == (await announcing.get(run)).counts


async def test_others_have_their_turn_in_between(
    served: Served, announcing: Announcing, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.services import announcing as module

    monkeypatch.setattr(module, "_BATCHES", 1)
    await people(served, 5)
    run = await announcing.announce("announcement", title="A title", body="A text.")
    with pytest.raises(NotFound):
        await announcing.get("another")
    with pytest.raises(NotNow):
        await announcing.carry_on(run)
    assert 2 == sum((await announcing.get(run)).counts.values())
    # The job is put back without counting as one that failed, for as often as it takes.
    await served.placed()
    assert "done" == (await announcing.get(run)).run.state
    async with served.gateway.context.catalog.read() as connection:
        assert [] == await list_jobs(connection)


async def test_those_who_are_named_and_nobody_else(
    served: Served, announcing: Announcing, mailbox: Mailbox
) -> None:
    users = await people(served, 4)
    run = await announcing.announce("breach", title="A breach", body="Yours.", to=[*users[:3], users[0]])
    await served.placed()
    assert 3 == len(mailbox.mails)
    assert sorted(users[:3]) == [notice.user_id async for notice in announcing.told_by(run)]
    assert [] == await told(served, users[3])
    # Who was told stands with the notices; for whom it was is not kept besides.
    async with served.gateway.context.catalog.read() as connection:
        assert 0 == await connection.scalar(select(func.count()).select_from(notice_audiences))


async def test_nobody_is_told_where_one_is_unknown(
    served: Served, announcing: Announcing, mailbox: Mailbox
) -> None:
    users = await people(served, 2)
    await served.gateway.context.erasure.bury_account(users[1])
    for unknown in (users[1], UserId("00000000-0000-4000-8000-000000000000")):
        with pytest.raises(NotFound, match=unknown):
            await announcing.announce("breach", title="A breach", body="Yours.", to=[users[0], unknown])
    await served.placed()
    assert [] == mailbox.mails
    assert {"preparing"} == {view.run.state for view in await announcing.list_runs()}


async def test_whoever_came_after_it_or_went_before_is_not_told(
    served: Served, announcing: Announcing, clock: Any
) -> None:
    gone, _ = await people(served, 2)
    run = await announcing.announce("announcement", title="A title", body="A text.")
    clock.advance(1)
    await person(served)
    await served.gateway.context.erasure.bury_account(gone)
    await served.placed()
    assert 1 == sum((await announcing.get(run)).counts.values())


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"kind": "unused"}, "kind"),
        ({"title": " "}, "template"),
        ({"body": "\n"}, "template"),
        ({"body": "x" * 100_001}, "template"),
        ({"kind": "breach", "is_promotional": True}, "promotional"),
    ],
)
async def test_what_is_wrong_with_one_is_named(
    announcing: Announcing, wrong: dict[str, Any], field: str
) -> None:
    given = {"kind": "announcement", "title": "A title", "body": "A text.", **wrong}
    with pytest.raises(InvalidField) as refused:
        await announcing.announce(given.pop("kind"), **given)
    assert field == refused.value.field


async def test_a_mail_to_one_does_not_wait_for_those_to_many(served: Served, announcing: Announcing) -> None:
    from gateway.catalog.notices import MAIL, MAIL_OF_RUN
    from tests.support.mails import tell

    [user_id] = await people(served, 1)
    run = await announcing.announce("announcement", title="A title", body="A text.")
    await announcing.carry_on(run)
    await tell(served, user_id)
    async with served.gateway.context.catalog.read() as connection:
        kinds = {job.kind for job in await list_jobs(connection)}
    assert {MAIL, MAIL_OF_RUN} <= kinds
