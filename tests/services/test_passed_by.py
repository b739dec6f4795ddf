"""
A request that hangs in the disk while its upload goes on without it: what it does later counts for nothing.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.crypto.chunked import Buffer
from gateway.spool.files import SLAB
from gateway.spool.sealed_file import SealedFile
from tests.http.phone import Answer, Phone, speech, spool_files
from tests.http.wire import eventually
from tests.support.gateway import Served, serving
from tests.support.pieces import whole_chunks

CONTENT = speech(1_500_000)


class StuckDisk:
    """
    A disk on which one slab of the next append hangs, until it is told to go on.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, at_slab: int = 2) -> None:
        self.is_stuck = False
        self._may_go_on = threading.Event()
        append: Callable[[SealedFile, Buffer], None] = SealedFile.append
        slabs = 0

        def hanging(file: SealedFile, plaintext: Buffer) -> None:
            nonlocal slabs
            slabs += 1
            if slabs == at_slab:
                self.is_stuck = True
                self._may_go_on.wait(60)
            append(file, plaintext)

        monkeypatch.setattr(SealedFile, "append", hanging)

    def go_on(self) -> None:
        self._may_go_on.set()


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path / "data", with_workers=False, uploads={"handover_timeout_s": 1}) as served:
        yield served


async def stuck_upload(gateway: Served, disk: StuckDisk) -> tuple[Phone, str, "asyncio.Task[Answer]"]:
    """
    Return an upload, and the request for it that hangs; its body is sent when it is asked for, so all goes one way.
    """
    phone = await Phone.of_new_user(gateway)
    upload = await phone.begin(len(CONTENT))
    hanging = asyncio.create_task(phone.patch(upload, 0, CONTENT, {"Expect": "100-continue"}))
    await eventually(lambda: disk.is_stuck)
    return phone, upload, hanging


async def test_the_newcomer_goes_on_from_what_was_written(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = StuckDisk(monkeypatch, at_slab=3)
    phone, upload, hanging = await stuck_upload(gateway, disk)

    # What did not fill a block of the disk is still in the hanging request's hands.
    written = whole_chunks(spool_files(gateway, upload)[0])
    kept = await phone.offset_of(upload)
    assert SLAB <= kept <= 2 * SLAB
    assert written == kept
    other = speech(len(CONTENT) - kept, seed=7)
    answer = await phone.patch(upload, kept, other)
    disk.go_on()
    late = await hanging

    assert (204, 423) == (answer.status, late.status)
    assert CONTENT[:kept] + other == (await phone.audio(upload)).body
    await gateway.placed()
    assert CONTENT[:kept] + other == (await phone.audio(upload)).body
    assert [] == spool_files(gateway)


@pytest.mark.parametrize("at_slab", [1, 2])
@pytest.mark.parametrize("end", ["terminated", "erased with its user"])
async def test_after_the_upload_s_end_it_leaves_no_file(
    gateway: Served, monkeypatch: pytest.MonkeyPatch, end: str, at_slab: int
) -> None:
    disk = StuckDisk(monkeypatch, at_slab=at_slab)
    phone, upload, hanging = await stuck_upload(gateway, disk)

    if end == "terminated":
        assert 204 == (await phone.terminate(upload)).status
    else:
        erasure = gateway.gateway.context.erasure
        await erasure.shred_account(phone.user_id, salt=await erasure.bury_account(phone.user_id))
        await gateway.placed()
    disk.go_on()
    late = await hanging

    assert late.status in (401, 404, 423)
    assert [] == spool_files(gateway)
