"""
Requests that no honest client sends: none of them is an error of ours, and none does anything.
"""

import asyncio
import base64
import gzip
from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest

from tests.http.phone import RECORDINGS, UPLOADS, Phone, metadata_of, speech
from tests.http.wire import RawAnswer, Wire, chunk
from tests.support.gateway import APPEND, TUS, Served

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def answered(served: Served, *parts: bytes) -> list[RawAnswer]:
    """
    Send *parts* and return every answer until the gateway closes, or has said as much as it will.
    """
    answers = []
    async with Wire.to(served) as wire:
        for part in parts:
            await wire.send(part)
        try:
            async with asyncio.timeout(1):
                while True:
                    answers.append(await wire.answer())
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
    return answers


def head_of(method: str, path: str, headers: Sequence[tuple[str, str]]) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: gateway.test",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def test_a_body_with_two_lengths_or_framings_is_refused(phone: Phone) -> None:
    """
    Where a proxy and we disagree on a body's end, the rest of it becomes somebody's next request.
    """
    upload = await phone.begin(100)
    common = [*phone.auth.items(), *APPEND.items(), ("Upload-Offset", "0"), ("Connection", "close")]
    for framing in (
        [("Content-Length", "5"), ("Content-Length", "6")],
        [("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
        [("Transfer-Encoding", "chunked, identity")],
        [("Transfer-Encoding", "xchunked")],
        [("Content-Length", "+5")],
        [("Content-Length", "5 5")],
        [("Content-Length", "-5")],
        [("Content-Length", "0x5")],
    ):
        request = head_of("PATCH", f"{UPLOADS}/{upload}", [*common, *framing])
        answers = await answered(phone.served, request + b"5\r\nhello\r\n0\r\n\r\n")
        assert [400] == [answer.status for answer in answers], framing
    assert 0 == await phone.offset_of(upload)


async def test_a_second_request_within_a_body_is_only_bytes(phone: Phone) -> None:
    recording = await phone.record(b"kept")
    inner = head_of("DELETE", f"{RECORDINGS}/{recording}", list(phone.auth.items()))
    upload = await phone.begin(len(inner))

    async with Wire.to(phone.served) as wire:
        await wire.begin_patch(phone, upload, 0, len(inner))
        await wire.send(inner)
        assert 204 == (await wire.answer()).status

    assert b"kept" == (await phone.audio(recording)).body
    assert inner == (await phone.audio(upload)).body


@pytest.mark.parametrize(
    "request_line",
    ["", "GET", "GET / HTTP/9.9", "\x16\x03\x01\x02", "get /v1/recordings HTTP/1.1", "GET http:// HTTP/1.1"],
    ids=["nothing", "word", "other version", "tls", "lower case", "no host"],
)
async def test_what_is_no_request_is_refused(shared: Served, request_line: str) -> None:
    answers = await answered(
        shared, request_line.encode("latin-1") + b"\r\nHost: x\r\nConnection: close\r\n\r\n"
    )

    assert {answer.status for answer in answers} <= {400, 401, 404, 405, 505}


async def test_too_long_a_header_or_too_many_are_refused(phone: Phone) -> None:
    long = [*phone.auth.items(), ("X-Long", "x" * 100_000), ("Connection", "close")]
    many = [*phone.auth.items(), *((f"X-{number}", "x") for number in range(5000)), ("Connection", "close")]

    for headers in (long, many):
        answers = await answered(phone.served, head_of("GET", RECORDINGS, headers))
        assert [400] == [answer.status for answer in answers]


async def test_odd_bytes_in_any_header_are_never_our_error(phone: Phone) -> None:
    upload, recording = await phone.begin(10), await phone.record(b"hello")
    requests = [
        (
            "POST",
            UPLOADS,
            [("Upload-Length", "10")],
            ["Upload-Metadata", "Idempotency-Key", "Upload-Defer-Length"],
        ),
        ("PATCH", f"{UPLOADS}/{upload}", [], ["Upload-Offset", "Upload-Length", "Upload-Checksum"]),
        ("POST", f"{UPLOADS}/{upload}", [], ["X-HTTP-Method-Override"]),
        ("GET", f"{RECORDINGS}/{recording}/audio", [], ["Range", "If-Range", "If-None-Match"]),
        (
            "PATCH",
            f"{RECORDINGS}/{recording}",
            [],
            ["If-Match", "Content-Type", "Content-Encoding", "Accept"],
        ),
    ]
    values = ["\xff", "\xc3\x28", "\xed\xa0\x80", "\xa0", "\x80" * 200, "'\"<>&;\\", "%00%0d%0a", "9" * 4500]
    async with Wire.to(phone.served) as wire:
        for method, path, also, names in requests:
            for name in names:
                for value in values:
                    headers = {**phone.auth, **APPEND, "Content-Length": "0", **dict(also), name: value}
                    if name == "Idempotency-Key" and len(value) < 256:
                        continue
                    await wire.send_head(method, path, headers)
                    answer = await wire.answer()
                    assert answer.status < 500, (name, value)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//",
        "/v1",
        "/v1/",
        "/v1/uploads/",
        "/v1/uploads//",
        "/v1/uploads/../recordings",
        "/v1/recordings/..%2f..%2fetc%2fpasswd",
        "/v1/recordings/%00",
        "/v1/recordings/%ff/audio",
        "/v1/recordings/x/audio/",
        "/v1/receipts/%",
        "/v2/recordings",
        "/.git/config",
        "/metrics/",
        "/v1/recordings/00000000-0000-4000-8000-000000000000%00",
    ],
)
async def test_odd_paths_are_never_our_error(phone: Phone, path: str) -> None:
    answers = await answered(
        phone.served, head_of("GET", path, [*phone.auth.items(), ("Connection", "close")])
    )

    assert 1 == len(answers)
    assert answers[0].status in (200, 400, 404, 405)


async def test_odd_query_parameters_are_never_our_error(phone: Phone) -> None:
    await phone.record(b"x", note="n", party_name="p")
    for query in (
        "%",
        "=",
        "&",
        "a=%ff",
        "party=%00",
        "party=%ed%a0%80",
        "label=%c3%28",
        "cursor=%00",
        "limit=%00",
    ):
        request = head_of("GET", f"{RECORDINGS}?{query}", [*phone.auth.items(), ("Connection", "close")])
        [answer] = await answered(phone.served, request)
        assert answer.status < 500, query


async def test_a_bomb_is_not_unpacked(phone: Phone) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    recording = await phone.record(b"x", note="old")
    headers = {"Content-Encoding": "gzip"}

    edited = await phone.edit(recording, gzip.compress(b'{"note": "new"}'), headers)
    bombed = await phone.edit(recording, bomb, headers)

    assert (400, 400) == (edited.status, bombed.status)
    assert "old" == (await phone.details(recording)).document["note"]


async def test_an_unknown_expectation_does_nothing(phone: Phone) -> None:
    upload = await phone.begin(5)
    answer = await phone.patch(upload, 0, b"hello", {"Expect": "the-unexpected"})

    assert answer.status in (204, 417)


async def test_an_upgrade_is_not_taken(phone: Phone) -> None:
    async with Wire.to(phone.served) as wire:
        headers = {
            **phone.auth,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
        }
        await wire.send_head("GET", RECORDINGS, headers)
        assert 200 == (await wire.answer()).status


async def test_another_origin_may_not_read(phone: Phone) -> None:
    """
    A page in a browser has no business here: no answer allows another origin anything.
    """
    answer = await phone.ask("GET", RECORDINGS, {"Origin": "https://evil.test"})
    preflight = await phone.ask(
        "OPTIONS", UPLOADS, {"Origin": "https://evil.test", "Access-Control-Request-Method": "POST"}
    )

    for headers in (answer.headers, preflight.headers):
        assert not [name for name in headers if name.lower().startswith("access-control-")]


async def test_every_answer_forbids_caching_and_sniffing(phone: Phone) -> None:
    recording = await phone.record(b"hello", filetype="audio/mp4")
    for path in (
        RECORDINGS,
        f"{RECORDINGS}/{recording}",
        f"{RECORDINGS}/{recording}/audio",
        "/v1/receipts/x",
        "/x",
    ):
        answer = await phone.ask("GET", path)
        assert ("no-store", "nosniff") == (
            answer.headers["Cache-Control"],
            answer.headers["X-Content-Type-Options"],
        )


async def test_refusals_say_nothing_of_how_we_work_and_logs_nothing_of_what_was_sent(
    phone: Phone, logs: list[MutableMapping[str, Any]]
) -> None:
    secret = "Zoë's secret number 5551234"
    requests = [
        await phone.create(1, {"Upload-Metadata": metadata_of(duration_ms=secret)}),
        await phone.create(1, {"Upload-Metadata": metadata_of(direction=secret)}),
        await phone.page(recorded_from=secret),
        await phone.page(direction=secret),
        await phone.edit(await phone.record(b"x", note=secret), {"direction": secret}),
        await phone.ask("GET", f"{RECORDINGS}/{base64.urlsafe_b64encode(secret.encode()).decode()}"),
    ]

    assert {400, 404} == {answer.status for answer in requests}
    bodies = "".join(answer.body.decode() for answer in requests)
    for word in ("Traceback", "sqlalchemy", "site-packages", "gateway/"):
        assert word not in bodies
    assert "5551234" not in repr(logs)


async def test_logs_name_no_person_token_or_file(phone: Phone, logs: list[MutableMapping[str, Any]]) -> None:
    words = {
        "filename": "Anruf-Oma.m4a",
        "party_name": "Grandmother",
        "party_number": "+4930999888",
        "note": "poorly",
    }
    recording = await phone.record(speech(20_000), **words)
    await phone.served.placed()
    await phone.listed(party="Grandmother")
    await phone.edit(recording, {"note": "well"})
    await phone.audio(recording, {"Range": "bytes=0-9"})
    await phone.erase(recording)
    await phone.served.placed()

    text = repr(logs)
    assert "'event': 'request'" in text
    for word in (*words.values(), phone.auth["Authorization"].removeprefix("Bearer ")):
        assert word not in text


async def test_many_connections_that_say_nothing_hinder_nobody(phone: Phone) -> None:
    silent = [Wire.to(phone.served) for _ in range(100)]
    for connection in silent:
        await connection.__aenter__()
    try:
        async with asyncio.timeout(5):
            assert 200 == (await phone.ask("GET", RECORDINGS)).status
    finally:
        for connection in silent:
            await connection.__aexit__(None, None, None)


async def test_chunks_of_one_byte_are_a_body_like_any(phone: Phone) -> None:
    content = speech(3000)
    upload = await phone.begin(len(content))
    async with Wire.to(phone.served) as wire:
        await wire.begin_patch(phone, upload, 0, None)
        await wire.send(b"".join(chunk(bytes([byte])) for byte in content) + chunk(b""))
        assert 204 == (await wire.answer()).status

    assert content == (await phone.audio(upload)).body


async def test_trailers_are_not_taken_for_headers(phone: Phone) -> None:
    """
    The checksum extension's trailer is not announced, so one that comes has no meaning.
    """
    upload = await phone.begin(10)
    async with Wire.to(phone.served) as wire:
        await wire.begin_patch(phone, upload, 0, None, {"Trailer": "Upload-Checksum"})
        await wire.send(chunk(b"hello") + b"0\r\nUpload-Checksum: sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n")
        assert 204 == (await wire.answer()).status

    assert 5 == await phone.offset_of(upload)


async def test_concatenation_is_not_offered(phone: Phone) -> None:
    answer = await phone.ask("POST", UPLOADS, {**TUS, "Upload-Concat": f"final;{UPLOADS}/a {UPLOADS}/b"})

    assert 400 == answer.status
