"""
Codes by Twilio Verify, against a pretend one.
"""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any, Final

import aiohttp
import pytest
from gateway_twilio import gateway_register_identities
from gateway_twilio.codes import TwilioCodes, connect, spoken
from gateway_twilio.settings import TwilioSettings

from gateway.api import (
    CodeGone,
    IdentityContext,
    IdentityError,
    NumberRefused,
    ProviderDown,
    ProviderMisconfigured,
    TooManyCodes,
)
from tests.emulators.emulator import EmulatedClock
from tests.emulators.faults import Effect
from tests.emulators.twilio import VerifyEmulator
from tests.emulators.twilio.refusals import STATUSES
from tests.support.clock import FakeClock

NUMBER: Final = "+15005550006"
NONE: Final = "VE" + "0" * 32


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def verify(clock: FakeClock) -> Iterator[VerifyEmulator]:
    with VerifyEmulator(clock=EmulatedClock(clock)) as verify:
        yield verify


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def codes(verify: VerifyEmulator, stack: AsyncExitStack) -> TwilioCodes:
    return await connected(verify, stack)


async def connected(verify: VerifyEmulator, stack: AsyncExitStack, **changes: Any) -> TwilioCodes:
    http = await stack.enter_async_context(aiohttp.ClientSession())
    context = IdentityContext(http=http, is_production=True)
    return await stack.enter_async_context(connect(context, settings(verify, **changes)))


def settings(verify: VerifyEmulator, **changes: Any) -> TwilioSettings:
    usual = {
        "service_sid": verify.service.sid,
        "account_sid": verify.account_sid,
        "auth_token": verify.auth_token,
        "base_url": verify.url,
    }
    return TwilioSettings(**{**usual, **changes})


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}}"


@pytest.mark.parametrize("channel", ["sms", "call"])
async def test_the_code_that_was_sent_is_right_once(
    codes: TwilioCodes, verify: VerifyEmulator, channel: Any
) -> None:
    handle = await codes.send(NUMBER, channel=channel, locale="de-AT")
    (sent,) = verify.deliveries

    assert (NUMBER, channel, "de") == (sent.to, sent.channel, sent.locale)
    assert not await codes.check(handle, wrong(sent.code))
    assert await codes.check(handle, sent.code)
    with pytest.raises(CodeGone):
        await codes.check(handle, sent.code)


@pytest.mark.parametrize("answer", [200, 201])
async def test_both_statuses_of_an_answer_to_a_check_are_good(
    codes: TwilioCodes, verify: VerifyEmulator, answer: int
) -> None:
    verify.checks_answer = answer
    handle = await codes.send(NUMBER, channel="sms", locale=None)

    assert await codes.check(handle, verify.code_for(NUMBER))


async def test_another_start_sends_the_same_code(codes: TwilioCodes, verify: VerifyEmulator) -> None:
    handles = {await codes.send(NUMBER, channel="sms", locale=None) for _ in range(2)}

    assert 1 == len(handles) == len({sent.code for sent in verify.deliveries})


async def test_a_code_runs_out(codes: TwilioCodes, verify: VerifyEmulator, clock: FakeClock) -> None:
    handle = await codes.send(NUMBER, channel="sms", locale=None)
    clock.advance(600)

    with pytest.raises(CodeGone):
        await codes.check(handle, verify.code_for(NUMBER))


async def test_after_five_checks_the_right_code_is_not_heard(
    codes: TwilioCodes, verify: VerifyEmulator
) -> None:
    handle = await codes.send(NUMBER, channel="sms", locale=None)
    code = verify.code_for(NUMBER)
    assert not any([await codes.check(handle, wrong(code)) for _ in range(5)])

    with pytest.raises(TooManyCodes) as refused:
        await codes.check(handle, code)
    assert 600 == refused.value.retry_after_s


async def test_what_can_be_no_code_is_not_the_right_one(codes: TwilioCodes, verify: VerifyEmulator) -> None:
    verify.refuse("check", 60200)
    handle = await codes.send(NUMBER, channel="sms", locale=None)

    assert not await codes.check(handle, verify.code_for(NUMBER))


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (20003, ProviderMisconfigured),
        (20404, ProviderMisconfigured),
        (20429, TooManyCodes),
        (20500, ProviderDown),
        (60200, NumberRefused),
        (60203, TooManyCodes),
        (60204, ProviderMisconfigured),
        (60205, NumberRefused),
        (60212, TooManyCodes),
        (60220, NumberRefused),
        (60223, ProviderMisconfigured),
        (60238, NumberRefused),
        (60410, NumberRefused),
        (60605, NumberRefused),
    ],
)
async def test_a_start_that_is_refused(
    codes: TwilioCodes, verify: VerifyEmulator, code: int, error: type[IdentityError]
) -> None:
    verify.refuse("start", code)

    with pytest.raises(error):
        await codes.send(NUMBER, channel="sms", locale=None)
    assert [] == verify.deliveries


@pytest.mark.parametrize(
    ("code", "error"),
    [(20003, ProviderMisconfigured), (20404, CodeGone), (20429, TooManyCodes), (60202, TooManyCodes)],
)
async def test_a_check_that_is_refused(
    codes: TwilioCodes, verify: VerifyEmulator, code: int, error: type[IdentityError]
) -> None:
    handle = await codes.send(NUMBER, channel="sms", locale=None)
    verify.refuse("check", code)

    with pytest.raises(error):
        await codes.check(handle, "123456")


async def test_a_limit_tells_when_it_ends(codes: TwilioCodes, verify: VerifyEmulator) -> None:
    verify.faults.order("start", Effect.THROTTLE, amount=17)

    with pytest.raises(TooManyCodes) as refused:
        await codes.send(NUMBER, channel="sms", locale=None)
    assert 17 == refused.value.retry_after_s


async def test_an_api_key_does_in_place_of_the_accounts_token(
    verify: VerifyEmulator, stack: AsyncExitStack
) -> None:
    ((sid, secret),) = verify.api_keys.items()
    codes = await connected(
        verify, stack, account_sid="", auth_token="", api_key_sid=sid, api_key_secret=secret
    )

    assert await codes.send(NUMBER, channel="sms", locale=None)


@pytest.mark.parametrize("change", [{"auth_token": "another"}, {"service_sid": "VA" + "0" * 32}])
async def test_wrong_settings_are_the_operators_to_mend(
    verify: VerifyEmulator, stack: AsyncExitStack, change: dict[str, str]
) -> None:
    codes = await connected(verify, stack, **change)

    with pytest.raises(ProviderMisconfigured):
        await codes.send(NUMBER, channel="sms", locale=None)


@pytest.mark.parametrize("effect", [Effect.CUT_BEFORE, Effect.LOSE_ANSWER, Effect.FAIL])
async def test_a_start_is_not_repeated(codes: TwilioCodes, verify: VerifyEmulator, effect: Effect) -> None:
    """
    Each may send another message, which costs.
    """
    verify.faults.order("start", effect)

    with pytest.raises(ProviderDown):
        await codes.send(NUMBER, channel="sms", locale=None)
    assert 1 == verify.faults.requests["start"]


async def test_a_check_is_repeated_where_no_answer_came(codes: TwilioCodes, verify: VerifyEmulator) -> None:
    handle = await codes.send(NUMBER, channel="sms", locale=None)
    verify.faults.order("check", Effect.CUT_BEFORE)

    assert await codes.check(handle, verify.code_for(NUMBER))
    assert 2 == verify.faults.requests["check"]


async def test_whoever_named_the_right_code_and_lost_the_answer_has_not_proved_it(
    codes: TwilioCodes, verify: VerifyEmulator
) -> None:
    """
    A verification that was approved is gone, so nothing tells this from a code that was never sent.
    """
    handle = await codes.send(NUMBER, channel="sms", locale=None)
    verify.faults.order("check", Effect.LOSE_ANSWER)

    with pytest.raises(CodeGone):
        await codes.check(handle, verify.code_for(NUMBER))


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_an_error_of_twilios_is_told_and_not_repeated(
    codes: TwilioCodes, verify: VerifyEmulator, status: int
) -> None:
    verify.failure_status = status
    handle = await codes.send(NUMBER, channel="sms", locale=None)
    verify.faults.order("check", Effect.FAIL)

    with pytest.raises(ProviderDown):
        await codes.check(handle, verify.code_for(NUMBER))
    assert 1 == verify.faults.requests["check"]


async def test_who_does_not_answer_is_given_up(verify: VerifyEmulator, stack: AsyncExitStack) -> None:
    codes = await connected(verify, stack, timeout_s=0.05)
    verify.faults.order("start", Effect.STALL)
    verify.faults.order("check", Effect.STALL, times=2)

    with pytest.raises(ProviderDown):
        await codes.send(NUMBER, channel="sms", locale=None)
    with pytest.raises(ProviderDown):
        await codes.check(NONE, "123456")


async def test_nothing_that_is_told_or_logged_holds_a_number_a_code_or_a_secret(
    codes: TwilioCodes, verify: VerifyEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = [repr(settings(verify))]
    verify.give_codes("918273")
    handle = await codes.send(NUMBER, channel="sms", locale=None)
    for effect in (Effect.CUT_BEFORE, Effect.LOSE_ANSWER, Effect.FAIL, Effect.THROTTLE):
        verify.faults.order("start", effect)
        verify.faults.order("check", effect, times=2)
        told += [await error_of(codes.send(NUMBER, channel="sms", locale=None))]
        told += [await error_of(codes.check(handle, "918273"))]
        verify.faults.clear()
    for code in STATUSES:
        verify.refuse("start", code)
        told += [await error_of(codes.send(NUMBER, channel="sms", locale=None))]
    text = "\n".join([*told, caplog.text])

    assert len(told) > 20
    secrets = [NUMBER, NUMBER[1:], "918273", verify.auth_token, "Basic"]
    assert [] == [secret for secret in secrets if secret in text]


async def error_of(call: Any) -> str:
    try:
        await call
    except IdentityError as error:
        chain = [error, error.__cause__, None if error.__suppress_context__ else error.__context__]
        return " ".join(repr(one) for one in chain)
    return ""


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        (None, None),
        ("de", "de"),
        ("DE-at", "de"),
        ("en-gb", "en-GB"),
        ("pt-BR", "pt-BR"),
        ("zh-Hant-TW", "zh"),
        ("tlh", None),
    ],
)
def test_a_language_that_twilio_does_not_speak_is_not_asked_for(
    tag: str | None, language: str | None
) -> None:
    assert language == spoken(tag)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"service_sid": "my service"}, "service_sid"),
        ({"account_sid": "SK" + "0" * 32}, "account_sid"),
        ({"account_sid": "", "auth_token": ""}, "api_key_sid"),
        ({"auth_token": ""}, "auth_token"),
        ({"api_key_sid": "SK" + "0" * 32, "api_key_secret": "x"}, "either"),
        ({"api_key_secret": "x"}, "api_key_sid"),
        ({"base_url": "verify.example.org"}, "base_url"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"check_attempts": 0}, "check_attempts"),
    ],
)
def test_settings_that_do_not_fit_are_named(
    verify: VerifyEmulator, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        settings(verify, **changes)


def test_secrets_are_told_as_such() -> None:
    (kind,) = gateway_register_identities()

    assert ("phone", {"auth_token", "api_key_secret"}) == (kind.space, kind.secret_settings)
