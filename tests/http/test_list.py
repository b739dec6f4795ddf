"""
GET /v1/recordings: what a user has, newest first.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import update

from gateway.catalog.tables import recordings
from tests.http.phone import Phone, speech
from tests.support.clock import FakeClock
from tests.support.gateway import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALLS = [
    {
        "party_name": "Zoë Ångström",
        "party_number": "+49 30 123-456",
        "direction": "in",
        "labels": "doctor,urgent",
    },
    {"party_name": "zoë", "direction": "out", "labels": "doctor", "recorded_at": "2026-01-31T12:00:00+01:00"},
    {"party_number": "004930123456", "direction": "in", "recorded_at": "2026-01-31T11:30:00Z"},
    {"party_name": "Straße", "recorded_at": "2025-12-31T23:59:59.999Z", "labels": "Doctor"},
    {},
]


async def made(phone: Phone) -> list[str]:
    return [await phone.record(b"x", **call) for call in CALLS]


async def test_holds_everything_that_is_known_and_nothing_else(either: Phone) -> None:
    recording = await either.record(speech(1234), note="hi", labels="b,a")

    [document] = (await either.page()).document["recordings"]

    stored = either.served.gateway.context.accounts._clock.now_ms()
    assert {
        "id": recording,
        "size": 1234,
        "stored_at": datetime.fromtimestamp(stored / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
        "readable": True,
        "revision": 0,
        "audio": f"/v1/recordings/{recording}/audio",
        "held": False,
        "filename": None,
        "filetype": None,
        "recorded_at": None,
        "duration_ms": None,
        "direction": None,
        "party_number": None,
        "party_name": None,
        "note": "hi",
        "labels": ["b", "a"],
    } == document
    assert document == (await either.details(recording)).document


async def test_newest_come_first(clock_phone: Phone, clock: FakeClock) -> None:
    expected = []
    for _ in range(5):
        expected.insert(0, await clock_phone.record(b"x"))
        clock.advance(0.001)

    assert expected == await clock_phone.listed()
    assert expected == await clock_phone.listed(limit="2")


async def test_those_of_one_moment_have_one_order(either: Phone) -> None:
    made_now = {await either.record(b"x") for _ in range(7)}

    whole = await either.listed()

    assert made_now == set(whole)
    for limit in range(1, 9):
        assert whole == await either.listed(limit=str(limit))


async def test_a_page_says_how_to_go_on_until_the_end(either: Phone) -> None:
    for _ in range(4):
        await either.record(b"x")

    first = (await either.page(limit="2")).document
    second = (await either.page(limit="2", cursor=first["next"])).document
    exact = (await either.page(limit="4")).document

    assert (2, 2) == (len(first["recordings"]), len(second["recordings"]))
    assert first["next"] is not None
    assert second["next"] is None
    assert exact["next"] is None


async def test_paging_is_not_disturbed_by_what_comes_and_goes(either: Phone) -> None:
    before = [await either.record(b"x") for _ in range(12)]
    whole = await either.listed()
    first = (await either.page(limit="4")).document
    seen = [recording["id"] for recording in first["recordings"]]
    await either.erase(seen[0])
    await either.erase(seen[-1])
    await either.erase(whole[5])
    for _ in range(3):
        await either.record(b"new")

    rest = await either.listed(limit="3", cursor=first["next"])

    # Those that came in between bear the same time, so chance puts them before or behind the cursor.
    assert [recording for recording in whole[4:] if recording != whole[5]] == [
        recording for recording in rest if recording in before
    ]


async def test_thousands_of_erased_ones_in_between_are_nowhere(either: Phone) -> None:
    newest = await either.record(b"x")
    context = either.served.gateway.context
    user = await context.accounts.get_user(either.user_id)
    at = context.accounts._clock.now_ms() - 10_000
    erased = {
        "user_id": user.id,
        "key_slot": user.key_slot,
        "state": "erased",
        "size": 1,
        "details_revision": 0,
    }
    async with context.catalog.write() as connection:
        await connection.execute(
            recordings.insert(),
            [
                {**erased, "id": str(uuid4()), "leaf_index": 10**6 + number, "stored_at": at - number}
                for number in range(3000)
            ],
        )
    oldest = await either.record(b"x", direction="in")
    async with context.catalog.write() as connection:
        await connection.execute(
            update(recordings).where(recordings.c.id == oldest).values(stored_at=at - 5000)
        )

    for query in ({}, {"limit": "1"}, {"direction": "in"}, {"limit": "1", "direction": "in"}):
        expected = [newest, oldest] if "direction" not in query else [oldest]
        assert expected == await either.listed(**query)


FILTERS: list[tuple[dict[str, str], list[int]]] = [
    ({"direction": "in"}, [0, 2]),
    ({"direction": "out"}, [1]),
    ({"label": "doctor"}, [0, 1]),
    ({"label": "Doctor"}, [3]),
    ({"label": "doc"}, []),
    ({"party": "+4930123456"}, [0]),
    ({"party": "49 30 123456"}, [0]),
    ({"party": "004930123456"}, [2]),
    ({"party": "ZOË"}, [0, 1]),
    ({"party": "ångs"}, [0]),
    ({"party": "STRASSE"}, [3]),
    ({"party": "123"}, []),
    ({"party": "null"}, []),
    ({"recorded_from": "2026-01-31T11:00:00Z"}, [1, 2]),
    ({"recorded_from": "2026-01-31T11:00:00.000001Z"}, [2]),
    ({"recorded_before": "2026-01-31T11:00:00Z"}, [3]),
    ({"recorded_before": "2026-01-31T12:00:00+00:30"}, [1, 3]),
    ({"recorded_from": "2026-01-01T00:00:00Z", "recorded_before": "2026-01-31T11:30:00Z"}, [1]),
    ({"direction": "in", "label": "doctor"}, [0]),
    ({"direction": "in", "party": "zoë"}, [0]),
    ({"direction": "in", "recorded_from": "2020-01-01T00:00:00Z"}, [2]),
    ({"direction": "out", "label": "urgent"}, []),
    ({"direction": "in", "label": "doctor", "party": "zoë", "stored_before": "9999-12-31T23:59:59Z"}, [0]),
    ({"stored_from": "2000-01-01T00:00:00Z"}, [0, 1, 2, 3, 4]),
    ({"stored_before": "2000-01-01T00:00:00Z"}, []),
]


async def test_filters_leave_what_matches(either: Phone) -> None:
    ids = await made(either)

    for query, expected in FILTERS:
        for limit in ("1", "50"):
            found = {ids.index(recording) for recording in await either.listed(limit=limit, **query)}
            assert (query, set(expected)) == (query, found)


async def test_stored_times_are_exact_to_the_millisecond(clock_phone: Phone, clock: FakeClock) -> None:
    """
    Binary fractions are not: 1,700,000,000.123 s times 1000 is a little less than it should be.
    """
    times = []
    for _ in range(10):
        recording = await clock_phone.record(b"x")
        stored_at = (await clock_phone.details(recording)).document["stored_at"]
        times.append((recording, stored_at))
        clock.advance(0.037)

    for number, (recording, stored_at) in enumerate(times):
        assert len(times) - number == len(await clock_phone.listed(stored_from=stored_at))
        assert number == len(await clock_phone.listed(stored_before=stored_at))
        just_after = (datetime.fromisoformat(stored_at) + timedelta(microseconds=1)).isoformat()
        assert recording not in await clock_phone.listed(stored_from=just_after)
        assert recording in await clock_phone.listed(stored_before=just_after)


async def test_an_offset_whose_plus_was_not_escaped_is_understood(phone: Phone) -> None:
    from yarl import URL

    recording = await phone.record(b"x", recorded_at="2026-01-31T12:00:00+01:00")
    url = URL(f"{phone.served.url}/v1/recordings?recorded_from=2026-01-31T12:00:00+01:00", encoded=True)
    async with phone.served.http.get(url, headers=phone.auth) as response:
        assert [recording] == [found["id"] for found in (await response.json())["recordings"]]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("limit", "0"),
        ("limit", "-1"),
        ("limit", "501"),
        ("limit", "ten"),
        ("limit", "1.5"),
        ("limit", ""),
        ("limit", "9" * 30),
        ("cursor", ""),
        ("cursor", "x"),
        ("cursor", "%%%"),
        ("cursor", "bnVsbA"),  # null
        ("cursor", "WzEsMl0"),  # [1,2]
        ("cursor", "WzEsIngiXQ"),  # [1,"x"]
        ("cursor", "WzEsIlx1MDAwMCJd"),  # [1,"\u0000"]
        ("cursor", "WzEsIlx1ZDgwMCJd"),  # [1,"\ud800"]
        ("cursor", "W3RydWUsIngiXQ"),  # [true,"x"]
        ("cursor", "WzEuNSwieCJd"),  # [1.5,"x"]
        ("cursor", "W1tbW1tb" * 900),
        ("cursor", "Ä"),
        ("stored_from", "yesterday"),
        ("stored_from", "2026-01-31"),
        ("stored_before", "2026-01-31T10:00:00"),
        ("recorded_from", "2026-13-31T10:00:00Z"),
        ("recorded_before", ""),
        ("direction", "inwards"),
        ("direction", ""),
        ("direction", "IN"),
        ("order", "asc"),
        ("Direction", "in"),
        ("", "x"),
    ],
)
async def test_a_malformed_or_unknown_parameter_is_named(phone: Phone, field: str, value: str) -> None:
    await phone.record(b"x")

    assert field == (await phone.page(**{field: value})).field


async def test_a_cursor_of_another_time_still_has_its_form(phone: Phone) -> None:
    """
    What is no id in a cursor must not reach the database, which may choke on it.
    """
    import base64

    for stored_at in (2**63, -(2**63) - 1, 10**40):
        text = f'[{stored_at},"{uuid4()}"]'
        cursor = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
        assert "cursor" == (await phone.page(cursor=cursor)).field


async def test_a_parameter_that_stands_twice_is_named(phone: Phone) -> None:
    answer = await phone.ask("GET", "/v1/recordings", params=[("label", "a"), ("label", "b")])

    assert "label" == answer.field


async def test_nul_and_odd_letters_in_filters_match_nothing(either: Phone) -> None:
    await either.record(b"x", party_name="a", labels="a")

    for value in ("\x00", "a\x00", "\U0001f600", "%", "_", "'", "\\"):
        assert [] == await either.listed(party=value)
        assert [] == await either.listed(label=value)


async def test_damaged_details_are_listed_as_unreadable(either: Phone) -> None:
    ids = [await either.record(speech(10), note=f"n{number}", direction="in") for number in range(5)]
    catalog = either.served.gateway.context.catalog
    async with catalog.write() as connection:
        for recording, change in ((ids[1], flipped), (ids[2], cut), (ids[3], emptied)):
            details = recordings.select().where(recordings.c.id == recording)
            row = (await connection.execute(details)).one()
            await connection.execute(
                update(recordings).where(recordings.c.id == recording).values(details=change(row.details))
            )
        foreign = (await connection.execute(recordings.select().where(recordings.c.id == ids[0]))).one()
        await connection.execute(
            update(recordings).where(recordings.c.id == ids[4]).values(details=foreign.details)
        )

    documents = {found["id"]: found for found in (await either.page()).document["recordings"]}

    assert [True, False, False, False, False] == [documents[recording]["readable"] for recording in ids]
    assert [None] * 4 == [documents[recording]["note"] for recording in ids[1:]]
    assert [ids[0]] == await either.listed(direction="in")
    for recording in ids[1:]:
        details = await either.details(recording)
        assert (200, False) == (details.status, details.document["readable"])
        assert speech(10) == (await either.audio(recording)).body
        assert 500 == (await either.edit(recording, {"note": "x"})).status
        assert 200 == (await either.erase(recording)).status


def flipped(sealed: bytes) -> bytes:
    return sealed[:20] + bytes([sealed[20] ^ 1]) + sealed[21:]


def cut(sealed: bytes) -> bytes:
    return sealed[:-1]


def emptied(sealed: bytes) -> bytes:
    return b""


@pytest.mark.asyncio(loop_scope="function")
async def test_a_page_that_opened_enough_ends_early_and_says_how_to_go_on(tmp_path: Path) -> None:
    async with serving(
        tmp_path / "data",
        clock=FakeClock(),
        with_workers=False,
        recordings={"page_size": 3, "max_page_size": 5, "scan_limit": 4},
    ) as gateway:
        phone = await Phone.of_new_user(gateway)
        ids = [
            await phone.record(b"x", direction="in" if number in (0, 9) else "out") for number in range(10)
        ]
        pages, cursor = [], {}
        while True:
            document = (await phone.page(direction="in", **cursor)).document
            pages.append([recording["id"] for recording in document["recordings"]])
            if document["next"] is None:
                break
            cursor = {"cursor": document["next"]}

        assert 3 == len(pages)
        assert {ids[0], ids[9]} == {recording for page in pages for recording in page}
        assert 3 == len((await phone.page()).document["recordings"])
        assert "limit" == (await phone.page(limit="6")).field
        assert set(ids) == set(await phone.listed())


@pytest.fixture
def clock(clock_phone: Phone) -> FakeClock:
    clock = clock_phone.served.gateway.context.accounts._clock
    assert isinstance(clock, FakeClock)
    return clock


@pytest.fixture
async def clock_phone(phone: Phone) -> Phone:
    """
    A client whose token outlasts what other tests do to the clock.
    """
    token = await phone.served.gateway.context.accounts.new_token(phone.user_id, lifetime_s=10**6)
    phone.auth = {"Authorization": f"Bearer {token.reveal().decode()}"}
    return phone
