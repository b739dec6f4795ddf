"""
Proving that a number is one's own, by a code that is sent to it.

Nothing here looks up whether anybody has an account: what a stranger sees is the same in both cases.
"""

import re
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.api import (
    Channel,
    CodeGone,
    CodeProvider,
    NumberRefused,
    ProviderDown,
    ProviderMisconfigured,
    TooManyCodes,
)
from gateway.base.clock import Clock
from gateway.services.errors import (
    CannotBeReached,
    InvalidField,
    ProviderUnavailable,
    SignInGone,
    TooManyTries,
    WrongCode,
)
from gateway.services.identities import Proven
from gateway.services.numbers import as_e164, check_reachable
from gateway.services.sign_in_attempts import Attempts, Kept
from gateway.services.sign_in_limits import Origin, SignInLimits
from gateway.services.ways import Ways
from gateway.settings import SignIn as Limits

log = structlog.get_logger()

_CODE: Final = re.compile(r"[0-9]{4,10}", re.ASCII)


class _Sent(Kept, frozen=True, kw_only=True, omit_defaults=True):
    number: str
    handle: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSent:
    """
    A code that is on its way. Times are Unix ms.
    """

    attempt: str
    expires_at: int
    resend_at: int


class CodeSignIn:
    """
    Sends codes and hears them back.
    """

    def __init__(
        self, ways: Ways, attempts: Attempts, counts: SignInLimits, clock: Clock, limits: Limits
    ) -> None:
        self._ways = ways
        self._attempts = attempts
        self._counts = counts
        self._clock = clock
        self._limits = limits

    async def send(
        self, space: str, number: str, *, channel: Channel, locale: str | None, origin: Origin
    ) -> CodeSent:
        """
        Send a code to *number*.

        Raises:
            NotFound: codes are not sent here.
            InvalidField: it is no number.
            CannotBeReached: no code can be sent to it.
            TooManyTries: not now.
            ProviderUnavailable: whoever sends them does not answer.
        """
        provider = self._ways.codes(space)
        number = as_e164(number)
        check_reachable(number, self._limits.countries)
        await self._counts.count_code(number, origin)
        handle = await _sent(provider, number, channel, locale)
        attempt, expires_at = await self._attempts.begin(space, _Sent(number=number, handle=handle))
        resend_at = self._clock.now_ms() + self._limits.resend_after_s * 1000
        return CodeSent(attempt=attempt, expires_at=expires_at, resend_at=resend_at)

    async def check(self, space: str, attempt: str, code: str, *, origin: Origin) -> Proven:
        """
        Return what the right code proves; it does so once.

        Raises:
            InvalidField: this cannot be a code.
            WrongCode: it is another one.
            SignInGone: no code is waited for; another one has to be sent.
            TooManyTries: not now.
            ProviderUnavailable: whoever sent it does not answer; the code may be named again.
        """
        provider = self._ways.codes(space)
        code = code.strip().replace(" ", "")
        if _CODE.fullmatch(code) is None:
            raise InvalidField("code", "is 4 to 10 digits")
        sent, tries_left = await self._attempts.attempted(space, attempt, _Sent, most=self._limits.max_tries)
        await self._counts.count_try(sent.number, origin)
        try:
            is_right = await provider.check(sent.handle, code)
        except CodeGone:
            raise SignInGone("no code is waited for any more; have another one sent") from None
        except TooManyCodes as error:
            raise TooManyTries(
                "too many codes were tried; wait, then have another one sent",
                retry_after_s=error.retry_after_s,
            ) from None
        except ProviderDown as error:
            raise ProviderUnavailable(f"the code cannot be checked right now ({error})") from None
        except ProviderMisconfigured as error:
            log.error("sign_in.misconfigured", space=space, error=str(error))
            raise ProviderUnavailable("codes cannot be checked right now") from None
        if not is_right:
            raise WrongCode(tries_left=tries_left)
        # Whoever takes it has proved it: two that name the right code at once are one.
        await self._attempts.take(space, attempt, _Sent)
        return Proven(space=space, subject=sent.number, label=sent.number)


async def _sent(provider: CodeProvider, number: str, channel: Channel, locale: str | None) -> str:
    try:
        return await provider.send(number, channel=channel, locale=locale)
    except NumberRefused as error:
        raise CannotBeReached(str(error)) from None
    except TooManyCodes as error:
        raise TooManyTries("too many codes were asked for", retry_after_s=error.retry_after_s) from None
    except ProviderDown as error:
        raise ProviderUnavailable(f"no code can be sent right now ({error})") from None
    except ProviderMisconfigured as error:
        log.error("sign_in.misconfigured", error=str(error))
        raise ProviderUnavailable("no code can be sent right now") from None
