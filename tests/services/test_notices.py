"""
Telling users: in the transaction of what they are told, once for each occasion, and readable by nobody else.
"""

import pytest

from gateway.base.ids import UserId
from gateway.catalog.jobs import list_jobs
from gateway.services.notices import Notices
from tests.support.clock import FakeClock
from tests.support.gateway import Served

TROUBLE = {"title": "Box", "label": "ada's *own* box", "advice": "Link it again."}


async def told_titles(served: Served, user_id: UserId) -> list[str]:
    context = served.gateway.context
    page = await context.notices.page_of(await context.accounts.get_user(user_id), limit=50)
    return ["unreadable" if view.text is None else view.text.title for view in page.notices]


async def tell(served: Served, user_id: UserId, *, occasion: str = "", has_mail: bool = False) -> bool:
    context = served.gateway.context
    notices = Notices(context.catalog, context.keyring, FakeClock(), has_mail=has_mail)
    async with context.catalog.write() as connection:
        return await notices.tell(connection, user_id, "link-trouble", TROUBLE, occasion=occasion)


async def test_what_is_committed_is_told_and_what_is_not_is_not(served: Served) -> None:
    context = served.gateway.context
    user_id, _ = await served.new_user()

    class Changed(Exception):
        pass

    async def fail() -> None:
        async with context.catalog.write() as connection:
            assert await context.notices.tell(connection, user_id, "link-trouble", TROUBLE)
            raise Changed

    with pytest.raises(Changed):
        await fail()
    assert [] == await told_titles(served, user_id)

    assert await tell(served, user_id)
    assert ["Your Box account does not work here"] == await told_titles(served, user_id)


async def test_of_one_occasion_a_user_is_told_once(served: Served) -> None:
    user_id, _ = await served.new_user()
    assert [True, False] == [await tell(served, user_id, occasion="link-1") for _ in range(2)]
    assert await tell(served, user_id, occasion="link-2")
    assert 2 == len(await told_titles(served, user_id))


async def test_its_mail_is_queued_with_it_where_there_is_a_mail_server(served: Served) -> None:
    user_id, _ = await served.new_user()
    await tell(served, user_id, has_mail=True)
    async with served.gateway.context.catalog.read() as connection:
        [job] = await list_jobs(connection)
    assert "mail" == job.kind


async def test_nobody_else_reads_what_a_user_was_told_nor_anybody_once_he_is_erased(served: Served) -> None:
    from sqlalchemy import text

    context = served.gateway.context
    user_id, _ = await served.new_user()
    await tell(served, user_id)
    query = text("SELECT sealed, kind FROM notices")
    async with context.catalog.read() as connection:
        [row] = (await connection.execute(query)).all()
    assert b"Box" not in row.sealed

    await context.erasure.bury_account(user_id)

    async with context.catalog.read() as connection:
        assert [(None, "link-trouble")] == [tuple(row) for row in await connection.execute(query)]
    assert not await tell(served, user_id)


async def test_what_others_named_is_text_and_nothing_else(served: Served) -> None:
    context = served.gateway.context
    user_id, _ = await served.new_user()
    facts = {**TROUBLE, "label": "<b>[x](javascript:1)</b>\n# a `b`", "title": "a\r\nBcc: b"}
    async with context.catalog.write() as connection:
        await context.notices.tell(connection, user_id, "link-trouble", facts)
    page = await context.notices.page_of(await context.accounts.get_user(user_id), limit=1)
    text = page.notices[0].text
    assert text is not None
    assert "Your a Bcc: b account does not work here" == text.title
    assert "linked: &lt;b&gt;[x](javascript:1)&lt;/b&gt; # a `b`. Link" in text.html
    assert "linked: <b>[x](javascript:1)</b> # a `b`. Link" in text.plain


async def test_a_page_leads_to_the_next(served: Served) -> None:
    context = served.gateway.context
    user_id, _ = await served.new_user()
    for _ in range(5):
        await tell(served, user_id)
    user = await context.accounts.get_user(user_id)
    seen: list[str] = []
    cursor = None
    while True:
        page = await context.notices.page_of(user, limit=2, cursor=cursor)
        seen += [view.notice.id for view in page.notices]
        if (cursor := page.cursor) is None:
            break
    assert 5 == len(set(seen)) == len(seen)
