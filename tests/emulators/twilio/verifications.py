"""
The life of a verification: sent up to five times, checked up to five times, over after ten minutes.
"""

import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from tests.emulators.twilio.refusals import Refused

MOST_SENDS: Final = 5
MOST_CHECKS: Final = 5
STATUS_LIMITS: Final = ((60, 60), (180, 3600), (250, 86_400))
"""How often the status of one verification may be asked for: times, in seconds."""

BLOCKED_S: Final = 12 * 3600
"""How long Fraud Guard blocks a prefix."""

_ATTEMPT_CHANNELS: Final = {"sms": "SMS", "call": "CALL"}


def new_sid(prefix: str) -> str:
    return prefix + secrets.token_hex(16)


@dataclass
class Limit:
    """
    One bucket of a rate limit of the operator's: *most* starts in *interval_s* seconds for each value of its key.
    """

    most: int
    interval_s: int


@dataclass
class Service:
    """
    A Verify service as its owner set it up.
    """

    sid: str = field(default_factory=lambda: new_sid("VA"))
    friendly_name: str = "Recording gateway"
    code_length: int = 6
    code_lifetime_s: int = 600
    channels: set[str] = field(default_factory=lambda: {"sms", "call", "whatsapp"})
    lookup_enabled: bool = True
    skip_sms_to_landlines: bool = True
    custom_code_enabled: bool = False
    custom_friendly_name_enabled: bool = True
    rate_limits: dict[str, list[Limit]] = field(default_factory=dict)
    """By unique name."""


@dataclass(frozen=True)
class Delivery:
    """
    A message or a call that would have gone out.
    """

    to: str
    channel: str
    code: str
    friendly_name: str
    locale: str | None
    at: float


@dataclass
class Verification:
    """
    One number on its way to being proven.
    """

    sid: str
    to: str
    code: str
    channel: str
    created_at: float
    updated_at: float
    status: str = "pending"
    checks: int = 0
    attempts: list[dict[str, Any]] = field(default_factory=list)
    """When and how the code was sent."""
    asked_at: list[float] = field(default_factory=list)
    """When its status was asked for."""


class Verifications:
    """
    All verifications of one service.
    """

    def __init__(self, service: Service, now: Callable[[], float]) -> None:
        self._service = service
        self._now = now
        self._all: list[Verification] = []
        self._starts: dict[tuple[str, str], list[float]] = {}
        self.deliveries: list[Delivery] = []
        self.next_codes: deque[str] = deque()
        self.forgets_exhausted = False

    def live(self, to: str) -> Verification | None:
        """
        Return the verification of that number that is neither over nor run out.
        """
        return next((found for found in reversed(self._all) if found.to == to and self._is_live(found)), None)

    def by_sid(self, sid: str) -> Verification | None:
        """
        Return a live verification by its SID, or by its number, which Twilio takes in its place.
        """
        found = next((found for found in self._all if sid == found.sid and self._is_live(found)), None)
        return found or self.live(sid)

    def start(self, asked: dict[str, str], limited_by: dict[str, str]) -> Verification:
        """
        Send the code, the same as before while a verification is live.

        Raises:
            Refused: a limit is reached.
        """
        self._count_start(limited_by)
        now = self._now()
        verification = self.live(asked["To"])
        if verification is None:
            code = asked.get("CustomCode") or (
                self.next_codes.popleft() if self.next_codes else self._new_code()
            )
            verification = Verification(new_sid("VE"), asked["To"], code, asked["Channel"], now, now)
            self._all.append(verification)
        elif verification.checks >= MOST_CHECKS:
            raise Refused(60202)
        elif len(verification.attempts) >= MOST_SENDS:
            raise Refused(60203)
        verification.channel, verification.updated_at = asked["Channel"], now
        verification.attempts.append(
            {
                "at": now,
                "channel": _ATTEMPT_CHANNELS.get(verification.channel, verification.channel),
                "sid": new_sid("VL"),
            }
        )
        name = asked.get("CustomFriendlyName", self._service.friendly_name)
        self.deliveries.append(
            Delivery(verification.to, verification.channel, verification.code, name, asked.get("Locale"), now)
        )
        return verification

    def check(self, verification: Verification, code: str) -> None:
        """
        Count a try, and approve it if *code* is the one that was sent.

        Raises:
            Refused: five were made before.
        """
        if verification.checks >= MOST_CHECKS:
            raise Refused(60202)
        verification.checks += 1
        verification.updated_at = self._now()
        if secrets.compare_digest(code, verification.code):
            verification.status = "approved"

    def set_status(self, verification: Verification, status: str) -> None:
        verification.status, verification.updated_at = status, self._now()

    def count_question(self, verification: Verification) -> None:
        """
        Count a question about its status.

        Raises:
            Refused: there were too many.
        """
        now = self._now()
        for most, interval_s in STATUS_LIMITS:
            if sum(at > now - interval_s for at in verification.asked_at) >= most:
                raise Refused(20429)
        verification.asked_at.append(now)

    def _count_start(self, limited_by: dict[str, str]) -> None:
        now = self._now()
        for key in limited_by.items():
            earlier = self._starts.setdefault(key, [])
            for limit in self._service.rate_limits[key[0]]:
                within = [at for at in earlier if at > now - limit.interval_s]
                if len(within) >= limit.most:
                    wait_s = int(within[-limit.most] + limit.interval_s - now) + 1
                    headers = {"Retry-After": str(wait_s), "Twilio-Reached-Rate-Limit": key[0]}
                    raise Refused(20429, headers=headers)
        for key in limited_by.items():
            self._starts[key].append(now)

    def _is_live(self, verification: Verification) -> bool:
        if verification.status != "pending":
            return False
        if self.forgets_exhausted and verification.checks >= MOST_CHECKS:
            return False
        return self._now() < verification.created_at + self._service.code_lifetime_s

    def _new_code(self) -> str:
        return "".join(secrets.choice("0123456789") for _ in range(self._service.code_length))
