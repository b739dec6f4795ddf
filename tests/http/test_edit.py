"""
PATCH /v1/recordings/{id}: changing what is said about a recording.
"""

import asyncio
import json
from typing import Any

import pytest

from tests.http.phone import RECORDINGS, Phone, speech
from tests.http.wire import Wire, chunk

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERYTHING: dict[str, Any] = {
    "filename": "Änderung \U0001f600.m4a",
    "filetype": "audio/ogg; codecs=opus",
    "recorded_at": "2026-01-31T14:05:00.250+01:00",
    "duration_ms": 0,
    "direction": "out",
    "party_number": "112",
    "party_name": 'O\'Brien "Bob"',
    "note": "line\r\n\ttabbed \u2028",
    "labels": ["b", "a, with comma", "Ü"],
}
EMPTY = {key: [] if key == "labels" else None for key in EVERYTHING}


async def described(phone: Phone, recording: str) -> dict[str, Any]:
    document = (await phone.details(recording)).document
    return {key: document[key] for key in EVERYTHING}


async def test_every_field_can_be_set_and_removed(either: Phone) -> None:
    recording = await either.record(speech(10))

    answer = await either.edit(recording, EVERYTHING)
    assert 200 == answer.status
    assert EVERYTHING == await described(either, recording)
    assert answer.document == (await either.details(recording)).document
    for key in EVERYTHING:
        assert 200 == (await either.edit(recording, {key: None})).status
        assert EMPTY[key] == (await described(either, recording))[key]

    assert EMPTY == await described(either, recording)
    assert speech(10) == (await either.audio(recording)).body


async def test_what_is_not_named_stays(either: Phone) -> None:
    recording = await either.record(b"x", note="old", direction="in")

    await either.edit(recording, {"note": "new"})

    assert {**EMPTY, "note": "new", "direction": "in"} == await described(either, recording)


async def test_each_edit_is_a_new_revision(either: Phone) -> None:
    recording = await either.record(b"x")
    assert '"0"' == (await either.details(recording)).headers["ETag"]

    answer = await either.edit(recording, {"note": "a"})

    assert (1, '"1"') == (answer.document["revision"], answer.headers["ETag"])
    assert '"1"' == (await either.details(recording)).headers["ETag"]


async def test_an_edit_of_an_old_revision_is_refused(either: Phone) -> None:
    recording = await either.record(b"x")
    assert 200 == (await either.edit(recording, {"note": "a"}, {"If-Match": '"0"'})).status

    for tag in ('"0"', '"2"', '"99999999999999999999"', '"' + "9" * 5000 + '"', 'W/"1"', '"x"'):
        answer = await either.edit(recording, {"note": "b"}, {"If-Match": tag})
        assert (412, "edit-conflict") == (answer.status, answer.problem["code"])

    assert "a" == (await described(either, recording))["note"]
    assert 200 == (await either.edit(recording, {"note": "c"}, {"If-Match": '"1"'})).status
    assert 200 == (await either.edit(recording, {"note": "d"}, {"If-Match": '"7", "2"'})).status
    assert 200 == (await either.edit(recording, {"note": "e"}, {"If-Match": "*"})).status


async def test_edits_at_once_all_count(either: Phone) -> None:
    """
    Two devices of one user that change different fields need not know of each other.
    """
    recording = await either.record(b"x")
    changes: list[dict[str, Any]] = [{key: value} for key, value in EVERYTHING.items()]

    answers = await asyncio.gather(*(either.edit(recording, change) for change in changes))

    assert {200} == {answer.status for answer in answers}
    assert EVERYTHING == await described(either, recording)
    assert len(changes) == (await either.details(recording)).document["revision"]


async def test_of_edits_at_once_of_one_revision_one_counts(either: Phone) -> None:
    recording = await either.record(b"x")

    answers = await asyncio.gather(
        *(either.edit(recording, {"note": str(number)}, {"If-Match": '"0"'}) for number in range(5))
    )

    assert [200, 412, 412, 412, 412] == sorted(answer.status for answer in answers)
    [winner] = [number for number, answer in enumerate(answers) if answer.status == 200]
    assert str(winner) == (await described(either, recording))["note"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("filename", 5),
        ("filename", "a\x00"),
        ("filename", "x" * 1025),
        ("filename", ["a"]),
        ("filetype", "html"),
        ("filetype", "audio/mp4\r\nX-Evil: 1"),
        ("filetype", "audio/mp4\n;x"),
        ("filetype", ""),
        ("recorded_at", "2026-01-31"),
        ("recorded_at", ""),
        ("recorded_at", 1769868300),
        ("duration_ms", -1),
        ("duration_ms", "5"),
        ("duration_ms", 1.5),
        ("duration_ms", True),
        ("duration_ms", 2**53 + 1),
        ("duration_ms", 10**30),
        ("direction", "sideways"),
        ("direction", ""),
        ("party_number", "1" * 101),
        ("party_name", {"a": "b"}),
        ("note", "x" * 10_001),
        ("note", "\x00"),
        ("labels", "a"),
        ("labels", [""]),
        ("labels", ["x" * 101]),
        ("labels", [1]),
        ("labels", [None]),
        ("labels", ["x\x00"]),
        ("labels", [str(number) for number in range(101)]),
        ("size", 5),
        ("id", "x"),
        ("revision", 7),
        ("upload_metadata", "x"),
        ("readable", True),
        ("Note", "x"),
        ("", "x"),
    ],
)
async def test_an_unknown_field_or_malformed_value_is_named(phone: Phone, field: str, value: object) -> None:
    recording = await phone.record(b"x", note="old")

    answer = await phone.edit(recording, {"note": "new", field: value})

    assert field == answer.field
    assert "old" == (await described(phone, recording))["note"]


async def test_what_is_no_json_object_is_malformed(phone: Phone) -> None:
    recording = await phone.record(b"x", note="old")
    bodies = [b"", b"null", b"[]", b'"note"', b"5", b"{", b'{"note": "a"', b"{'note': 'a'}", b'{"note": NaN}']
    bodies += [b'{"note": "\xff"}', b'{"note": "\\ud800"}', b"\xef\xbb\xbf{}", b'{"note": "a"} x']
    bodies += [b"[" * 100_000, b'{"a":' * 50_000]

    for body in bodies:
        answer = await phone.edit(recording, body)
        assert (400, "invalid-field") == (answer.status, answer.problem["code"])

    assert "old" == (await described(phone, recording))["note"]


async def test_an_edit_of_nothing_is_one(phone: Phone) -> None:
    recording = await phone.record(b"x", note="old")

    assert 200 == (await phone.edit(recording, {})).status
    assert "old" == (await described(phone, recording))["note"]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""]
)
async def test_another_content_type_is_not_supported(phone: Phone, content_type: str) -> None:
    recording = await phone.record(b"x")

    answer = await phone.edit(recording, {"note": "x"}, {"Content-Type": content_type})

    assert (415, "unsupported-media-type") == (answer.status, answer.problem["code"])


async def test_plain_json_is_a_merge_patch_too(phone: Phone) -> None:
    recording = await phone.record(b"x")

    answer = await phone.edit(recording, {"note": "x"}, {"Content-Type": "application/json; charset=utf-8"})

    assert "x" == answer.document["note"]


async def test_a_body_beyond_a_megabyte_is_too_long(phone: Phone) -> None:
    recording = await phone.record(b"x")
    body = json.dumps({"note": "x" * 1024 * 1024}).encode()

    told = await phone.edit(recording, body)
    assert (413, "too-long", 1024 * 1024) == (told.status, told.problem["code"], told.problem["limit"])
    async with Wire.to(phone.served) as wire:
        headers = {**phone.auth, "Content-Type": "application/json", "Transfer-Encoding": "chunked"}
        await wire.send_head("PATCH", f"{RECORDINGS}/{recording}", headers)
        await wire.send(chunk(body) + chunk(b""))
        untold = await wire.answer()

    assert 413 == untold.status
    assert b'"code":"too-long"' in untold.body


async def test_a_label_that_stands_twice_is_one(phone: Phone) -> None:
    recording = await phone.record(b"x")

    await phone.edit(recording, {"labels": ["a", "b", "a"]})

    assert ["a", "b"] == (await described(phone, recording))["labels"]
