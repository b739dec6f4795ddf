"""
That the pretend Verify answers as Twilio's contract and its pages of errors say.
"""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import aiohttp
import pytest

from tests.emulators.emulator import EmulatedClock
from tests.emulators.faults import Effect
from tests.emulators.twilio import Limit, VerifyEmulator
from tests.emulators.twilio.contract import violations
from tests.support.clock import FakeClock

NUMBER: Final = "+15005550006"
OTHER: Final = "+15005550007"

Answer = tuple[int, Any]


class Caller:
    """
    Speaks to Verify by hand.
    """

    def __init__(self, verify: VerifyEmulator, http: aiohttp.ClientSession) -> None:
        self.verify = verify
        self.http = http
        self.auth = aiohttp.encode_basic_auth(verify.account_sid, verify.auth_token)
        self.root = f"{verify.url}/v2/Services/{verify.service.sid}"
        self.headers: dict[str, str] = {}

    async def ask(self, method: str, path: str, **form: str) -> Answer:
        sent = {"Authorization": self.auth}
        body = form if method == "POST" else None
        async with self.http.request(method, self.root + path, data=body, headers=sent) as answer:
            self.headers = dict(answer.headers)
            document = await answer.json()
            if answer.status >= 400:
                assert [] == violations("error", document)
                assert answer.status == document["status"]
                assert document["more_info"].endswith(f"/{document['code']}")
            return answer.status, document

    async def start(self, to: str = NUMBER, channel: str = "sms", **more: str) -> Answer:
        return await self.ask("POST", "/Verifications", To=to, Channel=channel, **more)

    async def check(self, code: str, to: str = NUMBER) -> Answer:
        return await self.ask("POST", "/VerificationCheck", To=to, Code=code)

    async def check_wrongly(self, to: str = NUMBER) -> Answer:
        right = self.verify.code_for(to)
        return await self.check("0000" if right != "0000" else "1111", to)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def verify(clock: FakeClock) -> Iterator[VerifyEmulator]:
    with VerifyEmulator(clock=EmulatedClock(clock)) as verify:
        yield verify


@pytest.fixture
async def caller(verify: VerifyEmulator) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as http:
        yield Caller(verify, http)


def code_of(answer: Answer) -> tuple[int, int]:
    status, document = answer
    return status, document["code"]


# The life of a verification


@pytest.mark.parametrize("channel", ["sms", "call", "whatsapp"])
async def test_the_code_that_was_sent_proves_the_number(
    verify: VerifyEmulator, caller: Caller, channel: str
) -> None:
    status, started = await caller.start(channel=channel, Locale="de", CustomFriendlyName="Gateway")
    assert (201, "pending", False) == (status, started["status"], started["valid"])
    assert [] == violations("verification", started)
    [sent] = verify.deliveries
    assert (NUMBER, channel, "de", "Gateway") == (sent.to, sent.channel, sent.locale, sent.friendly_name)
    assert 6 == len(sent.code)

    status, checked = await caller.check(sent.code)
    assert (201, "approved", True) == (status, checked["status"], checked["valid"])
    assert [] == violations("verificationCheck", checked)
    assert started["sid"] == checked["sid"]


async def test_a_code_that_is_wrong_is_no_error(caller: Caller) -> None:
    await caller.start()
    status, checked = await caller.check_wrongly()
    assert (201, "pending", False) == (status, checked["status"], checked["valid"])


async def test_the_contract_allows_200_for_a_check(verify: VerifyEmulator, caller: Caller) -> None:
    verify.checks_answer = 200
    await caller.start()
    assert 200 == (await caller.check(verify.code_for(NUMBER)))[0]


async def test_a_code_may_begin_with_zeros(verify: VerifyEmulator, caller: Caller) -> None:
    verify.give_codes("000123")
    await caller.start()
    assert not (await caller.check("123000"))[1]["valid"]
    assert (await caller.check("000123"))[1]["valid"]


async def test_what_is_sent_again_is_the_same_code(
    verify: VerifyEmulator, caller: Caller, clock: FakeClock
) -> None:
    _, first = await caller.start()
    clock.advance(599)
    _, second = await caller.start(channel="call")
    assert first["sid"] == second["sid"]
    assert ["SMS", "CALL"] == [sent["channel"] for sent in second["send_code_attempts"]]
    assert 1 == len({sent.code for sent in verify.deliveries})


async def test_after_ten_minutes_the_code_is_gone_and_a_start_sends_another(
    verify: VerifyEmulator, caller: Caller, clock: FakeClock
) -> None:
    _, first = await caller.start()
    clock.advance(600)
    assert (404, 20404) == code_of(await caller.check(verify.code_for(NUMBER)))
    assert (404, 20404) == code_of(await caller.ask("GET", f"/Verifications/{first['sid']}"))
    _, second = await caller.start()
    assert first["sid"] != second["sid"]


async def test_approved_once_it_is_gone(verify: VerifyEmulator, caller: Caller) -> None:
    _, first = await caller.start()
    code = verify.code_for(NUMBER)
    await caller.check(code)
    assert (404, 20404) == code_of(await caller.check(code))
    _, second = await caller.start()
    assert first["sid"] != second["sid"]


@pytest.mark.parametrize("status", ["canceled", "approved"])
async def test_its_owner_may_end_it(verify: VerifyEmulator, caller: Caller, status: str) -> None:
    _, started = await caller.start()
    path = f"/Verifications/{started['sid']}"
    told, ended = await caller.ask("POST", path, Status=status)
    assert (200, status, status == "approved") == (told, ended["status"], ended["valid"])
    assert (404, 20404) == code_of(await caller.check(verify.code_for(NUMBER)))
    assert (404, 20404) == code_of(await caller.ask("POST", path, Status=status))


async def test_the_sixth_send_is_refused_until_it_has_run_out(
    verify: VerifyEmulator, caller: Caller, clock: FakeClock
) -> None:
    assert [201] * 5 == [(await caller.start())[0] for _ in range(5)]
    assert (429, 60203) == code_of(await caller.start())
    assert 5 == len(verify.deliveries)
    assert 201 == (await caller.start(OTHER))[0]
    clock.advance(600)
    assert 201 == (await caller.start())[0]


async def test_the_sixth_check_is_refused_even_with_the_right_code(
    verify: VerifyEmulator, caller: Caller, clock: FakeClock
) -> None:
    await caller.start()
    assert [201] * 5 == [(await caller.check_wrongly())[0] for _ in range(5)]
    right = verify.code_for(NUMBER)
    assert (429, 60202) == code_of(await caller.check(right))
    assert (429, 60202) == code_of(await caller.start())
    clock.advance(600)
    assert (404, 20404) == code_of(await caller.check(right))
    assert 201 == (await caller.start())[0]


async def test_or_it_is_gone_after_five_checks(verify: VerifyEmulator, caller: Caller) -> None:
    verify.forget_exhausted()
    await caller.start()
    for _ in range(5):
        await caller.check_wrongly()
    assert (404, 20404) == code_of(await caller.check(verify.code_for(NUMBER)))
    assert 201 == (await caller.start())[0]


async def test_the_fifth_check_may_be_right(verify: VerifyEmulator, caller: Caller) -> None:
    await caller.start()
    for _ in range(4):
        await caller.check_wrongly()
    assert (await caller.check(verify.code_for(NUMBER)))[1]["valid"]


async def test_a_code_proves_no_other_number(verify: VerifyEmulator, caller: Caller) -> None:
    verify.give_codes("111111", "222222")
    _, started = await caller.start()
    await caller.start(OTHER)
    assert not (await caller.check("111111", OTHER))[1]["valid"]
    mixed = {"To": OTHER, "VerificationSid": started["sid"], "Code": "111111"}
    assert (404, 20404) == code_of(await caller.ask("POST", "/VerificationCheck", **mixed))


async def test_the_status_may_be_asked_for_sixty_times_in_a_minute(caller: Caller, clock: FakeClock) -> None:
    _, started = await caller.start()
    path = f"/Verifications/{started['sid']}"
    for _ in range(60):
        assert (200, started) == await caller.ask("GET", path)
    assert (429, 20429) == code_of(await caller.ask("GET", path))
    clock.advance(60)
    assert 200 == (await caller.ask("GET", f"/Verifications/{NUMBER}"))[0]


# What is refused


@pytest.mark.parametrize(
    ("wrong", "form"),
    [
        ("To", {"Channel": "sms"}),
        ("To", {"To": "15005550006", "Channel": "sms"}),
        ("To", {"To": "+0155550006", "Channel": "sms"}),
        ("To", {"To": "+1500 5550006", "Channel": "sms"}),
        ("To", {"To": "+1234567890123456", "Channel": "sms"}),
        ("To", {"To": "+\u0661\u0665\u0660\u0660", "Channel": "sms"}),
        ("To", {"To": f"{NUMBER}\n", "Channel": "sms"}),
        ("Channel", {"To": NUMBER}),
        ("Channel", {"To": NUMBER, "Channel": "SMS"}),
        ("Locale", {"To": NUMBER, "Channel": "sms", "Locale": "en_GB"}),
        ("CustomFriendlyName", {"To": NUMBER, "Channel": "sms", "CustomFriendlyName": "x" * 31}),
        ("SendDigits", {"To": NUMBER, "Channel": "sms", "SendDigits": "1"}),
        ("AppHash", {"To": NUMBER, "Channel": "sms", "AppHash": "short"}),
        ("TemplateSid", {"To": NUMBER, "Channel": "sms", "TemplateSid": "HJ12"}),
        ("DeviceIp", {"To": NUMBER, "Channel": "sms", "DeviceIp": "1.2.3"}),
        ("RiskCheck", {"To": NUMBER, "Channel": "sms", "RiskCheck": "off"}),
        ("RateLimits", {"To": NUMBER, "Channel": "sms", "RateLimits": "{"}),
        ("RateLimits", {"To": NUMBER, "Channel": "sms", "RateLimits": '{"unheard_of": "1"}'}),
        ("RateLimits", {"To": NUMBER, "Channel": "sms", "RateLimits": '{"ip": 1}'}),
        ("Tags", {"To": NUMBER, "Channel": "sms", "Tags": json.dumps({"k": "v" * 129})}),
        ("Chanel", {"To": NUMBER, "Channel": "sms", "Chanel": "sms"}),
    ],
)
async def test_a_wrong_parameter_is_named(
    verify: VerifyEmulator, caller: Caller, wrong: str, form: dict[str, str]
) -> None:
    verify.service.rate_limits["ip"] = [Limit(9, 60)]
    status, document = await caller.ask("POST", "/Verifications", **form)
    assert (400, 60200, f"Invalid parameter: {wrong}") == (status, document["code"], document["message"])
    assert [] == verify.deliveries


@pytest.mark.parametrize(
    ("expected", "form"),
    [
        ((400, 60200), {"To": NUMBER}),
        ((400, 60200), {"To": NUMBER, "Code": "123"}),
        ((400, 60200), {"To": NUMBER, "Code": "12345a"}),
        ((400, 60200), {"To": NUMBER, "Code": "1" * 11}),
        ((400, 60200), {"To": NUMBER, "Code": "123456\n"}),
        ((400, 60200), {"VerificationSid": "VE12", "Code": "123456"}),
        ((400, 60221), {"Code": "123456"}),
        ((404, 20404), {"To": OTHER, "Code": "123456"}),
    ],
)
async def test_a_wrong_check_is_refused(
    caller: Caller, expected: tuple[int, int], form: dict[str, str]
) -> None:
    await caller.start()
    assert expected == code_of(await caller.ask("POST", "/VerificationCheck", **form))


async def test_json_is_no_form(verify: VerifyEmulator, caller: Caller) -> None:
    asked = {"To": NUMBER, "Channel": "sms"}
    headers = {"Authorization": caller.auth}
    async with caller.http.post(f"{caller.root}/Verifications", json=asked, headers=headers) as answer:
        assert (400, 60200) == code_of((answer.status, await answer.json()))
    assert [] == verify.deliveries


async def test_a_parameter_that_is_there_twice_is_refused(verify: VerifyEmulator, caller: Caller) -> None:
    form = [("To", NUMBER), ("To", OTHER), ("Channel", "sms")]
    headers = {"Authorization": caller.auth}
    async with caller.http.post(f"{caller.root}/Verifications", data=form, headers=headers) as answer:
        assert (400, 60200) == code_of((answer.status, await answer.json()))
    assert [] == verify.deliveries


async def test_only_the_owner_is_served(verify: VerifyEmulator, caller: Caller) -> None:
    [(key, secret)] = verify.api_keys.items()
    for name, password in ((verify.account_sid, "wrong"), (key, verify.auth_token), ("", ""), (key, "")):
        caller.auth = aiohttp.encode_basic_auth(name, password)
        assert (401, 20003) == code_of(await caller.start())
        assert caller.headers["WWW-Authenticate"].startswith("Basic ")
    for wrong in ("Bearer abc", "Basic *", ""):
        caller.auth = wrong
        assert (401, 20003) == code_of(await caller.start())
    assert [] == verify.deliveries
    caller.auth = aiohttp.encode_basic_auth(key, secret)
    assert 201 == (await caller.start())[0]


async def test_another_service_or_path_is_not_found(verify: VerifyEmulator, caller: Caller) -> None:
    assert (404, 20404) == code_of(await caller.ask("GET", "/Nothing"))
    assert (405, 20004) == code_of(await caller.ask("GET", "/VerificationCheck"))
    caller.root = f"{verify.url}/v2/Services/VA{'0' * 32}"
    assert (404, 20404) == code_of(await caller.start())


async def test_the_service_says_how_it_is_set_up(caller: Caller) -> None:
    status, document = await caller.ask("GET", "")
    assert (200, 6, []) == (status, document["code_length"], violations("service", document))


async def test_a_landline_takes_calls_alone(verify: VerifyEmulator, caller: Caller) -> None:
    verify.landlines.add(NUMBER)
    assert (403, 60205) == code_of(await caller.start())
    _, started = await caller.start(channel="call")
    assert "landline" == started["lookup"]["carrier"]["type"]


async def test_fraud_guard_blocks_a_prefix_for_twelve_hours(
    verify: VerifyEmulator, caller: Caller, clock: FakeClock
) -> None:
    verify.block_prefix("+1500")
    assert (403, 60410) == code_of(await caller.start())
    assert 201 == (await caller.start("+4915005550006"))[0]
    assert 201 == (await caller.start(OTHER, "call"))[0]
    assert 201 == (await caller.start(OTHER, RiskCheck="disable"))[0]
    clock.advance(12 * 3600)
    assert 201 == (await caller.start())[0]


async def test_closed_countries_unassigned_numbers_and_closed_channels(
    verify: VerifyEmulator, caller: Caller
) -> None:
    verify.closed_countries.add("+49")
    assert (403, 60605) == code_of(await caller.start("+4915005550006"))
    verify.unassigned.add(OTHER)
    assert (400, 60200) == code_of(await caller.start(OTHER))
    verify.service.channels.discard("whatsapp")
    assert (400, 60223) == code_of(await caller.start(channel="whatsapp"))


async def test_custom_codes_and_names_are_for_services_that_have_them(
    verify: VerifyEmulator, caller: Caller
) -> None:
    assert (403, 60204) == code_of(await caller.start(CustomCode="4711"))
    verify.service.custom_code_enabled = True
    await caller.start(CustomCode="4711")
    assert (await caller.check("4711"))[1]["valid"]
    verify.service.custom_friendly_name_enabled = False
    assert (403, 60204) == code_of(await caller.start(CustomFriendlyName="Other"))


async def test_the_operators_rate_limits_hold_for_each_value(
    verify: VerifyEmulator, caller: Caller, clock: FakeClock
) -> None:
    verify.service.rate_limits["ip"] = [Limit(2, 60), Limit(3, 3600)]
    one, two = json.dumps({"ip": "192.0.2.1"}), json.dumps({"ip": "192.0.2.2"})
    for number in (NUMBER, OTHER):
        assert 201 == (await caller.start(number, RateLimits=one))[0]
    assert (429, 20429) == code_of(await caller.start("+15005550008", RateLimits=one))
    assert ("61", "ip") == (caller.headers["Retry-After"], caller.headers["Twilio-Reached-Rate-Limit"])
    assert 201 == (await caller.start("+15005550008", RateLimits=two))[0]
    clock.advance(60)
    assert 201 == (await caller.start(RateLimits=one))[0]
    clock.advance(60)
    assert (429, 20429) == code_of(await caller.start(RateLimits=one))


# Faults


async def test_any_error_of_twilios_can_be_ordered(verify: VerifyEmulator, caller: Caller) -> None:
    verify.refuse("start", 60212, times=2)
    verify.refuse("check", 20429)
    assert [(429, 60212)] * 2 == [code_of(await caller.start()) for _ in range(2)]
    assert 201 == (await caller.start())[0]
    assert (429, 20429) == code_of(await caller.check("123456"))
    assert not (await caller.check_wrongly())[1]["valid"]


async def test_it_throttles_and_fails_when_told_to(verify: VerifyEmulator, caller: Caller) -> None:
    verify.faults.order("start", Effect.THROTTLE, amount=7)
    assert (429, 20429) == code_of(await caller.start())
    assert "7" == caller.headers["Retry-After"]
    verify.faults.order("start", Effect.FAIL)
    assert (500, 20500) == code_of(await caller.start())
    verify.failure_status = 503
    verify.faults.order("start", Effect.FAIL)
    headers = {"Authorization": caller.auth}
    async with caller.http.post(f"{caller.root}/Verifications", headers=headers) as answer:
        assert (503, "text/html") == (answer.status, answer.content_type)
    assert [] == verify.deliveries


async def test_an_answer_may_be_lost_when_the_message_is_out(verify: VerifyEmulator, caller: Caller) -> None:
    verify.faults.order("start", Effect.LOSE_ANSWER)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await caller.start()
    assert 1 == len(verify.deliveries)


async def test_an_answer_may_come_late(verify: VerifyEmulator, caller: Caller) -> None:
    verify.faults.order("start", Effect.HOLD_ANSWER)
    with pytest.raises(TimeoutError):
        await caller.http.post(
            f"{caller.root}/Verifications",
            data={"To": NUMBER, "Channel": "sms"},
            headers={"Authorization": caller.auth},
            timeout=aiohttp.ClientTimeout(total=0.3),
        )
    assert 1 == len(verify.deliveries)
    verify.faults.clear()
