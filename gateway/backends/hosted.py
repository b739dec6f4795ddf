"""
A plugin's backend as the rest of the gateway sees it: with the host's decorators round it.

Outermost first: measured, verified, retrying, limited, timed, then the plugin.
So a measurement covers every attempt, a wait for the next attempt takes up no place in the limit,
and waiting for one's turn costs none of a call's time.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

from gateway.api import Backend
from gateway.backends.limited import LimitedBackend, Narrows
from gateway.backends.measured import MeasuredBackend, Meters
from gateway.backends.retrying import Patience, RetryingBackend
from gateway.backends.timed import TimedBackend
from gateway.backends.verified import VerifiedBackend
from gateway.base.clock import Clock
from gateway.settings import Backends as Limits


def hosted(
    backend: Backend,
    *,
    kind: str,
    limits: Limits,
    clock: Clock,
    meters: Meters,
    rng: random.Random | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Backend:
    """
    Return *backend*, timed, limited, retried, verified and measured.

    *rng* spreads the waits between attempts; *sleep* waits them.
    """
    timed = TimedBackend(
        backend,
        call_timeout_s=limits.call_timeout_s,
        put_timeout_s=limits.put_timeout_s,
        idle_timeout_s=limits.idle_timeout_s,
    )
    longest_s = limits.backoff_max_ms / 1000
    narrows = Narrows(
        backend.traits.max_concurrency,
        clock,
        sleep,
        successes_to_widen=limits.successes_to_widen,
        pause_s=limits.backoff_base_ms / 1000,
        longest_wait_s=longest_s,
    )
    patience = Patience(
        attempts=limits.max_attempts,
        base_s=limits.backoff_base_ms / 1000,
        longest_s=longest_s,
        sleep=sleep,
        rng=rng or random.SystemRandom(),
    )
    retrying = RetryingBackend(LimitedBackend(timed, narrows), patience)
    return MeasuredBackend(VerifiedBackend(retrying), kind=kind, meters=meters, clock=clock)
