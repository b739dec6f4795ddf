"""
The whole way: link three clouds and a bucket, keep copies there, lose one, hear it, mend it, erase it.
"""

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from gateway.base.ids import RecordingId
from gateway.catalog.placements import placements_of
from gateway.testing.sources import pattern
from tests.clouds.conftest import KINDS
from tests.clouds.world import LinkedAccount, World, world
from tests.emulators.cloud import Cloud

# How the test hands megabytes to aiohttp is its own affair.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")

# More than one part of every cloud.
CONTENT = pattern(17_000_000)


async def test_four_copies_one_lost_one_damaged_mended_and_all_erased(
    tmp_path: Path, new_cloud: Callable[[str], Cloud]
) -> None:
    async with world(tmp_path, *(new_cloud(kind) for kind in KINDS)) as there:
        phone, accounts = await there.routed(home=False)
        recording = await phone.record(CONTENT)
        await there.worked()

        links = [account.link_id for account in accounts]
        assert {"home": "purged", **dict.fromkeys(links, "placed")} == await there.copies(phone, recording)
        assert [1] * 4 == [len(account.keys) for account in accounts]
        blobs = {account.content(account.keys[0]) for account in accounts}
        assert 1 == len(blobs)
        assert CONTENT == (await phone.audio(recording)).body

        # One is deleted by its owner's hand, another rots, and what is heard is whole all the same.
        lost, rotten = await _asked_first(there, recording, accounts)
        lost.cloud.delete_by_hand(lost.account, lost.keys[0])
        rotten.cloud.damage(rotten.account, rotten.keys[0])
        answer = await phone.audio(recording, {"Range": "bytes=8000000-16000000"})
        assert (206, CONTENT[8_000_000:16_000_001]) == (answer.status, answer.body)

        # What the listener met is looked at deeply, and mended; then there is nothing left to mend.
        await there.worked()
        assert [1] * 4 == [len(account.keys) for account in accounts]
        assert blobs == {account.content(account.keys[0]) for account in accounts}

        verdicts = [finding.verdict.value async for finding in there.served.gateway.checks.scrub(deep=True)]
        assert ["whole"] * 4 == verdicts

        assert 200 == (await phone.erase(recording)).status
        await there.worked()
        assert [[]] * 4 == [account.keys for account in accounts]
        document = (await phone.ask("GET", f"/v1/receipts/{recording}")).document
        told = {entry["backend"]: entry["state"] for entry in document["purge_receipt"]["placements"]}
        assert {
            "home": "purged",
            f"gdrive:{links[0]}": "purged",
            f"onedrive:{links[1]}": "recoverable-until",
            f"dropbox:{links[2]}": "recoverable-until",
            f"s3:{links[3]}": "purged",
        } == told
        assert [] == await there.jobs()


async def _asked_first(
    there: World, recording: str, accounts: Sequence[LinkedAccount]
) -> tuple[LinkedAccount, LinkedAccount]:
    """
    Return the two accounts that a listener is given bytes from before any other.
    """
    async with there.served.gateway.context.catalog.read() as connection:
        placements = await placements_of(connection, RecordingId(uuid.UUID(recording)))
    order = [placement.backend for placement in placements]
    first, second, *_ = sorted(accounts, key=lambda account: order.index(account.link_id))
    return first, second
