"""
Unfinished uploads that are overdue together: ended in one transaction, shredded by ranges, whatever cuts that short.
"""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.catalog.expiries import Expiry
from gateway.catalog.jobs import list_jobs
from gateway.catalog.uploads import Upload
from gateway.keyring.errors import KeyringError, LeafShredded
from tests.http.phone import Phone
from tests.http.wire import upload_row
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving

WEEK = 7 * 24 * 3600


async def begun(served: Served, count: int) -> list[Upload]:
    """
    Begin uploads of one user, with some bytes each.
    """
    phone = await Phone.of_new_user(served)
    rows = []
    for _ in range(count):
        upload = await phone.begin(10)
        await phone.patch(upload, 0, b"hello")
        rows.append(await upload_row(served, upload))
    return rows


async def are_gone(served: Served, uploads: Sequence[Upload]) -> bool:
    """
    Tell whether neither a key nor a byte of the uploads is left, nor anything to do.
    """
    for upload in uploads:
        with pytest.raises(LeafShredded):
            await served.gateway.context.keyring.leaf(upload.key_slot, upload.leaf_index)
    async with served.gateway.context.catalog.read() as connection:
        waiting = await list_jobs(connection)
    return not waiting and not list((served.gateway.settings.data_dir / "spool").iterdir())


async def test_where_shredding_fails_a_job_goes_on_with_it(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path / "data", clock=clock, with_workers=False) as served:
        uploads = await begun(served, 3)
        clock.advance(WEEK)

        async def failing(self: object, expired: Sequence[Expiry]) -> None:
            raise KeyringError("not now")

        with monkeypatch.context() as patch:
            patch.setattr(type(served.gateway.context.erasure.ranges), "shred", failing)
            assert 3 == await served.gateway.expiry.expire_overdue()
        assert b"" != await served.gateway.context.keyring.leaf(uploads[0].key_slot, uploads[0].leaf_index)

        await served.placed()

        assert await are_gone(served, uploads)
        [entry] = await served.gateway.context.keyring.shredded_since(0, 10)
        assert (uploads[0].leaf_index, uploads[2].leaf_index) == (entry.first, entry.last)


async def test_an_older_catalog_in_which_they_are_open_follows(tmp_path: Path, clock: FakeClock) -> None:
    data = tmp_path / "data"
    async with serving(data, clock=clock, with_workers=False) as served:
        uploads = await begun(served, 2)
    shutil.copy(data / "catalog.db", tmp_path / "older.db")
    async with serving(data, clock=clock, with_workers=False) as served:
        clock.advance(WEEK)
        assert 2 == await served.gateway.expiry.expire_overdue()
        await served.placed()
        assert await are_gone(served, uploads)
    shutil.copy(tmp_path / "older.db", data / "catalog.db")
    for leftover in data.glob("catalog.db-*"):
        leftover.unlink()
    async with serving(data, clock=clock, with_workers=False) as served:
        await served.placed()
        assert {"terminated"} == {(await upload_row(served, str(each.id))).state for each in uploads}
        assert await are_gone(served, uploads)


async def test_one_that_is_being_written_to_is_asked_to_let_go(tmp_path: Path, clock: FakeClock) -> None:
    async with serving(tmp_path / "data", clock=clock, with_workers=False) as served:
        uploads = await begun(served, 2)
        clock.advance(WEEK)
        asked = asyncio.Event()

        async def write() -> None:
            async with served.gateway.expiry._holders.hold(uploads[0].id) as holder:
                holder.when_asked(asked.set)
                await asked.wait()

        writing = asyncio.create_task(write())
        await asyncio.sleep(0)
        assert 2 == await served.gateway.expiry.expire_overdue()
        await writing
        await served.placed()
        assert await are_gone(served, uploads)
