"""
HEAD: how far an upload has come.
"""

from email.utils import parsedate_to_datetime
from uuid import UUID

import pytest

from gateway.base.ids import RecordingId
from gateway.catalog.uploads import get_upload
from tests.http.phone import TUS, UPLOADS, Phone, speech

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_tells_offset_length_and_expiry_and_is_not_cached(phone: Phone) -> None:
    upload = await phone.begin(100)
    await phone.patch(upload, 0, speech(70))

    answer = await phone.head(upload)

    assert (200, b"") == (answer.status, answer.body)
    assert {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": "70",
        "Upload-Length": "100",
        "Cache-Control": "no-store",
    } == {
        name: answer.headers[name]
        for name in ("Tus-Resumable", "Upload-Offset", "Upload-Length", "Cache-Control")
    }
    assert "Upload-Defer-Length" not in answer.headers


async def test_the_expiry_is_a_week_away(phone: Phone) -> None:
    upload = await phone.begin(100)
    expires = parsedate_to_datetime((await phone.head(upload)).headers["Upload-Expires"])

    async with phone.served.gateway.context.catalog.read() as connection:
        row = await get_upload(connection, RecordingId(UUID(upload)))
    assert row is not None
    assert row.created_at // 1000 + 7 * 24 * 3600 == expires.timestamp()
    assert (await phone.head(upload)).headers["Upload-Expires"].endswith(" GMT")


@pytest.mark.parametrize(
    "name",
    [
        "00000000-0000-4000-8000-000000000000",
        "1",
        "..",
        "%2e%2e%2fetc%2fpasswd",
        "%00",
        "00000000000000000000000000000000",
        "{00000000-0000-4000-8000-000000000000}",
        "urn:uuid:00000000-0000-4000-8000-000000000000",
        "x" * 3000,
        "\u0661",
        "%ff%fe",
    ],
)
async def test_what_does_not_exist_is_not_found_and_has_no_offset(phone: Phone, name: str) -> None:
    answer = await phone.head(name)

    assert 404 == answer.status
    assert "Upload-Offset" not in answer.headers
    assert "no-store" == answer.headers["Cache-Control"]


async def test_an_id_in_capitals_is_the_same(phone: Phone) -> None:
    upload = await phone.begin(1)

    assert 200 == (await phone.head(upload.upper())).status


async def test_an_upload_whose_metadata_is_damaged_can_still_be_resumed(phone: Phone) -> None:
    from sqlalchemy import update

    from gateway.catalog.tables import uploads

    upload = await phone.begin(5, {"Upload-Metadata": "note aGk="})
    async with phone.served.gateway.context.catalog.write() as connection:
        await connection.execute(update(uploads).where(uploads.c.id == upload).values(details=b"damaged"))

    answer = await phone.head(upload)

    assert (200, 0) == (answer.status, answer.offset)
    assert "Upload-Metadata" not in answer.headers
    assert 204 == (await phone.patch(upload, 0, b"hello")).status
    assert (await phone.details(upload)).document["readable"] is False
    assert b"hello" == (await phone.audio(upload)).body


async def test_an_upload_has_no_other_methods(phone: Phone) -> None:
    upload = await phone.begin(1)

    answer = await phone.ask("PUT", f"{UPLOADS}/{upload}", TUS, b"x")

    assert (405, "DELETE, GET, HEAD, OPTIONS, PATCH, POST") == (answer.status, answer.headers["Allow"])
