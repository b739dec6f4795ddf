"""
Ending what is overdue.
"""

import asyncio

from gateway.services.expiry import UploadExpiry
from gateway.services.exports import ExportService
from gateway.services.leaving import LeavingService
from gateway.services.look_up_replacement import LookUpReplacement
from gateway.services.retention import RetentionService
from gateway.services.sign_in_expiry import SignInExpiry


class UploadSweeper:
    """
    Expires unfinished uploads whose deadline has passed, and forgets those that ended long ago.
    """

    def __init__(self, expiry: UploadExpiry, *, interval_s: float) -> None:
        self._expiry = expiry
        self._interval_s = interval_s

    async def run(self) -> None:
        """
        Sweep until cancelled.
        """
        while True:
            await self.sweep()
            await asyncio.sleep(self._interval_s)

    async def sweep(self) -> None:
        """
        Sweep once, however much there is.
        """
        while await self._expiry.expire_overdue(limit=1000):
            pass
        while await self._expiry.forget_ended(limit=1000):
            pass


class RetentionSweeper:
    """
    Has recordings expire, where and when that may be done.
    """

    def __init__(self, retention: RetentionService, *, interval_s: float) -> None:
        self._retention = retention
        self._interval_s = interval_s

    async def run(self) -> None:
        """
        Look at the time until cancelled.
        """
        while True:
            await self._retention.tick()
            await asyncio.sleep(self._interval_s)


class LeavingSweeper:
    """
    Has those erased whose time to change their minds is over, and the look-up key replaced after somebody has left.
    """

    def __init__(self, leaving: LeavingService, look_ups: LookUpReplacement, *, interval_s: float) -> None:
        self._leaving = leaving
        self._look_ups = look_ups
        self._interval_s = interval_s

    async def run(self) -> None:
        """
        Look at the time until cancelled.
        """
        while True:
            await self._leaving.tick()
            await self._look_ups.tick()
            await asyncio.sleep(self._interval_s)


class ExportSweeper:
    """
    Ends exports whose time is over, and goes on with those that wait.
    """

    def __init__(self, exports: ExportService, *, interval_s: float) -> None:
        self._exports = exports
        self._interval_s = interval_s

    async def run(self) -> None:
        """
        Sweep until cancelled.
        """
        while True:
            await self._exports.sweep()
            await asyncio.sleep(self._interval_s)


class SignInSweeper:
    """
    Forgets attempts to sign in, counts of them, and devices that count no more.
    """

    def __init__(self, expiry: SignInExpiry, *, interval_s: float) -> None:
        self._expiry = expiry
        self._interval_s = interval_s

    async def run(self) -> None:
        """
        Sweep until cancelled.
        """
        while True:
            await self._expiry.sweep()
            await asyncio.sleep(self._interval_s)
