"""
Forgetting what signing in leaves behind.
"""

from typing import Final

from gateway.base.clock import Clock
from gateway.catalog.devices import forget_refresh_tokens, sweep_devices
from gateway.catalog.sign_ins import sweep_sign_ins
from gateway.database import Database
from gateway.settings import SignIn as Limits

_BATCH: Final = 500


class SignInExpiry:
    """
    Removes attempts that nobody may finish any more, counts whose time is over, and devices that are signed out.

    What ended is remembered for as long as used refresh tokens are: then nobody brings one of its tokens any more.
    """

    def __init__(self, catalog_db: Database, clock: Clock, limits: Limits) -> None:
        self._catalog = catalog_db
        self._clock = clock
        self._limits = limits

    async def sweep(self) -> None:
        """
        Sweep once, however much there is.
        """
        now = self._clock.now_ms()
        before = now - self._limits.refresh_memory_s * 1000
        async with self._catalog.write() as connection:
            await sweep_sign_ins(connection, at=now)
            await forget_refresh_tokens(connection, before=before)
        while True:
            async with self._catalog.write() as connection:
                swept = await sweep_devices(connection, before=before, limit=_BATCH)
            if len(swept) < _BATCH:
                break
