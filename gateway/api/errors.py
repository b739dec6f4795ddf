"""
What can go wrong at a backend: one class per decision that the host takes, not one per status of a provider.

    BackendError            FAIL   unclassified; message and provider's code are kept, loud in the logs
    ├─ Transient            RETRY  network, time-outs, I/O errors, "locked, try again"
    │  ├─ RateLimited       RETRY  not before `retry_after`; slows the whole account
    │  └─ SessionLost       RETRY  the provider forgot a resumable put; look for the blob, else begin anew
    ├─ AuthRevoked          PARK   the grant is gone; only the user can mend that
    ├─ AccessDenied         PARK   the grant is alive, but scope or policy says no
    ├─ QuotaExceeded        PARK   no room; another place may have some
    ├─ NotFound             FAIL   there is no such blob
    ├─ Conflict             FAIL   the key is taken; the host compares
    ├─ IntegrityMismatch    FAIL   the bytes are not what they were said to be; keep the other copies
    ├─ Misconfigured        FAIL   the operator's to mend: no such folder or bucket, no permission
    └─ Unsupported          FAIL   a plugin's bug: it claims an ability that it lacks

Workers switch on `BackendError.disposition`; the classes are for people, and for the cases that need them.
When retries are spent, the job is parked and the error keeps its class.
Classification looks at status and structured codes, never at a provider's prose.
"""

import enum
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import ClassVar

from gateway.base.errors import GatewayError


class Disposition(enum.Enum):
    """
    What the host does about an error.
    """

    RETRY = "retry"
    """Try again by itself, later."""

    PARK = "park"
    """Set the work aside until someone acts."""

    FAIL = "fail"
    """Trying again would give the same answer."""


class BackendError(GatewayError):
    """
    Something went wrong at a backend, and nobody has said what it means.
    """

    code = "backend-error"
    disposition: ClassVar[Disposition] = Disposition.FAIL

    def __init__(self, message: str, *, provider_code: str | None = None) -> None:
        super().__init__(message)
        self.provider_code = provider_code
        """The provider's own code (or an errno's name), for logs."""


class Transient(BackendError):
    """
    It may well work later, with nobody doing anything.
    """

    code = "backend-transient"
    disposition = Disposition.RETRY


class RateLimited(Transient):
    """
    The provider wants fewer calls.
    """

    code = "backend-rate-limited"

    def __init__(
        self, message: str, *, retry_after: timedelta | None = None, provider_code: str | None = None
    ) -> None:
        super().__init__(message, provider_code=provider_code)
        self.retry_after = retry_after
        """How long it asked to be left alone, if it said."""


class SessionLost(Transient):
    """
    The provider does not know this resumable put (any more): it expired, was aborted, or was committed before.
    """

    code = "backend-session-lost"


class AuthRevoked(BackendError):
    """
    The grant is gone; the user has to link the account anew.
    """

    code = "backend-auth-revoked"
    disposition = Disposition.PARK


class AccessDenied(BackendError):
    """
    The grant is alive, but a scope is missing or a policy forbids this.
    """

    code = "backend-access-denied"
    disposition = Disposition.PARK


class QuotaExceeded(BackendError):
    """
    There is no room for this blob here.
    """

    code = "backend-quota-exceeded"
    disposition = Disposition.PARK


class NotFound(BackendError):
    """
    There is no such blob.
    """

    code = "backend-not-found"


class Conflict(BackendError):
    """
    The key is taken.
    """

    code = "backend-conflict"


class IntegrityMismatch(BackendError):
    """
    The bytes are not what they were said to be: another hash, or more or fewer of them.
    """

    code = "backend-integrity-mismatch"


class Misconfigured(BackendError):
    """
    The place is not set up as it should be, and the operator has to mend it.
    """

    code = "backend-misconfigured"


class Unsupported(BackendError):
    """
    The backend cannot do what it claims to.
    """

    code = "backend-unsupported"


@contextmanager
def translated(classify: Callable[[Exception], BackendError | None]) -> Iterator[None]:
    """
    Turn what a provider's library raises within into a `BackendError`, with the original as its cause.

    *classify* says what an exception means, or None if it does not know: then it is a plain `BackendError`.
    Cancellation and errors that are a `BackendError` already pass through unchanged.
    """
    try:
        yield
    except BackendError:
        raise
    except Exception as exc:
        raise (classify(exc) or BackendError(f"{type(exc).__name__}: {exc}")) from exc
