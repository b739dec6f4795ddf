"""
Signing in with a number: what counts, what does not, and what a stranger learns.
"""

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from tests.http.newcomer import NUMBER, OTHER_NUMBER, Newcomer, wrong
from tests.http.phone import speech
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving

LIMITS = {
    "max_tries": 3,
    "resend_after_s": 30,
    "codes_per_number": 3,
    "codes_per_address": 5,
    "codes_per_device": 4,
    "tries_per_number": 8,
    "tries_per_address": 20,
}


@pytest.fixture
def sections() -> dict[str, dict[str, Any]]:
    return {"sign_in": LIMITS}


@pytest.fixture
def ada(served: Served) -> Newcomer:
    return Newcomer(served)


async def test_a_number_is_enough(ada: Newcomer) -> None:
    first = await ada.sign_in()

    assert 200 == first.status
    assert first.document["is_new"]
    assert "Bearer" == first.document["token_type"]
    recording = await ada.as_phone().record(speech(1000))
    assert 200 == (await ada.as_phone().audio(recording)).status


async def test_the_same_number_is_the_same_person(ada: Newcomer, served: Served, clock: FakeClock) -> None:
    await ada.sign_in()
    clock.advance(60)
    again = Newcomer(served, number="+1 (415) 555-0100")
    await again.sign_in()

    assert ada.tokens["user"] == again.tokens["user"]
    assert not again.tokens["is_new"]
    assert ada.tokens["access_token"] != again.tokens["access_token"]


async def test_two_devices_at_once_make_one_account(served: Served) -> None:
    people = [Newcomer(served, device=f"phone {number}") for number in range(4)]
    entered = await asyncio.gather(
        *(served.gateway.context.people.identities.enter(proven()) for _ in people)
    )

    assert 1 == len({user.id for user, _ in entered})
    assert 1 == sum(is_new for _, is_new in entered)


def proven() -> Any:
    from gateway.services.identities import Proven

    return Proven(space="phone", subject=NUMBER, label=NUMBER)


async def test_another_number_is_another_person(ada: Newcomer, served: Served) -> None:
    bob = Newcomer(served, OTHER_NUMBER)
    await ada.sign_in()
    await bob.sign_in()

    assert ada.tokens["user"] != bob.tokens["user"]


async def test_a_wrong_code_signs_nobody_in_and_says_how_many_are_left(ada: Newcomer) -> None:
    attempt = (await ada.ask_code()).document["attempt"]
    code = ada.read_code()

    answers = [await ada.name_code(attempt, wrong(code)) for _ in range(3)]

    assert [422, 422, 422] == [answer.status for answer in answers]
    assert ["wrong-code"] * 3 == [answer.document["code"] for answer in answers]
    assert [2, 1, 0] == [answer.document.get("tries_left", 0) for answer in answers]
    # The right one comes too late.
    assert (410, "sign-in-gone") == outcome(await ada.name_code(attempt, code))


async def test_a_code_counts_once(ada: Newcomer) -> None:
    attempt = (await ada.ask_code()).document["attempt"]
    code = ada.read_code()

    assert 200 == (await ada.name_code(attempt, code)).status
    assert (410, "sign-in-gone") == outcome(await ada.name_code(attempt, code))


async def test_of_two_that_name_the_code_at_once_one_is_signed_in(ada: Newcomer) -> None:
    attempt = (await ada.ask_code()).document["attempt"]
    code = ada.read_code()

    answers = await asyncio.gather(*(ada.name_code(attempt, code) for _ in range(3)))

    assert [200, 410, 410] == sorted(answer.status for answer in answers)


async def test_a_code_is_of_no_use_for_another_attempt(ada: Newcomer, served: Served) -> None:
    bob = Newcomer(served, OTHER_NUMBER)
    attempt = (await ada.ask_code()).document["attempt"]
    await bob.ask_code()
    code_of_bob = bob.read_code()

    answer = await ada.name_code(attempt, code_of_bob)

    assert (422, "wrong-code") == outcome(answer)


async def test_a_code_expires(ada: Newcomer, clock: FakeClock) -> None:
    attempt = (await ada.ask_code()).document["attempt"]
    clock.advance(600)

    assert (410, "sign-in-gone") == outcome(await ada.name_code(attempt, ada.read_code()))


@pytest.mark.parametrize("attempt", ["x", "A" * 43, "é" * 43, "A" * 42 + "="])
async def test_a_made_up_attempt_is_none(ada: Newcomer, attempt: str) -> None:
    assert (410, "sign-in-gone") == outcome(await ada.name_code(attempt, "123456"))


async def test_a_stranger_cannot_tell_who_has_an_account(
    ada: Newcomer, served: Served, clock: FakeClock
) -> None:
    """
    The same answer, and the same work for it: time would tell as well.
    """
    await ada.sign_in()
    clock.advance(3600)
    seen = []
    for person in (ada, Newcomer(served, OTHER_NUMBER)):
        statements: list[str] = []
        engine = served.gateway.context.catalog.sync_engine

        def note(*arguments: Any, statements: list[str] = statements) -> None:
            statements.append(arguments[2])

        event.listen(engine, "before_cursor_execute", note)
        sent = await person.ask_code()
        failed = await person.name_code(sent.document["attempt"], wrong(person.read_code()))
        event.remove(engine, "before_cursor_execute", note)
        seen.append(
            (sent.status, sorted(sent.document), failed.status, failed.document["detail"], statements)
        )

    assert seen[0] == seen[1]


async def test_codes_are_limited_by_number(ada: Newcomer, clock: FakeClock) -> None:
    assert 202 == (await ada.ask_code()).status
    soon = await ada.ask_code()
    assert (429, "too-many-tries") == outcome(soon)
    assert "30" == soon.headers["Retry-After"]

    for _ in range(2):
        clock.advance(31)
        assert 202 == (await ada.ask_code()).status
    clock.advance(31)
    many = await ada.ask_code()
    assert (429, "too-many-tries") == outcome(many)
    assert 3600 - 4 * 31 < int(many.headers["Retry-After"]) <= 3600
    clock.advance(3600)
    assert 202 == (await ada.ask_code()).status


async def test_codes_are_limited_by_address(served: Served) -> None:
    statuses = [(await Newcomer(served, f"+1415555010{last}").ask_code()).status for last in range(6)]

    assert [202] * 5 + [429] == statuses


async def test_codes_are_limited_by_device(served: Served) -> None:
    device = {"X-Device-Id": "3fd1"}
    statuses = [
        (await Newcomer(served, f"+1415555010{last}", headers=device).ask_code()).status for last in range(5)
    ]

    assert [202] * 4 + [429] == statuses


async def test_guesses_are_limited_over_all_attempts(ada: Newcomer, clock: FakeClock) -> None:
    statuses = []
    for _ in range(3):
        attempt = (await ada.ask_code()).document["attempt"]
        code = ada.read_code()
        statuses += [(await ada.name_code(attempt, wrong(code))).status for _ in range(3)]
        clock.advance(31)

    assert [422] * 8 + [429] == statuses


async def test_made_up_refresh_tokens_are_limited_by_address(ada: Newcomer) -> None:
    statuses = [(await ada.refresh(f"rgr_{number}")).status for number in range(21)]

    assert [401] * 20 + [429] == statuses


@pytest.mark.parametrize(
    ("number", "field"),
    [("", "number"), ("4155550100", "number"), ("+1415", "number"), ("+999123456789", "number")],
)
async def test_what_is_no_number_is_told(ada: Newcomer, number: str, field: str) -> None:
    ada.number = number
    answer = await ada.ask_code()

    assert (400, field) == (answer.status, answer.document["field"])


async def test_no_code_goes_to_a_number_that_costs_extra(served: Served) -> None:
    answer = await Newcomer(served, "+19005550100").ask_code()

    assert (422, "cannot-be-reached") == outcome(answer)


@pytest.mark.parametrize("code", ["", "123", "12345678901", "12a456"])
async def test_what_cannot_be_a_code_costs_no_try(ada: Newcomer, code: str) -> None:
    attempt = (await ada.ask_code()).document["attempt"]
    for _ in range(4):
        assert (400, "invalid-field") == outcome(await ada.name_code(attempt, code))

    assert 200 == (await ada.name_code(attempt, ada.read_code())).status


async def test_an_unknown_way_is_none(ada: Newcomer) -> None:
    assert 404 == (await ada.call("POST", "/v1/auth/pigeon/codes", {"number": NUMBER})).status


async def test_ways_are_listed(ada: Newcomer) -> None:
    answer = await ada.call("GET", "/v1/auth")

    assert [{"way": "phone", "title": "Phone number", "by": "code"}] == answer.document["ways"]


async def test_where_nobody_is_let_in_who_is_not_known(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", with_workers=False, sign_in={"open": False}) as served:
        assert (403, "not-invited") == outcome(await Newcomer(served).sign_in())


async def test_nothing_that_is_stored_or_logged_tells_the_number(
    ada: Newcomer, served: Served, logs: list[MutableMapping[str, Any]]
) -> None:
    await ada.sign_in()
    await ada.ask_code()
    number = NUMBER.removeprefix("+").encode()

    files = [path for path in served.gateway.settings.data_dir.rglob("*") if path.is_file()]
    assert files
    assert [] == [path for path in files if number in path.read_bytes()]
    assert number.decode() not in repr(logs)


def outcome(answer: Any) -> tuple[int, str]:
    return answer.status, answer.document["code"]
