"""
What an error of a store, or of the way to it, means.
"""

import ssl
from datetime import timedelta
from typing import Any, Final

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError

from gateway.api import (
    AccessDenied,
    BackendError,
    Conflict,
    IntegrityMismatch,
    Misconfigured,
    NotFound,
    QuotaExceeded,
    RateLimited,
    SessionLost,
    Transient,
    Unsupported,
)

_BY_CODE: Final[dict[str, type[BackendError]]] = {
    "SlowDown": RateLimited,
    "Throttling": RateLimited,
    "ThrottlingException": RateLimited,
    "TooManyRequests": RateLimited,
    "RequestLimitExceeded": RateLimited,
    "InternalError": Transient,
    "ServiceUnavailable": Transient,
    "RequestTimeout": Transient,
    "OperationAborted": Transient,
    # Another put of the key was under way; what came of it shows at the next try.
    "ConditionalRequestConflict": Transient,
    "AccessDenied": AccessDenied,
    # Keys that never expire are given by hand, and by hand they are mended: by the operator, unless `classify` is told.
    "InvalidAccessKeyId": Misconfigured,
    "SignatureDoesNotMatch": Misconfigured,
    "AccountProblem": Misconfigured,
    "AllAccessDisabled": Misconfigured,
    "NotSignedUp": Misconfigured,
    "ExpiredToken": Misconfigured,
    "InvalidToken": Misconfigured,
    "RequestTimeTooSkewed": Misconfigured,
    "PermanentRedirect": Misconfigured,
    "TemporaryRedirect": Misconfigured,
    "AuthorizationHeaderMalformed": Misconfigured,
    "IllegalLocationConstraintException": Misconfigured,
    "InvalidBucketName": Misconfigured,
    "NoSuchBucket": Misconfigured,
    # The bucket moves objects to an archive, from which nothing can be read at once.
    "InvalidObjectState": Misconfigured,
    "NoSuchKey": NotFound,
    "NoSuchVersion": NotFound,
    "NoSuchUpload": SessionLost,
    "PreconditionFailed": Conflict,
    "InvalidRange": IntegrityMismatch,
    "BadDigest": IntegrityMismatch,
    "InvalidDigest": IntegrityMismatch,
    "XAmzContentSHA256Mismatch": IntegrityMismatch,
    "XAmzContentChecksumMismatch": IntegrityMismatch,
    "InvalidPart": IntegrityMismatch,
    "InvalidPartOrder": IntegrityMismatch,
    "EntityTooSmall": IntegrityMismatch,
    # No room for *this* blob, whatever else fits.
    "EntityTooLarge": QuotaExceeded,
    "QuotaExceeded": QuotaExceeded,
    "XMinioStorageFull": QuotaExceeded,
    "XMinioAdminBucketQuotaExceeded": QuotaExceeded,
    "NotImplemented": Unsupported,
    "MethodNotAllowed": Unsupported,
}

# For answers without a body (those to HEAD), and for codes that a store made up.
_BY_STATUS: Final[dict[int, type[BackendError]]] = {
    301: Misconfigured,
    302: Misconfigured,
    307: Misconfigured,
    308: Misconfigured,
    401: Misconfigured,
    403: AccessDenied,
    404: NotFound,
    405: Unsupported,
    408: Transient,
    409: Transient,
    412: Conflict,
    416: IntegrityMismatch,
    429: RateLimited,
    501: Unsupported,
    507: QuotaExceeded,
}


_OUR_OWN: Final = frozenset({"RequestTimeTooSkewed"})
"""Misconfigured whosever the bucket is: it is our clock that is wrong."""


def classify(exc: Exception, *, to_mend: type[BackendError] = Misconfigured) -> BackendError | None:
    """
    Say what an exception means that came out of a call to a store, or None if that is not known.

    *to_mend* is what becomes of that which whoever gave the keys and the bucket has to mend:
    `Misconfigured` for the operator, `AuthRevoked` for a user, who has to link his bucket anew.
    """
    if isinstance(exc, ClientError):
        return _of_answer(exc.response, to_mend)
    if isinstance(exc, (HTTPClientError, BotoCoreError)):
        return _of_the_way(exc, to_mend)
    if isinstance(exc, (aiohttp.ClientError, TimeoutError, OSError)):
        return Transient(f"The connection to the store failed: {type(exc).__name__}.")
    return None


def _of_answer(response: dict[str, Any], to_mend: type[BackendError]) -> BackendError:
    error = response.get("Error", {})
    facts = response.get("ResponseMetadata", {})
    code, status = str(error.get("Code", "")), int(facts.get("HTTPStatusCode", 0))
    meaning = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if meaning is None:
        meaning = Transient if status >= 500 else BackendError
    if meaning is Misconfigured and code not in _OUR_OWN:
        meaning = to_mend
    message = f"The store answered {status} {code}: {error.get('Message') or 'no more was said'}"
    if issubclass(meaning, RateLimited):
        return meaning(message, retry_after=_retry_after(facts), provider_code=code)
    return meaning(message, provider_code=code)


def _of_the_way(exc: Exception, to_mend: type[BackendError]) -> BackendError | None:
    reason = getattr(exc, "kwargs", {}).get("error")
    if isinstance(reason, BackendError):
        # The address rule speaks from within the connector.
        return reason
    name = type(exc).__name__
    if isinstance(reason, (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)):
        return to_mend(f"The store's certificate is not trusted: {reason}", provider_code=name)
    # Those of a connection; what else the library raises is about how it was called.
    if isinstance(exc, (HTTPClientError, IncompleteReadError)) or reason is not None:
        return Transient(f"The connection to the store failed: {name}.", provider_code=name)
    return None


def _retry_after(facts: dict[str, Any]) -> timedelta | None:
    text = str(facts.get("HTTPHeaders", {}).get("retry-after", ""))
    # The other form is a date, by a clock that is not ours.
    return timedelta(seconds=int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else None
