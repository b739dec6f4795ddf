"""
A process that dies between what a cloud has done and what the catalog knows of it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.testing.sources import pattern
from tests.clouds.conftest import KINDS
from tests.clouds.world import World, world
from tests.emulators.cloud import Cloud
from tests.emulators.s3_front import S3Front

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")


class Died(Exception):
    """
    Takes the place of the rest of a process's life.
    """


def dying_once(service: Any, method: str) -> Callable[..., Any]:
    """
    Let the next call of *method* of *service* be the last thing that does not happen.
    """
    kept = getattr(service, method)

    async def dies(*_: object, **__: object) -> None:
        setattr(service, method, kept)
        raise Died

    return dies


async def without_memory(there: World, link_id: str) -> None:
    """
    Let nothing be left that the connection to the cloud knew, as after a restart.
    """
    there.served.gateway.links.places.forget(link_id)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [20_000, 9_000_000], ids=["small", "in parts"])
async def test_a_copy_that_is_there_and_was_not_noted_is_not_made_again(
    tmp_path: Path, new_cloud: Callable[[str], Cloud], kind: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, new_cloud(kind)) as there:
        phone, [account] = await there.routed()
        account.cloud.listing_lag_s = 3600
        copies = there.served.gateway.copies
        monkeypatch.setattr(copies, "_note_placed", dying_once(copies, "_note_placed"))
        before = account.cloud.upload_bytes
        recording = await phone.record(pattern(size))
        await there.served.placed()
        assert "pending" == (await there.copies(phone, recording))[account.link_id]
        sent = account.cloud.upload_bytes - before
        assert sent >= size

        await without_memory(there, account.link_id)
        await there.worked()
        assert "placed" == (await there.copies(phone, recording))[account.link_id]
        account.cloud.listing_lag_s = 0
        assert 1 == len(account.keys)
        assert sent == account.cloud.upload_bytes - before


@pytest.mark.parametrize("kind", KINDS)
async def test_an_erased_account_leaves_nothing_and_the_receipt_says_where_it_may_come_back(
    tmp_path: Path, new_cloud: Callable[[str], Cloud], kind: str
) -> None:
    """
    Its tokens die with its keys, before the copies are deleted.
    """
    async with world(tmp_path, new_cloud(kind)) as there:
        phone, [account] = await there.routed(home=False)
        for number in range(3):
            await phone.record(pattern(20_000 + number))
        await there.worked()
        assert 3 == len(account.keys)

        erasure = there.served.gateway.context.erasure
        salt = await erasure.bury_account(phone.user_id)
        await there.worked()
        assert [] == account.keys
        receipts = (await erasure.account_erasure_of(phone.user_id, salt=salt)).receipts
        told = {place["backend"]: place["state"] for place in receipts[-1].document["placements"]}
        trashed = "purged" if isinstance(account.cloud, S3Front) or kind == "gdrive" else "recoverable-until"
        assert {"home": "purged", f"{kind}:{account.link_id}": trashed} == told
        assert [] == await there.jobs()
