"""
GET and HEAD of a recording's audio.
"""

import asyncio

import pytest

from tests.http.phone import RECORDINGS, Phone, blob_files, speech
from tests.http.wire import Wire, settled

pytestmark = pytest.mark.asyncio(loop_scope="module")

KIB = 1024
SIZES = [0, 1, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 3 * 16 * KIB, 256 * KIB, 256 * KIB + 1, 700_000]


@pytest.mark.parametrize("size", SIZES)
async def test_it_is_what_was_sent_before_and_after_placement(phone: Phone, size: int) -> None:
    content = speech(size)
    recording = await phone.record(content)

    for _ in range(2):
        answer = await phone.audio(recording)
        head = await phone.ask("HEAD", f"{RECORDINGS}/{recording}/audio")
        assert (200, content) == (answer.status, answer.body)
        assert (200, b"", str(size)) == (head.status, head.body, head.headers["Content-Length"])
        assert "bytes" == answer.headers["Accept-Ranges"] == head.headers["Accept-Ranges"]
        assert answer.headers["ETag"] == head.headers["ETag"]
        assert "no-store" == answer.headers["Cache-Control"]
        await phone.served.placed()
    assert size + 36 + 56 + 16 * (size // (16 * KIB) + 1) in {
        path.stat().st_size for path in blob_files(phone.served)
    }


def ranges_of(size: int) -> list[tuple[str, int, int]]:
    """
    List ranges that are satisfiable, with their first byte and the one behind their last.
    """
    edge = 16 * KIB
    return [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, size),
        (f"bytes=0-{size - 1}", 0, size),
        (f"bytes=0-{size}", 0, size),
        ("bytes=0-99999999999999999999999", 0, size),
        (f"bytes={size - 1}-", size - 1, size),
        (f"bytes={size - 1}-{size - 1}", size - 1, size),
        ("bytes=-1", size - 1, size),
        ("bytes=-20000", max(0, size - 20_000), size),
        (f"bytes=-{size}", 0, size),
        (f"bytes=-{size + 1}", 0, size),
        ("bytes=-99999999999999999999999", 0, size),
        (f"bytes={edge - 1}-{edge}", edge - 1, edge + 1),
        (f"bytes={edge}-{2 * edge - 1}", edge, 2 * edge),
        (f"bytes={edge}-{2 * edge}", edge, 2 * edge + 1),
        (f"bytes=1-{size - 2}", 1, size - 1),
        ("BYTES=5-9", 5, 10),
        (" bytes = 5 - 9 ", 5, 10),
        ("bytes=0000000000000000000000005-00000000000000000000000009", 5, 10),
    ]


@pytest.mark.parametrize("size", [50_000, 3 * 16 * KIB, 600_000])
async def test_any_range_of_it_can_be_had(phone: Phone, size: int) -> None:
    content = speech(size)
    recording = await phone.record(content)

    for _ in range(2):
        for header, start, end in ranges_of(size):
            answer = await phone.audio(recording, {"Range": header})
            assert (header, 206, f"bytes {start}-{end - 1}/{size}") == (
                header,
                answer.status,
                answer.headers["Content-Range"],
            )
            assert content[start:end] == answer.body
            assert str(end - start) == answer.headers["Content-Length"]
        await phone.served.placed()


@pytest.mark.parametrize(
    "header",
    ["bytes=1000-", "bytes=1000-1001", "bytes=5000-6000", "bytes=-0", "bytes=99999999999999999999999-"],
)
async def test_a_range_behind_the_end_is_refused_with_the_size(phone: Phone, header: str) -> None:
    recording = await phone.record(speech(1000))

    answer = await phone.audio(recording, {"Range": header})

    assert (416, "bytes */1000") == (answer.status, answer.headers["Content-Range"])
    assert "range-not-satisfiable" == answer.problem["code"]


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"])
async def test_nothing_has_no_range(phone: Phone, header: str) -> None:
    recording = await phone.record(b"")

    answer = await phone.audio(recording, {"Range": header})

    assert (416, "bytes */0") == (answer.status, answer.headers["Content-Range"])


@pytest.mark.parametrize(
    "header",
    [
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5",
        "bytes 0-5",
        "bytes=5-4",
        "bytes=--5",
        "bytes=+1-5",
        "bytes=0x1-5",
        "bytes=1.0-5",
        "bytes=0-1,3-4",
        "bytes=0-1, 3-4,-5",
        "bytes=\u0661-5",
        "chunks=0-5",
        "seconds=0-5",
        "",
        "=",
        ",",
        "bytes=0-5;x",
    ],
)
async def test_what_is_no_range_of_bytes_is_ignored(phone: Phone, header: str) -> None:
    """
    RFC 9110, section 14.2: a server may, and for other units must.
    """
    content = speech(1000)
    recording = await phone.record(content)

    answer = await phone.audio(recording, {"Range": header})

    assert (200, content) == (answer.status, answer.body)
    assert "Content-Range" not in answer.headers


async def test_if_range_guards_the_range(phone: Phone) -> None:
    content = speech(1000)
    recording = await phone.record(content)
    etag = (await phone.audio(recording)).headers["ETag"]
    part = {"Range": "bytes=0-9"}

    assert 206 == (await phone.audio(recording, {**part, "If-Range": etag})).status
    for other in ('"x"', f"W/{etag}", etag.strip('"'), "Wed, 21 Oct 2015 07:28:00 GMT", ""):
        answer = await phone.audio(recording, {**part, "If-Range": other})
        assert (200, content) == (answer.status, answer.body)
    beyond = await phone.audio(recording, {"Range": "bytes=5000-", "If-Range": '"x"'})
    assert 200 == beyond.status


async def test_if_none_match_saves_the_bytes(phone: Phone) -> None:
    recording, other = await phone.record(b"a"), await phone.record(b"b")
    etag = (await phone.audio(recording)).headers["ETag"]
    assert etag != (await phone.audio(other)).headers["ETag"]

    for value in (etag, f"W/{etag}", "*", f'"x", {etag}'):
        for method in ("GET", "HEAD"):
            answer = await phone.ask(method, f"{RECORDINGS}/{recording}/audio", {"If-None-Match": value})
            assert (304, b"", etag) == (answer.status, answer.body, answer.headers["ETag"])
    assert 200 == (await phone.audio(recording, {"If-None-Match": '"x"'})).status
    assert 200 == (await phone.audio(recording, {"If-None-Match": ""})).status


async def test_head_knows_no_range(phone: Phone) -> None:
    recording = await phone.record(speech(1000))

    answer = await phone.ask("HEAD", f"{RECORDINGS}/{recording}/audio", {"Range": "bytes=0-9"})

    assert (200, "1000") == (answer.status, answer.headers["Content-Length"])


async def test_the_etag_outlives_placement_and_edits(phone: Phone) -> None:
    recording = await phone.record(speech(1000))
    before = (await phone.audio(recording)).headers["ETag"]
    await phone.served.placed()
    await phone.edit(recording, {"note": "x"})

    assert before == (await phone.audio(recording)).headers["ETag"]


@pytest.mark.parametrize(
    ("filetype", "served_as", "disposition"),
    [
        ("audio/mp4", "audio/mp4", "inline"),
        ("audio/ogg; codecs=opus", "audio/ogg; codecs=opus", "inline"),
        ("video/mp4", "video/mp4", "inline"),
        ("application/ogg", "application/ogg", "inline"),
        ("text/html", "application/octet-stream", "attachment"),
        ("TEXT/HTML; charset=utf-8", "application/octet-stream", "attachment"),
        ("image/svg+xml", "application/octet-stream", "attachment"),
        ("application/xhtml+xml", "application/octet-stream", "attachment"),
        ("application/javascript", "application/octet-stream", "attachment"),
        ("multipart/x-mixed-replace", "application/octet-stream", "attachment"),
        ("audio/x,text/html", None, None),
        (None, "application/octet-stream", "attachment"),
    ],
)
async def test_a_browser_is_never_told_that_it_is_a_page(
    phone: Phone, filetype: str | None, served_as: str | None, disposition: str | None
) -> None:
    if served_as is None:
        assert filetype is not None
        header = {"filetype": filetype}
        from tests.http.phone import metadata_of

        assert "filetype" == (await phone.create(1, {"Upload-Metadata": metadata_of(**header)})).field
        return
    recording = await phone.record(
        b"<script>alert(1)</script>", **({} if filetype is None else {"filetype": filetype})
    )

    for path in (f"{RECORDINGS}/{recording}/audio", f"/v1/uploads/{recording}"):
        answer = await phone.ask("GET", path)
        assert served_as == answer.headers["Content-Type"]
        assert disposition == answer.headers["Content-Disposition"].partition(";")[0]
        assert "nosniff" == answer.headers["X-Content-Type-Options"]
        assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("call.m4a", "call.m4a"),
        ('a"b\\c.m4a', "a%22b%5Cc.m4a"),
        ("a\r\nSet-Cookie: x=1.m4a", "a%0D%0ASet-Cookie%3A%20x%3D1.m4a"),
        ("../../etc/passwd", "..%2F..%2Fetc%2Fpasswd"),
        ("Müller;*'.m4a", "M%C3%BCller%3B%2A%27.m4a"),
        ("\U0001f600", "%F0%9F%98%80"),
        ("\u202egnp.exe", "%E2%80%AEgnp.exe"),
        ("\U0001f600" * 1024, "%F0%9F%98%80" * 255),
    ],
    ids=["plain", "quotes", "lines", "path", "marks", "emoji", "backwards", "long"],
)
async def test_odd_file_names_stay_within_their_header(phone: Phone, filename: str, expected: str) -> None:
    recording = await phone.record(b"x")
    await phone.edit(recording, {"filename": filename})

    answer = await phone.audio(recording)

    assert f"attachment; filename*=UTF-8''{expected}" == answer.headers["Content-Disposition"]
    assert "Set-Cookie" not in answer.headers


async def test_many_hear_it_at_once(either: Phone) -> None:
    content = speech(700_000)
    recording = await either.record(content)
    parts = [(start, start + 100_000) for start in range(0, 700_000, 100_000)]

    hearing = [
        either.audio(recording, {"Range": f"bytes={start}-{end - 1}"})
        for start, end in parts
        for _ in range(3)
    ]
    answers, _ = await asyncio.gather(asyncio.gather(*hearing), either.served.placed())

    assert {206} == {answer.status for answer in answers}
    assert [content[start:end] for start, end in parts for _ in range(3)] == [
        answer.body for answer in answers
    ]


async def test_a_listener_that_goes_away_does_no_harm(either: Phone) -> None:
    content = speech(700_000)
    recording = await either.record(content)
    for _ in range(5):
        async with Wire.to(either.served) as wire:
            await wire.send_head("GET", f"{RECORDINGS}/{recording}/audio", either.auth)
            await wire._reader.readexactly(1000)

    assert content == (await either.audio(recording)).body


async def test_pieces_from_many_appends_are_heard_as_one(either: Phone) -> None:
    content = speech(100_000)
    upload, start = await either.begin(len(content)), 0
    for number, size in enumerate([1, 16_384, 3, 40_000], start=1):
        async with Wire.to(either.served) as wire:
            await wire.begin_patch(either, upload, start, len(content) - start)
            await wire.send(content[start : start + size])
        start += size
        await settled(either.served, upload, appends=number)
    await either.patch(upload, start, content[start:])

    for _ in range(2):
        for first in (0, 1, 2, 16_384, 16_385, 16_388, 50_000, 99_999):
            answer = await either.audio(upload, {"Range": f"bytes={first}-{first + 20_000}"})
            assert content[first : first + 20_001] == answer.body
        await either.served.placed()
