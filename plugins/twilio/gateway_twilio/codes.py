"""
Verify v2: two calls, one that starts a verification and one that checks its code.

A wrong code is an answer, not an error. Whatever is raised or logged here holds neither number nor code.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from gateway.api import Channel, CodeGone, IdentityContext, ProviderDown, TooManyCodes
from gateway_twilio.errors import is_invalid_code, of_answer
from gateway_twilio.settings import TwilioSettings

_MOST_BYTES: Final = 64 << 10
_VERIFICATION: Final = re.compile(r"VE[0-9a-fA-F]{32}", re.ASCII)

# https://www.twilio.com/docs/verify/supported-languages. One that is not there would be refused as a wrong parameter.
_LANGUAGES: Final = (
    "af ar ca cs da de el en en-GB es et fi fr he hi hr hu id it ja kn ko lt mr ms nb nl pl pt pt-BR ro ru sk "
    "sv ta te th tl tr uk vi zh zh-CN zh-HK"
)
_LOCALES: Final = frozenset(_LANGUAGES.split())


class TwilioCodes:
    """
    Speaks to one Verify service.
    """

    def __init__(self, http: aiohttp.ClientSession, settings: TwilioSettings) -> None:
        self._http = http
        self._settings = settings
        self._root = f"{settings.base_url}/v2/Services/{settings.service_sid}"
        self._authorization = aiohttp.encode_basic_auth(settings.user, settings.password)

    async def send(self, number: str, *, channel: Channel, locale: str | None) -> str:
        """
        Start a verification, or have the same code sent again while one is going on; return its SID.

        It is never repeated: of a start whose answer was lost, the code may be on its way, and paid for.
        """
        form = {"To": number, "Channel": channel}
        language = spoken(locale)
        if language is not None:
            form["Locale"] = language
        status, body, headers = await self._asked("/Verifications", form)
        if status not in {200, 201}:
            raise of_answer("start", status, body, headers)
        sid = _document(body).get("sid")
        if not isinstance(sid, str) or _VERIFICATION.fullmatch(sid) is None:
            raise ProviderDown("its answer cannot be read")
        return sid

    async def check(self, handle: str, code: str) -> bool:
        """
        Name a code. Where no answer comes it is named again, which costs one of the five checks that a code has.

        If the first was right all the same, its answer is lost for good, and the second finds nothing to check.
        """
        form = {"VerificationSid": handle, "Code": code}
        for left in reversed(range(self._settings.check_attempts)):
            try:
                status, body, headers = await self._asked("/VerificationCheck", form)
                break
            except ProviderDown:
                if not left:
                    raise
        else:
            raise AssertionError("there is at least one attempt")
        if is_invalid_code(status, body):
            return False
        if status not in {200, 201}:
            raise of_answer("check", status, body, headers)
        return _is_approved(_document(body))

    async def _asked(self, path: str, form: Mapping[str, str]) -> tuple[int, bytearray, Mapping[str, str]]:
        try:
            async with (
                asyncio.timeout(self._settings.timeout_s),
                self._http.post(
                    self._root + path,
                    data=form,
                    headers={"Authorization": self._authorization, "Accept": "application/json"},
                    allow_redirects=False,
                ) as answer,
            ):
                body = bytearray()
                while len(body) <= _MOST_BYTES and (piece := await answer.content.read(_MOST_BYTES)):
                    body += piece
                return answer.status, body, answer.headers
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # Without its cause, which may quote the request.
            raise ProviderDown(f"no answer: {type(error).__name__}") from None


@asynccontextmanager
async def connect(context: IdentityContext, settings: TwilioSettings) -> AsyncIterator[TwilioCodes]:
    """
    Give what speaks to the operator's service; nothing is asked until somebody signs in.
    """
    yield TwilioCodes(context.http, settings)


def spoken(locale: str | None) -> str | None:
    """
    Return the language of Twilio's that comes nearest to a BCP 47 tag; None leaves it to the number's country.
    """
    if locale is None:
        return None
    language, _, region = locale.partition("-")
    wanted = (f"{language.lower()}-{region.upper()}", language.lower())
    return next((tag for tag in wanted if tag in _LOCALES), None)


def _is_approved(document: Mapping[str, Any]) -> bool:
    match document.get("status"):
        case "approved":
            return True
        case "pending":
            return False
        case "max_attempts_reached":
            raise TooManyCodes("too many codes were named")
        case "canceled" | "deleted" | "expired" | "failed":
            raise CodeGone("no code is waited for")
        case _:
            raise ProviderDown("its answer cannot be read")


def _document(body: bytes | bytearray) -> dict[str, Any]:
    try:
        document = json.loads(body) if len(body) <= _MOST_BYTES else None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ProviderDown("its answer cannot be read")
    return document
