"""
Signing how far the audit log has come.
"""

import asyncio
from collections.abc import Callable

from gateway.services.audit import AuditLog


class AuditSigner:
    """
    Signs the newest entry of the audit log, whenever there is a new one.
    """

    def __init__(
        self, audit: AuditLog, *, interval_s: float, on_flaws: Callable[[int], object] = lambda count: None
    ) -> None:
        self._audit = audit
        self._interval_s = interval_s
        self._on_flaws = on_flaws

    async def run(self) -> None:
        """
        Sign until cancelled.
        """
        while True:
            signed = await self._audit.sign_head()
            self._on_flaws(len(signed.flaws))
            await asyncio.sleep(self._interval_s)
