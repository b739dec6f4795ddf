"""
Codes that are written into the daemon's log instead of being sent: for trying the gateway out, and for nothing else.
"""

import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.api import (
    API_VERSION,
    Channel,
    CodeGone,
    IdentityContext,
    IdentityKind,
    ProviderMisconfigured,
    hookimpl,
)

log = structlog.get_logger()

_MOST_WAITING: Final = 1000
_MOST_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """
    There is nothing to be set.
    """


class ConsoleCodes:
    """
    Makes codes and remembers them until the daemon ends.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[str, int]] = {}

    async def send(self, number: str, *, channel: Channel, locale: str | None) -> str:
        """
        Write a code into the log.
        """
        handle, code = secrets.token_hex(16), f"{secrets.randbelow(10**6):06}"
        while len(self._waiting) >= _MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[handle] = (code, 0)
        log.warning("sign_in.code", code=code, number_ends_with=number[-2:])
        return handle

    async def check(self, handle: str, code: str) -> bool:
        """
        Tell whether it is the code that was written down.
        """
        if handle not in self._waiting:
            raise CodeGone("no code is waited for")
        expected, tries = self._waiting.pop(handle)
        if hmac.compare_digest(expected, code):
            return True
        if tries + 1 < _MOST_TRIES:
            self._waiting[handle] = (expected, tries + 1)
        return False


@asynccontextmanager
async def connect(context: IdentityContext, _: ConsoleSettings) -> AsyncIterator[ConsoleCodes]:
    """
    Give the one that there is.

    Raises:
        ProviderMisconfigured: real people are to sign in here, who do not see the log.
    """
    if context.is_production:
        raise ProviderMisconfigured(
            "it writes codes into the log, so it is for trying out only and not for server.production"
        )
    yield ConsoleCodes()


@hookimpl
def gateway_register_identities() -> list[IdentityKind[ConsoleSettings]]:
    """
    Return the one kind that there is here.
    """
    return [
        IdentityKind(
            name="console",
            space="phone",
            title="Phone number",
            api_version=API_VERSION,
            settings_type=ConsoleSettings,
            connect=connect,
        )
    ]
