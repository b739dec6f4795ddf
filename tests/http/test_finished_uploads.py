"""
An upload's address after its last byte.
"""

import pytest

from tests.http.phone import TUS, UPLOADS, Phone, metadata_of, speech

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_it_says_that_nothing_is_missing_before_and_after_placement(either: Phone) -> None:
    content = speech(40_000)
    metadata = {"Upload-Metadata": metadata_of(note="n", device="phone")}
    upload = await either.begin(len(content), metadata)
    await either.patch(upload, 0, content)

    for _ in range(2):
        head = await either.head(upload)
        assert (200, 40_000) == (head.status, head.offset)
        assert {"Upload-Length": "40000", **metadata} == {
            name: head.headers[name] for name in ("Upload-Length", "Upload-Metadata")
        }
        assert "Upload-Defer-Length" not in head.headers
        await either.served.placed()


async def test_get_gives_the_audio_as_the_recording_s_address_does(either: Phone) -> None:
    content = speech(40_000)
    recording = await either.record(content, filetype="audio/mp4")

    for _ in range(2):
        whole = await either.ask("GET", f"{UPLOADS}/{recording}")
        part = await either.ask("GET", f"{UPLOADS}/{recording}", {"Range": "bytes=16000-17999"})
        assert (200, content, "audio/mp4") == (whole.status, whole.body, whole.headers["Content-Type"])
        assert (206, content[16_000:18_000]) == (part.status, part.body)
        await either.served.placed()


async def test_get_of_an_unfinished_one_gives_nothing(either: Phone) -> None:
    upload = await either.begin(10)
    await either.patch(upload, 0, b"hello")

    assert 404 == (await either.ask("GET", f"{UPLOADS}/{upload}", TUS)).status
    assert 404 == (await either.details(upload)).status
    assert 404 == (await either.audio(upload)).status
    assert [] == await either.listed()


async def test_an_edit_of_the_recording_leaves_the_upload_s_metadata(either: Phone) -> None:
    recording = await either.record(b"hello", note="old", device="phone")
    before = (await either.head(recording)).headers["Upload-Metadata"]

    assert 200 == (await either.edit(recording, {"note": "new"})).status

    assert before == (await either.head(recording)).headers["Upload-Metadata"]


async def test_it_ends_with_the_recording(either: Phone) -> None:
    recording = await either.record(b"hello")
    await either.erase(recording)

    assert 404 == (await either.head(recording)).status
    assert 404 == (await either.patch(recording, 5)).status
    assert 404 == (await either.terminate(recording)).status
