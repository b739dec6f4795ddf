"""
How often signing in may be tried: by one number, from one address, on one device, and by everybody together.

What is counted is kept as an HMAC, so the counts tell nobody's number or address.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.base.clock import Clock
from gateway.catalog.sign_ins import Tally, count_all
from gateway.database import Database
from gateway.services.errors import TooManyTries
from gateway.services.look_ups import LookUps
from gateway.settings import SignIn as Limits

log = structlog.get_logger()

_NETWORK_BITS: Final = 64
"""One subscriber has a network of so many bits in IPv6, and counts as one."""


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Where a request came from: its address, and what the device calls itself, if it does.
    """

    address: str
    device: str | None = None

    @property
    def network(self) -> str:
        """
        The address, or the network of it that is one subscriber's.
        """
        try:
            address = ipaddress.ip_address(self.address.partition("%")[0])
        except ValueError:
            return self.address
        if isinstance(address, ipaddress.IPv6Address):
            if address.ipv4_mapped is not None:
                return str(address.ipv4_mapped)
            return str(ipaddress.IPv6Network(f"{address}/{_NETWORK_BITS}", strict=False))
        return str(address)


class SignInLimits:
    """
    Counts.
    """

    def __init__(self, catalog_db: Database, look_ups: LookUps, clock: Clock, limits: Limits) -> None:
        self._catalog = catalog_db
        self.look_ups = look_ups
        self._clock = clock
        self._limits = limits

    async def count_code(self, number: str, origin: Origin) -> None:
        """
        Count a code that is about to be sent.

        Raises:
            TooManyTries: none may be sent now.
        """
        limits = self._limits
        wanted = [
            ("resend", number, 1, limits.resend_after_s),
            ("codes-number", number, limits.codes_per_number, limits.window_s),
            ("codes-address", origin.network, limits.codes_per_address, limits.window_s),
            ("codes-all", "", limits.codes_in_all, limits.window_s),
        ]
        if origin.device is not None:
            wanted.append(("codes-device", origin.device, limits.codes_per_device, limits.window_s))
        await self._count(wanted, "too many codes were asked for")

    async def count_try(self, number: str, origin: Origin) -> None:
        """
        Count a code that somebody names.

        Raises:
            TooManyTries: none may be named now.
        """
        limits = self._limits
        wanted = [
            ("tries-number", number, limits.tries_per_number, limits.window_s),
            ("tries-address", origin.network, limits.tries_per_address, limits.window_s),
        ]
        await self._count(wanted, "too many codes were tried")

    async def count_failure(self, origin: Origin) -> None:
        """
        Count something that was named from an address and was wrong.

        Raises:
            TooManyTries: nothing may be named from there now.
        """
        wanted = [("failures-address", origin.network, self._limits.tries_per_address, self._limits.window_s)]
        await self._count(wanted, "too much was tried from this address")

    async def _count(self, wanted: Sequence[tuple[str, str, int, int]], what: str) -> None:
        keys = await self.look_ups.keys()
        tallies = [
            Tally(keys.current(f"tally-{name}", subject), most, window_s * 1000)
            for name, subject, most, window_s in wanted
            if window_s > 0
        ]
        now = self._clock.now_ms()
        async with self._catalog.write() as connection:
            opens_at = await count_all(connection, tallies, at=now)
        if opens_at is not None:
            log.warning("sign_in.limited", what=what)
            raise TooManyTries(f"{what}; try again later", retry_after_s=-(-(opens_at - now) // 1000))
