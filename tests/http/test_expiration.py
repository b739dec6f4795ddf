"""
Upload-Expires: unfinished uploads end by themselves.
"""

from dataclasses import replace
from email.utils import parsedate_to_datetime
from uuid import UUID, uuid4

import pytest

from gateway.base.ids import LeafIndex, RecordingId
from gateway.catalog.uploads import get_upload, insert_upload
from gateway.keyring.errors import LeafShredded
from gateway.workers.sweeper import UploadSweeper
from tests.http.phone import TUS, UPLOADS, Answer, Phone, speech
from tests.http.wire import upload_row
from tests.support.clock import FakeClock
from tests.support.gateway import Served

DAY = 24 * 3600


def expiry_of(answer: Answer) -> float:
    return parsedate_to_datetime(answer.headers["Upload-Expires"]).timestamp()


async def sweep(served: Served) -> None:
    await UploadSweeper(served.gateway.expiry, interval_s=1).sweep()


async def test_after_its_deadline_an_upload_is_gone(served: Served, clock: FakeClock) -> None:
    phone = await Phone.of_new_user(served)
    upload = await phone.begin(10)
    await phone.patch(upload, 0, b"hello")
    _, auth = await served.new_user()

    clock.advance(7 * DAY - 0.001)
    phone.auth = (await renewed(phone)).auth
    assert 200 == (await phone.head(upload)).status
    clock.advance(0.001)

    for answer in (
        await phone.head(upload),
        await phone.patch(upload, 5, b"world"),
        await phone.terminate(upload),
    ):
        assert 410 == answer.status
        assert "Upload-Offset" not in answer.headers
    assert 404 == (await phone.ask("GET", f"{UPLOADS}/{upload}", TUS)).status
    other = Phone(served, phone.user_id, auth)
    assert 401 == (await other.head(upload)).status


async def renewed(phone: Phone) -> Phone:
    """
    Return the client with a token of now.
    """
    token = await phone.served.gateway.context.accounts.new_token(phone.user_id, lifetime_s=60 * DAY)
    return Phone(phone.served, phone.user_id, {"Authorization": f"Bearer {token.reveal().decode()}"})


async def test_the_sweeper_ends_what_is_overdue_and_nothing_else(served: Served, clock: FakeClock) -> None:
    phone = await renewed(await Phone.of_new_user(served))
    overdue = [await phone.begin(50_000) for _ in range(3)]
    for upload in overdue[:2]:
        await phone.patch(upload, 0, speech(30_000))
    finished = await phone.record(b"done")
    rows = [await upload_row(served, upload) for upload in overdue]
    clock.advance(7 * DAY)
    living = await phone.begin(10)
    await phone.patch(living, 0, b"hello")

    await sweep(served)
    await served.placed()

    for row in rows:
        with pytest.raises(LeafShredded):
            await served.gateway.context.keyring.leaf(row.key_slot, row.leaf_index)
        assert 410 == (await phone.head(str(row.id))).status
    spool = served.gateway.settings.data_dir / "spool"
    assert [living] == [path.name.partition(".")[0] for path in spool.iterdir()]
    assert 5 == await phone.offset_of(living)
    assert b"done" == (await phone.audio(finished)).body


async def test_an_expired_one_is_remembered_for_a_month_and_then_unknown(
    served: Served, clock: FakeClock
) -> None:
    phone = await renewed(await Phone.of_new_user(served))
    upload = await phone.begin(10)
    clock.advance(7 * DAY)
    await sweep(served)
    await served.placed()

    clock.advance(30 * DAY - 1)
    await sweep(served)
    assert 410 == (await phone.head(upload)).status
    clock.advance(1)
    await sweep(served)
    assert 404 == (await phone.head(upload)).status


async def test_every_byte_prolongs_the_deadline(served: Served, clock: FakeClock) -> None:
    phone = await renewed(await Phone.of_new_user(served))
    created = await phone.create(10)
    first = expiry_of(created)
    assert clock.now_ms() // 1000 + 7 * DAY == first

    for number in range(3):
        clock.advance(6 * DAY)
        answer = await phone.patch(created.upload_id, number, b"x")
        assert (
            first + (number + 1) * 6 * DAY
            == expiry_of(answer)
            == expiry_of(await phone.head(created.upload_id))
        )
        await sweep(served)

    assert 3 == await phone.offset_of(created.upload_id)


async def test_a_refused_append_prolongs_nothing(served: Served, clock: FakeClock) -> None:
    phone = await renewed(await Phone.of_new_user(served))
    created = await phone.create(10)
    clock.advance(DAY)

    assert 409 == (await phone.patch(created.upload_id, 5, b"x")).status
    assert 413 == (await phone.patch(created.upload_id, 0, b"x" * 11)).status

    assert expiry_of(created) == expiry_of(await phone.head(created.upload_id))


async def test_the_address_of_a_finished_upload_ends_after_a_day(served: Served, clock: FakeClock) -> None:
    phone = await renewed(await Phone.of_new_user(served))
    recording = await phone.record(b"hello")

    clock.advance(DAY - 1)
    await sweep(served)
    head = await phone.head(recording)
    assert (200, 5, "5") == (head.status, head.offset, head.headers["Upload-Length"])
    clock.advance(1)
    await sweep(served)

    assert 404 == (await phone.head(recording)).status
    assert b"hello" == (await phone.audio(recording)).body
    async with served.gateway.context.catalog.read() as connection:
        assert await get_upload(connection, RecordingId(UUID(recording))) is None


async def test_more_than_a_batch_of_overdue_uploads_ends_in_one_sweep(
    served: Served, clock: FakeClock
) -> None:
    """
    Of leaves that follow one another there is one receipt for each batch, and one job.
    """
    from sqlalchemy import func, select

    from gateway.catalog.tables import jobs, uploads

    phone = await renewed(await Phone.of_new_user(served))
    pattern = await upload_row(served, await phone.begin(10))
    async with served.gateway.context.catalog.write() as connection:
        for number in range(1, 1105):
            upload = replace(pattern, id=RecordingId(uuid4()), leaf_index=LeafIndex(10**6 + number))
            await insert_upload(connection, upload, idempotency_hash=None)
    clock.advance(7 * DAY)

    await sweep(served)

    async with served.gateway.context.catalog.read() as connection:
        states = select(uploads.c.state, func.count()).group_by(uploads.c.state)
        assert [("expired", 1105)] == [tuple(row) for row in await connection.execute(states)]
        kinds = list((await connection.execute(select(jobs.c.kind))).scalars())
    receipts = await served.gateway.context.keyring.shredded_since(0, 10)
    assert ["expire-uploads"] * len(receipts) == kinds
    assert 1105 == sum(entry.last - entry.first + 1 for entry in receipts if entry.kind == "recordings")
    # The first one's leaf stands alone; the others are one range, cut where the batch ends.
    assert 3 == len(receipts)
