"""
Twilio Verify v2 on a loopback port, as far as numbers are proven by SMS, call and WhatsApp.
"""

import base64
import binascii
import datetime as dt
import ipaddress
import json
import secrets
from collections import Counter
from typing import Any, Final

from aiohttp import web

from tests.emulators.emulator import EmulatedClock, Emulator, Handler
from tests.emulators.twilio.contract import checked, violations, wrong_names
from tests.emulators.twilio.refusals import Refused
from tests.emulators.twilio.verifications import (
    BLOCKED_S,
    Delivery,
    Service,
    Verification,
    Verifications,
    new_sid,
)

_FORM: Final = "application/x-www-form-urlencoded"


class VerifyEmulator(Emulator):
    """
    One account with one service. Codes go nowhere: `deliveries` has them.

    Where Twilio passes over a parameter that it does not know, this refuses it, so that a slip of the pen shows.

    The operations, for faults, are ``start``, ``check``, ``status``, ``update`` and ``service``.

    Attributes:
        account_sid, auth_token: what the owner of the account signs in with.
        api_keys: by SID, the secrets of API keys, which do as well.
        service: how it is set up.
        landlines: numbers that take calls alone.
        unassigned: numbers that are well formed and nobody's.
        closed_countries: prefixes of numbers that the owner's Geo Permissions leave out.
        checks_answer: the status of an answer to a check; the contract has both 201 and 200.
        failure_status: the status of an internal error; the answer is JSON for 500 and a page for the others.
    """

    kind = "twilio"
    title = "Twilio Verify"

    def __init__(self, *, port: int = 0, clock: EmulatedClock | None = None) -> None:
        super().__init__(port=port, clock=clock)
        self.account_sid = new_sid("AC")
        self.auth_token = secrets.token_hex(16)
        self.api_keys = {new_sid("SK"): secrets.token_hex(16)}
        self.service = Service()
        self.landlines: set[str] = set()
        self.unassigned: set[str] = set()
        self.closed_countries: set[str] = set()
        self.checks_answer = 201
        self.failure_status = 500
        self._made_at = self.clock.now()
        self._verifications = Verifications(self.service, self.clock.now)
        self._blocked: dict[str, float] = {}
        self._ordered: dict[str, Counter[int]] = {}

    # For tests

    @property
    def deliveries(self) -> list[Delivery]:
        """
        All that would have gone out, oldest first.
        """
        return self._verifications.deliveries

    def code_for(self, to: str) -> str:
        """
        Return the code that was sent to that number last.
        """
        return next(sent.code for sent in reversed(self.deliveries) if sent.to == to)

    def give_codes(self, *codes: str) -> None:
        """
        Have the next verifications use these codes.
        """
        self._verifications.next_codes.extend(codes)

    def block_prefix(self, prefix: str) -> None:
        """
        Have Fraud Guard block SMS to all numbers that begin so, for twelve hours.
        """
        self._blocked[prefix] = self.clock.now() + BLOCKED_S

    def refuse(self, operation: str, code: int, *, times: int = 1) -> None:
        """
        Answer the next *times* requests of *operation* with this error of Twilio's, where nothing else is wrong.
        """
        self._ordered.setdefault(operation, Counter())[code] += times

    def forget_exhausted(self) -> None:
        """
        Have a verification whose five checks are used up be gone at once: 404, and a start sends a new code.

        Twilio's page of error 60202 says that it answers so until the code has run out, which is what is done without;
        an article of Twilio's says that it is gone.
        """
        self._verifications.forgets_exhausted = True

    # How it fails

    def throttled(self, retry_after_s: int) -> web.Response:
        headers = {"Retry-After": str(retry_after_s)} if retry_after_s else {}
        return Refused(20429, headers=headers).response()

    def failed(self) -> web.Response:
        if self.failure_status == 500:
            return Refused(20500).response()
        page = f"<html><body><h1>{self.failure_status}</h1></body></html>"
        return web.Response(status=self.failure_status, text=page, content_type="text/html")

    # Endpoints

    def add_routes(self, app: web.Application) -> None:
        service = "/v2/Services/{service}"
        for method, path, operation, handler in (
            ("GET", service, "service", self._service),
            ("POST", f"{service}/Verifications", "start", self._start_verification),
            ("GET", f"{service}/Verifications/{{sid}}", "status", self._fetch),
            ("POST", f"{service}/Verifications/{{sid}}", "update", self._update),
            ("POST", f"{service}/VerificationCheck", "check", self._check),
        ):
            app.router.add_route(method, path, self._endpoint(operation, handler))
        app.router.add_route("*", "/{path:.*}", self._unknown)

    def _endpoint(self, operation: str, handler: Handler) -> Handler:
        async def answering(request: web.Request) -> web.StreamResponse:
            try:
                self._authenticate(request)
                if request.match_info["service"] != self.service.sid:
                    raise self._not_found(request)
                answer = await handler(request)
            except Refused as refused:
                await request.read()
                return refused.response()
            return answer

        return self.served(operation, answering)

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.strip("/").split("/")
        is_known = parts[:2] == ["v2", "Services"] and len(parts) in {3, 4, 5}
        refused = (
            Refused(20004) if is_known and parts[-1] == "VerificationCheck" else self._not_found(request)
        )
        return refused.response()

    async def _service(self, request: web.Request) -> web.StreamResponse:
        url = f"{self.url}/v2/Services/{self.service.sid}"
        created = _time(self._made_at)
        document: dict[str, Any] = {
            "sid": self.service.sid,
            "account_sid": self.account_sid,
            "friendly_name": self.service.friendly_name,
            "code_length": self.service.code_length,
            "lookup_enabled": self.service.lookup_enabled,
            "psd2_enabled": False,
            "skip_sms_to_landlines": self.service.skip_sms_to_landlines,
            "dtmf_input_required": True,
            "tts_name": None,
            "do_not_share_warning_enabled": False,
            "custom_code_enabled": self.service.custom_code_enabled,
            "push": None,
            "totp": None,
            "whatsapp": None,
            "passkeys": None,
            "default_template_sid": None,
            "verify_event_subscription_enabled": False,
            "date_created": created,
            "date_updated": created,
            "url": url,
            "links": {
                "verifications": f"{url}/Verifications",
                "verification_checks": f"{url}/VerificationCheck",
                "rate_limits": f"{url}/RateLimits",
            },
        }
        return web.json_response(checked("service", document))

    async def _start_verification(self, request: web.Request) -> web.StreamResponse:
        asked = await _parameters(request, "createVerification")
        limits = _json_parameter(asked, "RateLimits", "rateLimits")
        _json_parameter(asked, "Tags", "tags")
        _json_parameter(asked, "TemplateCustomSubstitutions", "substitutions")
        if not limits.keys() <= self.service.rate_limits.keys():
            raise Refused(60200, "RateLimits")
        self._check_features(asked)
        self._check_number(asked["To"], asked["Channel"], asked.get("RiskCheck", "enable"))
        self._refuse_as_ordered("start")
        verification = self._verifications.start(asked, limits)
        return web.json_response(self._document(verification), status=201)

    async def _fetch(self, request: web.Request) -> web.StreamResponse:
        verification = self._found(request)
        self._refuse_as_ordered("status")
        self._verifications.count_question(verification)
        return web.json_response(self._document(verification))

    async def _update(self, request: web.Request) -> web.StreamResponse:
        asked = await _parameters(request, "updateVerification")
        verification = self._found(request)
        self._refuse_as_ordered("update")
        self._verifications.set_status(verification, asked["Status"])
        return web.json_response(self._document(verification))

    async def _check(self, request: web.Request) -> web.StreamResponse:
        asked = await _parameters(request, "createVerificationCheck")
        if not asked.keys() & {"To", "VerificationSid"}:
            raise Refused(60221)
        self._refuse_as_ordered("check")
        verification = self._verifications.by_sid(asked.get("VerificationSid", asked.get("To", "")))
        if verification is None or asked.get("To", verification.to) != verification.to:
            raise self._not_found(request)
        self._verifications.check(verification, asked["Code"])
        whole = self._document(verification)
        left_out = {"lookup", "send_code_attempts", "sna", "url"}
        document = {name: value for name, value in whole.items() if name not in left_out}
        document["sna_attempts_error_codes"] = []
        return web.json_response(checked("verificationCheck", document), status=self.checks_answer)

    # What is checked

    def _authenticate(self, request: web.Request) -> None:
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        try:
            name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            name = secret = ""
        known = {self.account_sid: self.auth_token, **self.api_keys}
        expected = known.get(name)
        if scheme.lower() != "basic" or expected is None or not secrets.compare_digest(expected, secret):
            raise Refused(20003, headers={"WWW-Authenticate": 'Basic realm="Twilio API"'})

    def _check_features(self, asked: dict[str, str]) -> None:
        channel = asked["Channel"]
        if channel not in self.service.channels:
            raise Refused(60223, channel)
        if "CustomCode" in asked and not self.service.custom_code_enabled:
            raise Refused(60204)
        if "CustomFriendlyName" in asked and not self.service.custom_friendly_name_enabled:
            raise Refused(60204)
        for name, only in (("AppHash", {"sms"}), ("SendDigits", {"call"}), ("TemplateSid", {"sms", "call"})):
            if name in asked and channel not in only:
                raise Refused(60200, name)
        if "DeviceIp" in asked:
            try:
                ipaddress.ip_address(asked["DeviceIp"])
            except ValueError:
                raise Refused(60200, "DeviceIp") from None

    def _check_number(self, to: str, channel: str, risk_check: str) -> None:
        if to in self.unassigned:
            raise Refused(60200, "To")
        is_watched = channel == "sms" and risk_check == "enable"
        now = self.clock.now()
        if is_watched and any(to.startswith(prefix) and now < end for prefix, end in self._blocked.items()):
            raise Refused(60410)
        if risk_check == "enable" and to.startswith(tuple(self.closed_countries)):
            raise Refused(60605)
        skips = self.service.lookup_enabled and self.service.skip_sms_to_landlines
        if channel == "sms" and skips and to in self.landlines:
            raise Refused(60205)

    def _refuse_as_ordered(self, operation: str) -> None:
        for code, left in self._ordered.get(operation, Counter()).items():
            if left:
                self._ordered[operation][code] -= 1
                raise Refused(code)

    def _found(self, request: web.Request) -> Verification:
        verification = self._verifications.by_sid(request.match_info["sid"])
        if verification is None:
            raise self._not_found(request)
        return verification

    def _not_found(self, request: web.Request) -> Refused:
        return Refused(20404, request.path.removeprefix("/v2"))

    def _document(self, verification: Verification) -> dict[str, Any]:
        lookup: dict[str, Any] = {}
        if self.service.lookup_enabled:
            kind = "landline" if verification.to in self.landlines else "mobile"
            lookup["carrier"] = {
                "mobile_country_code": None,
                "type": kind,
                "error_code": None,
                "mobile_network_code": None,
                "name": None,
            }
        document = {
            "sid": verification.sid,
            "service_sid": self.service.sid,
            "account_sid": self.account_sid,
            "to": verification.to,
            "channel": verification.channel,
            "status": verification.status,
            "valid": verification.status == "approved",
            "lookup": lookup,
            "amount": None,
            "payee": None,
            "send_code_attempts": [
                {"time": _time(sent["at"]), "channel": sent["channel"], "attempt_sid": sent["sid"]}
                for sent in verification.attempts
            ],
            "date_created": _time(verification.created_at),
            "date_updated": _time(verification.updated_at),
            "sna": None,
            "url": f"{self.url}/v2/Services/{self.service.sid}/Verifications/{verification.sid}",
        }
        return checked("verification", document)


async def _parameters(request: web.Request, type_name: str) -> dict[str, str]:
    """
    Return the form's parameters, having checked them.
    """
    # What is no form has no parameters.
    pairs = list((await request.post()).items()) if request.content_type == _FORM else []
    asked = {name: str(value) for name, value in pairs}
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    for wrong in twice or wrong_names(type_name, asked):
        raise Refused(60200, wrong)
    return asked


def _json_parameter(asked: dict[str, str], name: str, type_name: str) -> dict[str, str]:
    """
    Return what a parameter that is JSON holds; nothing if it is not there.
    """
    try:
        document: dict[str, str] = json.loads(asked.get(name, "{}"))
    except ValueError:
        raise Refused(60200, name) from None
    if violations(type_name, document):
        raise Refused(60200, name)
    return document


def _time(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
