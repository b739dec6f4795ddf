"""
Upload-Metadata: what is said about a recording when its upload begins.
"""

import base64

import pytest

from tests.http.phone import Phone, metadata_of, speech

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERYTHING = {
    "filename": "Anruf mit Ömer.m4a",
    "filetype": "audio/mp4",
    "recorded_at": "2026-01-31T14:05:00.250+01:00",
    "duration_ms": "25000",
    "direction": "in",
    "party_number": "+49 30 123456",
    "party_name": "Zoë Ångström",
    "note": "call back\nbefore Thursday",
    "labels": "doctor, urgent,doctor",
}


async def created_with(phone: Phone, header: str) -> str:
    return await phone.begin(1, {"Upload-Metadata": header})


async def test_every_known_key_becomes_a_detail(phone: Phone) -> None:
    recording = await phone.record(speech(10), **EVERYTHING)

    document = (await phone.details(recording)).document

    assert {
        **EVERYTHING,
        "duration_ms": 25000,
        "labels": ["doctor", "urgent"],
    } == {key: document[key] for key in EVERYTHING}
    assert document["readable"] is True


@pytest.mark.parametrize(
    "header",
    [
        metadata_of(**EVERYTHING),
        "is_confidential",
        "is_confidential ",
        "a YQ==,b,c Yw==",
        "a YQ== , b Yg==",
        "brand /+//,x-odd!key AAECAw==",
        f"picture {base64.b64encode(bytes(range(256))).decode()}",
    ],
)
async def test_head_gives_the_header_back_as_it_came(phone: Phone, header: str) -> None:
    upload = await created_with(phone, header)
    before = await phone.head(upload)
    await phone.patch(upload, 0, b"x")
    after = await phone.head(upload)

    assert header.strip() == before.headers["Upload-Metadata"] == after.headers["Upload-Metadata"]


async def test_without_metadata_head_says_nothing_of_it(phone: Phone) -> None:
    assert "Upload-Metadata" not in (await phone.head(await phone.begin(1))).headers
    assert "Upload-Metadata" not in (await phone.head(await created_with(phone, ""))).headers


async def test_metadata_over_several_lines_is_one_list(phone: Phone) -> None:
    """
    RFC 9110, section 5.3: whoever forwards a request may put lines of one name together.
    """
    headers = [*phone.auth.items(), ("Tus-Resumable", "1.0.0"), ("Upload-Length", "1")]
    headers += [("Upload-Metadata", metadata_of(direction="out")), ("Upload-Metadata", metadata_of(note="n"))]
    async with phone.served.http.post("/v1/uploads", headers=headers) as response:
        assert 201 == response.status
        upload = response.headers["Location"].rpartition("/")[2]

    assert f"{metadata_of(direction='out')},{metadata_of(note='n')}" == (await phone.head(upload)).headers[
        "Upload-Metadata"
    ].replace(", ", ",")
    await phone.patch(upload, 0, b"x")
    document = (await phone.details(upload)).document
    assert ("out", "n") == (document["direction"], document["note"])


@pytest.mark.parametrize("value", ["YQ", "Y", "YQ=", "Y Q==", "YQ==YQ==", "_-__", "Ä", "YQ==\u00a0", "===="])
async def test_a_value_that_is_no_base64_names_its_key(phone: Phone, value: str) -> None:
    answer = await phone.create(1, {"Upload-Metadata": f"note YQ==,device {value}"})

    assert "device" == answer.field


@pytest.mark.parametrize("header", [",", "a YQ==,", ",a YQ==", "a YQ==,,b Yg==", " , ", "ä YQ==", "a\tYQ=="])
async def test_an_empty_or_malformed_key_names_the_header(phone: Phone, header: str) -> None:
    assert "Upload-Metadata" == (await phone.create(1, {"Upload-Metadata": header})).field


@pytest.mark.parametrize("header", ["a YQ==,a Yg==", "a,a", "a,b,a YQ=="])
async def test_a_key_that_stands_twice_is_named(phone: Phone, header: str) -> None:
    assert "a" == (await phone.create(1, {"Upload-Metadata": header})).field


@pytest.mark.parametrize("key", sorted(EVERYTHING.keys() - {"labels"}))
async def test_an_empty_value_of_a_known_key_says_nothing(phone: Phone, key: str) -> None:
    for header in (key, f"{key} "):
        upload = await created_with(phone, header)
        await phone.patch(upload, 0, b"x")
        assert (await phone.details(upload)).document[key] in (None, "")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("filename", b"\xff\xfe"),
        ("filename", b"a\x00b"),
        ("filename", b"x" * 1025),
        ("filetype", b"audio"),
        ("filetype", b"audio/"),
        ("filetype", b"audio/mp4/x"),
        ("filetype", b"audio/mp4\r\nX-Evil: 1"),
        ("filetype", b"audio/mp4\n;a=b"),
        ("filetype", b"audio/mp4;\r\n"),
        ("filetype", "audio/mp\u00e9".encode()),
        ("recorded_at", b"yesterday"),
        ("recorded_at", b"2026-01-31"),
        ("recorded_at", b"2026-01-31T14:05:00"),
        ("recorded_at", b"2026-02-30T14:05:00Z"),
        ("recorded_at", b"2026-01-31T25:05:00Z"),
        ("recorded_at", b"2026-01-31T14:05:00+25:00"),
        ("recorded_at", b"20260131T140500Z"),
        ("recorded_at", b"2026-W05-6T14:05:00Z"),
        ("recorded_at", b"2026-01-31T14:05Z"),
        ("recorded_at", b"2026-01-31T14:05:00+01"),
        ("recorded_at", b"2026-01-31T14:05:00,5Z"),
        ("recorded_at", b"1769868300"),
        ("duration_ms", b"-1"),
        ("duration_ms", b"1.5"),
        ("duration_ms", b"1e3"),
        ("duration_ms", b"9007199254740993"),
        ("duration_ms", b"9" * 400),
        ("duration_ms", "\u0661".encode()),
        ("direction", b"inwards"),
        ("direction", b"IN"),
        ("party_number", b"1" * 101),
        ("party_number", b"\xc3"),
        ("party_name", b"x" * 1025),
        ("note", b"x" * 10_001),
        ("note", b"\x00"),
        ("labels", b"x" * 101),
        ("labels", b",".join(b"l%d" % number for number in range(101))),
        ("labels", b"\xff"),
    ],
)
async def test_a_malformed_value_of_a_known_key_names_it(phone: Phone, key: str, value: bytes) -> None:
    header = f"{key} {base64.b64encode(value).decode()}"
    answer = await phone.create(1, {"Upload-Metadata": header})

    assert key == answer.field
    assert answer.problem.get("retry", False) is False


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-31T14:05:00Z",
        "2026-01-31t14:05:00z",
        "2026-01-31 14:05:00Z",
        "2026-01-31T14:05:00.123456789Z",
        "2026-01-31T14:05:00-00:00",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
    ],
)
async def test_every_rfc_3339_time_is_understood_and_given_back(phone: Phone, time: str) -> None:
    recording = await phone.record(b"x", recorded_at=time)

    assert time == (await phone.details(recording)).document["recorded_at"]
    assert [recording] == await phone.listed(recorded_from=time)
    assert [] == await phone.listed(recorded_before=time)


async def test_the_longest_note_fits_into_the_header(phone: Phone) -> None:
    upload = await created_with(phone, metadata_of(note="n" * 10_000))
    await phone.patch(upload, 0, b"x")

    assert "n" * 10_000 == (await phone.details(upload)).document["note"]


async def test_metadata_may_be_as_long_as_the_setting_says(phone: Phone) -> None:
    limit = phone.served.gateway.settings.uploads.max_metadata_bytes
    fits = "x " + "A" * ((limit - 2) // 4 * 4)

    assert 201 == (await phone.create(1, {"Upload-Metadata": fits})).status
    too_long = f"{fits},yy{'y' * (limit + 1 - len(fits) - 3)}"
    assert limit + 1 == len(too_long)
    assert "Upload-Metadata" == (await phone.create(1, {"Upload-Metadata": too_long})).field


async def test_nothing_is_created_with_malformed_metadata(phone: Phone) -> None:
    await phone.create(0, {"Upload-Metadata": "note !"})

    assert [] == await phone.listed()
