"""
The daemon is SIGKILLed while it tells everybody: all are told all the same, and nobody has two different mails of it.
"""

import secrets
from collections import Counter
from pathlib import Path
from random import Random
from typing import Final

from gateway.console import open_console
from tests.conftest import DatabaseUrls
from tests.support.forked_daemon import forked_daemon
from tests.support.mailbox import Mailbox
from tests.support.mails import PUBLIC_URL
from tests.support.waiting import until

USERS: Final = 60
KILLS: Final = 5


async def test_everybody_is_told_through_any_number_of_kills(
    tmp_path: Path, database_urls: DatabaseUrls, thoroughness: int
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it where the test fails
    random = Random(seed)
    with Mailbox() as mailbox:
        settings = {
            "GATEWAY_DATA__CATALOG_URL": database_urls.catalog,
            "GATEWAY_DATA__KEYS_URL": database_urls.keys,
            "GATEWAY_SERVER__PUBLIC_URL": PUBLIC_URL,
            "GATEWAY_MAIL__HOST": mailbox.host,
            "GATEWAY_MAIL__PORT": str(mailbox.port),
            "GATEWAY_MAIL__SECURITY": "none",
            "GATEWAY_MAIL__FROM_ADDRESS": "gateway@calls.example.org",
            "GATEWAY_MAIL__PER_MINUTE": "100000",
            # One whose answer was lost with the daemon comes at once.
            "GATEWAY_MAIL__RETRY_FIRST_S": "1",
            "GATEWAY_NOTICES__BATCH": "3",
            "GATEWAY_JOBS__POLL_INTERVAL_S": "1",
        }
        async with forked_daemon(tmp_path / "data", settings=settings) as daemon:
            async with open_console(daemon.settings) as console:
                for number in range(USERS):
                    await console.accounts.add_user(name="Ada", email=f"user{number}@example.org")
                run = await console.announcing.announce("breach", title="A breach", body="What happened.")
            for _ in range(KILLS * thoroughness):
                # A few more have come, or as many as ever will.
                wanted = min(USERS, len(mailbox.mails) + random.randrange(1, 12))
                await until(lambda wanted=wanted: len(mailbox.mails) >= wanted)  # type: ignore[misc]
                daemon.kill()
                await daemon.start()

            async with open_console(daemon.settings) as console:

                async def all_sent() -> bool:
                    counts = (await console.announcing.get(run)).counts
                    assert {"sent", "queued"} >= counts.keys()
                    return counts == {"sent": USERS}

                await until(all_sent, within_s=300)
                told = [notice.user_id async for notice in console.announcing.told_by(run)]
        assert USERS == len(set(told)) == len(told)
        sent = {(mail.recipients[0], mail.message["Message-ID"]) for mail in mailbox.mails}
        assert USERS == len(sent)
        assert {f"user{number}@example.org" for number in range(USERS)} == {address for address, _ in sent}
        again = Counter(mail.recipients[0] for mail in mailbox.mails)
        # At the most those that were under way at a kill.
        assert len(mailbox.mails) - USERS <= 2 * 2 * KILLS * thoroughness, again
