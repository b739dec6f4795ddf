"""
A gateway that sends mail to a mail server of the tests, and users who have addresses.
"""

from typing import Any

from sqlalchemy import update

from gateway.base.ids import UserId
from gateway.catalog import notices as catalog
from gateway.catalog.notices import Notice
from gateway.catalog.tables import jobs
from tests.support.gateway import Served
from tests.support.mailbox import Mailbox

PUBLIC_URL = "https://calls.example.org"
ADDRESS = "ada@example.org"


def mail_sections(mailbox: Mailbox, **mail: Any) -> dict[str, dict[str, Any]]:
    """
    Return the settings of a gateway that sends to *mailbox*; *mail* changes those of the mail server.
    """
    return {
        "server": {"port": 0, "shutdown_timeout_s": 1, "public_url": PUBLIC_URL},
        "mail": {
            "host": mailbox.host,
            "port": mailbox.port,
            "security": "none",
            "from_address": "gateway@calls.example.org",
            "from_name": "Calls",
            "per_minute": 100_000,
            "timeout_s": 5,
            **mail,
        },
    }


async def person(served: Served, address: str | None = ADDRESS) -> UserId:
    """
    Make a user with that address.
    """
    return await served.gateway.context.accounts.add_user(name="Ada", email=address)


async def tell(served: Served, user_id: UserId, occasion: str = "") -> None:
    """
    Tell the user something.
    """
    facts = {"title": "Box", "label": "ada's box", "advice": "Link it again."}
    context = served.gateway.context
    async with context.catalog.write() as connection:
        await context.notices.tell(connection, user_id, "link-trouble", facts, occasion=occasion)


async def told(served: Served, user_id: UserId) -> list[Notice]:
    """
    Return what the user was told, newest first.
    """
    async with served.gateway.context.catalog.read() as connection:
        return await catalog.notices_of(connection, user_id, limit=100)


async def mailed(served: Served, user_id: UserId) -> list[tuple[str, str | None]]:
    """
    Return what became of the mails to a user, and why, newest first.
    """
    return [(notice.mail_state, notice.mail_reason) for notice in await told(served, user_id)]


async def try_again(served: Served) -> None:
    """
    Do what was put off, as if its time had come.
    """
    async with served.gateway.context.catalog.write() as connection:
        await connection.execute(update(jobs).values(run_at=0))
    await served.placed()
