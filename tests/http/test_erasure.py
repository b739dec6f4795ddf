"""
DELETE /v1/recordings/{id}: erased with a receipt, and gone.
"""

import asyncio
import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.keyring import Receipt, ShredRequest, verify_receipt
from gateway.keyring.errors import LeafShredded, RootStoreFailed
from tests.http.phone import Phone, blob_files, speech, spool_files
from tests.http.wire import Wire, upload_row
from tests.support.gateway import Served, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("is_placed", [False, True])
async def test_it_answers_with_the_receipt_and_nothing_is_left(either: Phone, is_placed: bool) -> None:
    await either.served.placed()
    before = blob_files(either.served)
    recording = await either.record(speech(50_000), note="gone")
    row = await upload_row(either.served, recording)
    if is_placed:
        await either.served.placed()

    answer = await either.erase(recording)

    document = answer.document
    assert (200, recording, "shredded") == (answer.status, document["id"], document["state"])
    assert document["receipt"] is not None
    assert document["purge_receipt"] is None
    await check(either.served, document, document["receipt"])
    with pytest.raises(LeafShredded):
        await either.served.gateway.context.keyring.leaf(row.key_slot, row.leaf_index)
    await either.served.placed()
    assert before == blob_files(either.served)
    assert [] == spool_files(either.served, recording)


async def check(served: Served, document: dict[str, Any], receipt: dict[str, Any]) -> None:
    """
    Check a receipt the way its user can: with the published keys and the salt that only he was given.
    """
    async with served.http.get("/v1/receipt-keys") as response:
        keys = [base64.urlsafe_b64decode(key + "=") for key in (await response.json())["keys"]]
    verify_receipt(receipt, keys, subject_id=document["id"], salt=bytes.fromhex(document["salt"]))


async def test_afterwards_nothing_finds_it(either: Phone) -> None:
    recording, kept = await either.record(speech(50_000)), await either.record(b"kept")
    await either.served.placed()
    await either.erase(recording)

    for _ in range(2):
        assert [kept] == await either.listed()
        for answer in (
            await either.audio(recording),
            await either.audio(recording, {"Range": "bytes=0-9"}),
            await either.ask("HEAD", f"/v1/recordings/{recording}/audio"),
            await either.details(recording),
            await either.edit(recording, {"note": "x"}),
            await either.head(recording),
            await either.patch(recording, 50_000),
        ):
            assert 404 == answer.status
        await either.served.placed()
    assert b"kept" == (await either.audio(kept)).body


async def test_again_it_gives_the_same_receipt(either: Phone) -> None:
    recording = await either.record(speech(1000))

    first = (await either.erase(recording)).document
    again = (await either.erase(recording)).document
    assert first == again
    await either.served.placed()
    purged = await either.erase(recording)

    assert (200, "purged") == (purged.status, purged.document["state"])
    assert first["receipt"] == purged.document["receipt"]
    assert purged.document["purge_receipt"] is not None
    await check(either.served, purged.document, purged.document["purge_receipt"])
    assert purged.document == (await either.ask("GET", f"/v1/receipts/{recording}")).document


async def test_many_at_once_give_one_receipt(either: Phone) -> None:
    recording = await either.record(speech(1000))

    answers = await asyncio.gather(*(either.erase(recording) for _ in range(6)))

    assert {200} == {answer.status for answer in answers}
    assert 1 == len({answer.document["receipt"]["signature"] for answer in answers})


async def test_many_recordings_at_once_are_all_gone(either: Phone) -> None:
    recordings = [await either.record(speech(100, seed)) for seed in range(8)]

    answers = await asyncio.gather(*(either.erase(recording) for recording in recordings[:6]))

    assert [200] * 6 == [answer.status for answer in answers]
    assert set(recordings[6:]) == set(await either.listed())
    for seed in (6, 7):
        assert speech(100, seed) == (await either.audio(recordings[seed])).body


async def test_a_receipt_is_there_only_for_what_is_erased(either: Phone) -> None:
    recording, upload = await either.record(b"x"), await either.begin(10)

    for identifier in (recording, upload, "x", "00000000-0000-4000-8000-000000000000"):
        assert 404 == (await either.ask("GET", f"/v1/receipts/{identifier}")).status


async def test_the_receipt_tells_where_the_blob_was(either: Phone) -> None:
    recording = await either.record(b"x")
    await either.served.placed()

    receipt = (await either.erase(recording)).document["receipt"]
    await either.served.placed()
    purge = (await either.erase(recording)).document["purge_receipt"]

    assert [("home", "pending")] == [(place["backend"], place["state"]) for place in receipt["placements"]]
    assert [("home", "purged")] == [(place["backend"], place["state"]) for place in purge["placements"]]


async def test_an_unfinished_upload_is_no_recording_to_erase(either: Phone) -> None:
    upload = await either.begin(10)
    await either.patch(upload, 0, b"hello")

    assert 404 == (await either.erase(upload)).status
    assert 5 == await either.offset_of(upload)


async def test_a_stream_that_is_going_out_ends(phone: Phone) -> None:
    """
    Whoever listens when it is erased does not get the rest of it.
    """
    content = speech(20_000_000)
    recording = (await phone.create(len(content), data=content)).upload_id
    async with Wire.to(phone.served) as wire:
        await wire.send_head("GET", f"/v1/recordings/{recording}/audio", phone.auth)
        head = await wire._reader.readuntil(b"\r\n\r\n")
        assert 200 == (await phone.erase(recording)).status
        body = await wire.rest()

    assert b"200 OK" in head
    assert len(body) < len(content)
    assert content.startswith(body)


class SlowShredding:
    """
    A keyring whose rounds wait until they may go on.
    """

    def __init__(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may_go_on = asyncio.Event()
        keyring = served.gateway.context.keyring
        shred_all = keyring.shred_all

        async def waiting(requests: Sequence[ShredRequest]) -> list[Receipt | Exception]:
            await self.may_go_on.wait()
            return await shred_all(requests)

        monkeypatch.setattr(keyring, "shred_all", waiting)


@pytest.mark.asyncio(loop_scope="function")
async def test_where_shredding_takes_longer_it_answers_with_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path / "data", with_workers=False, keyring={"receipt_wait_s": 1}) as gateway:
        slow = SlowShredding(gateway, monkeypatch)
        phone = await Phone.of_new_user(gateway)
        recording, upload = await phone.record(speech(1000)), await phone.record(speech(2000))

        answer, by_tus = await asyncio.gather(phone.erase(recording), phone.terminate(upload))

        assert (202, "revoked") == (answer.status, answer.document["state"])
        assert answer.document["receipt"] is None
        assert f"/v1/receipts/{recording}" == answer.headers["Location"]
        assert int(answer.headers["Retry-After"]) > 0
        assert 204 == by_tus.status
        for erased in (recording, upload):
            assert 404 == (await phone.audio(erased)).status
        assert "revoked" == (await phone.ask("GET", answer.headers["Location"])).document["state"]
        slow.may_go_on.set()
        await gateway.placed()
        done = await phone.ask("GET", answer.headers["Location"])
        assert "purged" == done.document["state"]
        assert (200, done.document) == ((again := await phone.erase(recording)).status, again.document)


async def test_a_root_store_that_fails_leaves_it_revoked_and_the_job_finishes(
    phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = await phone.record(speech(1000))

    async def failing(requests: Sequence[ShredRequest]) -> list[Receipt | Exception]:
        raise RootStoreFailed("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr(phone.served.gateway.context.keyring, "shred_all", failing)
        answer = await phone.erase(recording)
        assert (503, "root-store-failed", True) == (
            answer.status,
            answer.problem["code"],
            answer.problem["retry"],
        )
    assert 404 == (await phone.audio(recording)).status

    await phone.served.placed()

    assert "purged" == (await phone.erase(recording)).document["state"]
