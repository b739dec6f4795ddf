"""
Signing in by codes that a real provider's service sends, from the app's request to the message and back.
"""

from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.emulator import EmulatedClock
from tests.emulators.faults import Effect
from tests.emulators.twilio import VerifyEmulator
from tests.http.newcomer import NUMBER, Answer, Newcomer, wrong
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def verify(clock: FakeClock) -> Iterator[VerifyEmulator]:
    with VerifyEmulator(clock=EmulatedClock(clock)) as verify:
        yield verify


def settings_of(verify: VerifyEmulator) -> dict[str, Any]:
    """
    Return the settings of a gateway whose codes are sent by *verify*.
    """
    return {
        "service_sid": verify.service.sid,
        "account_sid": verify.account_sid,
        "auth_token": verify.auth_token,
        "base_url": verify.url,
    }


def gateway_with(
    folder: Path, clock: FakeClock, verify: VerifyEmulator, **changes: Any
) -> AbstractAsyncContextManager[Served]:
    limits = {
        "kinds": {"twilio": {**settings_of(verify), **changes}},
        "resend_after_s": 30,
        "max_tries": 10,
        "codes_per_number": 20,
    }
    return serving(folder / "data", clock=clock, with_workers=False, sign_in=limits)


@pytest.fixture
async def served(tmp_path: Path, clock: FakeClock, verify: VerifyEmulator) -> AsyncIterator[Served]:
    async with gateway_with(tmp_path, clock, verify) as gateway:
        yield gateway


@dataclass
class Texted(Newcomer):
    """
    Reads his codes on his phone.
    """

    verify: VerifyEmulator | None = None

    def read_code(self) -> str:
        assert self.verify is not None
        return self.verify.code_for(NUMBER)


@pytest.fixture
def ada(served: Served, verify: VerifyEmulator) -> Texted:
    return Texted(served, verify=verify)


async def test_a_code_on_the_phone_signs_in(ada: Texted, verify: VerifyEmulator) -> None:
    answer = await ada.sign_in()

    assert (200, True) == (answer.status, answer.document["is_new"])
    assert [(NUMBER, "sms")] == [(sent.to, sent.channel) for sent in verify.deliveries]


async def test_the_number_was_given_to_its_sender_and_its_user_is_told(ada: Texted) -> None:
    await ada.sign_in()
    [told] = (await ada.mine("GET", "/v1/me/disclosures")).document["disclosures"]
    assert ("code", "Twilio") == (told["kind"], told["recipient"])


async def test_it_may_be_told_by_a_call_in_a_language(ada: Texted, verify: VerifyEmulator) -> None:
    assert 202 == (await ada.ask_code(channel="call", locale="pt-BR")).status

    assert [("call", "pt-BR")] == [(sent.channel, sent.locale) for sent in verify.deliveries]


async def test_a_wrong_code_signs_nobody_in(ada: Texted) -> None:
    attempt = (await ada.ask_code()).document["attempt"]

    assert (422, "wrong-code") == outcome(await ada.name_code(attempt, wrong(ada.read_code())))
    assert 200 == (await ada.name_code(attempt, ada.read_code())).status


async def test_a_code_that_ran_out_at_the_provider_is_gone(
    ada: Texted, verify: VerifyEmulator, clock: FakeClock
) -> None:
    verify.service.code_lifetime_s = 300
    attempt = (await ada.ask_code()).document["attempt"]
    clock.advance(301)

    assert (410, "sign-in-gone") == outcome(await ada.name_code(attempt, ada.read_code()))


async def test_another_message_has_the_same_code_and_either_attempt_takes_it(
    ada: Texted, verify: VerifyEmulator, clock: FakeClock
) -> None:
    first = (await ada.ask_code()).document["attempt"]
    clock.advance(31)
    second = (await ada.ask_code()).document["attempt"]

    assert first != second
    assert 2 == len(verify.deliveries)
    assert 1 == len({sent.code for sent in verify.deliveries})
    assert 200 == (await ada.name_code(first, ada.read_code())).status
    # It was used up for both.
    assert (410, "sign-in-gone") == outcome(await ada.name_code(second, ada.read_code()))


async def test_after_five_checks_the_provider_hears_no_more(ada: Texted) -> None:
    attempt = (await ada.ask_code()).document["attempt"]
    code = ada.read_code()
    answers = [await ada.name_code(attempt, wrong(code)) for _ in range(5)]
    late = await ada.name_code(attempt, code)

    assert [422] * 5 == [answer.status for answer in answers]
    assert (429, "too-many-tries") == outcome(late)
    assert "600" == late.headers["Retry-After"]


@pytest.mark.parametrize(("code", "wait_s"), [(60203, "600"), (60212, "10"), (20429, "60")])
async def test_the_providers_limits_are_told(
    ada: Texted, verify: VerifyEmulator, code: int, wait_s: str
) -> None:
    verify.refuse("start", code)
    answer = await ada.ask_code()

    assert (429, "too-many-tries") == outcome(answer)
    assert wait_s == answer.headers["Retry-After"]


async def test_a_landline_is_told_of_calls(ada: Texted, verify: VerifyEmulator) -> None:
    verify.landlines.add(NUMBER)
    answer = await ada.ask_code()

    assert (422, "cannot-be-reached") == outcome(answer)
    assert "call" in answer.document["detail"]


async def test_a_number_in_a_country_that_is_closed_cannot_be_reached(
    ada: Texted, verify: VerifyEmulator
) -> None:
    verify.closed_countries.add("+1")

    assert (422, "cannot-be-reached") == outcome(await ada.ask_code())


@pytest.mark.parametrize("effect", [Effect.CUT_BEFORE, Effect.LOSE_ANSWER, Effect.FAIL])
async def test_while_the_provider_is_down_no_code_is_sent_and_none_checked(
    ada: Texted, verify: VerifyEmulator, clock: FakeClock, effect: Effect
) -> None:
    verify.faults.order("start", effect)
    assert (503, "provider-unavailable") == outcome(await ada.ask_code())
    assert 1 == verify.faults.requests["start"]
    clock.advance(31)
    attempt = (await ada.ask_code()).document["attempt"]
    verify.faults.order("check", effect, times=2)
    failed = await ada.name_code(attempt, wrong(ada.read_code()))
    verify.faults.clear()

    assert (503, "provider-unavailable") == outcome(failed)
    assert 200 == (await ada.name_code(attempt, ada.read_code())).status


async def test_a_provider_that_does_not_answer_is_given_up(
    tmp_path: Path, clock: FakeClock, verify: VerifyEmulator
) -> None:
    async with gateway_with(tmp_path, clock, verify, timeout_s=0.05) as served:
        verify.faults.order("start", Effect.STALL)

        assert (503, "provider-unavailable") == outcome(await Texted(served, verify=verify).ask_code())


async def test_a_lost_answer_to_the_right_code_signs_nobody_in(ada: Texted, verify: VerifyEmulator) -> None:
    attempt = (await ada.ask_code()).document["attempt"]
    verify.faults.order("check", Effect.LOSE_ANSWER)

    assert (410, "sign-in-gone") == outcome(await ada.name_code(attempt, ada.read_code()))


async def test_an_account_that_the_provider_does_not_accept_is_the_operators_to_mend(
    tmp_path: Path, clock: FakeClock, verify: VerifyEmulator, logs: list[MutableMapping[str, Any]]
) -> None:
    async with gateway_with(tmp_path, clock, verify, auth_token="another") as served:
        answer = await Texted(served, verify=verify).ask_code()

    assert (503, "provider-unavailable") == outcome(answer)
    assert "20003" not in answer.document["detail"]
    (entry,) = [entry for entry in logs if entry["event"] == "sign_in.misconfigured"]
    assert "20003" in entry["error"]


async def test_nothing_that_is_logged_tells_a_number_or_a_code(
    ada: Texted, verify: VerifyEmulator, clock: FakeClock, logs: list[MutableMapping[str, Any]]
) -> None:
    verify.give_codes("918273")
    attempt = (await ada.ask_code()).document["attempt"]
    for effect in (Effect.FAIL, Effect.THROTTLE, Effect.CUT_BEFORE):
        clock.advance(31)
        verify.faults.order("start", effect)
        verify.faults.order("check", effect, times=2)
        await ada.ask_code()
        await ada.name_code(attempt, "918273")
        verify.faults.clear()
    await ada.name_code(attempt, "918273")
    told = repr(logs)

    assert logs
    assert [] == [secret for secret in (NUMBER[1:], "918273", verify.auth_token) if secret in told]


def outcome(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.document["code"]
