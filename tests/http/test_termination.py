"""
DELETE on an upload: its client gives it up.
"""

from uuid import UUID, uuid4

import pytest

from gateway.base.ids import RecordingId
from gateway.keyring.errors import LeafShredded
from tests.http.phone import TUS, UPLOADS, Phone, blob_files, speech, spool_files
from tests.http.wire import upload_row

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_it_is_gone_with_its_bytes_and_its_key(either: Phone) -> None:
    upload = await either.begin(50_000, {"Upload-Metadata": "note aGk="})
    await either.patch(upload, 0, speech(30_000))
    row = await upload_row(either.served, upload)

    answer = await either.terminate(upload)

    assert (204, b"", "1.0.0") == (answer.status, answer.body, answer.headers["Tus-Resumable"])
    with pytest.raises(LeafShredded):
        await either.served.gateway.context.keyring.leaf(row.key_slot, row.leaf_index)
    assert [] == spool_files(either.served, upload)
    assert (await upload_row(either.served, upload)).details is None


async def test_afterwards_nothing_finds_it(either: Phone) -> None:
    upload = await either.begin(10)
    await either.patch(upload, 0, b"hello")
    await either.terminate(upload)

    for answer in (
        await either.head(upload),
        await either.patch(upload, 5, b"world"),
        await either.terminate(upload),
        await either.ask("GET", f"{UPLOADS}/{upload}", TUS),
        await either.details(upload),
        await either.erase(upload),
    ):
        assert 404 == answer.status
    await either.served.placed()
    assert 404 == (await either.head(upload)).status


async def test_an_upload_without_a_byte_can_be_given_up(either: Phone) -> None:

    assert 204 == (await either.terminate(await either.begin(10))).status
    assert 204 == (await either.terminate(await either.begin(None))).status


async def test_other_uploads_go_on(either: Phone) -> None:
    kept, given_up = await either.begin(10), await either.begin(10)
    await either.patch(kept, 0, b"hello")
    await either.patch(given_up, 0, b"hello")

    await either.terminate(given_up)

    assert 204 == (await either.patch(kept, 5, b"world")).status
    assert b"helloworld" == (await either.audio(kept)).body


async def test_what_does_not_exist_is_not_found(either: Phone) -> None:

    assert 404 == (await either.terminate(str(uuid4()))).status
    assert 404 == (await either.terminate("x")).status


async def test_a_finished_one_is_erased_with_a_receipt(either: Phone) -> None:
    await either.served.placed()
    before = blob_files(either.served)
    recording = await either.record(speech(20_000))
    await either.served.placed()
    assert before != blob_files(either.served)

    assert 204 == (await either.terminate(recording)).status

    assert 404 == (await either.terminate(recording)).status
    assert 404 == (await either.head(recording)).status
    assert 404 == (await either.audio(recording)).status
    receipt = await either.ask("GET", f"/v1/receipts/{recording}")
    assert "shredded" == receipt.document["state"]
    await either.served.placed()
    assert before == blob_files(either.served)


async def test_what_a_crash_left_undone_is_done_by_the_job(either: Phone) -> None:
    """
    The answer was lost between the row's end and the key's.
    """
    upload = await either.begin(50_000)
    await either.patch(upload, 0, speech(30_000))
    row = await upload_row(either.served, upload)
    uploads = either.served.gateway.context.uploads
    user = await either.served.gateway.context.accounts.get_user(either.user_id)
    assert await uploads.terminate(user, RecordingId(UUID(upload)))

    await either.served.placed()

    with pytest.raises(LeafShredded):
        await either.served.gateway.context.keyring.leaf(row.key_slot, row.leaf_index)
    assert [] == spool_files(either.served, upload)
