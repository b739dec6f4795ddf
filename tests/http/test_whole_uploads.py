"""
A POST that brings a whole upload: it is recorded once, when it has ended, and before that nobody could ask for it.
"""

from collections.abc import Mapping

import pytest
from sqlalchemy import func, select

from gateway.catalog import tables
from gateway.spool import PieceWriter, SpoolFailed, SpoolFull
from tests.http.phone import UPLOADS, Phone, speech, spool_files
from tests.http.wire import Intake, Wire, eventually
from tests.support.gateway import APPEND, Served

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTENT = speech(700_000)


async def begin_post(wire: Wire, phone: Phone, headers: Mapping[str, str] | None = None) -> None:
    length = str(len(CONTENT))
    sent = {**phone.auth, **APPEND, "Upload-Length": length, "Content-Length": length, **(headers or {})}
    await wire.send_head("POST", UPLOADS, sent)


async def rows(served: Served) -> int:
    async with served.gateway.context.catalog.read() as connection:
        return (await connection.execute(select(func.count()).select_from(tables.uploads))).scalar_one()


async def test_before_the_last_byte_there_is_nothing_of_it(
    shared: Served, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake, before = Intake(monkeypatch), await rows(shared)
    async with Wire.to(shared) as wire:
        await begin_post(wire, phone)
        await wire.send(CONTENT[:-1])
        await intake.reaches(len(CONTENT) - 1)
        assert before == await rows(shared)
        await wire.send(CONTENT[-1:])
        answer = await wire.answer()
    assert (201, str(len(CONTENT))) == (answer.status, answer.headers["upload-offset"])
    assert before + 1 == await rows(shared)
    assert CONTENT == (await phone.audio(answer.headers["location"].rpartition("/")[2])).body


@pytest.mark.parametrize("size", [0, 1, 300_000, 600_000, len(CONTENT) - 1])
async def test_a_cut_leaves_nothing_since_nobody_knows_an_address(
    shared: Served, phone: Phone, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    intake, before, files = Intake(monkeypatch), await rows(shared), set(spool_files(shared))
    discarded = []
    discard = PieceWriter.discard

    async def noting(writer: PieceWriter) -> None:
        await discard(writer)
        discarded.append(writer.length)

    monkeypatch.setattr(PieceWriter, "discard", noting)
    async with Wire.to(shared) as wire:
        await begin_post(wire, phone)
        await wire.send(CONTENT[:size])
        await intake.reaches(size)
        await wire.reset() if size % 2 else await wire.cut()
    await eventually(lambda: bool(discarded))
    assert before == await rows(shared)
    assert files == set(spool_files(shared))


async def test_with_a_key_to_find_it_by_a_cut_loses_nothing(
    shared: Served, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake, key = Intake(monkeypatch), {"Idempotency-Key": "the phone's own"}
    async with Wire.to(shared) as wire:
        await begin_post(wire, phone, key)
        await wire.send(CONTENT[:300_000])
        await intake.reaches(300_000)
    upload = (await phone.create(len(CONTENT), key)).upload_id
    assert 300_000 == await phone.offset_of(upload)
    assert 204 == (await phone.patch(upload, 300_000, CONTENT[300_000:])).status
    assert CONTENT == (await phone.audio(upload)).body


@pytest.mark.parametrize(
    ("fault", "status"), [(SpoolFull("full"), 507), (SpoolFailed("broken"), 503)], ids=["full", "broken"]
)
async def test_where_the_disk_fails_the_address_is_told_and_it_goes_on_from_there(
    phone: Phone, monkeypatch: pytest.MonkeyPatch, fault: Exception, status: int
) -> None:
    end = PieceWriter._write_end

    def failing(writer: PieceWriter, gathered: list[bytes]) -> None:
        writer._has_failed = True
        raise fault

    monkeypatch.setattr(PieceWriter, "_write_end", failing)
    answer = await phone.create(len(CONTENT), APPEND, CONTENT)
    monkeypatch.setattr(PieceWriter, "_write_end", end)
    assert status == answer.status, answer.body
    offset = await phone.offset_of(answer.upload_id)
    assert 204 == (await phone.patch(answer.upload_id, offset, CONTENT[offset:])).status
    assert CONTENT == (await phone.audio(answer.upload_id)).body


async def test_a_user_who_is_erased_meanwhile_leaves_nothing(
    shared: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = await Phone.of_new_user(shared, "Bob")
    intake, before, files = Intake(monkeypatch), await rows(shared), set(spool_files(shared))
    async with Wire.to(shared) as wire:
        await begin_post(wire, phone)
        await wire.send(CONTENT[:-1])
        await intake.reaches(len(CONTENT) - 1)
        erasure = shared.gateway.context.erasure
        await erasure.shred_account(phone.user_id, salt=await erasure.bury_account(phone.user_id))
        await wire.send(CONTENT[-1:])
        answer = await wire.answer()
    assert 404 == answer.status
    assert before == await rows(shared)
    assert files == set(spool_files(shared))
